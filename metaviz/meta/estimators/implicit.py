"""Implicit differentiation of a solved inner problem."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from metaviz.meta.estimators.base import Case, MetaStep, groups_entering, read
from metaviz.meta.learner import Learner
from metaviz.meta.rules import Enters, InnerRule, ProximalDescent
from metaviz.meta.solvers import LinearMap, Solution
from metaviz.meta.tasks import Batch

_SOLVED = 0.1
UNSOLVED = (
    "The inner problem is not solved (its residual is above a tenth of the first gradient), so "
    "the implicit gradient is rough; take more inner steps or a larger prox weight"
)

Curvature = Literal["hessian", "gauss_newton"]

ImplicitSolver = Callable[[LinearMap, Tensor, Tensor | float], Solution]
"""Solves the system behind the implicit gradient from (products with H, v, lambda)."""


class Implicit:
    """x = (I + H / lambda)^-1 grad L_Q(phi), exact where phi solves the proximal inner problem.

    phi is reached by the rule's proximal steps, without a graph; H is the Hessian of the support
    loss at phi, or its Gauss-Newton part J' L'' J, which is positive semi-definite for convex
    losses of the outputs. The error is of the order of the inner residual
    ||grad L_S + lambda (phi - theta)|| and of the solver's, so both are always reported.
    A learned lambda gets -(1/lambda) x . (phi - theta).
    Weights h that the network holds in the inner loop have phi_h = theta_h: the system is that of
    the others, f, and x_h = grad_h L_Q - (1/lambda) H_hf x_f.
    Source: Rajeswaran et al. 2019, lemma 1 and section 3.
    """

    sequential = False
    rowwise = False

    def __init__(
        self, solver: ImplicitSolver, curvature: Curvature, *, solves: bool = True
    ) -> None:
        """Choose how to solve the system, with which curvature, and whether x is its solution."""
        self.solver = solver
        self.curvature = curvature
        self.trains_held = solves

    def trains(self, rule: InnerRule) -> frozenset[str]:
        """Return the groups that shape the inner objective."""
        if not isinstance(rule, ProximalDescent):
            return frozenset()
        return groups_entering(rule, [Enters.OBJECTIVE])

    def __call__(self, case: Case) -> MetaStep:
        """Solve the inner problem, then the linear system, and return the mean over tasks."""
        rule, learner, tasks = case.rule, case.context.learner, case.context.tasks
        if not isinstance(rule, ProximalDescent):
            raise TypeError("Implicit differentiation needs proximal inner steps.")
        case = case.detached()
        inside = case.meta
        descent = case.descend()
        after, incoming = _query_gradient(learner, descent.point, tasks.query)
        support = tasks.support.at(case.context.steps)
        gradient, product = curvature_at(
            learner, descent.point, support, gauss_newton=self.curvature == "gauss_newton"
        )
        gradient, prox = learner.adapted(gradient), rule.weight(inside)
        solution = self.solver(
            lambda vector: learner.adapted(product(vector)), learner.adapted(incoming), prox
        )
        x = solution.x
        if learner.held:
            direct = incoming - product(x) / prox
            x = x + direct - learner.adapted(direct)
        readings, curve = read(case, descent, post_query=after)
        residual = gradient + rule.pull(inside, descent.point)
        readings["inner_residual"] = residual.norm(dim=1)
        first = descent.gradient_norm[0] if descent.steps else gradient.norm(dim=1)
        unsolved = readings["inner_residual"] > _SOLVED * first
        readings["solver_residual"] = solution.residual
        gradients = {"init": x.mean(0)}
        if rule.learn_prox:
            away = (x * (descent.point - inside["init"])).sum(1).mean()
            gradients["prox"] = -away / prox
        return MetaStep(
            gradients,
            readings,
            curve,
            torch.cat([descent.gradient_norm, gradient.norm(dim=1).unsqueeze(0)]),
            case.context.steps + 2,
            solution.products + bool(learner.held),
            {**solution.warnings, UNSOLVED: unsolved},
        )


def _query_gradient(
    learner: Learner, point: Tensor, query: Batch
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return outputs and losses on the query set, and grad L_Q, at a point."""
    leaf = point.detach().requires_grad_()
    outputs = learner.outputs(leaf, query)
    loss = learner.judge.loss(outputs, query)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    return (outputs.detach(), loss), gradient


def curvature_at(
    learner: Learner, point: Tensor, support: Batch, *, gauss_newton: bool
) -> tuple[Tensor, LinearMap]:
    """Return grad L_S at a point and products with its (Gauss-Newton) Hessian.

    The graph is built once and serves every product.
    """
    leaf = point.detach().requires_grad_()
    outputs = learner.outputs(leaf, support)
    loss = learner.judge.loss(outputs, support).sum()
    if gauss_newton:
        (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
        return gradient, _gauss_newton(learner, leaf, outputs, support)
    (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        (image,) = torch.autograd.grad(
            gradient, leaf, vector, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return image

    return gradient.detach(), product


def _gauss_newton(learner: Learner, leaf: Tensor, outputs: Tensor, support: Batch) -> LinearMap:
    """Return v -> J' L'' J v, with J v by reverse mode twice.

    u -> J' u is linear, so the derivative of <J' u, v> with respect to u is J v whatever u is.
    """
    probe = torch.zeros_like(outputs, requires_grad=True)
    (pulled,) = torch.autograd.grad(outputs, leaf, probe, create_graph=True)
    alone = outputs.detach().requires_grad_()
    (slope,) = torch.autograd.grad(
        learner.judge.loss(alone, support).sum(), alone, create_graph=True
    )

    def product(vector: Tensor) -> Tensor:
        (pushed,) = torch.autograd.grad(pulled, probe, vector, retain_graph=True)
        (bent,) = torch.autograd.grad(slope, alone, pushed, retain_graph=True)
        (image,) = torch.autograd.grad(outputs, leaf, bent, retain_graph=True)
        return image

    return product
