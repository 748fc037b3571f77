"""From scratch: adaptation of untrained weights, the least that meta-learning must beat."""

from typing_extensions import override

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.estimators import Untrained
from metaviz.meta.rules import GradientDescent


class ScratchOptions(AlgorithmOptions):
    """Options of training from scratch."""

    @override
    def changed_since(self, version: tuple[int, ...], shared: Shared) -> str:
        if version >= (0, 2) or shared.reading_every == 1:
            return ""
        return (
            "Up to version 0.1 gradient evaluations were counted also at meta-steps whose losses "
            "were not read and that computed none."
        )


@register(
    ScratchOptions,
    id="scratch",
    title="From scratch",
    group="Baselines",
    color=6,
    summary="No meta-training: every task starts from the same random weights.",
    formula="g = 0",
    cost="K gradients per task, to see what adaptation alone achieves",
    citation="Baseline",
    note="Give it more inner steps of its own to see how long plain training takes.",
)
def scratch(options: ScratchOptions, shared: Shared) -> Algorithm:
    """Build training from scratch."""
    return compose(GradientDescent(options.rate(shared)), Untrained(), options.steps(shared))
