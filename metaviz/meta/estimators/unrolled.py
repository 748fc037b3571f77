"""Differentiating through the inner loop."""

import torch
from torch import Tensor

from metaviz.meta.estimators.base import (
    MetaStep,
    differentiate,
    groups_entering,
    leaves,
    read,
)
from metaviz.meta.inner import Descent, Graph, Step, descend, inner_step
from metaviz.meta.learner import Learner
from metaviz.meta.rules import Enters, InnerRule, Meta
from metaviz.meta.tasks import TaskBatch

_ANYWHERE = (Enters.START, Enters.POINT, Enters.STEP, Enters.DECODE, Enters.OBJECTIVE)
_FIRST_ORDER = (Enters.START, Enters.POINT, Enters.STEP, Enters.DECODE)


class Unrolled:
    """Reverse mode through all inner steps.

    Second order: d L_Q(phi^K) / d theta with every Hessian, for plain gradient descent
    (I - alpha H_0) ... (I - alpha H_{K-1}) grad L_Q(phi^K). First order: inner gradients count as
    constants; the state stays connected to the meta-parameters.
    With `recompute` only the states are kept and each step's graph is rebuilt on the way back:
    memory for one step instead of K, one more gradient per step, the same numbers.
    Rules whose state is one
    tensor only. Source: Finn et al. 2017.
    """

    sequential = False

    def __init__(self, *, first_order: bool = False, recompute: bool = False) -> None:
        """Choose the order, and whether to trade time for memory."""
        self.graph = Graph.FIRST_ORDER if first_order else Graph.SECOND_ORDER
        self.recompute = recompute and not first_order

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return all groups; without second order those that act other than through gradients."""
        second = self.graph is Graph.SECOND_ORDER
        return groups_entering(rule, _ANYWHERE if second else _FIRST_ORDER)

    def __call__(
        self,
        rule: InnerRule,
        learner: Learner,
        meta: Meta,
        tasks: TaskBatch,
        steps: int,
        generator: torch.Generator,
    ) -> MetaStep:
        """Return the gradient of the mean query loss after adaptation."""
        del generator
        if self.recompute:
            return self._recomputed(rule, learner, meta, tasks, steps)
        trained = self.trains(rule)
        inside = leaves(meta, trained)
        descent = descend(rule, learner, inside, tasks.support, len(tasks), steps, self.graph)
        outputs = learner.outputs(rule.decode(inside, descent.point), tasks.query)
        loss = learner.judge.loss(outputs, tasks.query)
        objective = self._objective(learner, rule, inside, descent, tasks, loss)
        gradients = differentiate(objective.mean(), inside, trained)
        return self._finish(rule, learner, meta, tasks, descent, (outputs, loss), gradients)

    def _objective(
        self,
        learner: Learner,
        rule: InnerRule,
        meta: Meta,
        descent: Descent,
        tasks: TaskBatch,
        query_loss: Tensor,
    ) -> Tensor:
        """Return what is differentiated, shape (tasks,)."""
        del learner, rule, meta, descent, tasks
        return query_loss

    def _extra_cost(self) -> tuple[int, int]:
        return 0, 0

    def _finish(
        self,
        rule: InnerRule,
        learner: Learner,
        meta: Meta,
        tasks: TaskBatch,
        descent: Descent,
        post_query: tuple[Tensor, Tensor],
        gradients: Meta,
    ) -> MetaStep:
        readings, curve = read(rule, learner, meta, tasks, descent, post_query=post_query)
        steps = len(descent.steps)
        gradient_cost, product_cost = self._extra_cost()
        return MetaStep(
            gradients,
            readings,
            curve,
            descent.gradient_norm,
            steps + 1 + gradient_cost + (steps if self.recompute else 0),
            (steps if self.graph is Graph.SECOND_ORDER else 0) + product_cost,
        )

    def _recomputed(
        self, rule: InnerRule, learner: Learner, meta: Meta, tasks: TaskBatch, steps: int
    ) -> MetaStep:
        """Go forward without a graph, then back one step at a time."""
        trained = self.trains(rule)
        with torch.no_grad():
            states = [rule.start(meta, len(tasks))]
        seen: list[Step] = []
        for k in range(steps):
            state, step = inner_step(rule, learner, meta, tasks.support, states[-1], k, Graph.NONE)
            states.append(state)
            seen.append(step)
        inside = leaves(meta, trained)
        state = states[-1].detach().requires_grad_()
        descent = Descent(state, rule.point(inside, state), tuple(seen))
        outputs = learner.outputs(rule.decode(inside, descent.point), tasks.query)
        loss = learner.judge.loss(outputs, tasks.query)
        objective = self._objective(learner, rule, inside, descent, tasks, loss).mean()
        adjoint, total = _pull_back(objective, None, state, inside, trained)
        for k in reversed(range(steps)):
            state = states[k].detach().requires_grad_()
            following, _ = inner_step(
                rule, learner, inside, tasks.support, state, k, Graph.SECOND_ORDER
            )
            adjoint, share = _pull_back(following, adjoint, state, inside, trained)
            total = {name: total[name] + share[name] for name in total}
        start = rule.start(inside, len(tasks))
        share = differentiate((start * adjoint).sum(), inside, trained)
        gradients = {name: total[name] + share[name] for name in total}
        return self._finish(rule, learner, meta, tasks, descent, (outputs, loss), gradients)


def _pull_back(
    end: Tensor, adjoint: Tensor | None, state: Tensor, meta: Meta, trained: frozenset[str]
) -> tuple[Tensor, Meta]:
    names = [name for name in meta if name in trained]
    into_state, *into_meta = torch.autograd.grad(
        end,
        [state, *(meta[name] for name in names)],
        adjoint,
        allow_unused=True,
        materialize_grads=True,
    )
    return into_state, dict(zip(names, into_meta, strict=True))


class PenalisedEnd(Unrolled):
    """Unrolled, with a penalty on the support gradient that adaptation leaves over.

    d/d theta of L_Q(phi^K) + lambda ||grad L_S(phi^K)||^2. The norm is squared: an unsquared one
    has a singular gradient where adaptation has converged.
    """

    def __init__(self, weight: float) -> None:
        """Take the penalty weight lambda."""
        super().__init__()
        self.weight = weight

    def _objective(
        self,
        learner: Learner,
        rule: InnerRule,
        meta: Meta,
        descent: Descent,
        tasks: TaskBatch,
        query_loss: Tensor,
    ) -> Tensor:
        """Return query loss plus penalty, shape (tasks,)."""
        support = learner.losses(rule.decode(meta, descent.point), tasks.support)
        (gradient,) = torch.autograd.grad(support.sum(), descent.point, create_graph=True)
        return query_loss + self.weight * gradient.square().sum(dim=1)

    def _extra_cost(self) -> tuple[int, int]:
        return 1, 1
