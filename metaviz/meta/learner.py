"""What is adapted: a network and a loss, seen as a function of flat weights."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.base import Net
from metaviz.nets.layout import Layout, Weights


class Judge(Protocol):
    """Turns outputs into one loss, and where it applies one accuracy, per task."""

    has_accuracy: bool

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return mean losses, shape (tasks,)."""

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the share of right answers, shape (tasks,); only where `has_accuracy`."""

    def pool(self, tasks: TaskBatch) -> Batch:
        """Return support and query examples as one set, for methods that do not tell them apart."""


@runtime_checkable
class Measures(Protocol):
    """A judge that tells more of outputs than their loss."""

    def measures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return numbers of each task, shape (tasks,), by what their quantities' ids end with."""


@dataclass(frozen=True)
class Learner:
    """A network and its judge. Flat weights have the shape (tasks, P)."""

    net: Net
    judge: Judge
    resting: frozenset[str] = frozenset()
    """Tensors that a method's inner steps leave alone, besides those that the network holds."""
    classes: int = 0
    """Training classes in all, for methods that tell all of them apart."""
    base: Tensor | None = None
    """The weights (C, d) with which a backbone told the base classes of its features apart."""

    @property
    def has_residuals(self) -> bool:
        """Whether outputs minus targets are residuals: a policy's are not."""
        return not isinstance(self.judge, Measures)

    @cached_property
    def held(self) -> frozenset[str]:
        """Tensors that inner steps leave where they are, though they are meta-learned."""
        return self.net.held | self.resting

    def outputs(self, weights: Weights, batch: Batch) -> Tensor:
        """Return the network's outputs, shape (tasks, n, d), on the first round of a batch."""
        batch = batch.at(0)
        return self.net(weights, batch.x, batch.beside)

    def adapted(self, gradient: Tensor) -> Tensor:
        """Return gradients (..., P) with zeros for the weights that inner steps leave alone."""
        if not self.held:
            return gradient
        mask = _adapted(self.net.layout, self.held, gradient.device, gradient.dtype)
        return gradient * mask

    def losses(self, weights: Weights, batch: Batch) -> Tensor:
        """Return mean losses, shape (tasks,), on the first round of a batch."""
        batch = batch.at(0)
        return self.judge.loss(self.outputs(weights, batch), batch)

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor | None:
        """Return accuracies, shape (tasks,), or None in regression."""
        if not self.judge.has_accuracy:
            return None
        return self.judge.accuracy(outputs.detach(), batch)

    def measures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return what is told of outputs besides the loss: an accuracy, a return, or nothing."""
        accuracy = self.accuracy(outputs, batch)
        if accuracy is not None:
            return {"accuracy": accuracy}
        if isinstance(self.judge, Measures):
            return self.judge.measures(outputs.detach(), batch)
        return {}


@lru_cache(maxsize=8)
def _adapted(
    layout: Layout, held: frozenset[str], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Return 1 for each weight that inner steps move and 0 for each that they hold, (P,)."""
    pieces = [
        torch.full((size,), float(name not in held), dtype=dtype)
        for (name, _), size in zip(layout.shapes, layout.sizes, strict=True)
    ]
    return torch.cat(pieces).to(device)
