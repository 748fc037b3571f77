"""Means, intervals, ranges and thinning of recorded numbers."""

import math
from collections.abc import Sequence

import numpy as np

_SEVERAL, _STRETCH = 3, 5.0


def mean_and_ci95(values: np.ndarray, axis: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the half-width 1.96 s / sqrt(n) of its 95 % interval.

    s is the sample standard deviation (n - 1 in the denominator); n counts tasks, not examples.
    """
    count = values.shape[axis]
    with np.errstate(invalid="ignore", over="ignore"):  # a run that diverged
        mean = values.mean(axis=axis)
        if count == 1:
            return mean, np.full_like(mean, np.nan)
        return mean, 1.96 * values.std(axis=axis, ddof=1) / np.sqrt(count)


def number_text(value: float, form: str = ".4g") -> str:
    """Write a number; an unknown one as –, an infinite one as ∞."""
    if math.isfinite(value):
        return format(value, form)
    sign = "−" if value < 0 else "+" if "+" in form else ""
    return "–" if math.isnan(value) else f"{sign}∞"


def interval_text(mean: float, half: float) -> str:
    """Write a mean with its half-width; empty where there is no number."""
    if math.isnan(mean):
        return ""
    return f"{mean:.4g} ± {half:.2g}" if math.isfinite(half) else number_text(mean)


def robust_range(curves: Sequence[np.ndarray], *, log: bool = False) -> tuple[float, float] | None:
    """Return limits that show the bulk of all curves and cut rare spikes, or None without values.

    The upper limit is the 99 % quantile of all values, the lower one the smallest 1 % quantile of
    a curve, so that the best curve stays visible; both widened by a twentieth of their distance.
    Of three curves and more, none stretches the range to more than five times what half of them
    need: one run that goes astray does not press the others flat.
    """
    known = [values[np.isfinite(values)] for values in curves]
    if log:
        known = [np.log10(values[values > 0]) for values in known]
    known = [values for values in known if values.size]
    if not known:
        return None
    # Nearest ranks: numpy's interpolating quantiles cost a tenth of a redraw.
    low = min(float(np.sort(values)[values.size // 100]) for values in known)
    every = np.sort(np.concatenate(known))
    high = float(every[-1 - every.size // 100])
    if len(known) >= _SEVERAL:
        tops = sorted(float(np.sort(values)[-1 - values.size // 100]) for values in known)
        typical = tops[len(tops) // 2] - low
        high = min(high, low + _STRETCH * typical) if typical > 0 else high
    margin = (high - low) / 20 or abs(high) / 20 or 1.0
    low, high = low - margin, high + margin
    if log:  # within what a float holds
        low, high = 10.0 ** max(low, -300), 10.0 ** min(high, 300)
    return low, high


def leaving(curves: Sequence[np.ndarray], limits: tuple[float, float] | None) -> list[str]:
    """Say how many curves leave the range in which they are drawn; nothing where none does."""
    if limits is None:
        return []
    low, high = limits
    count = sum(bool(((values < low) | (values > high)).any()) for values in curves)
    return [f"{count} of {len(curves)} lines leave the range of the axis"] if count else []


def range_with_bands(
    means: Sequence[np.ndarray], bands: Sequence[np.ndarray], *, log: bool = False
) -> tuple[float, float] | None:
    """Return limits that show all means and their bands, but do not press the means flat.

    Beyond the limits of the means, bands get at most four times as much room on each side.
    """
    most = 4
    inner, outer = robust_range(means, log=log), robust_range([*means, *bands], log=log)
    if inner is None or outer is None:
        return inner
    if log:
        factor = (inner[1] / inner[0]) ** most
        return max(outer[0], inner[0] / factor), min(outer[1], inner[1] * factor)
    span = most * (inner[1] - inner[0])
    return max(outer[0], inner[0] - span), min(outer[1], inner[1] + span)
