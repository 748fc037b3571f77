"""iMAML: the gradient of a solved proximal problem, by conjugate gradients."""

from typing import Literal

from torch import Tensor

from metaviz.algorithms.proximal import ProximalOptions
from metaviz.algorithms.registry import register
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.estimators import Curvature, Implicit
from metaviz.meta.solvers import LinearMap, Solution, conjugate_gradient


class IMAMLOptions(ProximalOptions):
    """Options of iMAML."""

    cg_steps: int = option(
        10,
        "CG steps",
        "Iterations of conjugate gradients on the implicit system; one Hessian-vector product "
        "each.",
        ge=1,
        le=1000,
    )
    operator: Literal["gauss_newton", "hessian", "damped"] = option(
        "gauss_newton",
        "Operator",
        "Curvature in I + H/λ. Gauss-Newton: J'L''J in place of H, never negative for convex "
        "losses. "
        "Hessian: exact; where a direction has p'Mp ≤ 0 CG stops and the run says so. "
        "Damped: (1 + d) I + H/(λ + e), the official code's operator.",
        labels={
            "gauss_newton": "Gauss-Newton",
            "hessian": "Hessian with guard",
            "damped": "damped Hessian",
        },
    )
    cg_damping: float = option(
        1.0, "Damping d", "Added to the identity in the damped operator.", ge=0, le=1e6
    )
    prox_damping: float = option(
        10.0, "Damping e", "Added to λ in the damped operator.", ge=0, le=1e6
    )
    inner_loop: Literal["proximal", "plain_then_proximal"] = option(
        "proximal",
        "Inner loop",
        "Pull towards θ in every step (the paper's equation), or in one last extra step only "
        "(the official code).",
        labels={"proximal": "every step proximal", "plain_then_proximal": "last step proximal"},
    )
    learn_prox: bool = option(
        False,
        "Learn λ",
        "Train λ too, by dF/dλ = −(1/λ) x·(φ − θ).",
    )


@register(
    IMAMLOptions,
    id="imaml",
    title="iMAML",
    group="Implicit",
    color=3,
    summary="Solves a proximal inner problem and differentiates its solution, not the path to it.",
    defaults={
        "strokes": {"prox": 2.0, "inner_steps": 16, "inner_lr": 0.1, "cg_steps": 5},
        "omniglot": {"prox": 2.0, "inner_steps": 16, "inner_lr": 0.1, "cg_steps": 5},
        "images": {"prox": 0.5, "inner_steps": 10, "cg_steps": 5},
    },
    formula="g = (I + H/λ)⁻¹ ∇L_Q(φ*),  φ* = argmin L_S(φ) + λ/2 ‖φ − θ‖²",
    cost="n + 2 gradients and one Hessian-vector product per CG step; memory does not grow with n",
    needs={"objective": "iMAML solves a fixed inner objective"},
    citation="Rajeswaran, Finn, Kakade & Levine 2019, arXiv:1909.04630",
    presets={
        "paper": {
            "operator": "hessian",
            "inner_loop": "proximal",
            "step_control": "fixed",
            "prox": 2.0,
            "inner_steps": 16,
            "cg_steps": 5,
        },
        "official code": {
            "operator": "damped",
            "cg_damping": 1.0,
            "prox_damping": 10.0,
            "inner_loop": "plain_then_proximal",
            "step_control": "fixed",
            "prox": 2.0,
            "inner_steps": 16,
            "cg_steps": 5,
        },
    },
)
def imaml(options: IMAMLOptions, shared: Shared) -> Algorithm:
    """Build iMAML."""
    steps = options.steps(shared)
    plain = steps if options.inner_loop == "plain_then_proximal" else 0
    rule = options.rule(shared, plain_steps=plain, learn_prox=options.learn_prox)

    def solve(product: LinearMap, incoming: Tensor, prox: Tensor | float) -> Solution:
        damped = options.operator == "damped"
        ridge = 1 + options.cg_damping if damped else 1.0
        weight = prox + options.prox_damping if damped else prox
        return conjugate_gradient(
            lambda x: ridge * x + product(x) / weight, incoming, options.cg_steps
        )

    curvature: Curvature = "gauss_newton" if options.operator == "gauss_newton" else "hessian"
    return compose(rule, Implicit(solve, curvature), steps + (1 if plain else 0))
