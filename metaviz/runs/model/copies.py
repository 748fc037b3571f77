"""Whether two folders hold one run: a copy of a folder has the id of the run that it was made of.

So has a copy that went on, or was changed: what they hold decides, not what they are called.
"""

from collections.abc import Mapping

import numpy as np

from metaviz.runs.model.events import STEP_COLUMNS, Evaluated
from metaviz.runs.model.record import Record


def is_copy(one: Record, other: Record) -> bool:
    """Return whether two records of whole runs are of one run, at the same moment of it."""
    return (
        (one.made_as, one.config, one.state, one.message)
        == (other.made_as, other.config, other.state, other.message)
        and one.quantities == other.quantities
        and all(
            _same(one.column(name), other.column(name))
            for name in ("step", *STEP_COLUMNS, *(own.id for own in one.quantities))
        )
        and len(one.evaluations) == len(other.evaluations)
        and all(map(_same_evaluation, one.evaluations, other.evaluations))
    )


def _same_evaluation(one: Evaluated, other: Evaluated) -> bool:
    return (one.step, one.tasks) == (other.step, other.tasks) and all(
        _same_arrays(*pair) for pair in ((one.curves, other.curves), (one.per_task, other.per_task))
    )


def _same_arrays(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == other.dtype.kind == "f")
