"""Differentiating through the inner loop."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metaviz.meta.context import Meta
from metaviz.meta.estimators.base import Case, MetaStep, groups_entering, read
from metaviz.meta.inner import Descent, Graph, Step
from metaviz.meta.rules import Enters, InnerRule

_ANYWHERE = (Enters.START, Enters.POINT, Enters.STEP, Enters.DECODE, Enters.OBJECTIVE)
_FIRST_ORDER = (Enters.START, Enters.POINT, Enters.STEP, Enters.DECODE)


@dataclass(frozen=True)
class Term:
    """What is added to the query loss of each task: `weight` times a value, (tasks,).

    The value, and a weight that is no number, are functions of the case and of where its adaptation
    ended. Where it has an `id` the value is read as that quantity; with weight 0 it is read alone,
    so that the gradient has the same bits as without it. `cost` are the gradients and
    Hessian-vector products that it takes, per task.
    """

    value: Callable[[Case, Descent], Tensor]
    weight: float | Callable[[Case], float]
    id: str = ""
    cost: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class End:
    """Query outputs and losses after adaptation, what is differentiated, and terms by their id."""

    after: tuple[Tensor, Tensor]
    objective: Tensor
    terms: dict[str, Tensor]


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

    def __init__(
        self,
        *,
        first_order: bool = False,
        recompute: bool = False,
        terms: tuple[Term, ...] = (),
    ) -> None:
        """Choose the order, whether to trade time for memory, and what is added to the loss."""
        self.terms = terms
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
        end = self._end(inside, descent)
        return self._finish(case, descent, end, inside.differentiate(end.objective, trained))

    def _end(self, case: Case, descent: Descent) -> End:
        """Return what adaptation has ended in, and the mean objective of the tasks."""
        outputs = case.outputs(descent.point, case.context.tasks.query)
        loss = total = case.context.learner.judge.loss(outputs, case.context.tasks.query)
        terms = {}
        for term in self.terms:
            weight = term.weight(case) if callable(term.weight) else term.weight
            if weight:
                value = term.value(case, descent)
                total = total + weight * value
            elif term.id and case.context.reading:
                still = replace(descent, point=descent.point.detach())
                value = term.value(case.detached(), still)
            else:
                continue
            if term.id:
                terms[term.id] = value.detach()
        return End((outputs, loss), total.mean(), terms)

    def _finish(self, case: Case, descent: Descent, end: End, gradients: Meta) -> MetaStep:
        readings, curve = read(case, descent, post_query=end.after)
        gradient_cost = sum(term.cost[0] for term in self.terms)
        product_cost = sum(term.cost[1] for term in self.terms)
        return MetaStep(
            gradients,
            readings | end.terms,
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
        end = self._end(inside, descent)
        adjoint, total = _pull_back(end.objective, None, state, inside.meta, trained)
        for k in reversed(range(case.context.steps)):
            state = states[k].detach().requires_grad_()
            following, _ = inside.step(state, k, Graph.SECOND_ORDER)
            adjoint, share = _pull_back(following, adjoint, state, inside.meta, trained)
            total = {name: total[name] + share[name] for name in total}
        start = rule.start(inside.meta, support)
        share = inside.differentiate((start * adjoint).sum(), trained)
        gradients = {name: total[name] + share[name] for name in total}
        return self._finish(case, descent, end, gradients)


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
        super().__init__(terms=(Term(_left_over, weight, cost=(1, 1)),))


def _left_over(case: Case, descent: Descent) -> Tensor:
    """Return the square of the support gradient that adaptation leaves over, (tasks,)."""
    support = case.losses(descent.point, case.context.tasks.support.at(case.context.steps))
    (gradient,) = torch.autograd.grad(support.sum(), descent.point, create_graph=True)
    return case.context.learner.adapted(gradient).square().sum(dim=1)
