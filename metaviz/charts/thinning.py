"""Which of a curve's points a screen can show, and whether a logarithmic axis shows them all."""

from collections.abc import Sequence

import numpy as np


def has_logarithms(curves: Sequence[np.ndarray]) -> bool:
    """Return whether a logarithmic axis shows the curves whole: quadratic losses are negative."""
    values = np.concatenate([*curves, np.empty(0)])
    known = values[np.isfinite(values)]
    return bool((known > 0).any() and (known >= 0).all())


def thin(x: np.ndarray, y: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return at most about `points` points of a curve, keeping each bin's smallest and largest.

    What is drawn on a screen that is `points / 2` pixels wide does not change.
    """
    if len(x) <= points:
        return x, y
    width = -(-len(x) // max(1, points // 2))
    padding = np.full(-len(y) % width, y[-1])
    block = np.concatenate([y, padding]).reshape(-1, width)
    first = np.arange(block.shape[0]) * width
    gaps = np.isnan(block)
    some = bool(gaps.any())
    low = first + (np.where(gaps, np.inf, block) if some else block).argmin(axis=1)
    high = first + (np.where(gaps, -np.inf, block) if some else block).argmax(axis=1)
    ends = np.empty(2 * len(first) + 2, dtype=np.intp)
    ends[0], ends[-1] = 0, len(x) - 1
    np.minimum(low, high, out=ends[1:-1:2])
    np.maximum(low, high, out=ends[2:-1:2])
    keep = np.minimum(ends, len(x) - 1)
    return x[keep], y[keep]


def thin_band(
    x: np.ndarray, low: np.ndarray, high: np.ndarray, points: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a band of at most about `points` points that leaves out nothing of the whole one."""
    if len(x) <= points:
        return x, low, high
    starts = np.arange(0, len(x), -(-len(x) // points))
    return x[starts], np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)
