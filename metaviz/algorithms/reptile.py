"""Reptile: move the start towards the adapted parameters."""

from typing import Literal

from typing_extensions import override

from metaviz.algorithms.registry import AlgorithmOptions, register
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.estimators import Reptile
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
        "Carry Adam's second moment on from task to task, as the official code does.",
    )
    data: Literal["all", "support"] = option(
        "all",
        "Inner data",
        "Adapt on support and query examples together, as published: Reptile needs no query set. "
        "Or on the support set alone.",
        labels={"all": "support and query", "support": "support only"},
    )
    batch_size: int = option(
        0,
        "Inner minibatch",
        "Examples per inner step, drawn without repeating until all were seen. 0: all of them.",
        ge=0,
        le=100_000,
    )
    schedule: Literal["batched", "serial"] = option(
        "batched",
        "Schedule",
        "Batched: move towards the mean of the adapted parameters. Serial: each task moves the "
        "start by ε (φ − θ) before the next begins.",
    )
    epsilon: float = option(
        0.1, "Serial ε", "Share of the way towards φ that one task moves θ (serial).", gt=0, le=1
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
        "at all. Adam hardly feels the difference, SGD does.",
        labels={"rate": "(θ − φ) / α", "path": "(θ − φ) / (α K)", "none": "θ − φ"},
    )

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
    scale = {"rate": rate, "path": rate * steps, "none": 1.0}[options.scale]
    estimator = Reptile(
        scale=scale,
        pooled=options.data == "all",
        batch_size=options.batch_size,
        direction=options.direction,
        serial_epsilon=options.epsilon if options.schedule == "serial" else None,
    )
    return compose(rule, estimator, steps)
