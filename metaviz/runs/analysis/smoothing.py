"""Smoothing of curves, also of those that grow: what was smoothed once is not smoothed again."""

from collections.abc import Iterable
from itertools import accumulate

import numpy as np

from metaviz.runs.model.record import Record

_FIRST_CAPACITY = 256
_BLOCK = 64
"""Points that are summed at once; a power of two."""


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the bias-corrected exponential average of a curve.

    s_t = w s_{t-1} + (1 - w) x_t, divided by 1 - w^t, so that the first points are not drawn
    towards zero and a constant stays constant. `weight` w is in [0, 1). A gap (NaN) adds nothing to
    s and to the divisor, while what came before it goes on fading.
    """
    return GrowingMean(weight).follow(values)


def smoothing_text(weight: float, points: Iterable[int] = ()) -> str:
    """Return what a figure says of curves of so many `points`, empty for curves as recorded."""
    return f"; smoothed, weight {weight:g}{few_points_text(weight, points)}" if weight > 0 else ""


def few_points_text(weight: float, points: Iterable[int]) -> str:
    """Say that curves of so many `points` are too short to be smoothed so much.

    A weight w averages about 1 / (1 - w) points: a shorter curve stays near its first ones.
    """
    width = round(1 / (1 - weight))
    fewest = min(points, default=width)
    if weight <= 0 or fewest >= width:
        return ""
    return f" (over about {width} points, where a curve has {fewest})"


class GrowingMean:
    """The average of `smooth`, of a curve that only grows."""

    def __init__(self, weight: float) -> None:
        """Begin before the first point."""
        self.weight = weight
        self._carried = np.zeros(2)
        self._means = np.empty(0)
        self._count = 0

    def __len__(self) -> int:
        """Return how many points were followed."""
        return self._count

    def follow(self, values: np.ndarray) -> np.ndarray:
        """Return the average of all values, of which the first ones are those followed before."""
        if self.weight <= 0 or values.size == 0:
            return values
        if values.size > self._count:
            first = self._count // _BLOCK * _BLOCK
            fresh = values[first:]
            known = np.isfinite(fresh)
            pair = (1.0 - self.weight) * np.stack([np.where(known, fresh, 0.0), known])
            (total, share), self._carried = faded(pair, self.weight, self._carried)
            self._count = values.size
            self._make_room()
            with np.errstate(invalid="ignore", divide="ignore"):
                self._means[first : self._count] = np.where(share > 0, total / share, np.nan)
        return self._means[: self._count]

    def _make_room(self) -> None:
        if self._count > len(self._means):
            grown = np.empty(_FIRST_CAPACITY + self._count + self._count // 4)
            grown[: len(self._means)] = self._means
            self._means = grown


def faded(x: np.ndarray, weight: float, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return s_t = w s_{t-1} + x_t of rows x (rows, n), and the s before the last, unfilled block.

    `before` (rows,) is s_0. By doubling within blocks and one after another between them, so that
    no number depends on those after it. scipy's filter takes longer to load than the window.
    """
    rows, count = x.shape
    s = np.zeros((rows, count // _BLOCK + 1, _BLOCK))
    s.reshape(rows, -1)[:, :count] = x
    for power in range(_BLOCK.bit_length() - 1):
        step = 1 << power
        s[:, :, step:] += weight**step * s[:, :, :-step]
    whole = weight**_BLOCK
    carried = np.array(
        [
            list(accumulate(ends, lambda sum_, end: whole * sum_ + end, initial=first))
            for first, ends in zip(before.tolist(), s[:, :-1, -1].tolist(), strict=True)
        ]
    )
    s += carried[:, :, np.newaxis] * weight ** np.arange(1, _BLOCK + 1)
    return s.reshape(rows, -1)[:, :count], carried[:, -1]


class Smoother:
    """Smooths curves of records that grow, going on from where it was with those it knows."""

    def __init__(self) -> None:
        """Know no record."""
        self._known: dict[tuple[str, str], tuple[Record, int, GrowingMean]] = {}

    def follow(
        self, curve: tuple[Record, str, int], values: np.ndarray, weight: float
    ) -> np.ndarray:
        """Return smoothed values of a record's column, of which every so many rows were taken.

        The array is a view: do not write to it.
        """
        record, name, every = curve
        fresh = GrowingMean(weight)
        same, rows, mean = self._known.get((record.id, name), (None, 0, fresh))
        if same is not record or rows != every or mean.weight != weight or len(mean) > len(values):
            mean = fresh
            self._known[record.id, name] = record, every, mean
        return mean.follow(values)

    def keep(self, records: Iterable[Record]) -> None:
        """Forget all other records."""
        ids = {record.id for record in records}
        self._known = {key: known for key, known in self._known.items() if key[0] in ids}
