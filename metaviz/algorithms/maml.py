"""MAML: differentiate the query loss through all inner steps."""

from typing import Literal

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
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


@register(
    MAMLOptions,
    id="maml",
    title="MAML",
    group="Explicit",
    summary="Second-order gradient through the unrolled inner loop.",
    formula="g = (I − αH₀) ⋯ (I − αH_{K−1}) ∇L_Q(φ^K)",
    cost="K + 1 gradients and K Hessian-vector products per task; memory grows with K",
    citation="Finn, Abbeel & Levine 2017, arXiv:1703.03400",
)
def maml(options: MAMLOptions, shared: Shared) -> Algorithm:
    """Build MAML."""
    estimator = Unrolled(recompute=options.memory == "recompute")
    return compose(GradientDescent(options.rate(shared)), estimator, options.steps(shared))
