"""What the engine asks of a task family."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metaviz.config.run_config import Shared
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.base import Net
from metaviz.nets.layout import Weights
from metaviz.nets.spec import NetSpec, build


class Problem(Protocol):
    """A family of tasks, the loss that judges them and the network that is adapted to them."""

    dataset: str
    """The usual name of the data, for instance miniImageNet."""
    has_accuracy: bool
    chunk: int
    """Tasks that are evaluated at once; large tasks come in small chunks, to bound memory."""
    shards: int
    """Parts into which a meta-batch is split on a CPU with several cores; 1 for small networks."""

    remarks: tuple[str, ...]
    """What a person should know about the data, for instance what was left out; often empty."""

    def net_spec(self) -> NetSpec:
        """Describe the network that is adapted."""

    def net(self) -> Net:
        """Return the network that is adapted."""

    def tasks(self, split: str, first: int, count: int) -> TaskBatch:
        """Return tasks first..first+count-1 of a split, always the same, on the CPU in float64.

        Images come as float32, which holds their 256 levels exactly, or as the levels themselves,
        and on the device that the problem was placed on where it keeps them there.
        """

    def place(self, device: torch.device) -> None:
        """Learn on which device tasks will be used, so that data can be kept there."""

    def evaluation_tasks(self, first: int, count: int) -> TaskBatch:
        """Return tasks of the fixed evaluation list."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return mean losses, shape (tasks,)."""

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the share of right answers, shape (tasks,)."""

    def pool(self, tasks: TaskBatch) -> Batch:
        """Return support and query examples as one set."""

    def shown(self, x: Tensor) -> np.ndarray:
        """Return examples as they are looked at: images as 8-bit levels, numbers as they are."""

    def picture(self, view: "PictureView") -> dict[str, np.ndarray]:
        """Return arrays that draw adaptation on a few fixed tasks; empty where nothing is drawn."""


class PictureView(Protocol):
    """Adapts to tasks for a picture and keeps every step."""

    learner: Learner

    def adapt(self, support: Batch) -> list[Weights]:
        """Return the network's weights at k = 0..K_eval."""

    def prepare(self, batch: Batch) -> Batch:
        """Move a batch to the device and type of the run."""


class ProblemFactory(Protocol):
    """Builds a problem from its checked options."""

    def __call__(self, options: Any, shared: Shared, seed: int) -> Problem:
        """Return the problem.

        Raises: ValueError with one sentence where data are missing or cannot be read.
        """


def mean_squared_error(outputs: Tensor, batch: Batch) -> Tensor:
    """Return the mean over examples and dimensions of (output - target)^2, without 1/2."""
    error = outputs - batch.y
    return (error * error).mean(dim=(1, 2))


def cross_entropy(outputs: Tensor, batch: Batch) -> Tensor:
    """Return the mean cross-entropy in nats over examples, shape (tasks,)."""
    logs = torch.log_softmax(outputs, dim=2)
    return -logs.gather(2, batch.y.unsqueeze(2)).mean(dim=(1, 2))


def classification_accuracy(outputs: Tensor, batch: Batch) -> Tensor:
    """Return the share of examples whose largest output is the right class, shape (tasks,)."""
    return (outputs.argmax(dim=2) == batch.y).to(outputs.dtype).mean(dim=1)


class Family(ABC):
    """What most families share: numbers are shown as they are, nothing is kept, nothing drawn."""

    remarks: tuple[str, ...] = ()

    @abstractmethod
    def net_spec(self) -> NetSpec:
        """Describe the network that is adapted."""

    def net(self) -> Net:
        """Return the network that is adapted."""
        return build(self.net_spec())

    def shown(self, x: Tensor) -> np.ndarray:
        """Return numbers as they are."""
        return x.cpu().numpy()

    def place(self, device: torch.device) -> None:
        """Do nothing: tasks are drawn, not kept."""
        del device

    def picture(self, view: PictureView) -> dict[str, np.ndarray]:
        """Return nothing: the inner-loop curves say what there is to say."""
        del view
        return {}


class Classification(Family):
    """What all families of classification tasks share: cross-entropy and accuracy.

    `layout` says in words how the data are kept; `size` is an image's height and width.
    """

    has_accuracy = True
    dataset: str
    layout: str
    size: tuple[int, int]

    @abstractmethod
    def counts(self) -> dict[str, np.ndarray]:
        """Return the number of images of every class, by split."""

    @abstractmethod
    def tasks(self, split: str, first: int, count: int) -> TaskBatch:
        """Return tasks, as every problem does."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return mean cross-entropies in nats, shape (tasks,)."""
        return cross_entropy(outputs, batch)

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the share of right answers, shape (tasks,)."""
        return classification_accuracy(outputs, batch)

    def pool(self, tasks: TaskBatch) -> Batch:
        """Return support and query examples together."""
        return concatenated(tasks)

    def shown(self, x: Tensor) -> np.ndarray:
        """Return images as 8-bit levels."""
        if x.is_floating_point():
            x = (x * 255).round().clamp(0, 255).to(torch.uint8)
        return super().shown(x)


def concatenated(tasks: TaskBatch) -> Batch:
    """Return support and query examples one after another, as one set that stands alone."""
    return Batch(
        torch.cat([tasks.support.x, tasks.query.x], 1),
        torch.cat([tasks.support.y, tasks.query.y], 1),
    )
