"""From scratch: adaptation of untrained weights, the least that meta-learning must beat."""

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.estimators import Untrained
from metaviz.meta.rules import GradientDescent


@register(
    AlgorithmOptions,
    id="scratch",
    title="From scratch",
    group="Baselines",
    summary="No meta-training: every task starts from the same random weights.",
    formula="g = 0",
    cost="K gradients per task, to see what adaptation alone achieves",
    citation="Baseline",
    note="Give it more inner steps of its own to see how long plain training takes.",
)
def scratch(options: AlgorithmOptions, shared: Shared) -> Algorithm:
    """Build training from scratch."""
    return compose(GradientDescent(options.rate(shared)), Untrained(), options.steps(shared))
