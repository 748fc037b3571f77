"""What a method has learned of the inner loop's geometry, read from the pictures of a run."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import numpy as np

from metaviz.runs.model.events import Pictured
from metaviz.runs.model.record import Record

View = Literal["rates", "factors", "masks", "gates", "slopes", "dense", "spectrum", "condition"]
Diagnostic = Literal["smallest_slope", "moved_share", "asymmetry", "symmetric_eigenvalue"]

GEOMETRY_HEADER = ("run", "algorithm", "step", "layer", "quantity", "value")
VIEW_TITLES: dict[View, str] = {
    "rates": "Step sizes",
    "factors": "Factors",
    "masks": "Masks",
    "gates": "Gates",
    "slopes": "Slopes of the map",
    "dense": "Preconditioner",
    "spectrum": "Eigenvalues",
    "condition": "Condition number",
}
_KIND_TITLES: dict[str, dict[View, str]] = {
    "layers": {"factors": "Transforms T"},
    "warps": {"factors": "Warps T"},
    "map": {"dense": "Jacobian of the map"},
}
DIAGNOSTIC_TITLES: dict[Diagnostic, str] = {
    "smallest_slope": "smallest slope",
    "moved_share": "share of the map that moved",
    "asymmetry": "asymmetry of the Jacobian",
    "symmetric_eigenvalue": "smallest symmetric eigenvalue",
}
_KEYS: dict[View, str] = {
    "rates": "rates",
    "factors": "factor_names",
    "masks": "mask_names",
    "gates": "forget",
    "slopes": "slope",
    "dense": "dense",
    "spectrum": "spectrum",
    "condition": "condition_plain",
}
_PARTS: dict[View, str] = {"rates": "tensors", "factors": "factor_names", "masks": "mask_names"}
GATES = ("forget gate", "input gate")
_BINS = 40
_VISITED_BINS = 30
_SMALLEST_SPAN = 0.01
_SHOWN_QUANTILE = 0.995
_MATRIX_QUANTILE = 0.999
_MOST_STILL = 0.5
_NEAR = 1.5
_FIRST_EVALUATIONS = 3


def geometry_pictures(record: Record) -> list[Pictured]:
    """Return the pictures of what was learned, oldest first."""
    return [item for item in record.pictures if "geometry" in item.arrays]


def kind(record: Record) -> str:
    """Return the kind of geometry that a run learns, empty where it has shown none."""
    drawn = geometry_pictures(record)
    return str(drawn[-1].arrays["geometry"].item()) if drawn else ""


def has_map(record: Record) -> bool:
    """Return whether the run has shown a mirror map."""
    return kind(record) == "map"


def has_geometry(record: Record) -> bool:
    """Return whether the run has shown rates, factors, gates or a matrix P."""
    return bool(offered(record))


def offered(record: Record) -> dict[View, str]:
    """Return the views that a run's pictures can fill, with their titles."""
    found: set[str] = set()
    for picture in geometry_pictures(record):
        found |= picture.arrays.keys()
    titles = VIEW_TITLES | _KIND_TITLES.get(kind(record), {})
    return {view: title for view, title in titles.items() if _KEYS[view] in found}


def shows(picture: Pictured, view: View) -> bool:
    """Return whether this picture holds what a view needs."""
    return _KEYS[view] in picture.arrays


def parts(picture: Pictured, view: View) -> tuple[str, ...]:
    """Return the names of the tensors, factors or masks of a view; none where it is one whole."""
    if view == "gates":
        return GATES
    key = _PARTS.get(view, "")
    return tuple(str(name) for name in picture.arrays.get(key, np.empty(0)))


def numbers(picture: Pictured, name: str) -> np.ndarray:
    """Return an array of a picture in double precision."""
    return np.asarray(picture.arrays[name], dtype=float)


def factor(picture: Pictured, place: int) -> np.ndarray:
    """Return one factor, shape (a, b)."""
    return np.atleast_2d(numbers(picture, f"factor_{place}"))


def mask(picture: Pictured, place: int) -> np.ndarray:
    """Return the probabilities of one layer's units, shape (n,)."""
    values = numbers(picture, "mask_probabilities")[place]
    units: np.ndarray = values[np.isfinite(values)]
    return units


def span(values: np.ndarray) -> float:
    """Return half the span of a colour scale around 0: one in a thousand entries exceeds it.

    A single outlier would otherwise make the rest of a large matrix look empty.
    """
    known = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(np.quantile(known, _MATRIX_QUANTILE, method="higher")) if known.size else 1.0


@dataclass(frozen=True)
class Gate:
    """One gate over the inner steps.

    Shapes: k (K,); quantiles (K, 5) over weights and tasks, at 5, 25, 50, 75 and 95 %. `plain` is
    its value in gradient descent, NaN where it is not known.
    """

    name: str
    k: np.ndarray
    quantiles: np.ndarray
    plain: float


def gate(picture: Pictured, place: int) -> Gate:
    """Return the forget gate or the input gate."""
    name = GATES[place]
    quantiles = numbers(picture, name.split()[0])
    plain = 1.0 if place == 0 else float(picture.arrays.get("plain_input", np.nan))
    return Gate(name, np.arange(len(quantiles), dtype=float), quantiles, plain)


def tensor_spans(picture: Pictured) -> list[tuple[str, int, int]]:
    """Return each tensor's name, its first row in P and the row after its last."""
    if "dense_names" not in picture.arrays:
        return []
    ends = np.cumsum(picture.arrays["dense_sizes"]).tolist()
    names = [str(name) for name in picture.arrays["dense_names"]]
    return list(zip(names, [0, *ends[:-1]], ends, strict=True))


def without_diagonal(picture: Pictured) -> Pictured:
    """Return a picture whose square matrices have an empty diagonal."""
    arrays = dict(picture.arrays)
    for name, array in arrays.items():
        square = array.ndim == 2 and array.shape[0] == array.shape[1] > 1  # noqa: PLR2004
        if square and (name == "dense" or name.startswith("factor_")):
            arrays[name] = np.where(np.eye(len(array), dtype=bool), 0, array)
    return replace(picture, arrays=arrays)


@dataclass(frozen=True)
class SlopeRanges:
    """The slopes of a mirror map in each tensor. Shapes: smallest, mean, largest (t,)."""

    tensors: tuple[str, ...]
    smallest: np.ndarray
    mean: np.ndarray
    largest: np.ndarray


def slope_ranges(picture: Pictured) -> SlopeRanges:
    """Return the slopes of all weights, summed up by tensor."""
    found: dict[str, dict[str, float]] = {}
    for tensor, quantity, value in summary(picture):
        which, _, what = quantity.partition(" ")
        if what == "slope" and tensor != "all":
            found.setdefault(tensor, {})[which] = value
    columns = [
        np.array([values.get(which, np.nan) for values in found.values()])
        for which in ("smallest", "mean", "largest")
    ]
    return SlopeRanges(tuple(found), *columns)


def most_changed(history: "MapHistory") -> int:
    """Return the row whose slope is furthest from 1 at the last evaluation."""
    away = np.abs(history.slopes[-1] - 1)
    return int(np.nanargmax(away)) if np.isfinite(away).any() else 0


@dataclass(frozen=True)
class RateHistograms:
    """How the step sizes of each tensor are spread, over common bins.

    Shapes: edges (b+1,), in log10 of magnitudes if `log`; positive, negative (t, b) counts;
    negative_share (t,).
    """

    tensors: tuple[str, ...]
    edges: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    negative_share: np.ndarray
    log: bool


def rate_histograms(picture: Pictured, *, log: bool) -> RateHistograms:
    """Count step sizes; zeros have no logarithm and are left out of a logarithmic one."""
    rates = numbers(picture, "rates")
    with np.errstate(divide="ignore", invalid="ignore"):
        placed = np.log10(np.abs(rates)) if log else rates
    known = np.isfinite(placed)
    edges = _edges(placed[known], split=not log)
    below = rates < 0
    positive, negative = (
        np.stack(
            [np.histogram(row[keep], edges)[0] for row, keep in zip(placed, which, strict=True)]
        )
        for which in (known & ~below, known & below)
    )
    share = numbers(picture, "negative")
    return RateHistograms(parts(picture, "rates"), edges, positive, negative, share, log)


def _edges(values: np.ndarray, *, split: bool) -> np.ndarray:
    """Return the edges of bins; with `split` one of them is 0 where values lie on both sides."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = 0.1 * abs(low) or 0.5
        low, high = low - room, high + room
    if not (split and low < 0 < high):
        return np.linspace(low, high, _BINS + 1)
    width = (high - low) / _BINS
    return np.arange(math.floor(low / width), math.ceil(high / width) + 1) * width


@dataclass(frozen=True)
class MapHistory:
    """A mirror map over training: the diagonal of its Jacobian at every evaluation.

    Shapes: steps (s,); coordinates, layers (c,); slopes (s, c); each diagnostic (s,). Coordinates
    are grouped by layer. `pictures` holds the rest; `order` sorts its coordinates.
    """

    label: str
    steps: np.ndarray
    coordinates: np.ndarray
    layers: tuple[str, ...]
    total: int
    slopes: np.ndarray
    diagnostics: dict[Diagnostic, np.ndarray]
    pictures: tuple[Pictured, ...]
    order: np.ndarray

    def spans(self) -> list[tuple[str, int, int]]:
        """Return each layer's name, first row and the row after its last."""
        found, start = [], 0
        for name, members in groupby(self.layers):
            stop = start + len(list(members))
            found.append((name, start, stop))
            start = stop
        return found

    def half_span(self) -> float:
        """Return how far the colour scale reaches to both sides of 1; rare extremes exceed it."""
        away = np.abs(self.slopes - 1)
        known = away[np.isfinite(away)]
        reach = float(np.quantile(known, _SHOWN_QUANTILE)) if known.size else 0.0
        return max(reach, _SMALLEST_SPAN)

    def sampled_text(self) -> str:
        """Say how many of the weights are shown; empty where it is all of them."""
        count = len(self.coordinates)
        return f"{count} of {self.total} weights are shown" if count < self.total else ""

    def point(self, evaluation: int, row: int) -> "MapPoint | None":
        """Return one coordinate's map at one evaluation, None where others were sampled there."""
        picture, place = self.pictures[evaluation], self.order[row]
        if not _same(picture, self.pictures[-1]):
            return None
        visited = numbers(picture, "visited")[..., place]
        return MapPoint(
            slope=float(picture.arrays["slope"][place]),
            shift=float(picture.arrays["shift"][place]),
            start=float(picture.arrays["z_start"][place]),
            visited=visited,
        )


@dataclass(frozen=True)
class MapPoint:
    """g(z)_i = slope z_i + shift, and where adaptation went; visited has shape (tasks, K+1)."""

    slope: float
    shift: float
    start: float
    visited: np.ndarray

    def at(self, z: np.ndarray | float) -> np.ndarray:
        """Return g(z)_i."""
        return np.asarray(self.slope * np.asarray(z) + self.shift)

    @property
    def adapted(self) -> np.ndarray:
        """The last z_i of each task."""
        return self.visited[:, -1]

    def range(self) -> tuple[float, float]:
        """Return an interval of z_i that holds all that was visited, with room on both sides."""
        known = np.append(self.visited[np.isfinite(self.visited)], self.start)
        low, high = float(known.min()), float(known.max())
        room = 0.15 * (high - low) or 0.1 * abs(low) or 1.0
        return low - room, high + room

    def heights(self) -> tuple[float, float]:
        """Return an interval of g(z)_i that holds the map, and the identity where it is near."""
        ends = np.array(self.range())
        image = self.at(ends)
        bottom, top = float(image.min()), float(image.max())
        near = _NEAR * max(top - bottom, float(ends[1] - ends[0]))
        if ends.max() <= top + near and ends.min() >= bottom - near:
            bottom, top = min(bottom, float(ends.min())), max(top, float(ends.max()))
        room = 0.05 * (top - bottom) or 0.1 * abs(top) or 1.0
        return bottom - room, top + room

    def identity_text(self) -> str:
        """Say where the identity is, which may lie outside the heights shown."""
        low, high = self.range()
        bottom, top = self.heights()
        if low > top:
            return "identity (above)"
        return "identity (below)" if high < bottom else "identity"

    def histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """Return counts of visited z_i and the edges of their bins."""
        known = self.visited[np.isfinite(self.visited)]
        counts, edges = np.histogram(known, _VISITED_BINS, range=self.range())
        return counts, edges


def map_history(record: Record) -> MapHistory | None:
    """Return the mirror map of a run over its evaluations, or None where it has shown none.

    Slopes of other coordinates than the last picture's are unknown: NaN.
    """
    if not has_map(record):
        return None
    drawn = geometry_pictures(record)
    last = drawn[-1].arrays
    names = [str(name) for name in last["layers"]]
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    order = np.argsort([first[name] for name in names], kind="stable")
    return MapHistory(
        label=record.label,
        steps=np.array([item.step for item in drawn]),
        coordinates=np.asarray(last["coordinates"])[order],
        layers=tuple(names[place] for place in order),
        total=int(last["total"]),
        slopes=np.stack(
            [
                numbers(item, "slope")[order]
                if _same(item, drawn[-1])
                else np.full(len(order), np.nan)
                for item in drawn
            ]
        ),
        diagnostics={
            name: np.array([float(item.arrays.get(name, np.nan)) for item in drawn])
            for name in DIAGNOSTIC_TITLES
        },
        pictures=tuple(drawn),
        order=order,
    )


def _same(one: Pictured, other: Pictured) -> bool:
    return np.array_equal(one.arrays["coordinates"], other.arrays["coordinates"])


def map_warnings(history: MapHistory, evaluation: int) -> list[str]:
    """Return a sentence for each thing that a person should know of the map at an evaluation."""
    found = []
    slopes = history.slopes[evaluation]
    falling = int((slopes <= 0).sum())
    step = int(history.steps[evaluation])
    if falling or history.diagnostics["smallest_slope"][evaluation] <= 0:
        count = f"{falling} of the {len(slopes)} slopes shown" if falling else "a slope not shown"
        verb = "are" if falling > 1 else "is"
        found.append(
            f"At meta-step {step} {count} {verb} not positive: the map does not rise there, so it "
            "is not the gradient of a strictly convex potential."
        )
    moved = history.diagnostics["moved_share"]
    known = moved[np.isfinite(moved)]
    if len(known) >= _FIRST_EVALUATIONS and known[1:].max() < _MOST_STILL:
        found.append(
            f"Most of the map has never moved: {100 * known[-1]:.3g} % of its parameters differ "
            "from where they began."
        )
    return found


def summary_rows(record: Record) -> Iterator[tuple[str, str, int, str, str, float]]:
    """Yield run, algorithm, step, layer, quantity and value of every summary of a run."""
    for picture in geometry_pictures(record):
        for layer, quantity, value in summary(picture):
            yield record.id, record.algorithm, picture.step, layer, quantity, value


def summary(picture: Pictured) -> list[tuple[str, str, float]]:
    """Return layer, quantity and value of each line of a picture's summary."""
    names = ("summary_layer", "summary_quantity", "summary_value")
    if not all(name in picture.arrays for name in names):
        return []
    layers, quantities, values = (picture.arrays[name] for name in names)
    return [
        (str(layer), str(quantity), float(value))
        for layer, quantity, value in zip(layers, quantities, values, strict=True)
    ]
