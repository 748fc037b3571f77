"""Penalties on the inner gradient in place of an inner loop."""

from dataclasses import replace

import torch
from torch import Tensor

from metaviz.meta.estimators.base import Case, MetaStep, TrainsStart, measured


class StartPenalty(TrainsStart):
    """L_Q(theta) + lambda ||grad L_S(theta)||^2, all at the start, without an inner loop.

    Gradient: grad L_Q(theta) + 2 lambda H_S(theta) grad L_S(theta). It rewards a start that is
    stationary for every support set, so that adaptation may have nothing left to do.
    """

    def __init__(self, weight: float) -> None:
        """Take the penalty weight lambda."""
        self.weight = weight

    def __call__(self, case: Case) -> MetaStep:
        """Return the gradient at the start, averaged over tasks."""
        trained = self.trains(case.rule)
        inside = case.with_leaves(trained)
        point = inside.start()
        support = inside.losses(point, case.context.tasks.support)
        (gradient,) = torch.autograd.grad(support.sum(), point, create_graph=True)
        query = inside.losses(point, case.context.tasks.query)
        objective = query + self.weight * case.context.learner.adapted(gradient).square().sum(1)
        gradients = inside.differentiate(objective.mean(), trained)
        return measured(case, gradients, 2, 1)


class JointPenalty(TrainsStart):
    """Descend start and adapted parameters together.

    min over theta and phi_t of L_Q(phi_t) + lambda ||r_t||^2 with the inner residual
    r_t = grad L_S(phi_t) + mu (phi_t - theta). phi_t starts at theta and takes the inner steps
    along grad L_Q(phi) + 2 lambda (H + mu I) r; the start's gradient is then -2 lambda mu r.
    For rules whose point is the start plus their own steps.
    """

    trains_held = False
    rowwise = False

    def __init__(self, weight: float, pull: float, rate: float) -> None:
        """Take lambda, mu and the step size for phi."""
        self.weight = weight
        self.pull = pull
        self.rate = rate

    def __call__(self, case: Case) -> MetaStep:
        """Return -2 lambda mu r at the adapted parameters, averaged over tasks."""
        with torch.no_grad():
            point = start = case.start()
        for _ in range(case.context.steps):
            leaf = point.detach().requires_grad_()
            residual = self._residual(case, leaf, start, create_graph=True)
            query = case.losses(leaf, case.context.tasks.query)
            objective = query + self.weight * residual.square().sum(1)
            (gradient,) = torch.autograd.grad(objective.sum(), leaf)
            point = leaf.detach() - self.rate * gradient
        leaf = point.detach().requires_grad_()
        residual = self._residual(case, leaf, start, create_graph=False).detach()
        gradients = {"init": (-2 * self.weight * self.pull * residual).mean(0)}
        steps = case.context.steps
        result = measured(case, gradients, 2 * steps + 1, steps)
        return replace(result, readings={**result.readings, "inner_residual": residual.norm(dim=1)})

    def _residual(self, case: Case, leaf: Tensor, start: Tensor, *, create_graph: bool) -> Tensor:
        loss = case.losses(leaf, case.context.tasks.support).sum()
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=create_graph)
        return gradient + self.pull * (leaf - start)
