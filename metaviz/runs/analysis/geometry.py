"""What a method has learned of the inner loop's geometry, read from the pictures of a run."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np

from metaviz.charts.posterior import PREFIX
from metaviz.charts.storage import KEY, from_arrays
from metaviz.charts.stored import MapPoint, map_point, numbers, summary, views_of
from metaviz.charts.values import Chart
from metaviz.runs.model.events import Pictured
from metaviz.runs.model.record import Record

Diagnostic = Literal["smallest_slope", "moved_share", "asymmetry", "symmetric_eigenvalue"]

GEOMETRY_HEADER = ("run", "algorithm", "step", "layer", "quantity", "value")
DIAGNOSTIC_TITLES: dict[Diagnostic, str] = {
    "smallest_slope": "smallest slope",
    "moved_share": "share of the map that moved",
    "asymmetry": "asymmetry of the Jacobian",
    "symmetric_eigenvalue": "smallest symmetric eigenvalue",
}
OWN = "chart "
"""What begins the names of views that are charts of a method's own."""
_SMALLEST_SPAN = 0.01
_SHOWN_QUANTILE = 0.995
_MOST_STILL = 0.5
_FIRST_EVALUATIONS = 3


def geometry_pictures(record: Record) -> list[Pictured]:
    """Return the pictures of what was learned, oldest first."""
    return [item for item in record.pictures if "geometry" in item.arrays or KEY in item.arrays]


def kind(record: Record) -> str:
    """Return the kind of geometry that a run learns, empty where it has shown none."""
    drawn = [item.arrays["geometry"] for item in record.pictures if "geometry" in item.arrays]
    return str(drawn[-1].item()) if drawn else ""


def has_map(record: Record) -> bool:
    """Return whether the run has shown a mirror map."""
    return kind(record) == "map"


def has_geometry(record: Record) -> bool:
    """Return whether the run has shown rates, factors, gates or a matrix P."""
    return bool(_views(record))


def has_learned(record: Record) -> bool:
    """Return whether the run has shown a geometry, or charts of its method's own.

    What a method holds possible has a page of its own.
    """
    if has_geometry(record):
        return True
    drawn = [item for item in record.pictures if KEY in item.arrays]
    return any(map(_learned, drawn)) if record.traits.probabilistic else bool(drawn)


def offered(record: Record) -> dict[str, str]:
    """Return the views and the charts that a run's pictures can fill, with their titles."""
    found = _views(record)
    for picture in record.pictures:
        found |= {f"{OWN}{chart.id}": chart.title or chart.id for chart in _learned(picture)}
    return found


def _learned(picture: Pictured) -> list[Chart]:
    """Return the charts of a method's own that a picture holds, but for what is held possible."""
    found = from_arrays(picture.arrays) if KEY in picture.arrays else []
    return [chart for chart in found if not chart.id.startswith(PREFIX)]


def _views(record: Record) -> dict[str, str]:
    found: set[str] = set()
    for picture in record.pictures:
        found |= picture.arrays.keys() if "geometry" in picture.arrays else set()
    return views_of(kind(record), found)


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

    def point(self, evaluation: int, row: int) -> MapPoint | None:
        """Return one coordinate's map at one evaluation, None where others were sampled there."""
        picture, place = self.pictures[evaluation], self.order[row]
        if not _same(picture, self.pictures[-1]):
            return None
        return map_point(picture.arrays, int(place))


def most_changed(history: MapHistory) -> int:
    """Return the row whose slope is furthest from 1 at the last evaluation."""
    away = np.abs(history.slopes[-1] - 1)
    return int(np.nanargmax(away)) if np.isfinite(away).any() else 0


def map_history(record: Record) -> MapHistory | None:
    """Return the mirror map of a run over its evaluations, or None where it has shown none.

    Slopes of other coordinates than the last picture's are unknown: NaN.
    """
    if not has_map(record):
        return None
    drawn = [item for item in record.pictures if "geometry" in item.arrays]
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
                numbers(item.arrays, "slope")[order]
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
        for layer, quantity, value in summary(picture.arrays):
            yield record.id, record.algorithm, picture.step, layer, quantity, value
