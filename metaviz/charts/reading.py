"""The numbers of a chart's lines at one place: measured points, none in between."""

from dataclasses import dataclass

import numpy as np

from metaviz.charts.values import Lines, Series

_MOST = 12


@dataclass(frozen=True)
class Reading:
    """A line's name, the point of it that is nearest, and its interval, NaN without a band."""

    name: str
    x: float
    y: float
    low: float
    high: float


def readings(chart: Lines, x: float, reach: float) -> list[Reading]:
    """Return the named lines' measured points nearest to x, of those within `reach` of it."""
    found = []
    for one in chart.series:
        if not one.label or one.y.ndim != 1 or not len(one.x):
            continue
        known = np.flatnonzero(np.isfinite(one.y))
        if not known.size:
            continue
        place = int(known[np.argmin(np.abs(one.x[known] - x))])
        if abs(one.x[place] - x) > max(reach, _spacing(one.x[known])):
            continue
        at = float(one.x[place])
        found.append(Reading(one.label, at, float(one.y[place]), *_interval(chart, one, at)))
    return found


def reading_text(chart: Lines, found: list[Reading]) -> str:
    """Write readings, one line each below the place; empty without any."""
    if not found:
        return ""
    places = {one.x for one in found}
    axis = chart.x.title or "x"
    head = f"{axis} {found[0].x:.6g}" if len(places) == 1 else axis
    lines = []
    for one in found[:_MOST]:
        where = "" if len(places) == 1 else f" at {one.x:.6g}"
        band = f" [{one.low:.4g}, {one.high:.4g}]" if np.isfinite([one.low, one.high]).all() else ""
        lines.append(f"{one.name}{where}: {one.y:.4g}{band}")
    more = [f"and {len(found) - _MOST} more"] if len(found) > _MOST else []
    return "\n".join([head, *lines, *more])


def _spacing(x: np.ndarray) -> float:
    """Return half the largest distance of two neighbouring points."""
    return float(np.diff(x).max(initial=0.0)) / 2


def _interval(chart: Lines, one: Series, at: float) -> tuple[float, float]:
    """Return the ends of the line's band at a point of it; gaps between two lines are none."""
    stem = one.name.rpartition(" ")[0] or one.name
    names = {one.name, f"{one.name} band", f"{stem} band"}
    for band in chart.bands:
        if band.name in names and len(band.x):
            place = int(np.argmin(np.abs(band.x - at)))
            if band.x[place] == at:
                return float(band.low[place]), float(band.high[place])
    return np.nan, np.nan
