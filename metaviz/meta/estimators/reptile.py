"""Reptile: move the start towards where adaptation ends."""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from metaviz.meta.estimators.base import MetaStep, groups_entering, read
from metaviz.meta.inner import Descent, Graph, descend, inner_step
from metaviz.meta.learner import Learner
from metaviz.meta.rules import Enters, InnerRule, Meta
from metaviz.meta.tasks import Batch, TaskBatch


class Reptile:
    """The displacement theta - phi^k as if it were a gradient.

    Batched: theta - mean_t phi_t^k. Serial: each task moves theta by epsilon (phi^k - theta)
    before the next task starts; the total displacement is divided by epsilon, so that one task
    gives the same either way. `direction="tail"` takes the last inner step alone instead of their
    sum (FOML in the official code). Everything is divided by `scale`.
    Source: Nichol et al. 2018, algorithms 1 and 2.
    """

    def __init__(
        self,
        *,
        scale: float = 1.0,
        pooled: bool = True,
        batch_size: int = 0,
        direction: Literal["difference", "tail"] = "difference",
        serial_epsilon: float | None = None,
    ) -> None:
        """Choose the scale, the data, minibatches (0: the full set) and the schedule."""
        self.scale = scale
        self.pooled = pooled
        self.batch_size = batch_size
        self.direction = direction
        self.serial_epsilon = serial_epsilon
        self.sequential = serial_epsilon is not None

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return the groups that are the start of adaptation and nothing else."""
        return frozenset(name for name in groups_entering(rule, [Enters.START]) if name == "init")

    def __call__(
        self,
        rule: InnerRule,
        learner: Learner,
        meta: Meta,
        tasks: TaskBatch,
        steps: int,
        generator: torch.Generator,
    ) -> MetaStep:
        """Return the displacement of the start."""
        inside = {name: value.detach() for name, value in meta.items()}
        data = learner.judge.pool(tasks) if self.pooled else tasks.support
        shown: Descent | None = None
        if self.serial_epsilon is None:
            displacement, descent = self._displace(rule, learner, inside, data, steps, generator)
            replaced = rule.memory(inside, descent.state)
            if data is tasks.support and self.batch_size == 0:
                shown = descent
        else:
            displacement, replaced = self._walk(rule, learner, inside, data, steps, generator)
        if shown is None:
            # What is shown is adaptation to the support set alone, as for every other method:
            # the loss on query examples that were adapted to would flatter.
            shown = descend(rule, learner, inside, tasks.support, len(tasks), steps)
        readings, curve = read(rule, learner, inside, tasks, shown)
        gradients = {"init": displacement / self.scale}
        return MetaStep(gradients, readings, curve, shown.gradient_norm, steps, replaced=replaced)

    def _displace(
        self,
        rule: InnerRule,
        learner: Learner,
        meta: Meta,
        data: Batch,
        steps: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Descent]:
        whole = self.batch_size == 0
        stream = data if whole else _minibatches(data, self.batch_size, generator)
        if self.direction == "tail" and steps > 1:
            before = descend(rule, learner, meta, stream, len(data), steps - 1)
            last = _continued(rule, learner, meta, stream, before, steps - 1)
            return (before.point - last.point).mean(0), last
        descent = descend(rule, learner, meta, stream, len(data), steps)
        return meta["init"] - descent.point.mean(0), descent

    def _walk(
        self,
        rule: InnerRule,
        learner: Learner,
        meta: Meta,
        data: Batch,
        steps: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Meta]:
        epsilon = self.serial_epsilon or 1.0
        here = dict(meta)
        for task in range(len(data)):
            alone = data[task : task + 1]
            displacement, descent = self._displace(rule, learner, here, alone, steps, generator)
            here = {**here, **rule.memory(here, descent.state)}
            here["init"] = here["init"] - epsilon * displacement
        memory = {name: here[name] for name in groups_entering(rule, [Enters.MEMORY])}
        return (meta["init"] - here["init"]) / epsilon, memory


def _continued(
    rule: InnerRule,
    learner: Learner,
    meta: Meta,
    stream: Batch | Iterator[Batch],
    before: Descent,
    k: int,
) -> Descent:
    """Take one more step after a descent."""
    batch = stream if isinstance(stream, Batch) else next(stream)
    state, step = inner_step(rule, learner, meta, batch, before.state, k, Graph.NONE)
    return Descent(state, rule.point(meta, state).detach(), (*before.steps, step))


def _minibatches(data: Batch, size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Yield random minibatches without end, going through all examples before repeating one."""
    count = data.x.shape[1]
    while True:
        order = torch.randperm(count, generator=generator)
        for first in range(0, count, size):
            chosen = order[first : first + size].to(data.x.device)
            yield Batch(data.x[:, chosen], data.y[:, chosen])
