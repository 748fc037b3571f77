"""First-order MAML: the query gradient at the adapted parameters, applied to the start."""

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.estimators import Unrolled
from metaviz.meta.rules import GradientDescent


@register(
    AlgorithmOptions,
    id="fomaml",
    title="FOMAML",
    group="First order",
    color=1,
    summary="MAML without second derivatives: inner gradients count as constants.",
    formula="g = ∇L_Q(φ^K)",
    cost="K + 1 gradients per task; memory of one step",
    citation="Finn, Abbeel & Levine 2017, section 5.2, arXiv:1703.03400",
)
def fomaml(options: AlgorithmOptions, shared: Shared) -> Algorithm:
    """Build first-order MAML."""
    rule = GradientDescent(options.rate(shared))
    return compose(rule, Unrolled(first_order=True), options.steps(shared))
