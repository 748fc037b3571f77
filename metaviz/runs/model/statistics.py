"""Means, intervals, ranges and thinning of recorded numbers."""

import math
from collections.abc import Sequence

import numpy as np

_SEVERAL, _STRETCH = 3, 5.0
_PLAIN = 1e-3, 1e6
"""Numbers between these are written without a power of ten."""


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


def interval_text(mean: float, half: float = math.nan, *, sign: bool = False) -> str:
    """Write a mean with its half-width: this to two digits, the mean to the same place.

    `0.386 ± 0.049`, `1030 ± 570`; far from 1 with a power of ten. Without a half-width the mean has
    four digits. Empty where there is no number; `sign` writes that of positive numbers, too.
    """
    if math.isnan(mean):
        return ""
    plus = "+" if sign and mean > 0 else ""
    if not math.isfinite(half) or not math.isfinite(mean):
        return _minus(number_text(mean, f"{plus}.4g"))
    if half == 0:
        return f"{_minus(number_text(mean, f'{plus}.4g'))} ± 0"
    place = _place_of(half)
    largest = max(abs(mean), half)
    if _PLAIN[0] <= largest < _PLAIN[1]:
        return f"{_rounded(mean, place, plus)} ± {_rounded(half, place)}"
    power = math.floor(math.log10(largest))
    scaled = _rounded(_scaled(mean, power), place - power, plus)
    return f"({scaled} ± {_rounded(_scaled(half, power), place - power)})e{power:+03d}"


def range_text(mean: float, low: float, high: float) -> str:
    """Write a mean with the ends of an interval that need not be even: `0.39 [0.31, 0.52]`."""
    if math.isnan(mean):
        return ""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return _minus(number_text(mean))
    if not _PLAIN[0] <= max(map(abs, (mean, low, high))) < _PLAIN[1]:
        mean_text, low_text, high_text = (_minus(f"{value:.2e}") for value in (mean, low, high))
    else:
        place = _place_of((high - low) / 2)
        mean_text, low_text, high_text = (_rounded(value, place) for value in (mean, low, high))
    return f"{mean_text} [{low_text}, {high_text}]"


def _place_of(half: float) -> int:
    """Return the power of ten of the second digit of a number, as it is once it is rounded."""
    return int(f"{half:.1e}".partition("e")[2]) - 1


def _rounded(value: float, place: int, plus: str = "") -> str:
    """Write a number down to a power of ten."""
    return _minus(format(round(value, -place) + 0.0, f"{plus}.{max(0, -place)}f"))


def _scaled(value: float, power: int) -> float:
    """Return a number divided by a power of ten, whose inverse a float may not hold."""
    return float(f"{value:.17e}".partition("e")[0]) * 10.0 ** (_exponent(value) - power)


def _exponent(value: float) -> int:
    return int(f"{value:.17e}".partition("e")[2])


def _minus(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text


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
