"""Differentiating through the inner loop."""

import torch
from torch import Tensor

from metaviz.meta.context import Meta
from metaviz.meta.estimators.base import Case, MetaStep, groups_entering, read
from metaviz.meta.inner import Descent, Graph, Step
from metaviz.meta.rules import Enters, InnerRule

_ANYWHERE = (Enters.START, Enters.POINT, Enters.STEP, Enters.DECODE, Enters.OBJECTIVE)
_FIRST_ORDER = (Enters.START, Enters.POINT, Enters.STEP, Enters.DECODE)


class Unrolled:
    """Reverse mode through all inner steps.

    Second order: d L_Q(phi^K) / d theta with every Hessian, for plain gradient descent
    (I - alpha H_0) ... (I - alpha H_{K-1}) grad L_Q(phi^K). First order: inner gradients count as
    constants; the state stays connected to the meta-parameters.
    With `recompute` only the states are kept and each step's graph is rebuilt on the way back:
    memory for one step instead of K, one more gradient per step, the same numbers.
    It serves rules whose state is one tensor. Source: Finn et al. 2017.
    """

    sequential = False
    trains_held = True
    rowwise = True

    def __init_subclass__(cls, *, rowwise: bool = False) -> None:
        """Make every subclass declare whether it is rowwise; by default it is not."""
        cls.rowwise = rowwise

    def __init__(self, *, first_order: bool = False, recompute: bool = False) -> None:
        """Choose the order, and whether to trade time for memory."""
        self.graph = Graph.FIRST_ORDER if first_order else Graph.SECOND_ORDER
        self.recompute = recompute and not first_order

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return all groups; without second order those that act other than through gradients."""
        second = self.graph is Graph.SECOND_ORDER
        return groups_entering(rule, _ANYWHERE if second else _FIRST_ORDER)

    def __call__(self, case: Case) -> MetaStep:
        """Return the gradient of the mean query loss after adaptation."""
        if self.recompute:
            return self._recomputed(case)
        trained = self.trains(case.rule)
        inside = case.with_leaves(trained)
        descent = inside.descend(self.graph)
        after, objective = self._end(inside, descent)
        return self._finish(case, descent, after, inside.differentiate(objective, trained))

    def _end(self, case: Case, descent: Descent) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Return query outputs and losses after adaptation, and what is differentiated."""
        outputs = case.outputs(descent.point, case.context.tasks.query)
        loss = case.context.learner.judge.loss(outputs, case.context.tasks.query)
        return (outputs, loss), self._objective(case, descent, loss).mean()

    def _objective(self, case: Case, descent: Descent, query_loss: Tensor) -> Tensor:
        """Return the objective of each task, shape (tasks,)."""
        del case, descent
        return query_loss

    def _extra_cost(self) -> tuple[int, int]:
        return 0, 0

    def _finish(
        self, case: Case, descent: Descent, after: tuple[Tensor, Tensor], gradients: Meta
    ) -> MetaStep:
        readings, curve = read(case, descent, post_query=after)
        gradient_cost, product_cost = self._extra_cost()
        return MetaStep(
            gradients,
            readings,
            curve,
            descent.gradient_norm,
            case.context.steps + 1 + gradient_cost + (case.context.steps if self.recompute else 0),
            (case.context.steps if self.graph is Graph.SECOND_ORDER else 0) + product_cost,
        )

    def _recomputed(self, case: Case) -> MetaStep:
        """Go forward without a graph, then back one step at a time."""
        rule, support = case.rule, case.context.tasks.support
        trained = self.trains(rule)
        with torch.no_grad():
            states = [rule.start(case.meta, support)]
        seen: list[Step] = []
        for k in range(case.context.steps):
            state, step = case.step(states[-1], k, Graph.NONE)
            states.append(state)
            seen.append(step)
        inside = case.with_leaves(trained)
        state = states[-1].detach().requires_grad_()
        point = rule.point(inside.meta, state)
        descent = Descent(state, point, tuple(seen))
        after, objective = self._end(inside, descent)
        adjoint, total = _pull_back(objective, None, state, inside.meta, trained)
        for k in reversed(range(case.context.steps)):
            state = states[k].detach().requires_grad_()
            following, _ = inside.step(state, k, Graph.SECOND_ORDER)
            adjoint, share = _pull_back(following, adjoint, state, inside.meta, trained)
            total = {name: total[name] + share[name] for name in total}
        start = rule.start(inside.meta, support)
        share = inside.differentiate((start * adjoint).sum(), trained)
        gradients = {name: total[name] + share[name] for name in total}
        return self._finish(case, descent, after, gradients)


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


class PenalisedEnd(Unrolled, rowwise=True):
    """Unrolled, with a penalty on the support gradient that adaptation leaves over.

    d/d theta of L_Q(phi^K) + lambda ||grad L_S(phi^K)||^2. The norm is squared: an unsquared one
    has a singular gradient where adaptation has converged.
    """

    def __init__(self, weight: float) -> None:
        """Take the penalty weight lambda."""
        super().__init__()
        self.weight = weight

    def _objective(self, case: Case, descent: Descent, query_loss: Tensor) -> Tensor:
        """Return query loss plus penalty, shape (tasks,)."""
        support = case.losses(descent.point, case.context.tasks.support.at(case.context.steps))
        (gradient,) = torch.autograd.grad(support.sum(), descent.point, create_graph=True)
        return query_loss + self.weight * case.context.learner.adapted(gradient).square().sum(dim=1)

    def _extra_cost(self) -> tuple[int, int]:
        return 1, 1
