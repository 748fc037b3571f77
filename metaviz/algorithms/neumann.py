"""Implicit gradients by truncated series in place of conjugate gradients."""

from typing import Literal

from torch import Tensor

from metaviz.algorithms.proximal import ProximalOptions
from metaviz.algorithms.registry import register
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.estimators import Implicit
from metaviz.meta.solvers import LinearMap, Solution, power_series, richardson


class NeumannOptions(ProximalOptions):
    """Options of the Neumann-series method."""

    terms: int = option(
        10,
        "Terms n",
        "The series is summed from j = 0 to n: n Hessian-vector products, and one for the "
        "residual. Richardson takes n steps.",
        ge=0,
        le=10_000,
    )
    variant: Literal["richardson", "implicit", "truncated", "lorraine", "notes"] = option(
        "richardson",
        "Series",
        "Richardson: x ← x + η (v − (I + H/λ) x), which converges wherever the system is positive "
        "definite. Implicit: Σ (−H/λ)ʲ v, only for ‖H‖ < λ. Truncated: λα Σ (I − α(H + λI))ʲ v,"
        " which is how the last n + 1 steps of a proximal loop depend on its centre, with H of the "
        "end. Lorraine: α Σ (I − αH)ʲ v → H⁻¹ v, which "
        "is not by itself a gradient for a start. As in the notes: Σ (αH)ʲ v → (I − αH)⁻¹ v, whose "
        "curvature has the wrong sign; kept to show what that does.",
        labels={
            "richardson": "Richardson",
            "implicit": "implicit, alternating",
            "truncated": "truncated unroll",
            "lorraine": "inverse Hessian (Lorraine)",
            "notes": "as in the notes (sign-flipped curvature)",
        },
    )
    curvature: Literal["hessian", "gauss_newton"] = option(
        "gauss_newton",
        "Curvature",
        "The Hessian, or its Gauss-Newton part J'L''J, never negative for convex losses.",
        labels={"hessian": "Hessian", "gauss_newton": "Gauss-Newton"},
    )
    divergence: Literal["flag", "stop"] = option(
        "flag",
        "When terms grow",
        "Say so and sum all terms as asked, or keep the sum from before they grew.",
        labels={"flag": "say so", "stop": "say so and stop"},
    )


@register(
    NeumannOptions,
    id="neumann",
    title="Neumann series",
    group="Implicit",
    color=4,
    summary="iMAML's implicit gradient by a truncated series of Hessian products.",
    defaults={
        "strokes": {"prox": 2.0, "inner_steps": 16, "inner_lr": 0.1, "terms": 5},
        "omniglot": {"prox": 2.0, "inner_steps": 16, "inner_lr": 0.1, "terms": 5},
        "images": {"prox": 0.5, "inner_steps": 10, "terms": 5},
    },
    formula="g = Σ_{j≤n} (−H/λ)ʲ ∇L_Q(φ*)  →  (I + H/λ)⁻¹ ∇L_Q(φ*)",
    cost="n gradients and one Hessian-vector product per term; memory does not grow with n",
    needs={"objective": "The Neumann series solves a fixed inner objective"},
    citation="Lorraine, Vicol & Duvenaud 2020, arXiv:1911.02590",
)
def neumann(options: NeumannOptions, shared: Shared) -> Algorithm:
    """Build the Neumann-series method."""
    rate, terms = options.rate(shared), options.terms
    stop = options.divergence == "stop"

    def solve(product: LinearMap, v: Tensor, prox: Tensor | float) -> Solution:
        match options.variant:
            case "richardson":
                return richardson(lambda x: x + product(x) / prox, v, terms)
            case "implicit":
                return power_series(lambda x: -product(x) / prox, v, terms, stop=stop)
            case "notes":
                return power_series(lambda x: rate * product(x), v, terms, stop=stop)
            case "lorraine":
                return power_series(lambda x: x - rate * product(x), rate * v, terms, stop=stop)
            case "truncated":
                first = rate * prox * v
                return power_series(
                    lambda x: x - rate * (product(x) + prox * x), first, terms, stop=stop
                )

    rule = options.rule(shared)
    solves = options.variant not in {"lorraine", "notes"}
    estimator = Implicit(solve, options.curvature, solves=solves)
    return compose(rule, estimator, options.steps(shared))
