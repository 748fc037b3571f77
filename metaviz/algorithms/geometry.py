"""What the methods that learn a geometry of the inner loop share."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from metaviz.algorithms.registry import AlgorithmOptions
from metaviz.config.options import OptionError, option
from metaviz.config.outer_rule import OuterRule
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Composed, compose
from metaviz.meta.context import Meta
from metaviz.meta.estimators import Implicit, Reptile, Unrolled
from metaviz.meta.estimators.base import Estimator
from metaviz.meta.rules import Enters, GradientDescent, InnerRule, State
from metaviz.meta.solvers import conjugate_gradient
from metaviz.nets.base import Net

_MOST_NUMBERS = 250_000_000
EstimatorName = Literal["unrolled", "first_order", "reptile", "implicit"]


class TrainedApartOptions(AlgorithmOptions):
    """How the meta-step treats what shapes the inner loop."""

    geometry_lr: float | None = option(
        None,
        "Own outer step size",
        "Outer step size of everything but the start. Empty: the shared one.",
        gt=0,
        le=1000,
        log=True,
    )
    clip_norm: float | None = option(
        10.0,
        "Own clip of the meta-gradient",
        "Largest norm of the meta-gradient. A geometry that is being learned now and then makes "
        "the inner loop of one task explode; without a clip that task outweighs all others. "
        "Empty: the shared clip.",
        gt=0,
        le=1e9,
        log=True,
    )

    @override
    def outer_rule(self, shared: Shared, *, of_network: bool) -> OuterRule:
        if of_network or self.geometry_lr is None:
            return super().outer_rule(shared, of_network=of_network)
        return OuterRule(self.geometry_lr, "geometry_lr", own=True)

    @override
    def own_clip(self) -> float | None:
        return self.clip_norm


class GeometryOptions(TrainedApartOptions):
    """Options of methods that learn how the inner loop steps."""

    estimator: EstimatorName = option(
        "unrolled",
        "Meta-gradient",
        "How the query loss reaches what is learned. Second order: through all inner gradients. "
        "First order: inner gradients count as constants, the steps themselves do not.",
        labels={
            "unrolled": "second order",
            "first_order": "first order",
            "reptile": "Reptile",
            "implicit": "implicit (CG)",
        },
    )

    def compose(self, rule: InnerRule, shared: Shared) -> Composed:
        """Put a rule under the chosen estimator. Raises: CannotTrainError."""
        return compose(rule, _estimator(self.estimator, self.rate(shared)), self.steps(shared))


def _estimator(name: EstimatorName, rate: float) -> Estimator:
    if name == "reptile":
        return Reptile(scale=rate)
    if name == "implicit":
        return Implicit(lambda product, v, prox: conjugate_gradient(product, v, 10), "gauss_newton")
    return Unrolled(first_order=name == "first_order")


def refuse_too_many(method: str, count: int, remedy: str) -> None:
    """Refuse a geometry of more numbers than training can hold. Raises: OptionError."""
    if count > _MOST_NUMBERS:
        raise OptionError(
            method,
            f"{method} would learn {count:,} numbers for this network, more than "
            f"{_MOST_NUMBERS:,}: {remedy}.",
        )


class Preconditioned(GradientDescent):
    """phi <- phi - alpha P grad L_S(phi), with a learned linear map P.

    A subclass draws the parameters of P in `shape` and applies it in `precondition`.
    """

    group = "geometry"

    def __init__(self, rate: float) -> None:
        """Take the inner step size alpha."""
        super().__init__(rate)
        self.groups: Mapping[str, frozenset[Enters]] = {
            "init": frozenset({Enters.START}),
            self.group: frozenset({Enters.STEP}),
        }

    def init(self, net: Net, generator: torch.Generator) -> Meta:
        """Draw the start and the parameters of P."""
        return {**super().init(net, generator), self.group: self.shape(generator)}

    def shape(self, generator: torch.Generator) -> Tensor:
        """Draw the parameters of P: a flat float64 vector."""
        raise NotImplementedError

    def precondition(self, meta: Meta, gradient: Tensor) -> Tensor:
        """Return P times gradients, shape (tasks, P)."""
        raise NotImplementedError

    def step(self, meta: Meta, state: State, gradient: Tensor, loss: Tensor, k: int) -> State:
        """Take one step along the preconditioned gradient."""
        return super().step(meta, state, self.precondition(meta, gradient), loss, k)
