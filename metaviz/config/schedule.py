"""When a run is evaluated and on how many tasks, decided before it begins from its settings alone.

Every method of a comparison gets the same schedule, also one that is added later, because what
training costs is counted for MAML with the shared settings, whichever method trains. Nothing is
measured, so that a run that is resumed or repeated is evaluated where it was before.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from metaviz.config.catalogue import ProblemEntry
from metaviz.config.options import Plain
from metaviz.config.run_config import RunConfig, Shared

POINTS = 40
"""About so many evaluations a run has, besides the one before the first meta-step."""
FEWEST_POINTS, FEWEST_TASKS = 20, 20
SHARE = 0.1
"""Evaluating is meant to take at most so much of what training does."""
_BEND = 1.5
"""Evaluation i of n is after steps (i/n)^1.5, so that the beginning has more of them."""
_GRADIENT, _THROUGH = 3, 6
"""Costs of a gradient, and of differentiating through one, in passes forward."""
_SHOWN = 4


@dataclass(frozen=True)
class Schedule:
    """Evaluations of a run: on how many tasks, after which meta-steps."""

    tasks: int
    steps: int
    """The meta-steps of the run."""
    every: int | None = None
    """Evaluated after every so many meta-steps, where a person asked for that."""
    points: tuple[int, ...] = ()
    """Otherwise evaluated after these, in ascending order, the first and last step included."""

    def due(self, step: int) -> bool:
        """Return whether to evaluate after so many meta-steps."""
        if step >= self.steps:
            return True
        return step in self._points if self.every is None else step % self.every == 0

    @property
    def count(self) -> int:
        """How many evaluations there are."""
        return len(self.points) if self.every is None else 2 + (self.steps - 1) // self.every

    @property
    def text(self) -> str:
        """Say when and on how many tasks: `41 evaluations on 40 tasks, after steps 0, 8, 22, …`."""
        noun = "evaluation" if self.count == 1 else "evaluations"
        head = f"{self.count} {noun} on {self.tasks} tasks"
        if self.every is not None:
            return f"{head}, every {self.every} steps"
        listed = ", ".join(map(str, self.points[:_SHOWN]))
        return f"{head}, after steps {listed}{f', … {self.steps}' if self.count > _SHOWN else ''}"

    @cached_property
    def _points(self) -> frozenset[int]:
        return frozenset(self.points)


def schedule(shared: Shared, steps: int, problem: ProblemEntry | None = None) -> Schedule:
    """Return when a run of so many meta-steps is evaluated.

    An interval that was asked for is kept, with all tasks. Otherwise there are about POINTS
    evaluations, on fewer tasks where all would take more than SHARE of the training, by counted
    operations; where FEWEST_TASKS take more, there are fewer evaluations, but FEWEST_POINTS.
    """
    if shared.eval_every is not None:
        return Schedule(shared.eval_tasks, steps, shared.eval_every)
    query = problem.evaluation_query if problem is not None else None
    budget = SHARE * steps * step_cost(shared) / evaluation_cost(shared, query)
    points, fewest = POINTS, min(FEWEST_TASKS, shared.eval_tasks)
    if budget < fewest * (points + 1):
        points = min(max(FEWEST_POINTS, int(budget / fewest) - 1), POINTS)
    found = _spread(steps, points)
    tasks = min(max(int(budget / len(found)), fewest), shared.eval_tasks)
    return Schedule(tasks, steps, points=found)


def schedule_of(config: RunConfig, problem: ProblemEntry | None = None) -> Schedule:
    """Return when a run is evaluated."""
    return schedule(config.shared, config.steps, problem)


def with_equal_tasks(
    configs: Sequence[RunConfig], problem: ProblemEntry | None = None
) -> list[RunConfig]:
    """Return runs of one sweep that are evaluated on equally many tasks, those all can afford.

    Runs with an interval of their own are left as they are.
    """
    derived = [config for config in configs if config.shared.eval_every is None]
    tasks = {schedule_of(config, problem).tasks for config in derived}
    if len(tasks) < 2:  # noqa: PLR2004 - nothing to make equal
        return list(configs)
    fewest = min(tasks)
    return [
        _with_shared(config, {"eval_tasks": min(fewest, config.shared.eval_tasks)})
        if config.shared.eval_every is None
        else config
        for config in configs
    ]


def step_cost(shared: Shared) -> float:
    """Return what a meta-step of MAML takes, in passes forward of one example of each class.

    K gradients on the support set, differentiating through each of them, a gradient on the query
    set, and where batches are read, the query loss before adaptation.
    """
    inner = shared.inner_steps * shared.shots * (_GRADIENT + _THROUGH)
    outer = shared.query_shots * (_GRADIENT + 1 / shared.reading_every)
    return shared.meta_batch * (inner + outer)


def evaluation_cost(shared: Shared, query: int | None = None) -> float:
    """Return what evaluating one task takes, in the same unit; `query` examples judge it."""
    steps = max(shared.eval_steps, shared.inner_steps)
    judged = shared.query_shots if query is None else query
    return steps * shared.shots * _GRADIENT + (steps + 1) * judged


def default_text(shared: dict[str, Plain], steps: int, problem: ProblemEntry | None) -> str:
    """Say what an empty interval comes to with such settings."""
    values = Shared.model_validate({**shared, "eval_every": None})
    return schedule(values, steps, problem).text


def _with_shared(config: RunConfig, changes: dict[str, Plain]) -> RunConfig:
    return config.model_copy(update={"shared": config.shared.model_copy(update=changes)})


def _spread(steps: int, points: int) -> tuple[int, ...]:
    """Return the first and last step and round numbers between them, each once."""
    exact = [steps * (place / points) ** _BEND for place in range(points + 1)]
    found = {0, steps}
    for before, here in pairwise(exact):
        unit = 10 ** max(0, math.floor(math.log10((here - before) / 2)))
        found.add(min(round(here / unit) * unit, steps))
    return tuple(sorted(found))
