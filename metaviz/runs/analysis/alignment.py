"""Curves of several runs over a common x: where each has data, their mean and their spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metaviz.runs.table.groups import INTERVAL_TIPS, INTERVALS, Interval

Band = Interval | Literal["range"]
BANDS: dict[str, str] = {str(key): text for key, text in INTERVALS.items()}
BANDS |= {"range": "min–max"}
BAND_TIPS: dict[str, str] = {str(key): text for key, text in INTERVAL_TIPS.items()}
BAND_TIPS |= {"range": "from the smallest to the largest value over runs"}
_MOST_POINTS = 2_000_000
_PAIR = 2


@dataclass(frozen=True)
class Sample:
    """One run's curve. x never falls; NaN in y is a gap.

    `broken` says that the run ended early by itself: beyond its end it is not waited for.
    """

    x: np.ndarray
    y: np.ndarray
    broken: bool = False


@dataclass(frozen=True)
class Moments:
    """Mean and band over runs at each x, NaN where too few have data. `n` counts those that have.

    Shapes: all (points,). The band is NaN where fewer than two runs have data.
    """

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


def sample(x: np.ndarray, y: np.ndarray, *, broken: bool = False) -> Sample:
    """Return a curve whose x rises: points without x are left out, of equal x the last is kept."""
    known = np.isfinite(x)
    if not known.all():
        x, y = x[known], y[known]
    if len(x) > 1:
        last = np.append(np.diff(x) > 0, True)
        if not last.all():
            x, y = x[last], y[last]
    return Sample(x, np.where(np.isfinite(y), y, np.nan), broken)


def moments(samples: Sequence[Sample], band: Band, *, partly: bool = False) -> Moments:
    """Return mean and band over runs, from all of their points.

    Where all runs have the same x as far as they reach, these are it; otherwise every run is
    interpolated linearly, without a jump over its gaps, at the x of all of them together. A point
    has a mean where every run has data that is not broken and over; with `partly` where two have.
    Deviation: of more than two million x together every few are used, for the sake of memory.
    """
    curves = [one for one in samples if np.isfinite(one.y).any()]
    if not curves:
        empty = np.empty(0)
        return Moments(empty, empty, empty, empty, np.empty(0, dtype=int))
    if len(curves) == 1:
        return _trimmed(_alone(curves[0]))
    grid, exact = _grid(curves)
    n = np.zeros(len(grid), dtype=int)
    mean, squares = np.zeros(len(grid)), np.zeros(len(grid))
    low, high = np.full(len(grid), np.inf), np.full(len(grid), -np.inf)
    for one in curves:
        values = _padded(one.y, len(grid)) if exact else _interpolated(one, grid)
        known = np.isfinite(values)
        n += known
        with np.errstate(over="ignore", invalid="ignore"):  # a run that diverges
            apart = np.where(known, values - mean, 0.0)
            mean += apart / np.maximum(n, 1)
            squares += np.where(known, apart * (values - mean), 0.0)
        low, high = np.fmin(low, values), np.fmax(high, values)
    enough = n >= _wanted(curves, grid, partly=partly)
    mean = np.where(enough, mean, np.nan)
    shown = enough & (n >= _PAIR)
    if band == "range":
        low, high = np.where(shown, low, np.nan), np.where(shown, high, np.nan)
    else:
        half = np.where(shown, _half(squares, n, band), np.nan)
        low, high = mean - half, mean + half
    return _trimmed(Moments(grid, mean, low, high, n))


def at(curve: Moments | Sample, x: float) -> int | None:
    """Return the place of the point nearest to x, None outside the curve."""
    if not len(curve.x) or not curve.x[0] <= x <= curve.x[-1]:
        return None
    right = min(int(np.searchsorted(curve.x, x)), len(curve.x) - 1)
    left = max(right - 1, 0)
    return left if x - curve.x[left] <= curve.x[right] - x else right


def reached(curve: Sample, level: float, *, falling: bool) -> float:
    """Return the first x at which a curve is at a level or beyond, NaN where it never is."""
    with np.errstate(invalid="ignore"):
        there = np.flatnonzero(curve.y <= level if falling else curve.y >= level)
    return float(curve.x[there[0]]) if len(there) else np.nan


def value_at(curve: Sample, x: float) -> float:
    """Return a curve's value at x, interpolated; NaN where it has none."""
    return float(_interpolated(curve, np.array([x]))[0])


def _alone(curve: Sample) -> Moments:
    nowhere = np.full(len(curve.x), np.nan)
    return Moments(curve.x, curve.y, nowhere, nowhere, np.isfinite(curve.y).astype(int))


def _grid(curves: Sequence[Sample]) -> tuple[np.ndarray, bool]:
    """Return the common x, and whether every run has its beginning."""
    longest = max(curves, key=lambda one: len(one.x))
    if all(np.array_equal(one.x, longest.x[: len(one.x)]) for one in curves):
        return longest.x, True
    together = np.unique(np.concatenate([one.x for one in curves]))
    return together[:: -(-len(together) // _MOST_POINTS)], False


def _wanted(curves: Sequence[Sample], grid: np.ndarray, *, partly: bool) -> np.ndarray:
    """Return how many runs must have data at each x."""
    if partly:
        return np.full(len(grid), min(_PAIR, len(curves)))
    wanted = np.full(len(grid), sum(not one.broken for one in curves))
    for one in curves:
        if one.broken:
            wanted += grid <= one.x[-1]
    wanted[wanted < 1] = 1
    return wanted


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    padded = np.full(length, np.nan)
    padded[: len(values)] = values
    return padded


def _interpolated(curve: Sample, grid: np.ndarray) -> np.ndarray:
    values: np.ndarray = np.interp(grid, curve.x, curve.y, left=np.nan, right=np.nan)
    return values


def _half(squares: np.ndarray, n: np.ndarray, band: Interval) -> np.ndarray:
    """Return half the width of an interval; see `groups.spread`."""
    half: np.ndarray = np.sqrt(squares / np.maximum(n - 1, 1))
    if band != "std":
        half = half / np.sqrt(np.maximum(n, 1))
    if band == "ci95":
        from scipy.special import stdtrit

        quantiles = np.array([stdtrit(max(count, 1), 0.975) for count in range(int(n.max()) + 1)])
        half = half * quantiles[np.maximum(n - 1, 0)]
    return half


def _trimmed(curve: Moments) -> Moments:
    """Leave out the ends without a mean."""
    known = np.flatnonzero(np.isfinite(curve.mean))
    part = slice(known[0], known[-1] + 1) if len(known) else slice(0, 0)
    return Moments(*(getattr(curve, name)[part] for name in ("x", "mean", "low", "high", "n")))
