"""Reptile: move the start towards the adapted parameters."""

from typing import Literal

from typing_extensions import override

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.options import Plain, option
from metaviz.config.outer_rule import OuterRule
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.estimators import Reptile
from metaviz.meta.estimators.reptile import Schedule
from metaviz.meta.rules import AdamDescent, GradientDescent


class ReptileOptions(AlgorithmOptions):
    """Options of Reptile."""

    inner_optimizer: Literal["sgd", "adam"] = option(
        "sgd",
        "Inner optimiser",
        "SGD, or Adam with β₁ = 0 as in the official code.",
        labels={"sgd": "SGD", "adam": "Adam (β₁ = 0)"},
    )
    keep_moment: bool = option(
        True,
        "Keep Adam's state",
        "Carry Adam's second moment on to later tasks, as the official code does: from one task to "
        "the next in the schedules serial and in turn; batched, its mean over a meta-batch's tasks "
        "to the next meta-batch.",
    )
    data: Literal["all", "support"] = option(
        "all",
        "Inner data",
        "Adapt on support and query examples together, as published: Reptile needs no query set. "
        "Or on the support set alone. The query loss of the quadratic problem is another goal, not "
        "more examples: there both mean the support loss.",
        labels={"all": "support and query", "support": "support only"},
    )
    batch_size: int = option(
        0,
        "Inner minibatch",
        "Examples per inner step, drawn without repeating until all were seen. 0: all of them.",
        ge=0,
        le=100_000,
    )
    schedule: Schedule = option(
        "batched",
        "Schedule",
        "Batched: all tasks adapt side by side from θ, which moves towards the mean of their φ. "
        "In turn: the same, one task after another, so that Adam's second moment goes from each "
        "task to the next, as in the official code. Serial: each task also moves θ by ε (φ − θ) "
        "before the next begins.",
        labels={"batched": "batched", "serial": "serial", "in_turn": "tasks one after another"},
    )
    update: Literal["direct", "optimiser"] | None = option(
        None,
        "Update",
        "Direct: θ ← θ + ε (φ − θ), as published; batched and in turn, φ is the mean over tasks. "
        "The outer schedule shortens the move of a whole meta-step; outer optimiser, β and the "
        "scale of the gradient have no part in it, a clip acts on θ − φ. Outer optimiser: it gets "
        "θ − φ, scaled as below, as if that were a gradient; serial, that is the move of all "
        "tasks over ε. Empty: direct for serial, the outer optimiser otherwise.",
        labels={"direct": "direct, by ε", "optimiser": "outer optimiser"},
        formerly="optimiser",
    )
    epsilon: float = option(
        0.1,
        "ε",
        "Share of the way towards φ that θ moves: by each task (serial), or in each meta-step "
        "(direct update).",
        gt=0,
        le=1,
    )
    direction: Literal["difference", "tail"] = option(
        "difference",
        "Direction",
        "θ − φ^K, or the last inner step alone (FOML in the official code).",
        labels={"difference": "whole path", "tail": "last step"},
    )
    scale: Literal["rate", "path", "none"] = option(
        "rate",
        "Scale of the gradient",
        "Divide θ − φ by α, which makes it the sum of inner gradients; by α K, their mean; or not "
        "at all. Adam hardly feels the difference, SGD does; a direct update has no such scale.",
        labels={"rate": "(θ − φ) / α", "path": "(θ − φ) / (α K)", "none": "θ − φ"},
    )

    @property
    def is_direct(self) -> bool:
        """Whether the start moves by ε, without the outer optimiser."""
        return self.schedule == "serial" if self.update is None else self.update == "direct"

    @override
    def stored(self) -> dict[str, Plain]:
        return {**super().stored(), "update": "direct" if self.is_direct else "optimiser"}

    @override
    def outer_rule(self, shared: Shared, *, of_network: bool) -> OuterRule:
        if self.is_direct:
            return OuterRule(self.epsilon, "epsilon", own=True, optimizer="sgd")
        return super().outer_rule(shared, of_network=of_network)

    @override
    def changed_since(self, version: tuple[int, ...], shared: Shared) -> str:
        if version >= (0, 2) or not self.batch_size:
            return ""
        return (
            "Up to version 0.1 minibatches depended on the parts that a meta-batch was computed "
            "in; now every task has its own."
        )


@register(
    ReptileOptions,
    id="reptile",
    title="Reptile",
    group="First order",
    color=2,
    summary="Moves the start towards where plain training on each task ends.",
    defaults={
        "sinusoid": {"inner_lr": 0.02, "batch_size": 10},
    },
    formula="g = (θ − mean_t φ_t^K) / α",
    cost="K gradients per task; no graph",
    citation="Nichol, Achiam & Schulman 2018, arXiv:1803.02999",
    presets={
        "sinusoid, 20 points": {"inner_lr": 0.02, "data": "all", "scale": "path"},
        "official Omniglot 5-way": {
            "inner_optimizer": "adam",
            "inner_lr": 0.001,
            "batch_size": 10,
            "inner_steps": 5,
            "schedule": "in_turn",
            "scale": "none",
        },
    },
    note="One inner step makes Reptile joint training; it needs K ≥ 2 to meta-learn.",
)
def reptile(options: ReptileOptions, shared: Shared) -> Algorithm:
    """Build Reptile."""
    rate, steps = options.rate(shared), options.steps(shared)
    adam = options.inner_optimizer == "adam"
    rule = AdamDescent(rate, keep=options.keep_moment) if adam else GradientDescent(rate)
    scaled = "none" if options.is_direct else options.scale
    scale = {"rate": rate, "path": rate * steps, "none": 1.0}[scaled]
    estimator = Reptile(
        scale=scale,
        pooled=options.data == "all",
        batch_size=options.batch_size,
        direction=options.direction,
        schedule=options.schedule,
        epsilon=options.epsilon,
    )
    return compose(rule, estimator, steps)
