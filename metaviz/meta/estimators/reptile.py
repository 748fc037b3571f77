"""Reptile: move the start towards where adaptation ends."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from metaviz.meta.context import Meta
from metaviz.meta.draws import Draws
from metaviz.meta.estimators.base import Case, MetaStep, groups_entering, read
from metaviz.meta.inner import Descent, descend
from metaviz.meta.rules import Enters, InnerRule
from metaviz.meta.tasks import Batch

Schedule = Literal["batched", "serial", "in_turn"]


class Reptile:
    """The displacement theta - phi^k as if it were a gradient.

    Batched: theta - mean_t phi_t^k, all tasks side by side. In turn: the same, one task after
    another, so that what adaptation remembers goes from each task to the next. Serial: each task
    moves theta by epsilon (phi^k - theta), too, before the next task starts; the total displacement
    is divided by epsilon, so that one task gives the same either way. `direction="tail"` takes the
    last inner step alone instead of their sum (FOML in the official code). Everything is divided
    by `scale`.
    Source: Nichol et al. 2018, algorithms 1 and 2, and the official code.
    """

    trains_held = False
    rowwise = False

    def __init__(
        self,
        *,
        scale: float = 1.0,
        pooled: bool = True,
        batch_size: int = 0,
        direction: Literal["difference", "tail"] = "difference",
        schedule: Schedule = "batched",
        epsilon: float = 1.0,
    ) -> None:
        """Choose the scale, the data, minibatches (0: the full set) and the schedule.

        `epsilon` is that of the serial one.
        """
        self.scale = scale
        self.pooled = pooled
        self.batch_size = batch_size
        self.direction = direction
        self.schedule = schedule
        self.epsilon = epsilon
        self.sequential = schedule != "batched"

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return the groups that are the start of adaptation and nothing else."""
        return frozenset(name for name in groups_entering(rule, [Enters.START]) if name == "init")

    def __call__(self, case: Case) -> MetaStep:
        """Return the displacement of the start."""
        case = case.detached()
        support = case.context.tasks.support
        data = case.context.learner.judge.pool(case.context.tasks) if self.pooled else support
        shown: Descent | None = None
        if self.sequential:
            displacement, replaced = self._one_by_one(case, data)
        else:
            displacement, descent = self._displace(case, data)
            replaced = case.rule.memory(case.meta, descent.state)
            if data is support and self.batch_size == 0:
                shown = descent
        if shown is None:
            # What is shown is adaptation to the support set alone, as for every other method:
            # the loss on query examples that were adapted to would flatter.
            shown = case.show()
        readings, curve = read(case, shown)
        gradients = {"init": displacement / self.scale}
        return MetaStep(
            gradients, readings, curve, shown.gradient_norm, case.context.steps, replaced=replaced
        )

    def _displace(self, case: Case, data: Batch) -> tuple[Tensor, Descent]:
        """Adapt all tasks side by side."""
        batches = None
        if self.batch_size:
            batches = _minibatches(data, self.batch_size, case.context.steps, case.context.draws)
        descent = descend(
            case.rule, case.context.learner, case.meta, data, case.context.steps, batches=batches
        )
        if self.direction == "tail":
            before = descent.steps[-1].point if descent.steps else descent.point
            return (before - descent.point).mean(0), descent
        return case.meta["init"] - descent.point.mean(0), descent

    def _one_by_one(self, case: Case, data: Batch) -> tuple[Tensor, Meta]:
        """Adapt one task after another, each with the memory that the last one left.

        In the serial schedule each starts from where the last one moved the start.
        """
        meta, total = case.meta, torch.zeros_like(case.meta["init"])
        for task in range(len(data)):
            alone = slice(task, task + 1)
            here = Case(case.rule, case.context[alone], meta)
            displacement, descent = self._displace(here, data[alone])
            total += displacement
            meta = {**meta, **case.rule.memory(meta, descent.state)}
            if self.schedule == "serial":
                meta["init"] = meta["init"] - self.epsilon * displacement
        memory = {name: meta[name] for name in groups_entering(case.rule, [Enters.MEMORY])}
        if self.schedule == "serial":
            return (case.meta["init"] - meta["init"]) / self.epsilon, memory
        return total / len(data), memory


def _minibatches(data: Batch, size: int, steps: int, draws: Draws) -> Iterator[Batch]:
    """Yield a random minibatch for each step, going through all examples before repeating one.

    Every task has an order of its own.
    """
    tasks, examples = data.x.shape[:2]
    times = -(-steps // -(-examples // size))
    drawn = draws.of("minibatches", 0, times * examples).reshape(tasks, times, examples)
    order = torch.from_numpy(drawn.argsort(2)).to(data.x.device)
    for time in range(times):
        for first in range(0, examples, size):
            yield data.chosen(order[:, time, first : first + size])
