"""The penalty method: ask adaptation to end where the support gradient vanishes."""

from typing import Literal

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.estimators import JointPenalty, PenalisedEnd, StartPenalty
from metaviz.meta.rules import GradientDescent


class PenaltyOptions(AlgorithmOptions):
    """Options of the penalty method."""

    weight: float = option(
        0.01,
        "Penalty weight",
        "Weight w of the squared gradient norm. Not the prox weight of iMAML.",
        ge=0,
        le=1e6,
        log=True,
    )
    variant: Literal["final", "joint", "start"] = option(
        "final",
        "Where",
        "At φ^K: L_Q(φ^K) + w ‖∇L_S(φ^K)‖² through the inner loop (recommended). At φ: descend "
        "θ and φ together on L_Q(φ) + w ‖∇L_S(φ) + μ(φ − θ)‖². At θ: "
        "L_Q(θ) + w ‖∇L_S(θ)‖² as literally proposed; it hardly meta-learns: a large w "
        "flattens the network, a small one is joint training.",
        labels={"final": "at φ^K", "joint": "at φ, jointly", "start": "at θ (hardly meta-learns)"},
    )
    pull: float = option(1.0, "Pull μ", "Ties φ to θ in the joint variant.", gt=0, le=1e6, log=True)
    joint_lr: float = option(
        0.01, "Step size of φ", "Step size of the joint variant's φ.", gt=0, le=1000, log=True
    )


@register(
    PenaltyOptions,
    id="penalty",
    title="Penalty",
    group="Explicit",
    color=5,
    summary="Adds the squared support gradient left over after adaptation to the query loss.",
    formula="F = L_Q(φ^K) + w ‖∇L_S(φ^K)‖²",
    cost="K + 2 gradients and K + 1 Hessian-vector products per task (at φ^K)",
    citation="Penalty form of bilevel optimisation; see also Mehra & Hamm 2021, arXiv:1911.03432",
    note="At θ it hardly meta-learns: there is no inner loop in training.",
)
def penalty(options: PenaltyOptions, shared: Shared) -> Algorithm:
    """Build the penalty method."""
    rule = GradientDescent(options.rate(shared))
    steps = options.steps(shared)
    match options.variant:
        case "final":
            return compose(rule, PenalisedEnd(options.weight), steps)
        case "joint":
            estimator = JointPenalty(options.weight, options.pull, options.joint_lr)
            return compose(rule, estimator, steps)
        case "start":
            return compose(rule, StartPenalty(options.weight), steps)
