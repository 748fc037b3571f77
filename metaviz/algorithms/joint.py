"""Joint training: one model for all tasks, adapted only when it is evaluated."""

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.estimators import Joint
from metaviz.meta.rules import GradientDescent


@register(
    AlgorithmOptions,
    id="joint",
    title="Joint training",
    group="Baselines",
    color=7,
    summary="Trains on all tasks at once without inner steps, then adapts: ordinary pre-training.",
    formula="g = ∇L_Q(θ)",
    cost="1 gradient per task",
    citation="The pre-training baseline of Finn, Abbeel & Levine 2017, section 5.1",
)
def joint(options: AlgorithmOptions, shared: Shared) -> Algorithm:
    """Build joint training."""
    return compose(GradientDescent(options.rate(shared)), Joint(), options.steps(shared))
