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
    post_query_outputs: Tensor | None = None,
    first_batch_is_support: bool = True,
) -> tuple[dict[str, Tensor], Tensor]:
    """Return losses and accuracies before and after adaptation, and the support curve (K+1, tasks).

    Forward passes that adaptation already made are not made again.
    """
    with torch.no_grad():
        start = rule.point(meta, rule.start(meta, len(tasks)))
    seen: dict[str, tuple[Tensor, Batch]] = {}
    if descent.steps and first_batch_is_support:
        seen["pre_support"] = descent.steps[0].outputs, tasks.support
    else:
        outputs = outputs_at(rule, learner, meta, start, tasks.support)
        seen["pre_support"] = outputs, tasks.support
    after = outputs_at(rule, learner, meta, descent.point, tasks.support)
    seen["post_support"] = after, tasks.support
    seen["pre_query"] = outputs_at(rule, learner, meta, start, tasks.query), tasks.query
    if post_query_outputs is None:
        post_query_outputs = outputs_at(rule, learner, meta, descent.point, tasks.query)
    seen["post_query"] = post_query_outputs.detach(), tasks.query
    readings = {}
    for name, (outputs, batch) in seen.items():
        readings[f"{name}_loss"] = learner.judge.loss(outputs, batch)
        accuracy = learner.accuracy(outputs, batch)
        if accuracy is not None:
            readings[f"{name}_accuracy"] = accuracy
    curve = [step.loss for step in descent.steps] + [readings["post_support_loss"]]
    return readings, torch.stack(curve)
