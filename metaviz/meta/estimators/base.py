"""What an estimator is, and what one meta-step yields."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from metaviz.meta.context import Context, Meta
from metaviz.meta.inner import Descent, Graph, Step, descend, inner_step
from metaviz.meta.rules import Enters, InnerRule, State
from metaviz.meta.tasks import Batch


@dataclass(frozen=True)
class MetaStep:
    """Meta-gradients by group (means over tasks) and what was seen on the way, detached.

    Where each task has meta-parameters of its own, gradients are those of the mean over tasks with
    respect to every row, shape (tasks, P).
    Shapes: each of `readings` (tasks,), keyed like the columns of a run's record;
    `support_loss` (K+1, tasks); `gradient_norm` (K, tasks); each mask in `warnings` (tasks,).
    Counts are per task. `replaced` holds new values of groups that are carried on, not trained.
    A batch that is not read has what its gradient needed anyway: fewer readings, a support loss
    that ends at K-1, and neither loss nor norm where adaptation has no part in training.
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
    """What a meta-gradient is asked for: a call with an inner rule and its meta-parameters."""

    rule: InnerRule
    context: Context
    meta: Meta

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
        return self.rule.point(self.meta, self.rule.start(self.meta, self.context.tasks.support))

    def descend(self, graph: Graph = Graph.NONE) -> Descent:
        """Adapt to the support sets."""
        call = self.context
        return descend(self.rule, call.learner, self.meta, call.tasks.support, call.steps, graph)

    def step(self, state: State, k: int, graph: Graph) -> tuple[State, Step]:
        """Take step k of adaptation to the support sets."""
        call = self.context
        return inner_step(self.rule, call.learner, self.meta, call.tasks.support, state, k, graph)

    def show(self) -> Descent:
        """Adapt to the support sets for the sake of the readings; not at all without them."""
        if self.context.reading:
            return self.descend()
        return Descent(None, self.meta["init"].new_empty(len(self.context.tasks), 0), ())

    def outputs(self, point: Tensor, batch: Batch) -> Tensor:
        """Return the network's outputs at a point."""
        return self.context.learner.outputs(self.rule.decode(self.meta, point), batch)

    def losses(self, point: Tensor, batch: Batch) -> Tensor:
        """Return the losses at a point, shape (tasks,)."""
        return self.context.learner.losses(self.rule.decode(self.meta, point), batch)

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
    rowwise: bool
    """Whether meta-parameters may have a tasks axis: all of its gradients are derivatives of a mean
    over tasks with respect to what the case holds, and it draws no random numbers."""

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

    Outputs and losses that are known already, like `post_query`, are not computed again; a case
    that is not read has these alone.
    """
    learner, tasks = case.context.learner, case.context.tasks
    readings: dict[str, Tensor] = {}

    def note(name: str, outputs: Tensor, loss: Tensor, batch: Batch) -> None:
        readings[f"{name}_loss"] = loss.detach()
        for measure, value in learner.measures(outputs, batch).items():
            readings[f"{name}_{measure}"] = value

    def evaluate(name: str, point: Tensor, batch: Batch) -> None:
        with torch.no_grad():
            outputs = case.outputs(point.detach(), batch)
        note(name, outputs, learner.judge.loss(outputs, batch), batch)

    support = tasks.support
    if descent.steps:
        first = descent.steps[0]
        note("pre_support", first.outputs, first.loss, support.at(0))
    curve = [step.loss for step in descent.steps]
    if not case.context.reading:
        if post_query is not None:
            note("post_query", *post_query, tasks.query)
        empty = tasks.support.x.new_empty(0, len(tasks))
        return readings, torch.stack(curve) if curve else empty
    with torch.no_grad():
        start = case.start()
    if not descent.steps:
        evaluate("pre_support", start, support.at(0))
    evaluate("post_support", descent.point, support.at(len(descent.steps)))
    with torch.no_grad():
        outputs = _outputs_before(case, start)
    note("pre_query", outputs, learner.judge.loss(outputs, tasks.query), tasks.query)
    if post_query is None:
        evaluate("post_query", descent.point, tasks.query)
    else:
        note("post_query", *post_query, tasks.query)
    return readings, torch.stack([*curve, readings["post_support_loss"]])


class TrainsStart:
    """An estimator whose gradient reaches the starting point alone, without inner steps."""

    sequential = False
    trains_held = True
    rowwise = True

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return the groups that fix the starting point."""
        return groups_entering(rule, [Enters.START])


def measured(case: Case, gradients: Meta, gradient_evaluations: int, products: int = 0) -> MetaStep:
    """Return meta-gradients without a part of adaptation, which is computed for its readings."""
    descent = case.show()
    readings, curve = read(case, descent)
    norm = descent.gradient_norm
    return MetaStep(gradients, readings, curve, norm, gradient_evaluations, products)


def _outputs_before(case: Case, start: Tensor) -> Tensor:
    """Return outputs on the query sets at the start.

    Where all tasks share it, and a network's outputs do not depend on the other examples of a
    task, all query sets are that of one task, which makes one large product of many small ones.
    """
    query = case.context.tasks.query
    if not case.context.learner.net.independent or start.stride(0):
        return case.outputs(start, query)
    count, examples = query.x.shape[:2]
    batch = Batch(query.x.flatten(0, 1).unsqueeze(0), query.y.flatten(0, 1).unsqueeze(0))
    return case.outputs(start[:1], batch).view(count, examples, -1)
