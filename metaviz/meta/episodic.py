"""Methods without an inner loop: one pass over the support set gives the predictor."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from metaviz.charts.values import Chart
from metaviz.config.episodes import PlainBatches, TrainingEpisodes
from metaviz.config.quantities import Quantity, register_quantity
from metaviz.config.traits import Traits
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Adapted, Prediction, Seen
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Net
from metaviz.nets.layout import Weights

OBJECTIVE = register_quantity(
    Quantity("training_objective", "Training objective", better="smaller")
)
"""What training minimises, where that is not the query loss."""


class Model(Protocol):
    """What a method without an inner loop learns, and how it predicts with that."""

    groups: frozenset[str]
    """The groups of meta-parameters that are trained; others stay as they were drawn."""
    transductive: bool
    """Whether predictions of query examples depend on the other ones, whatever the network."""
    rowwise: bool
    """Whether every task may have meta-parameters of its own, shape (tasks, P)."""

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw meta-parameters, flat float64 vectors by group."""

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Predict the examples of a batch from the context's support sets, with a graph.

        With `alone` the batch has one example per task, which is embedded beside the support set.
        """

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield charts of what was learned."""


Objective = Callable[[Context, Prediction, Batch], Tensor]
"""Returns what training minimises, (tasks,), of the query set's prediction, which has its maps."""
Term = Callable[[Context, Meta], Tensor]
"""Returns what is added to that, (tasks,), whatever is predicted."""


@dataclass(frozen=True)
class Episodic:
    """A method that learns by predicting the query sets of episodes.

    A meta-step is the gradient of the mean query loss, or of an objective of the method's own,
    and of further terms, each read as a quantity by its id; their sum is then read as the quantity
    `training_objective`. There are no inner steps.
    """

    model: Model
    episodes: TrainingEpisodes | PlainBatches = field(default_factory=TrainingEpisodes)
    objective: Objective | None = None
    terms: Mapping[str, Term] = field(default_factory=dict)

    steps = 0
    rate = None
    network = "init"
    any_ways = True
    """Whether it tells any number of classes apart, not only as many as in training."""

    @property
    def traits(self) -> Traits:
        """What is true of the method."""
        return Traits(
            inner_loop="none",
            shares_rate=False,
            transductive=self.model.transductive,
            rowwise=self.model.rowwise,
        )

    def rests(self, net: Net) -> frozenset[str]:
        """Return nothing: there are no inner steps."""
        del net
        return frozenset()

    def scaled(self, factor: float) -> "Episodic":
        """Return itself: there are no inner steps."""
        del factor
        return self

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw meta-parameters, flat float64 vectors by group."""
        return self.model.init(learner, generator)

    def fit(self, learner: Learner) -> None:
        """Do nothing: it learns whatever the network holds."""

    def trained(self) -> frozenset[str]:
        """Return the groups that meta-training changes by gradients: all."""
        return self.model.groups

    def adapt(self, context: Context, meta: Meta) -> Iterator[Adapted]:
        """Yield one predictor, with its loss on its own support sets."""
        support = context.tasks.support
        with torch.no_grad():
            shown = self.model.predict(context, meta, support)
        loss = context.learner.judge.loss(shown.outputs, support)
        yield FromSupport(self.model, context, meta, Seen(loss, shown))

    def meta_gradient(self, context: Context, meta: Meta) -> MetaStep:
        """Return the gradient of the mean query loss; everything is read at every step."""
        learner, tasks = context.learner, context.tasks
        given = {name: value.detach() for name, value in meta.items()}
        leaves = {name: given[name].requires_grad_() for name in meta if name in self.trained()}
        readings: dict[str, Tensor] = {}

        def read(name: str, batch: Batch) -> Tensor:
            own = self.objective if name == "query" else None
            found = self.model.predict(context, given, batch, maps=own is not None)
            loss = learner.judge.loss(found.outputs, batch)
            readings[f"post_{name}_loss"] = loss.detach()
            accuracy = learner.accuracy(found.outputs, batch)
            if accuracy is not None:
                readings[f"post_{name}_accuracy"] = accuracy
            if name == "query":
                readings.update({key: value.detach() for key, value in found.readings.items()})
            if own is not None:
                loss = own(context, found, batch)
            for key, term in self.terms.items() if name == "query" else ():
                value = term(context, given)
                readings[key] = value.detach()
                loss = loss + value
            if name == "query" and (own is not None or self.terms):
                readings[OBJECTIVE.id] = loss.detach()
            return loss

        loss = read("query", tasks.query)
        gradients = _gradients(loss.mean(), list(leaves.values()))
        empty = loss.new_empty(0, len(tasks))
        curve = empty
        if context.reading:
            with torch.no_grad():
                curve = read("support", tasks.support).unsqueeze(0)
        return MetaStep(dict(zip(leaves, gradients, strict=True)), readings, curve, empty, 1)

    def pictures(self, context: Context, meta: Meta) -> Iterator[dict[str, np.ndarray]]:
        """Yield nothing: there is no inner loop."""
        del context, meta
        yield from ()

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield the model's charts, without a graph."""
        with torch.no_grad():
            yield from list(self.model.charts(context, meta))


def _gradients(loss: Tensor, leaves: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return derivatives; zeros where a network without weights leaves nothing to learn."""
    if not loss.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)


@dataclass(frozen=True)
class FromSupport:
    """A predictor that uses the support sets for every prediction."""

    model: Model
    context: Context
    meta: Meta
    seen: Seen
    weights: Weights | None = None

    @torch.no_grad()
    def predict(self, batch: Batch, *, alone: bool = False, maps: bool = False) -> Prediction:
        """Predict together, or each example by itself beside the support set."""
        if not alone:
            return self.model.predict(self.context, self.meta, batch, maps=maps)
        parts = [
            self.model.predict(self.context, self.meta, batch.examples(slice(n, n + 1)), alone=True)
            for n in range(batch.x.shape[1])
        ]
        readings = {
            name: torch.stack([part.readings[name] for part in parts]).mean(0)
            for name in parts[0].readings
        }
        return Prediction(torch.cat([part.outputs for part in parts], 1), readings=readings)
