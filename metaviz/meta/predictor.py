"""What adaptation yields: a predictor, and what was seen on the way to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch
from metaviz.nets.layout import Weights


@dataclass(frozen=True)
class Prediction:
    """What is predicted for the examples of a batch.

    Shapes: outputs (tasks, n, d), in the judge's form (logits or values), without noise. `maps`
    hold what charts need (prototypes, embeddings, attention) with the tasks axis first, and are
    empty unless they were asked for; `probabilities` (tasks, n, ways) among them are the method's
    own, where the softmax of its outputs is not exactly those.
    `readings` are quantities of the method's own by id, means over the examples, shape (tasks,).
    Where a method says how sure it is, `samples` (M, tasks, n, d) are predictions by draws from
    what it holds possible, or `variance` (tasks, n, d) is their variance in closed form; in
    regression `noise` (tasks,) is the variance of observations about them.
    """

    outputs: Tensor
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    readings: Mapping[str, Tensor] = field(default_factory=dict)
    samples: Tensor | None = None
    variance: Tensor | None = None
    noise: Tensor | None = None


@dataclass(frozen=True)
class Seen:
    """What adaptation saw of the support set in a state. Tensors are detached.

    Shapes: loss (tasks,); gradient_norm (tasks,), None where there is no gradient.
    """

    loss: Tensor
    support: Prediction
    gradient_norm: Tensor | None = None


class Adapted(Protocol):
    """One state of adaptation: a predictor for examples of the same tasks."""

    @property
    def weights(self) -> Weights | None:
        """The network's weights, where predictions are those of one network, else None."""

    @property
    def seen(self) -> Seen | None:
        """What was seen of the support set, where the method uses it."""

    def predict(self, batch: Batch, *, alone: bool = False, maps: bool = False) -> Prediction:
        """Predict the examples of a batch, without a graph.

        As one batch, or with `alone` each by itself beside the support set: then no prediction
        depends on the other examples.
        """


@dataclass(frozen=True)
class AdaptedNetwork:
    """A network with weights that were adapted to the support sets."""

    learner: Learner
    support: Batch
    weights: Weights
    seen: Seen

    @torch.no_grad()
    def predict(self, batch: Batch, *, alone: bool = False, maps: bool = False) -> Prediction:
        """Return the network's outputs."""
        del maps

        def outputs(examples: Batch) -> Tensor:
            return self.learner.outputs(self.weights, examples)

        return Prediction(one_by_one(outputs, self.support, batch) if alone else outputs(batch))


def one_by_one(outputs: Callable[[Batch], Tensor], support: Batch, batch: Batch) -> Tensor:
    """Predict every example beside its task's support set, shape (tasks, n, d).

    Where statistics are those of the support set alone, examples do not see each other.
    """
    if batch.beside is not None:
        return outputs(batch)
    predicted, support = [], support.at(0)
    for number in range(batch.x.shape[1]):
        x = torch.cat([support.x, batch.x[:, number : number + 1]], 1)
        y = torch.cat([support.y, batch.y[:, number : number + 1]], 1)
        predicted.append(outputs(Batch(x, y))[:, -1])
    return torch.stack(predicted, 1)
