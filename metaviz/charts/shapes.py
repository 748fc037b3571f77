"""What both renderers draw: a chart taken apart into lines, areas, boxes, pictures and words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from textwrap import fill

import numpy as np

from metaviz.charts.values import (
    Axis,
    Band,
    Bars,
    Chart,
    Graph,
    HeatMap,
    Histogram,
    ImageGrid,
    Lines,
    Mark,
    Parallel,
    Paths,
    Region,
    Scatter,
    Series,
    Slider,
    Table,
    Ticks,
    VectorField,
)

_ROW_HEIGHT = 0.8
_KEY_WIDTH = 8.0
_STRONG = 0.6
_LETTERS, _FEWEST, _SIDE, _WIDEST_SIDE = 80, 9, 0.16, 1.1
_BELOW, _SHOWN, _BESIDE = 1.35, 0.9, 1.2
_HEAD, _ANGLE = 0.3, 0.45


@dataclass(frozen=True)
class Boxes:
    """Filled boxes, each array (n,)."""

    name: str
    x0: np.ndarray
    x1: np.ndarray
    y0: np.ndarray
    y1: np.ndarray
    role: str
    alpha: float = 1.0


@dataclass(frozen=True)
class Picture:
    """A matrix (rows, columns) from low to high `levels`, or pixels (rows, columns, 3) without.

    `rect` is left, lower end, width and height in the axes' units; the first row is at the lower
    end. Contours are drawn where a renderer has them.
    """

    name: str
    values: np.ndarray
    rect: tuple[float, float, float, float]
    levels: tuple[float, float] | None = None
    diverging: bool = False
    meaning: str = ""
    contours: bool = False


@dataclass(frozen=True)
class Words:
    """A text whose point (across, down), from 0 to 1, lies at (x, y)."""

    x: float
    y: float
    text: str
    role: str = "foreground"
    across: float = 0.5
    down: float = 0.5
    ground: bool = False
    """Whether what lies below is dimmed."""


@dataclass(frozen=True)
class Shapes:
    """All there is to draw of one chart, without axes where it is `bare`.

    Series that are `curves` run from left to right and may be thinned to pixels.
    """

    x: Axis
    y: Axis
    series: Sequence[Series] = ()
    bands: Sequence[Band] = ()
    boxes: Sequence[Boxes] = ()
    pictures: Sequence[Picture] = ()
    words: Sequence[Words] = ()
    marks: Sequence[Mark] = ()
    regions: Sequence[Region] = ()
    right: Ticks = ()
    square: bool = False
    bare: bool = False
    curves: bool = False


@singledispatch
def shapes_of(chart: Chart, place: int | None = None) -> Shapes:
    """Return what is to be drawn of a chart whose slider stands at a place."""
    raise TypeError(f"{type(chart).__name__} is drawn panel by panel.")


def fitting(
    ticks: Ticks, pixels_per_unit: float, size: Callable[[str], float]
) -> list[tuple[float, str]]:
    """Return the ticks that fit beside each other, earlier ones first; `size` is in pixels."""
    placed: list[tuple[float, str, float]] = []
    for at, text in ticks:
        needs = size(text)
        apart = (
            abs(at - other) * pixels_per_unit - (needs + room) / 2 for other, _, room in placed
        )
        if all(gap >= 0 for gap in apart):
            placed.append((at, text, needs))
    return [(at, text) for at, text, _ in placed]


def shortened(name: str, longest: int = 18) -> str:
    """Cut the middle out of a long name."""
    if len(name) <= longest:
        return name
    return f"{name[: longest // 2 - 1]}…{name[-longest // 2 :]}"


def cut(*ends: np.ndarray) -> np.ndarray:
    """Return one array through all pieces, a gap behind each; the ends of pieces are (n,) each."""
    return np.stack([*ends, np.full(len(ends[0]), np.nan)], axis=1).ravel()


def _shapes(chart: Chart, series: Sequence[Series] = (), **more: object) -> Shapes:
    about = {"x": chart.x, "y": chart.y, "marks": chart.marks, "regions": chart.regions}
    return Shapes(series=series, **{**about, "right": chart.right, **more})  # type: ignore[arg-type]


def _at(chart: Chart, series: Sequence[Series], place: int | None) -> Sequence[Series]:
    if chart.slider is None:
        return series
    place = _place(chart.slider, place)
    return [one if one.y.ndim == 1 else _row(one, place) for one in series]


def _place(slider: Slider, place: int | None) -> int:
    return min(slider.start if place is None else place, slider.count - 1)


def _row(one: Series, place: int) -> Series:
    x = one.x if one.x.ndim == 1 else one.x[place]
    return replace(one, x=x, y=one.y[place], label=one.label.replace("{}", str(place)))


def _errors(series: Sequence[Series], along: str) -> list[Series]:
    """Return the error bars of series as lines behind them."""
    found = []
    for one in series:
        if one.low is None or one.high is None:
            continue
        spread, across = cut(one.low, one.high), cut(*(2 * [one.x if along == "y" else one.y]))
        x, y = (across, spread) if along == "y" else (spread, across)
        found.append(Series(f"{one.name} error", x, y, role=one.role, width=2.0, alpha=0.7))
    return found


@shapes_of.register
def _lines(chart: Lines, place: int | None = None) -> Shapes:
    return _shapes(chart, _at(chart, chart.series, place), bands=chart.bands, curves=True)


@shapes_of.register
def _scatter(chart: Scatter, place: int | None = None) -> Shapes:
    series = _at(chart, chart.series, place)
    return _shapes(chart, [*_errors(series, chart.along), *series])


@shapes_of.register
def _bars(chart: Bars, place: int | None = None) -> Shapes:
    series = _at(chart, chart.series, place)
    places = np.concatenate([np.empty(0), *(one.x for one in series)])
    alone = len(np.unique(places)) == len(places)
    wide = _ROW_HEIGHT / (1 if alone else len(series))
    boxes, errors, words = [], [], []
    for number, one in enumerate(series):
        left = one.x - _ROW_HEIGHT / 2 + (0 if alone else number * wide)
        across, up = (left, left + wide), (np.full(len(one.x), chart.base), one.y)
        x, y = (up, across) if chart.lying else (across, up)
        boxes.append(Boxes(one.name, x[0], x[1], y[0], y[1], one.role, one.alpha))
        middle, grey = left + wide / 2, replace(one, role="foreground")
        moved = replace(grey, y=middle) if chart.lying else replace(grey, x=middle)
        errors += _errors([moved], "x" if chart.lying else "y")
        tops = one.y if one.high is None else np.fmax(one.y, one.high)
        for at, top, bar in zip(middle.tolist(), tops.tolist(), one.x.tolist(), strict=True):
            note = chart.notes[int(bar)] if chart.notes else ""
            beside = Words(top, at, f" {note}", across=0.0)
            words += [beside if chart.lying else Words(at, top, note, down=1.0)] if note else []
    keys = [_key(one.name, one.label, one.role) for one in series if one.label]
    about: dict[str, object] = {"boxes": boxes, "words": words}
    if chart.names:
        ticks = tuple((float(at), shortened(name)) for at, name in enumerate(chart.names))
        side = "y" if chart.lying else "x"
        about[side] = replace(getattr(chart, side), ticks=ticks, down=chart.lying)
    return _shapes(chart, [*keys, *errors], **about)


def _key(name: str, label: str, role: str) -> Series:
    """Return a line of no points: what names boxes in a legend."""
    return Series(f"{name} key", np.empty(0), np.empty(0), label, role, width=_KEY_WIDTH)


@shapes_of.register
def _histogram(chart: Histogram, _place: int | None = None) -> Shapes:
    several = len(chart.rows) > 1
    total = np.sum([part.y for part in chart.parts], axis=0)
    tallest = np.maximum(1, total.max(axis=1, keepdims=True, initial=0))
    unit = _ROW_HEIGHT / tallest if several else 1
    # Rows count downwards, as a table does.
    floor = np.zeros(total.shape) - np.arange(len(chart.rows))[:, None]
    left, right = (np.tile(ends, len(chart.rows)) for ends in (chart.edges[:-1], chart.edges[1:]))
    boxes = []
    for part in chart.parts:
        top = floor + part.y * unit
        boxes.append(Boxes(part.name, left, right, floor.ravel(), top.ravel(), part.role))
        floor = top
    keys = [_key(part.name, part.label, part.role) for part in chart.parts if part.label]
    y = chart.y
    if several:
        names = ((_ROW_HEIGHT / 2 - row, shortened(name)) for row, name in enumerate(chart.rows))
        y = replace(y, ticks=tuple(names))
    return _shapes(chart, keys, boxes=boxes, y=y)


@shapes_of.register
def _heat_map(chart: HeatMap, _place: int | None = None) -> Shapes:
    rows, columns = chart.values.shape
    height, width = chart.extent or (float(rows), float(columns))
    largest = sorted(chart.spans, key=lambda span: span[1] - span[2])
    names: Ticks | None = tuple(((a + b) / 2, shortened(name)) for name, a, b in largest)
    numbered = () if rows == 1 else None
    below = tuple((at + 0.5, text) for at, text in enumerate(chart.columns))
    edges = [
        Mark(f"edge {start}", start, "y", dash="solid", role="muted")
        for _, start, _ in chart.spans[1:]
    ]
    frame, words = [], []
    if chart.framed is not None:
        down, across = chart.framed
        frame = [_frame("frame", across, down, 1.0, 1.0, "foreground")]
    if chart.numbers:
        reach = max(abs(level) for level in chart.levels)
        for (row, column), value in np.ndenumerate(chart.values):
            text = "–" if np.isnan(value) else f"{value:z.2f}"
            role = "background" if abs(value) > _STRONG * reach else "foreground"
            words.append(Words(column + 0.5, row + 0.5, text, role))
    picture = Picture(
        "map", chart.values, (0, 0, width, height), chart.levels, chart.diverging, chart.meaning
    )
    return _shapes(
        chart,
        frame,
        pictures=[picture],
        words=words,
        marks=[*edges, *chart.marks],
        square=chart.square,
        x=replace(chart.x, limits=(0, width), ticks=below or None),
        y=replace(chart.y, limits=(0, height), ticks=names or numbered, down=True),
    )


@shapes_of.register
def _images(chart: ImageGrid, _place: int | None = None) -> Shapes:
    pictures, words, frames = [], [], []
    bars: list[tuple[str, float, float, float]] = []
    for number, image in enumerate(chart.images):
        row, left = divmod(number, chart.columns)
        if image is None:
            continue
        top = row * _BELOW
        # The first row of pixels is at the lower end of the axis, which counts from the top.
        pictures.append(Picture(f"image {number}", image, (left, top, _SHOWN, _SHOWN)))
        role = "error" if number in chart.wrong else "foreground"
        if number in chart.wrong:
            frames.append(_frame(f"frame {number}", left - 0.01, top - 0.01, 0.92, 0.92, role))
        if number == chart.chosen:
            frames.append(_frame("chosen", left - 0.05, top - 0.05, 1.0, 1.06, "accent"))
        share = chart.shares[number] if number < len(chart.shares) else None
        if share is not None:
            end = left + _SHOWN * share
            bars.append((role.replace("foreground", "accent"), left, end, top))
            bars.append(("grid", end, left + _SHOWN, top))
        if chart.below[number : number + 1]:
            words.append(Words(left + 0.45, top + 0.99, chart.below[number], role, down=0.0))
    words += [Words(at + 0.45, -0.03, text, down=1) for at, text in enumerate(chart.above)]
    words += [
        Words(-0.05, at * _BELOW + 0.45, text, across=1) for at, text in enumerate(chart.beside)
    ]
    rows = -(-len(chart.images) // chart.columns)
    x = replace(chart.x, limits=(-_BESIDE if chart.beside else -0.1, chart.columns))
    y = replace(chart.y, limits=(-0.4, rows * _BELOW), down=True)
    boxes = []
    for role in dict.fromkeys(bar[0] for bar in bars):
        start, end, height = np.array([bar[1:] for bar in bars if bar[0] == role]).T
        boxes.append(Boxes(f"{role} bars", start, end, height + 0.93, height + 0.97, role))
    about = {"pictures": pictures, "words": words, "boxes": boxes, "square": True, "bare": True}
    return _shapes(chart, frames, x=x, y=y, **about)


def _frame(name: str, left: float, top: float, wide: float, high: float, role: str) -> Series:
    x, y = left + wide * np.array([0.0, 1, 1, 0, 0]), top + high * np.array([0.0, 0, 1, 1, 0])
    return Series(name, x, y, role=role, width=2.5)


@shapes_of.register
def _paths(chart: Paths, place: int | None = None) -> Shapes:
    known = chart.heights[np.isfinite(chart.heights)]
    pictures = []
    if known.size:
        levels = float(known.min()), float(known.max())
        (left, width), (low, height) = (_cells(axis) for axis in (chart.u, chart.v))
        rect = (left, low, width, height)
        plane = Picture("plane", chart.heights.T, rect, levels, meaning=chart.meaning)
        pictures = [replace(plane, contours=True)]
    shown = _at(chart, chart.paths, place)
    return _shapes(chart, shown, pictures=pictures, square=not chart.heights.size)


def _cells(places: np.ndarray) -> tuple[float, float]:
    """Return where the cells around places begin, and how far they reach."""
    step = float(np.ptp(places)) / max(1, len(places) - 1) or 1.0
    return float(places.min()) - step / 2, float(np.ptp(places)) + step


@shapes_of.register
def _graph(chart: Graph, place: int | None = None) -> Shapes:
    x, y = chart.places.T
    ends = np.array(chart.edges, dtype=int).reshape(-1, 2).T
    roles = chart.roles or ("method-0",) * len(chart.names)
    if chart.states and chart.slider is not None:
        roles = chart.states[_place(chart.slider, place)]
    edges = Series("edges", cut(*x[ends]), cut(*y[ends]), role="muted")
    nodes = [
        Series(f"node {at}", x[at : at + 1], y[at : at + 1], role=role, width=0, dots=12)
        for at, role in enumerate(roles)
    ]
    words = [
        Words(across, up, name, down=1.6)
        for (across, up), name in zip(chart.places.tolist(), chart.names, strict=True)
    ]
    return _shapes(chart, [edges, *nodes], words=words, bare=True)


@shapes_of.register
def _field(chart: VectorField, _place: int | None = None) -> Shapes:
    longest = float(np.nanmax(np.hypot(chart.u, chart.v), initial=0.0)) or 1.0
    start = np.array([chart.px, chart.py], dtype=float)
    arrow = np.array([chart.u, chart.v]) * (chart.reach / longest)
    pieces = [(start, start + arrow)]
    for angle in (_ANGLE, -_ANGLE):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        pieces.append((start + arrow, start + arrow - _HEAD * turn @ arrow))
    ends = [np.concatenate(side, axis=1) for side in zip(*pieces, strict=True)]
    x, y = (cut(*(end[axis] for end in ends)) for axis in (0, 1))
    return _shapes(chart, [Series("arrows", x, y, role=chart.role, width=1.5)])


@shapes_of.register
def _table(chart: Table, _place: int | None = None) -> Shapes:
    widest = [max(map(len, column)) + 2 for column in zip(chart.header, *chart.rows, strict=True)]
    left = [0, *np.cumsum(widest).tolist()]
    words = [
        Words(left[column], row, text, "foreground" if row else "accent", across=0.0)
        for row, cells in enumerate((chart.header, *chart.rows))
        for column, text in enumerate(cells)
    ]
    rule = Series("rule", np.array([0.0, left[-1]]), np.full(2, 0.5), role="muted")
    x, y = (
        replace(chart.x, limits=(0, float(left[-1]))),
        replace(chart.y, limits=(-0.7, len(chart.rows) + 0.7), down=True),
    )
    return _shapes(chart, [rule], words=words, x=x, y=y, bare=True)


@shapes_of.register
def _parallel(chart: Parallel, _place: int | None = None) -> Shapes:
    last = len(chart.axes) - 1
    at = np.arange(last + 1.0)
    axes = Series("axes", cut(at, at), cut(0 * at, 0 * at + 1), role="muted")
    room = max(_FEWEST, _LETTERS // max(1, last))
    words, lowest = [], 0.0
    for number, axis in enumerate(chart.axes):
        title = fill(shortened(axis.title, 2 * room), room)
        words.append(Words(number, 1.03, title, down=1.0))
        # Beside the last axis there is room on its right alone.
        across = float(number < last or not last)
        for height, text in axis.ticks or ():
            shown = f" {shortened(text, 10)} "
            words.append(Words(number, height, shown, "muted", across, ground=True))
            lowest = min(lowest, height)
    ends = np.array(chart.brushes, dtype=float).reshape(-1, 3).T
    wide = 0.008 * max(1, last)
    boxes = Boxes("brushes", ends[0] - wide, ends[0] + wide, ends[1], ends[2], "accent", 0.35)
    side = min(_SIDE * max(1, last), _WIDEST_SIDE)
    top = chart.y.limits[1] if chart.y.limits else 1.16
    x, y = Axis(limits=(-side, last + side)), Axis(limits=(lowest - 0.06, top))
    about = {"boxes": [boxes], "words": words, "bare": True}
    return _shapes(chart, [*_joined(chart.series), axes], x=x, y=y, **about)


def _joined(series: Sequence[Series]) -> list[Series]:
    """Return one series for all that look alike: a few are drawn much faster than hundreds."""
    alike: dict[tuple[object, ...], list[Series]] = {}
    for one in series:
        alike.setdefault((one.role, one.dash, one.width, one.alpha), []).append(one)
    gap = np.full(1, np.nan)
    return [
        replace(
            ones[0],
            x=np.concatenate([part for one in ones for part in (one.x, gap)]),
            y=np.concatenate([part for one in ones for part in (one.y, gap)]),
        )
        for ones in alike.values()
    ]
