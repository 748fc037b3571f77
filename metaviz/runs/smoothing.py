"""Smoothing of curves, also of those that grow: what was smoothed once is not smoothed again."""

from collections.abc import Iterable

import numpy as np

from metaviz.runs.record import Record

_FIRST_CAPACITY = 256


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the bias-corrected exponential average of a curve.

    s_t = w s_{t-1} + (1 - w) x_t, divided by 1 - w^t, so that the first points are not drawn
    towards zero and a constant stays constant. `weight` w is in [0, 1). A gap (NaN) adds nothing to
    s and to the divisor, while what came before it goes on fading.
    """
    return GrowingMean(weight).follow(values)


class GrowingMean:
    """The average of `smooth`, of a curve that only grows."""

    def __init__(self, weight: float) -> None:
        """Begin before the first point."""
        self.weight = weight
        self._total, self._share = np.zeros(1), np.zeros(1)
        self._means = np.empty(0)
        self._count = 0

    def __len__(self) -> int:
        """Return how many points were followed."""
        return self._count

    def follow(self, values: np.ndarray) -> np.ndarray:
        """Return the average of all values, of which the first ones are those followed before."""
        if self.weight <= 0 or values.size == 0:
            return values
        from scipy.signal import lfilter

        fresh = values[self._count :]
        if fresh.size:
            known = np.isfinite(fresh)
            kernel = ([1.0 - self.weight], [1.0, -self.weight])
            total, self._total = lfilter(*kernel, np.where(known, fresh, 0.0), zi=self._total)
            share, self._share = lfilter(*kernel, known.astype(float), zi=self._share)
            with np.errstate(invalid="ignore", divide="ignore"):
                self._append(np.where(share > 0, total / share, np.nan))
        return self._means[: self._count]

    def _append(self, means: np.ndarray) -> None:
        count = self._count + len(means)
        if count > len(self._means):
            grown = np.empty(max(_FIRST_CAPACITY, 2 * len(self._means), count))
            grown[: self._count] = self._means[: self._count]
            self._means = grown
        self._means[self._count : count] = means
        self._count = count


class Smoother:
    """Smooths columns of records, going on from where it was with those it knows."""

    def __init__(self) -> None:
        """Know no record."""
        self._known: dict[tuple[str, str], tuple[Record, GrowingMean]] = {}

    def column(self, record: Record, name: str, weight: float) -> np.ndarray:
        """Return a smoothed column; the array is a view: do not write to it."""
        values = record.column(name)
        same, mean = self._known.get((record.id, name), (None, GrowingMean(weight)))
        if same is not record or mean.weight != weight or len(mean) > len(values):
            mean = GrowingMean(weight)
            self._known[record.id, name] = record, mean
        return mean.follow(values)

    def keep(self, records: Iterable[Record]) -> None:
        """Forget all other records."""
        ids = {record.id for record in records}
        self._known = {key: known for key, known in self._known.items() if key[0] in ids}
