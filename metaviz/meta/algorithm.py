"""Inner rule x estimator = algorithm; pairs that would leave something untrained are refused."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from metaviz.meta.draws import Draws
from metaviz.meta.estimators.base import Case, Estimator, MetaStep, groups_entering
from metaviz.meta.inner import Descent, Step, descend, walk
from metaviz.meta.learner import Learner
from metaviz.meta.portraits import Sitting, slices
from metaviz.meta.rules import Enters, InnerRule, Meta
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.layout import Weights


class Algorithm(Protocol):
    """Everything that can be compared."""

    @property
    def steps(self) -> int:
        """Inner steps K while meta-training."""

    @property
    def rate(self) -> float:
        """Inner step size, or the one that learned step sizes start from."""

    @property
    def shares_rate(self) -> bool:
        """Whether all weights step by `rate` times something, and not by learned sizes."""

    def scaled(self, factor: float) -> "Algorithm":
        """Return the same with inner steps of `factor` times the size."""

    @property
    def sequential(self) -> bool:
        """Whether tasks of one batch depend on each other, so that they cannot be split up."""

    @property
    def rowwise(self) -> bool:
        """Whether `meta_gradient` takes meta-parameters of each task's own, shape (tasks, P)."""

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw meta-parameters, flat float64 vectors by group."""

    def fit(self, learner: Learner) -> None:
        """Plan for a network.

        Raises: OptionError where the options do not fit it, CannotTrainError where inner steps
        would move what the network holds or meta-training would leave it.
        """

    def trained(self) -> frozenset[str]:
        """Return the groups that meta-training changes by gradients."""

    def adapt(self, learner: Learner, meta: Meta, support: Batch, steps: int) -> Descent:
        """Adapt to every task, without a graph; `meta` is left as it is."""

    def walk(
        self, learner: Learner, meta: Meta, support: Batch, steps: int
    ) -> Iterator[tuple[Weights, Step]]:
        """Adapt to every task; yield the network's weights and losses at k = 0..steps."""

    def meta_gradient(
        self,
        learner: Learner,
        meta: Meta,
        tasks: TaskBatch,
        draws: Draws,
        *,
        reading: bool = True,
    ) -> MetaStep:
        """Return mean meta-gradients of a batch of tasks; with all readings, or those at hand."""

    def portraits(self, sitting: Sitting) -> Iterator[dict[str, np.ndarray]]:
        """Yield arrays that show what was learned, and the loss along adaptation."""


class CannotTrainError(ValueError):
    """A rule and an estimator do not fit; the message says why in one sentence."""


@dataclass(frozen=True)
class Composed:
    """An inner rule under an estimator. Build it with `compose`."""

    rule: InnerRule
    estimator: Estimator
    steps: int

    @property
    def rate(self) -> float:
        """Inner step size, or the one that learned step sizes start from."""
        return self.rule.rate

    @property
    def shares_rate(self) -> bool:
        """Whether all weights step by `rate` times something, and not by learned sizes."""
        return self.rule.shares_rate

    def scaled(self, factor: float) -> "Composed":
        """Return the same with inner steps of `factor` times the size."""
        return replace(self, rule=self.rule.scaled(factor))

    @property
    def sequential(self) -> bool:
        """Whether tasks of one batch depend on each other, so that they cannot be split up."""
        return self.estimator.sequential

    @property
    def rowwise(self) -> bool:
        """Whether `meta_gradient` takes meta-parameters of each task's own, shape (tasks, P)."""
        return self.rule.rowwise and self.estimator.rowwise

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw meta-parameters, flat float64 vectors by group."""
        self.rule.fit(learner.net)
        return self.rule.init(learner.net, generator)

    def fit(self, learner: Learner) -> None:
        """Plan for a network. Raises: OptionError or CannotTrainError, see Algorithm."""
        self.rule.fit(learner.net)
        if not learner.net.held:
            return
        name = min(learner.net.held)
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

    def adapt(self, learner: Learner, meta: Meta, support: Batch, steps: int) -> Descent:
        """Adapt to every task, without a graph; `meta` is left as it is."""
        self.rule.fit(learner.net)
        return descend(self.rule, learner, meta, support, steps)

    def walk(
        self, learner: Learner, meta: Meta, support: Batch, steps: int
    ) -> Iterator[tuple[Weights, Step]]:
        """Adapt to every task; yield the network's weights and losses at k = 0..steps."""
        self.rule.fit(learner.net)
        return walk(self.rule, learner, meta, support, steps)

    def meta_gradient(
        self,
        learner: Learner,
        meta: Meta,
        tasks: TaskBatch,
        draws: Draws,
        *,
        reading: bool = True,
    ) -> MetaStep:
        """Return mean meta-gradients of a batch of tasks; with all readings, or those at hand."""
        self.rule.fit(learner.net)
        case = Case(self.rule, learner, meta, tasks, self.steps, draws, reading)
        return self.estimator(case)

    def portraits(self, sitting: Sitting) -> Iterator[dict[str, np.ndarray]]:
        """Yield arrays that show what was learned, and the loss along adaptation."""
        self.rule.fit(sitting.learner.net)
        for arrays in (self.rule.portrait(sitting), slices(sitting, self.rule)):
            if arrays:
                yield arrays


def compose(rule: InnerRule, estimator: Estimator, steps: int) -> Composed:
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
    return Composed(rule, estimator, steps)
