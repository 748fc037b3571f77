"""What a method is called with: a learner, tasks and their random numbers."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from metaviz.meta.draws import NO_DRAWS, Draws
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import TaskBatch

Meta = dict[str, Tensor]
"""Meta-parameters by group; each group is one flat vector, shape (P,).

Where every task has meta-parameters of its own it is one row per task, shape (tasks, P); methods
that are `rowwise` take these, too.
"""


@dataclass(frozen=True)
class Context:
    """One call of a method: to adapt to `tasks` with `steps` inner steps, or to learn from them.

    Adaptation sees the support sets alone, unless the method is transductive. `draws` are the
    tasks' own random numbers. `reading` asks for the losses before and after adaptation, also where
    the gradient does not need them. `ways` is the number of classes of a task, 0 in regression.
    `progress` is the share of training that is done. `drawn` are the meta-parameters that the seed
    drew, where a chart compares with them. Inner steps beyond the trained number of a composed
    method are `later_scale` times as large.
    """

    learner: Learner
    tasks: TaskBatch
    steps: int
    draws: Draws = NO_DRAWS
    reading: bool = True
    ways: int = 0
    progress: float = 0.0
    drawn: Meta = field(default_factory=dict)
    later_scale: float = 1.0

    def __getitem__(self, tasks: slice) -> "Context":
        """Return the call for some of the tasks."""
        return replace(self, tasks=self.tasks[tasks], draws=self.draws[tasks])
