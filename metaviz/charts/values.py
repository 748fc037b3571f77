"""The chart classes: frozen values of numbers and words, without colours, torch, Qt or matplotlib.

Arrays may be views of growing columns: nobody writes to them.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

OKABE_ITO = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#7F7F7F", "#A6761D"),
)
"""Colours that people with colour-blindness can tell apart (Okabe & Ito 2008); their black and
yellow, unreadable on one of the two themes, are replaced by a grey and a brown."""
MUTED = (
    *("#332288", "#117733", "#882255", "#AA4499"),
    *("#44AA99", "#999933", "#661100", "#6699CC"),
)
"""Eight more, from Tol's muted scheme (SRON/EPS/TN/09-002), for methods beyond the first eight."""
PALETTE = OKABE_ITO + MUTED
"""Colours by number. They are stored with runs; what is drawn in their place is chosen so that any
two are apart for everybody and all stand out from their ground: `ON_PAPER` on a light one."""
ON_PAPER = dict(
    zip(
        PALETTE,
        (
            *("#147BD3", "#E2702A", "#32850A", "#C13096", "#5E4900", "#009CC9", "#737373"),
            *("#A48E6A", "#755396", "#135B4A", "#881D67", "#CB73B0", "#3F9F8B", "#787B54"),
            *("#7C4E3F", "#0D4E83"),
        ),
        strict=True,
    )
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "d")
"""Shapes of dots, as matplotlib calls them: disc, square, diamond, plus, cross, star, pentagon,
narrow diamond, and triangles that point into four directions."""
LOOKS = "oos^^Dv^PXP*<*o*>vDppXXddsvs><D<vp^*>PpD<sddv>^*"
"""The marker of each method by its number, whose remainder is that of its colour. Methods
of one marker have colours that differ in print and for the colour-blind, too."""
DASHES: dict[str, tuple[float, ...]] = {
    **{"solid": (), "dash": (4, 2), "dot": (1, 2), "dashdot": (4, 2, 1, 2), "longdash": (8, 2)},
    **{"dashdotdot": (4, 2, 1, 2, 1, 2), "sparsedot": (1, 5), "longdashdot": (8, 2, 1, 2)},
}
"""Lengths of dashes and gaps by turns, in widths of the line."""
BLUE, ORANGE = "method-0", "method-1"
"""Roles of what is distinguished within one run: positive and negative, support and query."""
_ROLE = re.compile(
    r"foreground|muted|grid|accent|error|background"
    r"|method-\d+|ramp-[01](\.\d+)?|#[0-9A-Fa-f]{6}"
)

Across = Literal["x", "y"]
Ticks = tuple[tuple[float, str], ...]


class ChartError(ValueError):
    """A chart's numbers do not fit together; the message is one sentence."""


def role_of(color: str) -> str:
    """Return the role of a palette colour; a colour that a person gave to a run stays itself."""
    return f"method-{PALETTE.index(color)}" if color in PALETTE else color


@dataclass(frozen=True)
class Axis:
    """An axis. `ticks`, the most important first, take the place of numbers.

    Up to `knee` it is linear and beyond it logarithmic, in files. `down` counts from the top.
    """

    title: str = ""
    unit: str = ""
    log: bool = False
    limits: tuple[float, float] | None = None
    ticks: Ticks | None = None
    whole: bool = False
    down: bool = False
    knee: float | None = None

    @property
    def text(self) -> str:
        """The title with its unit in brackets."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True)
class Slider:
    """An axis that a person moves along: row p of two-dimensional arrays is shown at p."""

    title: str
    count: int
    start: int = 0


@dataclass(frozen=True)
class Mark:
    """A straight line across the axes, at an x for "x"."""

    name: str
    at: float
    across: Across = "x"
    label: str = ""
    role: str = "muted"
    dash: str = "dot"
    width: float = 1.0
    movable: bool = False


@dataclass(frozen=True)
class Region:
    """A shaded part of an axis."""

    name: str
    low: float
    high: float
    across: Across = "x"
    role: str = "muted"
    alpha: float = 0.12


@dataclass(frozen=True)
class Series:
    """Points with a colour role. Shapes: low, high (n,); x, y (n,), or (slider's count, n).

    A `width` of 0 draws no line, a diameter `dots` of 0 no dots; both are pixels. NaN interrupts
    the line. `low` and `high` are the ends of error bars, `marker` is the shape of dots, one of
    `MARKERS`. An empty label has no legend entry; {} in one is where the slider stands.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    label: str = ""
    role: str = BLUE
    dash: str = "solid"
    width: float = 1.0
    alpha: float = 1.0
    dots: float = 0.0
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    filled: bool = True
    marker: str = "o"


@dataclass(frozen=True)
class Band:
    """A shaded area between two curves over one x, each of shape (n,)."""

    name: str
    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    role: str = BLUE
    alpha: float = 0.15


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What all charts have.

    `caption` says below a file's picture what lines mean, `spoken` tells screen readers the newest
    numbers, `message` says what to do where there is nothing to draw; `right` names heights.
    """

    id: str
    title: str = ""
    x: Axis = Axis()
    y: Axis = Axis()
    marks: tuple[Mark, ...] = ()
    regions: tuple[Region, ...] = ()
    right: Ticks = ()
    slider: Slider | None = None
    caption: str = ""
    spoken: str = ""
    message: str = ""

    def __post_init__(self) -> None:
        """Check what does not depend on the class."""
        _need(bool(self.id), f"A {type(self).__name__} chart has no id: give it one.")
        _roles(self.marks)
        _roles(self.regions)


@dataclass(frozen=True, kw_only=True)
class Lines(Chart):
    """Lines with bands."""

    series: tuple[Series, ...] = ()
    bands: tuple[Band, ...] = ()

    def __post_init__(self) -> None:
        """Check names, lengths and roles."""
        super().__post_init__()
        _check_series(self, self.series)
        _roles(self.bands)
        for band in self.bands:
            _equal(f"Band {band.name!r}", band.x, band.low, band.high)


@dataclass(frozen=True, kw_only=True)
class Scatter(Chart):
    """Dots; error bars lie `along` an axis. Hollow dots are not filled."""

    series: tuple[Series, ...] = ()
    along: Across = "y"

    def __post_init__(self) -> None:
        """Check names, lengths and roles."""
        super().__post_init__()
        _check_series(self, self.series)


@dataclass(frozen=True, kw_only=True)
class Bars(Chart):
    """A bar of each series at x = 0, 1, ...; `lying` bars go to the right, the first on top.

    `names` (n,) name the places; `notes` (n,) stand at the ends of bars.
    """

    series: tuple[Series, ...] = ()
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lying: bool = False
    base: float = 0.0

    def __post_init__(self) -> None:
        """Check names, lengths and roles."""
        super().__post_init__()
        _check_series(self, self.series)
        for texts in (self.names, self.notes):
            for one in self.series:
                _need(
                    not texts or len(one.x) <= len(texts),
                    f"Chart {self.id!r} has {len(texts)} names for {len(one.x)} bars: name each.",
                )


@dataclass(frozen=True, kw_only=True)
class HeatMap(Chart):
    """A matrix (rows, columns) whose first row is on top, coloured from low to high `levels`.

    The matrix covers `extent` (height, width) in place of its cells' number. `spans` are groups of
    rows with their first row and the one after their last. `framed` is a cell (row, column).
    `numbers` writes the values into the cells.
    """

    values: np.ndarray
    levels: tuple[float, float]
    meaning: str = ""
    extent: tuple[float, float] | None = None
    spans: tuple[tuple[str, int, int], ...] = ()
    columns: tuple[str, ...] = ()
    framed: tuple[int, int] | None = None
    square: bool = False
    numbers: bool = False
    diverging: bool = True

    def __post_init__(self) -> None:
        """Check the matrix."""
        super().__post_init__()
        _need(self.values.ndim == 2, f"Chart {self.id!r} has no matrix: give rows and columns.")  # noqa: PLR2004


@dataclass(frozen=True, kw_only=True)
class Histogram(Chart):
    """Counts over common bins, one row per name, parts stacked upon each other.

    Shapes: edges (b+1,); each part's y (rows, b), its x is not used. One row shows counts, several
    are each as high as the others.
    """

    edges: np.ndarray
    parts: tuple[Series, ...]
    rows: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        """Check that counts, bins and rows fit."""
        super().__post_init__()
        _roles(self.parts)
        shape = len(self.rows), len(self.edges) - 1
        for part in self.parts:
            _need(
                part.y.shape == shape,
                f"Part {part.name!r} of chart {self.id!r} has shape {part.y.shape}: "
                f"its rows and bins are {shape}.",
            )


@dataclass(frozen=True, kw_only=True)
class ImageGrid(Chart):
    """Images (height, width) or (height, width, 3) from 0 to 1 in rows of so many columns.

    A None leaves a place empty. `below` are texts under the images and `shares` bars from 0 to 1;
    those that are `wrong` are framed, and so is the `chosen` one.
    """

    images: tuple[np.ndarray | None, ...]
    columns: int
    above: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    shares: tuple[float | None, ...] = ()
    wrong: tuple[int, ...] = ()
    chosen: int | None = None

    def __post_init__(self) -> None:
        """Check the images."""
        super().__post_init__()
        _need(self.columns > 0, f"Chart {self.id!r} has {self.columns} columns: give one or more.")
        for image in self.images:
            _need(
                image is None or image.ndim in {2, 3},
                f"Chart {self.id!r} has an image that is no picture: give height and width.",
            )


@dataclass(frozen=True, kw_only=True)
class Paths(Chart):
    """Trajectories on a plane whose heights (len(u), len(v)) are coloured and contoured.

    Without heights it is a map, whose axes have one scale.
    """

    u: np.ndarray = field(default_factory=lambda: np.empty(0))
    v: np.ndarray = field(default_factory=lambda: np.empty(0))
    heights: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    paths: tuple[Series, ...] = ()
    meaning: str = ""

    def __post_init__(self) -> None:
        """Check the plane."""
        super().__post_init__()
        _check_series(self, self.paths)
        shape = len(self.u), len(self.v)
        _need(
            self.heights.shape == shape,
            f"Chart {self.id!r} has heights of shape {self.heights.shape}: its plane is {shape}.",
        )


@dataclass(frozen=True, kw_only=True)
class Graph(Chart):
    """Nodes with names at places (n, 2), and edges from node to node.

    With a slider, `states` has the roles of the nodes at each of its places.
    """

    names: tuple[str, ...]
    places: np.ndarray
    edges: tuple[tuple[int, int], ...] = ()
    roles: tuple[str, ...] = ()
    states: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Check that edges join nodes."""
        super().__post_init__()
        count = len(self.names)
        _need(
            self.places.shape == (count, 2),
            f"Chart {self.id!r} has places of shape {self.places.shape}: its {count} nodes need "
            f"({count}, 2).",
        )
        _need(
            all(0 <= node < count for edge in self.edges for node in edge),
            f"Chart {self.id!r} has an edge to a node that is not there: it has {count} nodes.",
        )
        moved = 0 if self.slider is None else self.slider.count
        _need(
            not self.states
            or (len(self.states) == moved and all(len(one) == count for one in self.states)),
            f"Chart {self.id!r} has {len(self.states)} states: give a role of every node for each "
            f"of its slider's {moved} places.",
        )


@dataclass(frozen=True, kw_only=True)
class VectorField(Chart):
    """Arrows (u, v) at points (x, y), each of shape (n,), scaled so that the longest is `reach`."""

    px: np.ndarray
    py: np.ndarray
    u: np.ndarray
    v: np.ndarray
    reach: float = 1.0
    role: str = BLUE

    def __post_init__(self) -> None:
        """Check the lengths."""
        super().__post_init__()
        _equal(f"Chart {self.id!r}", self.px, self.py, self.u, self.v)


@dataclass(frozen=True, kw_only=True)
class Table(Chart):
    """Rows of words under headers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Check that every row is as wide as the header."""
        super().__post_init__()
        _need(
            all(len(row) == len(self.header) for row in self.rows),
            f"Chart {self.id!r} has a row that is not {len(self.header)} cells wide.",
        )


@dataclass(frozen=True, kw_only=True)
class Parallel(Chart):
    """Parallel coordinates: a series has one y for each of the `axes`, and those have their ticks.

    Axes go from 0 to 1, what has no value stands below. `brushes` are places of axes with a lower
    and an upper end.
    """

    axes: tuple[Axis, ...]
    series: tuple[Series, ...] = ()
    brushes: tuple[tuple[int, float, float], ...] = ()

    def __post_init__(self) -> None:
        """Check that every line meets every axis."""
        super().__post_init__()
        _check_series(self, self.series)
        for one in self.series:
            _equal(f"Chart {self.id!r}", one.x, np.empty(len(self.axes)))


@dataclass(frozen=True, kw_only=True)
class Panels(Chart):
    """Charts side by side in so many columns, which may share axes."""

    charts: tuple[Chart, ...]
    columns: int = 1
    share_x: bool = False
    share_y: bool = False

    def __post_init__(self) -> None:
        """Check the panels."""
        super().__post_init__()
        _need(
            not any(isinstance(chart, Panels) for chart in self.charts),
            f"Chart {self.id!r} has panels within a panel: put all into one.",
        )
        _need(self.columns > 0, f"Chart {self.id!r} has {self.columns} columns: give one or more.")


CHARTS: tuple[type[Chart], ...] = (
    *(Lines, Scatter, Bars, HeatMap, Histogram, ImageGrid, Paths, Graph, VectorField, Table),
    *(Parallel, Panels),
)
PARTS: tuple[type, ...] = (Axis, Slider, Mark, Region, Series, Band)


def _need(fits: bool, sentence: str) -> None:
    if not fits:
        raise ChartError(sentence)


def _equal(what: str, *arrays: np.ndarray) -> None:
    lengths = [len(array) for array in arrays]
    _need(len(set(lengths)) == 1, f"{what} has arrays of lengths {lengths}: they must be equal.")


def _roles(parts: "Sequence[Mark | Region | Series | Band]") -> None:
    for part in parts:
        _need(
            _ROLE.fullmatch(part.role) is not None,
            f"{part.name!r} has the colour role {part.role!r}: choose one like 'method-0'.",
        )
        dash = getattr(part, "dash", "solid")
        _need(dash in DASHES, f"{part.name!r} has the dash {dash!r}: use {', '.join(DASHES)}.")


def _check_series(chart: Chart, series: Sequence[Series]) -> None:
    _roles(series)
    twice = [name for name, count in Counter(one.name for one in series).items() if count > 1]
    _need(not twice, f"Chart {chart.id!r} has two series named {(twice or [''])[0]!r}.")
    for one in series:
        count = one.y.shape[-1] if one.y.ndim else 0
        _need(
            count == one.x.shape[-1] and one.x.ndim <= one.y.ndim,
            f"Series {one.name!r} has {one.x.shape[-1]} x and {count} y: they must be equally "
            "many.",
        )
        _need(
            one.y.ndim == 1 or (chart.slider is not None and len(one.y) == chart.slider.count),
            f"Series {one.name!r} has y of shape {one.y.shape}: chart {chart.id!r} has no slider "
            "for it.",
        )
