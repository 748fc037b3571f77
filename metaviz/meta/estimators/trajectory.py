"""Training what shapes the inner loop along its path, without differentiating through the path."""

from typing import Literal

import torch
from torch import Tensor

from metaviz.meta.context import Meta
from metaviz.meta.estimators.base import Case, MetaStep, groups_entering, read
from metaviz.meta.inner import Graph
from metaviz.meta.rules import Enters, InnerRule

InitObjective = Literal["leap", "path", "none"]


class Trajectory:
    """mean_k L_Q(phi^k - alpha grad L_S(phi^k; omega); omega), with every phi^k a constant.

    `approximate` takes no inner step: mean_k L_Q(phi^k; omega). The start follows the path:
    sum_k (phi^k - phi^{k+1}), each term divided by its length for "leap"; "none" leaves it as it
    was drawn. Source: Flennerhag et al. 2020, equations 6 to 9.
    Deviation: the points of all tasks are used at once, where the authors' buffer is shuffled.
    """

    sequential = False
    trains_held = False
    rowwise = False

    def __init__(self, *, approximate: bool, init_objective: InitObjective) -> None:
        """Choose the objective, and what trains the start."""
        self.approximate = approximate
        self.init_objective = init_objective

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return the groups that act through the network, and the start where it is trained."""
        shaping = groups_entering(rule, [Enters.DECODE])
        start = frozenset() if self.init_objective == "none" else frozenset({"init"})
        return shaping | (start & frozenset(rule.groups))

    def __call__(self, case: Case) -> MetaStep:
        """Add up the gradients of all points of the path."""
        rule, query = case.rule, case.context.tasks.query
        case = case.detached()
        shaping = groups_entering(rule, [Enters.DECODE])
        inside = case.with_leaves(shaping)
        total: Meta = {name: torch.zeros_like(case.meta[name]) for name in shaping}
        moved = torch.zeros_like(case.meta["init"])
        descent = case.descend()
        ends = [*(step.point for step in descent.steps[1:]), descent.point]
        for k, (step, end) in enumerate(zip(descent.steps, ends, strict=True)):
            state = step.point.clone().requires_grad_()
            if not self.approximate:
                state, _ = inside.step(state, k, Graph.SECOND_ORDER)
            loss = inside.losses(rule.point(inside.meta, state), query).mean() / case.context.steps
            share = inside.differentiate(loss, shaping)
            total = {name: total[name] + share[name] for name in total}
            moved += self._moved(step.point - end)
        gradients = dict(total)
        if self.init_objective != "none":
            gradients["init"] = moved
        readings, curve = read(case, descent)
        count = case.context.steps
        return MetaStep(
            gradients,
            readings,
            curve,
            descent.gradient_norm,
            count * (2 if self.approximate else 3),
            0 if self.approximate else count,
        )

    def _moved(self, step: Tensor) -> Tensor:
        """Return the mean over tasks of one step of the path, shape (P,)."""
        if self.init_objective == "leap":
            step = step / step.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return step.mean(0)
