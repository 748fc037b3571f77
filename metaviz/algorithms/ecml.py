"""ECML: MAML with a loss on the condition of the inner problem (reconstructed)."""

from typing import Literal

from typing_extensions import override

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.estimators.conditioned import Conditioned
from metaviz.meta.rules import GradientDescent


class ECMLOptions(AlgorithmOptions):
    """Options of ECML."""

    weight: float = option(
        0.001,
        "Condition weight γ",
        "Weight of the condition loss Var(log₁₀ λ(J Jᵀ)), averaged over the inner steps. 0: MAML.",
        ge=0,
        le=1000,
        log=True,
    )
    subset: Literal["head", "all"] = option(
        "head",
        "Weights of J",
        "With respect to which weights the residuals are differentiated.",
        labels={"head": "last layer", "all": "all weights"},
    )

    @override
    def changed_since(self, version: tuple[int, ...], shared: Shared) -> str:
        if version >= (0, 2):
            return ""
        return (
            "Up to version 0.1 the condition loss of a classification counted eigenvalues that "
            "are zero whatever the weights are."
        )


@register(
    ECMLOptions,
    id="ecml",
    title="ECML (reconstructed)",
    group="Learned geometry",
    quantities=("condition_loss",),
    needs={"residuals": "ECML looks at residuals of a network"},
    color=15,
    summary="MAML whose inner problem is also trained to be well conditioned.",
    formula="min L_Q(φ^K) + γ mean_k Var_i log₁₀ λ_i(J Jᵀ),  J = ∂ residuals / ∂ φ^k",
    cost="as MAML, and one gradient with its derivative per residual and inner step",
    citation="Hiller, Harandi & Drummond 2022, arXiv:2206.07260",
    note="Only the paper's abstract was at hand: the formula of the condition loss is "
    "reconstructed and not verified against it.",
)
def ecml(options: ECMLOptions, shared: Shared) -> Algorithm:
    """Build ECML."""
    estimator = Conditioned(options.weight, options.subset)
    return compose(GradientDescent(options.rate(shared)), estimator, options.steps(shared))
