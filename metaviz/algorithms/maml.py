"""MAML: differentiate the query loss through all inner steps."""

from typing import Literal

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Adapts, Algorithm, compose
from metaviz.meta.estimators import Unrolled
from metaviz.meta.rules import GradientDescent


class MAMLOptions(AlgorithmOptions):
    """Options of MAML."""

    memory: Literal["graph", "recompute"] = option(
        "graph",
        "Inner graph",
        "Keep the graph of all K steps, or rebuild each step's on the way back: the same gradient "
        "with the memory of one step, for one more gradient per step.",
        labels={"graph": "keep all steps", "recompute": "rebuild each step"},
    )
    adapts: Adapts | None = option(
        None,
        "Adapt only",
        "What inner steps move; all weights are meta-learned. Head: the last layer alone, as ANIL "
        "does (Raghu et al. 2020, arXiv:1909.09157). Body: all layers but the last, as BOIL does "
        "(Oh et al. 2021, arXiv:2008.08882). Empty: all weights.",
        labels={"head": "head (ANIL)", "body": "body (BOIL)"},
    )


@register(
    MAMLOptions,
    id="maml",
    title="MAML",
    group="Explicit",
    in_peers=True,
    color=0,
    summary="Second-order gradient through the unrolled inner loop.",
    formula="g = (I − αH₀) ⋯ (I − αH_{K−1}) ∇L_Q(φ^K)",
    cost="K + 1 gradients and K Hessian-vector products per task; memory grows with K",
    citation="Finn, Abbeel & Levine 2017, arXiv:1703.03400",
)
def maml(options: MAMLOptions, shared: Shared) -> Algorithm:
    """Build MAML."""
    estimator = Unrolled(recompute=options.memory == "recompute")
    rule = GradientDescent(options.rate(shared))
    return compose(rule, estimator, options.steps(shared), options.adapts)
