"""Inner rule x estimator = algorithm; pairs that would leave something untrained are refused."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch

from metaviz.charts.values import Chart
from metaviz.config.episodes import PlainBatches, TrainingEpisodes
from metaviz.config.options import OptionError
from metaviz.config.traits import Traits
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators.base import Case, Estimator, MetaStep, groups_entering
from metaviz.meta.inner import Descent, adaptation, descend
from metaviz.meta.learner import Learner
from metaviz.meta.pictures import slices
from metaviz.meta.predictor import Adapted
from metaviz.meta.rules import Enters, InnerRule
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net


class Algorithm(Protocol):
    """A method: how it adapts to a support set, and how it learns to."""

    @property
    def steps(self) -> int:
        """Inner steps K while meta-training; 0 without an inner loop."""

    @property
    def rate(self) -> float | None:
        """Inner step size, or the one that learned step sizes start from."""

    @property
    def traits(self) -> Traits:
        """What is true of it."""

    @property
    def network(self) -> str | None:
        """The group that holds the network's weights before adaptation, where there is one."""

    def rests(self, net: Net) -> frozenset[str]:
        """Return the tensors that inner steps leave alone by the method's choice.

        Raises: OptionError where the network has none of what should adapt.
        """

    @property
    def episodes(self) -> TrainingEpisodes | PlainBatches:
        """What it asks of its training episodes, or that it trains on plain batches instead.

        A plain batch is the query set of one task, y the numbers of classes among all training
        classes, beside a support set without examples.
        """

    def scaled(self, factor: float) -> "Algorithm":
        """Return the same with inner steps of `factor` times the size."""

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw meta-parameters, flat float64 vectors by group."""

    def fit(self, learner: Learner) -> None:
        """Plan for a network.

        Raises: OptionError where the options do not fit it, CannotTrainError where inner steps
        would move what the network holds or meta-training would leave it.
        """

    def trained(self) -> frozenset[str]:
        """Return the groups that meta-training changes by gradients."""

    def adapt(self, context: Context, meta: Meta) -> Iterator[Adapted]:
        """Yield predictors at k = 0..K, or one without an inner loop; `meta` is left as it is."""

    def meta_gradient(self, context: Context, meta: Meta) -> MetaStep:
        """Return mean meta-gradients of the tasks; with all readings, or those at hand."""

    def pictures(self, context: Context, meta: Meta) -> Iterator[dict[str, np.ndarray]]:
        """Yield arrays that show what was learned, and the loss along adaptation."""

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield charts of the method's own of what was learned; they are stored with the run."""


Adapts = Literal["head", "body"]
"""What inner steps move: the last layer alone, or all layers but that."""


class CannotTrainError(ValueError):
    """A rule and an estimator do not fit; the message says why in one sentence."""


@dataclass(frozen=True)
class Composed:
    """An inner rule under an estimator. Build it with `compose`."""

    rule: InnerRule
    estimator: Estimator
    steps: int
    adapts: Adapts | None = None

    episodes = TrainingEpisodes()

    @property
    def network(self) -> str | None:
        """The group that holds the network's weights before adaptation."""
        return "init"

    @property
    def rate(self) -> float:
        """Inner step size, or the one that learned step sizes start from."""
        return self.rule.rate

    @cached_property
    def traits(self) -> Traits:
        """What is true of rule and estimator together."""
        return Traits(
            shares_rate=self.rule.shares_rate,
            sequential=self.estimator.sequential,
            rowwise=self.rule.rowwise and self.estimator.rowwise,
        )

    def rests(self, net: Net) -> frozenset[str]:
        """Return the tensors that inner steps leave alone. Raises: OptionError."""
        if self.adapts is None:
            return frozenset()
        head = net.layout.head
        if not head:
            raise OptionError(
                "adapts",
                f"adapts = {self.adapts} asks for a network of several layers, and this one has "
                "none: leave it empty.",
            )
        names = frozenset(name for name, _ in net.layout.shapes)
        return names - head if self.adapts == "head" else head

    def scaled(self, factor: float) -> "Composed":
        """Return the same with inner steps of `factor` times the size."""
        return replace(self, rule=self.rule.scaled(factor))

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw meta-parameters, flat float64 vectors by group."""
        self.rule.fit(learner.net)
        return self.rule.init(learner.net, generator)

    def fit(self, learner: Learner) -> None:
        """Plan for a network. Raises: OptionError or CannotTrainError, see Algorithm."""
        self.rule.fit(learner.net)
        if not learner.held:
            return
        name = min(learner.held)
        if not self.rule.rests:
            raise CannotTrainError(
                f"{type(self.rule).__name__} moves weights that have no gradient, {name} among "
                "them: let them be adapted."
            )
        if not self.estimator.trains_held:
            raise CannotTrainError(
                f"{type(self.estimator).__name__} has no gradient for weights that inner steps "
                f"leave alone, {name} among them: let them be adapted."
            )

    def trained(self) -> frozenset[str]:
        """Return the groups that meta-training changes by gradients."""
        return self.estimator.trains(self.rule)

    def adapt(self, context: Context, meta: Meta) -> Iterator[Adapted]:
        """Yield the network at k = 0..K; `meta` is left as it is."""
        self.rule.fit(context.learner.net)
        return adaptation(self.rule, context, meta, self.steps)

    def descend(self, learner: Learner, meta: Meta, support: Batch, steps: int) -> Descent:
        """Adapt to every task, without a graph, and return where adaptation ends."""
        self.rule.fit(learner.net)
        return descend(self.rule, learner, meta, support, steps)

    def meta_gradient(self, context: Context, meta: Meta) -> MetaStep:
        """Return mean meta-gradients of the tasks; with all readings, or those at hand."""
        self.rule.fit(context.learner.net)
        return self.estimator(Case(self.rule, context, meta))

    def pictures(self, context: Context, meta: Meta) -> Iterator[dict[str, np.ndarray]]:
        """Yield arrays that show what was learned, and the loss along adaptation."""
        self.rule.fit(context.learner.net)
        for picture_of in (self.rule.picture, lambda *at: slices(self.rule, *at)):
            arrays = picture_of(context, meta)
            if arrays:
                yield arrays

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield none: what was learned is in the pictures."""
        del context, meta
        yield from ()


def compose(
    rule: InnerRule, estimator: Estimator, steps: int, adapts: Adapts | None = None
) -> Composed:
    """Put a rule under an estimator.

    Raises: CannotTrainError where some group of meta-parameters would never be trained.
    """
    kept = groups_entering(rule, [Enters.MEMORY, Enters.FIXED])
    left = frozenset(rule.groups) - kept - estimator.trains(rule)
    if left:
        name = min(left)
        places = " and ".join(sorted(place.value for place in rule.groups[name]))
        raise CannotTrainError(
            f"{type(estimator).__name__} cannot train the meta-parameters {name!r}, which enter "
            f"through {places}: use an estimator that differentiates through that, like "
            "unrolled or first_order."
        )
    return Composed(rule, estimator, steps, adapts)
