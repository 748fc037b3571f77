"""What an estimator is, and what one meta-step yields."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from metaviz.meta.inner import Descent, outputs_at
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


class Estimator(Protocol):
    """Computes meta-gradients for the groups that it can train under a rule."""

    sequential: bool
    """Whether tasks of one batch depend on each other, so that they cannot be split up."""

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return the groups of meta-parameters whose gradients this yields."""

    def __call__(
        self,
        rule: InnerRule,
        learner: Learner,
        meta: Meta,
        tasks: TaskBatch,
        steps: int,
        generator: torch.Generator,
    ) -> MetaStep:
        """Adapt to every task with `steps` inner steps and return the mean meta-gradients."""


def groups_entering(rule: InnerRule, places: Iterable[Enters]) -> frozenset[str]:
    """Return the rule's groups that enter adaptation at one of `places`."""
    wanted = frozenset(places)
    return frozenset(name for name, enters in rule.groups.items() if enters & wanted)


def leaves(meta: Meta, trained: frozenset[str]) -> Meta:
    """Return meta-parameters of which the trained groups are leaves of a new graph."""
    return {
        name: value.detach().requires_grad_() if name in trained else value.detach()
        for name, value in meta.items()
    }


def differentiate(loss: Tensor, meta: Meta, trained: frozenset[str]) -> Meta:
    """Return the gradients of a scalar by trained group; zero where it does not depend on one."""
    names = [name for name in meta if name in trained]
    gradients = torch.autograd.grad(
        loss, [meta[name] for name in names], allow_unused=True, materialize_grads=True
    )
    return dict(zip(names, gradients, strict=True))


def read(
    rule: InnerRule,
    learner: Learner,
    meta: Meta,
    tasks: TaskBatch,
    descent: Descent,
    *,
    post_query: tuple[Tensor, Tensor] | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Return losses and accuracies before and after adaptation, and the support curve (K+1, tasks).

    Outputs and losses that are known already, like `post_query`, are not computed again.
    """
    with torch.no_grad():
        start = rule.point(meta, rule.start(meta, len(tasks)))
    readings: dict[str, Tensor] = {}

    def note(name: str, outputs: Tensor, loss: Tensor, batch: Batch) -> None:
        readings[f"{name}_loss"] = loss.detach()
        accuracy = learner.accuracy(outputs, batch)
        if accuracy is not None:
            readings[f"{name}_accuracy"] = accuracy

    def look(name: str, point: Tensor, batch: Batch) -> None:
        outputs = outputs_at(rule, learner, meta, point, batch)
        note(name, outputs, learner.judge.loss(outputs, batch), batch)

    if descent.steps:
        first = descent.steps[0]
        note("pre_support", first.outputs, first.loss, tasks.support)
    else:
        look("pre_support", start, tasks.support)
    look("post_support", descent.point, tasks.support)
    look("pre_query", start, tasks.query)
    if post_query is None:
        look("post_query", descent.point, tasks.query)
    else:
        note("post_query", *post_query, tasks.query)
    curve = [step.loss for step in descent.steps] + [readings["post_support_loss"]]
    return readings, torch.stack(curve)
