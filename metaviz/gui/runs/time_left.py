"""How long runs will train yet: meta-steps and evaluations, each as fast as they were of late."""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from metaviz.runs.model.record import Record

_SAMPLES = 40
_LEAST_SECONDS = 2.0
"""Of training, before anything can be told."""
_EVALUATIONS = 3


class TimeLeft:
    """Watches the runs of one comparison, which train in turn.

    Meta-steps count by the seconds that the records hold, which are those of training alone;
    evaluations by the clock.
    """

    def __init__(self) -> None:
        self._pace: dict[str, deque[tuple[int, float]]] = {}
        self._began: dict[str, float] = {}
        self._evaluations: dict[str, deque[float]] = {}

    def begin(self) -> None:
        """Forget everything: other runs begin."""
        self._pace.clear()
        self._began.clear()
        self._evaluations.clear()

    def evaluation_began(self, name: str) -> None:
        """Note that a run is being evaluated from now on."""
        self._began[name] = time.monotonic()

    def evaluation_ended(self, name: str) -> None:
        """Note that a run's evaluation is over."""
        began = self._began.pop(name, None)
        if began is not None:
            kept = self._evaluations.setdefault(name, deque(maxlen=_EVALUATIONS))
            kept.append(time.monotonic() - began)

    def note(self, records: Iterable[Record]) -> None:
        """Note how far runs are."""
        for record in records:
            if len(record):
                sample = record.step, float(record.column("seconds")[-1])
                kept = self._pace.setdefault(record.id, deque(maxlen=_SAMPLES))
                if not kept or kept[-1] != sample:
                    kept.append(sample)

    def seconds(self, records: Iterable[Record]) -> float | None:
        """Return how long all runs will take together; None where it is too early to tell."""
        left = [self._of(record) for record in records if not record.ended]
        known = [one for one in left if one is not None]
        return sum(known) if left and len(known) == len(left) else None

    def _of(self, record: Record) -> float | None:
        kept = self._pace.get(record.id)
        if not kept:
            return None
        (first, since), (step, until) = kept[0], kept[-1]
        if until < _LEAST_SECONDS:
            return None
        if until - since < _LEAST_SECONDS:
            first, since = 0, 0.0
        took = self._evaluations.get(record.id, ())
        each = sum(took) / len(took) if took else 0.0
        steps = max(0, record.total_steps - step) * (until - since) / max(1, step - first)
        return steps + evaluations_left(record) * each


def evaluations_left(record: Record) -> int:
    """Return how many evaluations a run has before it, by what is stored of its settings."""
    when: Mapping[str, Any] = record.resolved.get("evaluation") or {}
    points = when.get("steps")
    if isinstance(points, (list, tuple)):
        return sum(point > record.step for point in points)
    every = when.get("every", record.config.get("shared", {}).get("eval_every"))
    if not isinstance(every, int) or every < 1 or record.step >= record.total_steps:
        return 0
    # The last step is followed by one, whether or not it is a multiple of the interval.
    return (record.total_steps - 1) // every - record.step // every + 1
