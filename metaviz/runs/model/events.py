"""What happens during a run, as plain numbers: training yields it, all else reads it."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from metaviz.config.quantities import EVALUATED, STORED, Quantity

STEP_COLUMNS = tuple(quantity.id for quantity in STORED)
"""Numbers of one meta-step. Losses, accuracies and residuals are means over the tasks of the batch;
seconds and the two counts are totals since the start of the run; counts are summed over tasks."""

INNER_COLUMNS = tuple(quantity.id for quantity in EVALUATED)
"""Curves over k of one evaluation, means over the evaluation tasks; each has a `_ci95` companion
that holds the half-width 1.96 s / sqrt(n) of the 95 % interval of that mean."""

Level = Literal["info", "warning", "error"]
State = Literal[
    "running", "paused", "done", "stopped", "aborted", "failed", "diverged", "interrupted"
]


@dataclass(frozen=True)
class Stepped:
    """One meta-step was taken.

    `values` has the keys of STEP_COLUMNS, None where a quantity does not apply, and the ids of
    `quantities`, which describes those without a column. The inner arrays are means over tasks:
    support loss at k = 0..K, gradient norm at k = 0..K-1.
    """

    step: int
    values: dict[str, float | None]
    inner_support_loss: np.ndarray
    inner_gradient_norm: np.ndarray
    quantities: tuple[Quantity, ...] = ()


@dataclass(frozen=True)
class Evaluated:
    """The fixed list of evaluation tasks was adapted to.

    `curves` maps INNER_COLUMNS, and other quantities, and their `_ci95` companions to arrays over
    k = 0..K_eval; `per_task` maps post-adaptation quantities (after `trained_steps` steps) to one
    number per task. Methods without an inner loop have 0 trained steps, arrays of length 1, and
    lack what does not apply, such as the gradient norm.
    """

    step: int
    tasks: int
    trained_steps: int
    curves: dict[str, np.ndarray]
    per_task: dict[str, np.ndarray] = field(default_factory=dict)

    def at(self, name: str, k: int | None = None) -> float:
        """Return a curve after k steps, by default the trained number; NaN where it has nothing."""
        curve, place = self.curves.get(name, ()), self.trained_steps if k is None else k
        return float(curve[place]) if place < len(curve) else math.nan

    @property
    def own(self) -> list[str]:
        """Names of its curves besides INNER_COLUMNS."""
        others = self.curves.keys() - INNER_COLUMNS
        return [name for name in self.curves if name in others and not name.endswith("_ci95")]


@dataclass(frozen=True)
class Pictured:
    """Named arrays that draw one fixed task at this step, for instance the sinusoid fan."""

    step: int
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Noted:
    """Something a person should know."""

    step: int
    level: Level
    message: str


@dataclass(frozen=True)
class Waiting:
    """What is being done before the next result; it is not stored."""

    step: int
    message: str
    is_usual: bool = False
    """Whether it belongs to the pace of training, as evaluations do and compiling does not."""
    tasks: int = 0
    """Of how many tasks it consists, of which `Session.tasks_done` tells; 0 for anything else."""


@dataclass(frozen=True)
class Remedy:
    """A change with which a run that diverged may go on from its last good checkpoint.

    `amendment` holds the fields of `config.Amendment` that differ from its defaults.
    """

    id: str
    label: str
    amendment: dict[str, Any]


@dataclass(frozen=True)
class Divergence:
    """Which number broke first, at which meta-step, in which task of its meta-batch, if in one."""

    quantity: str
    step: int
    task: int | None
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Ended:
    """The run is over; one that failed or diverged says why in one sentence."""

    step: int
    state: State
    message: str = ""
    divergence: Divergence | None = None


Event = Stepped | Evaluated | Pictured | Noted | Waiting | Ended
