"""Learning to tell all training classes apart, and few-shot classification by what that left."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from metaviz.charts.values import Chart
from metaviz.config.episodes import PlainBatches
from metaviz.config.quantities import Quantity, register_quantity
from metaviz.config.traits import Traits
from metaviz.meta.context import Context, Meta
from metaviz.meta.episodic import Episodic
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.heads import HEADS, HeadName, Heads, transformed
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.task_charts import first_embedding
from metaviz.meta.tasks import Batch
from metaviz.meta.vectors import unit
from metaviz.nets.base import Net, feature_count
from metaviz.nets.blocks import uniform
from metaviz.nets.layout import Layout, Params

TrainingHead = Literal["softmax", "cosine"]
MOMENTUM = 0.1
"""Share of a batch in running statistics after it, as PyTorch's BatchNorm has it."""
TRUNK, BASE, RUNNING = "init", "base", "running"
"""Groups of the network's weights, of the training classes' weights, and of what is carried on."""
CENTRE = "features.mean"
_TITLES: dict[HeadName, str] = {
    "un": "nearest mean",
    "l2n": "nearest mean, length 1",
    "cl2n": "nearest mean, centred, length 1",
    "cosine": "cosine",
    "logistic": "logistic regression",
}
ACCURACIES = {
    head: register_quantity(
        Quantity(
            f"accuracy_{head}",
            f"Query accuracy ({title})",
            better="larger",
            per="task",
            rounding=True,
        )
    )
    for head, title in _TITLES.items()
}
"""Quantities that evaluations hold of every head, by head."""


@dataclass(frozen=True)
class PlainModel:
    """A network that learned to tell all training classes apart, and a head for new classes.

    Groups: `init` the network, of which its own head is not used; `base` the weights of all
    training classes (C, d) and their biases; `running` the statistics of the network's
    normalisation and the mean feature, carried on with every batch and used for all predictions.
    """

    head: HeadName
    heads: Heads
    training: TrainingHead
    scale: float
    every_head: bool

    groups = frozenset({"init", "base"})
    transductive = False
    rowwise = False

    def init(self, learner: Learner, generator: torch.Generator) -> Meta:
        """Draw the network and the classes' weights; means begin at 0 and variances at 1."""
        net = learner.net
        return {
            "init": net.init(generator),
            "base": self._drawn(learner, generator),
            "running": _initial(running_layout(net)),
        }

    def _drawn(self, learner: Learner, generator: torch.Generator) -> Tensor:
        """Draw a linear layer as PyTorch does, or N(0, 2 / d) directions for cosines."""
        layout, d = self.base_layout(learner), feature_count(learner.net)
        if self.training == "cosine":
            normal = torch.randn(layout.size, generator=generator, dtype=torch.float64)
            return normal * math.sqrt(2 / d)
        return uniform(layout, d, generator)

    def base_layout(self, learner: Learner) -> Layout:
        """Return the weights of all training classes, (C, d), and for softmax biases (C,)."""
        classes = learner.classes
        weight = ("weight", (classes, feature_count(learner.net)))
        return Layout((weight,) if self.training == "cosine" else (weight, ("bias", (classes,))))

    def learn(self, learner: Learner, meta: Meta, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (tasks, n, C) of all training classes, and new running statistics.

        Normalisation is by the batch's statistics, and the mean feature is among the new ones.
        """
        net, tasks = learner.net, len(batch)
        z, seen = net.features_and_statistics(meta["init"].expand(tasks, -1), batch.x)
        base = self.base_layout(learner).split(meta["base"])
        if self.training == "cosine":
            logits = self.scale * unit(z) @ unit(base["weight"]).mT
        else:
            logits = z @ base["weight"].mT + base["bias"]
        now = {**seen, CENTRE: z.detach().mean(1)}
        flat = running_layout(net).join(now).mean(0)
        return logits, (1 - MOMENTUM) * meta["running"] + MOMENTUM * flat

    def predict(
        self, context: Context, meta: Meta, batch: Batch, *, alone: bool = False, maps: bool = False
    ) -> Prediction:
        """Predict by the head on the support sets' features; logits (tasks, n, ways)."""
        del alone  # examples stand alone anyway
        learner, support = context.learner, context.tasks.support
        known = features_of(learner.net, meta, support.x)
        asked = known if batch is support else features_of(learner.net, meta, batch.x)
        centre = running_layout(learner.net).split(meta["running"])[CENTRE]

        def logits(head: HeadName) -> Tensor:
            return self.heads.logits(head, known, support.y, asked, context.ways, centre)

        outputs = logits(self.head)
        readings = {}
        if self.every_head and batch is not support:
            for head in HEADS:
                found = outputs if head == self.head else logits(head)
                accuracy = learner.accuracy(found, batch)
                if accuracy is not None:
                    readings[ACCURACIES[head].id] = accuracy
        shown = {}
        if maps:
            known, asked = (transformed(self.head, z, centre) for z in (known, asked))
            shown = {"support": known, "query": asked}
        return Prediction(outputs, shown, readings)

    def charts(self, context: Context, meta: Meta) -> Iterator[Chart]:
        """Yield where the first task's features and their means lie."""
        first = context[:1]
        yield first_embedding(first, self.predict(first, meta, first.tasks.query, maps=True).maps)


@dataclass(frozen=True)
class PlainClassification(Episodic):
    """A method that learns from plain batches, and is judged by episodes of new classes."""

    model: PlainModel
    smoothing: float = 0.0

    @property
    @override
    def traits(self) -> Traits:
        return Traits(inner_loop="none", shares_rate=False, inductive=True)

    @override
    def meta_gradient(self, context: Context, meta: Meta) -> MetaStep:
        """Return the gradient of the mean cross-entropy over all training classes.

        The batch is the query set. With label smoothing s the target is (1 - s) of the right class
        and s / C of each; the loss that is read is the plain one all the same.
        """
        learner, batch = context.learner, context.tasks.query
        leaves = {name: meta[name].detach().requires_grad_() for name in sorted(self.model.groups)}
        logits, running = self.model.learn(learner, {**meta, **leaves}, batch)
        losses = _cross_entropies(logits, batch.y)
        aim = losses.mean(1)
        if self.smoothing:
            flat = -torch.log_softmax(logits, 2).mean(2).mean(1)
            aim = (1 - self.smoothing) * aim + self.smoothing * flat
        gradients = torch.autograd.grad(aim.mean(), list(leaves.values()))
        readings = {
            "post_query_loss": losses.detach().mean(1),
            "post_query_accuracy": _accuracies(logits, batch.y),
        }
        empty = losses.new_empty(0, len(batch))
        curve = empty
        if context.reading and context.tasks.support.x.shape[1]:
            with torch.no_grad():
                support = context.tasks.support
                known, _ = self.model.learn(learner, meta, support)
            readings["post_support_loss"] = _cross_entropies(known, support.y).mean(1)
            readings["post_support_accuracy"] = _accuracies(known, support.y)
            curve = readings["post_support_loss"].unsqueeze(0)
        return MetaStep(
            dict(zip(leaves, gradients, strict=True)),
            readings,
            curve,
            empty,
            1,
            replaced={"running": running.detach()},
        )


def plain_classification(model: PlainModel, batch: int, smoothing: float) -> PlainClassification:
    """Return the method that trains a model on batches of so many examples."""
    return PlainClassification(model=model, episodes=PlainBatches(batch), smoothing=smoothing)


def features_of(net: Net, meta: Meta, x: Tensor) -> Tensor:
    """Return features (tasks, n, d) by running statistics, so that examples stand alone."""
    weights = {
        **net.layout.split(meta[TRUNK][None]),
        **running_layout(net).split(meta[RUNNING][None]),
    }
    found: Tensor = net.features(weights, x.flatten(0, 1)[None])[0].unflatten(0, x.shape[:2])
    return found


def running_layout(net: Net) -> Layout:
    """Return the running statistics of a network, and its mean feature."""
    return Layout((*net.running.shapes, (CENTRE, (feature_count(net),))))


def _initial(layout: Layout) -> Tensor:
    params: Params = {
        name: torch.full(shape, float(name.endswith("variance")), dtype=torch.float64)
        for name, shape in layout.shapes
    }
    return layout.join(params)


def _cross_entropies(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each example, (tasks, n)."""
    losses = functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    return losses.view_as(y)


def _accuracies(logits: Tensor, y: Tensor) -> Tensor:
    return (logits.detach().argmax(2) == y).to(logits.dtype).mean(1)
