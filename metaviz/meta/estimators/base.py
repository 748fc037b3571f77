"""What an estimator is, and what one meta-step yields."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from metaviz.meta.inner import Descent, Graph, descend
from metaviz.meta.learner import Learner
from metaviz.meta.rules import Enters, InnerRule, Meta
from metaviz.meta.tasks import Batch, TaskBatch


@dataclass(frozen=True)
class MetaStep:
    """Meta-gradients by group (means over tasks) and what was seen on the way, detached.

    Shapes: each of `readings` (tasks,), keyed like the columns of a run's record;
    `support_loss` (K+1, tasks); `gradient_norm` (K, tasks); each mask in `warnings` (tasks,).
    Counts are per task. `replaced` holds new values of groups that are carried on, not trained.
    """

    gradients: Meta
    readings: dict[str, Tensor]
    support_loss: Tensor
    gradient_norm: Tensor
    gradient_evaluations: int
    hessian_vector_products: int = 0
    warnings: dict[str, Tensor] = field(default_factory=dict)
    replaced: Meta = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """What a meta-gradient is asked for: `steps` inner steps of a rule on a batch of tasks.

    `generator` is for the estimator's own random numbers.
    """

    rule: InnerRule
    learner: Learner
    meta: Meta
    tasks: TaskBatch
    steps: int
    generator: torch.Generator

    def detached(self) -> "Case":
        """Return the case with meta-parameters that belong to no graph."""
        return replace(self, meta={name: value.detach() for name, value in self.meta.items()})

    def with_leaves(self, trained: frozenset[str]) -> "Case":
        """Return the case with the trained groups as leaves of a new graph."""
        meta = {
            name: value.detach().requires_grad_() if name in trained else value.detach()
            for name, value in self.meta.items()
        }
        return replace(self, meta=meta)

    def start(self) -> Tensor:
        """Return the point before adaptation, shape (tasks, P)."""
        return self.rule.point(self.meta, self.rule.start(self.meta, self.tasks.support))

    def descend(self, graph: Graph = Graph.NONE) -> Descent:
        """Adapt to the support sets."""
        return descend(self.rule, self.learner, self.meta, self.tasks.support, self.steps, graph)

    def outputs(self, point: Tensor, batch: Batch) -> Tensor:
        """Return the network's outputs at a point."""
        return self.learner.outputs(self.rule.decode(self.meta, point), batch)

    def losses(self, point: Tensor, batch: Batch) -> Tensor:
        """Return the losses at a point, shape (tasks,)."""
        return self.learner.losses(self.rule.decode(self.meta, point), batch)

    def differentiate(self, loss: Tensor, trained: frozenset[str]) -> Meta:
        """Return the gradients of a scalar by trained group; zero where it does not reach one."""
        names = [name for name in self.meta if name in trained]
        gradients = torch.autograd.grad(
            loss, [self.meta[name] for name in names], allow_unused=True, materialize_grads=True
        )
        return dict(zip(names, gradients, strict=True))


class Estimator(Protocol):
    """Computes meta-gradients for the groups that it can train under a rule."""

    sequential: bool
    """Whether tasks of one batch depend on each other, so that they cannot be split up."""
    trains_held: bool
    """Whether its gradient is right for weights that the network holds in the inner loop."""

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return the groups of meta-parameters whose gradients this yields."""

    def __call__(self, case: Case) -> MetaStep:
        """Adapt to every task and return the mean meta-gradients."""


def groups_entering(rule: InnerRule, places: Iterable[Enters]) -> frozenset[str]:
    """Return the rule's groups that enter adaptation at one of `places`."""
    wanted = frozenset(places)
    return frozenset(name for name, enters in rule.groups.items() if enters & wanted)


def read(
    case: Case, descent: Descent, *, post_query: tuple[Tensor, Tensor] | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """Return losses and accuracies before and after adaptation, and the support curve (K+1, tasks).

    Outputs and losses that are known already, like `post_query`, are not computed again.
    """
    learner, tasks = case.learner, case.tasks
    with torch.no_grad():
        start = case.start()
    readings: dict[str, Tensor] = {}

    def note(name: str, outputs: Tensor, loss: Tensor, batch: Batch) -> None:
        readings[f"{name}_loss"] = loss.detach()
        accuracy = learner.accuracy(outputs, batch)
        if accuracy is not None:
            readings[f"{name}_accuracy"] = accuracy

    def look(name: str, point: Tensor, batch: Batch) -> None:
        with torch.no_grad():
            outputs = case.outputs(point.detach(), batch)
        note(name, outputs, learner.judge.loss(outputs, batch), batch)

    if descent.steps:
        first = descent.steps[0]
        note("pre_support", first.outputs, first.loss, tasks.support)
    else:
        look("pre_support", start, tasks.support)
    if tasks.support.x.shape == tasks.query.x.shape and tasks.query.beside is None:
        # Tasks do not see each other, so both sets of them go forward together.
        point = torch.cat([descent.point.detach(), start])
        batch = tasks.support.joined(tasks.query)
        with torch.no_grad():
            both = case.outputs(point, batch)
            losses = learner.judge.loss(both, batch)
        count = len(tasks)
        note("post_support", both[:count], losses[:count], tasks.support)
        note("pre_query", both[count:], losses[count:], tasks.query)
    else:
        look("post_support", descent.point, tasks.support)
        look("pre_query", start, tasks.query)
    if post_query is None:
        look("post_query", descent.point, tasks.query)
    else:
        note("post_query", *post_query, tasks.query)
    curve = [step.loss for step in descent.steps] + [readings["post_support_loss"]]
    return readings, torch.stack(curve)
