"""What the engine asks of a task family."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError
from metaviz.config.run_config import Shared
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.meta.trust_region import TrustRegion
from metaviz.nets.base import Net
from metaviz.nets.spec import NetSpec, build
from metaviz.problems.stream import drawn_places

PredictSteps = Callable[[TaskBatch], Tensor]
"""Predicts the query examples of tasks after k = 0, 1, ... inner steps, (steps, tasks, n, d), on
the CPU."""


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
    evaluation_query: int | None
    """Query examples of an evaluation task, where they are not as many as asked for."""
    compiles: bool
    """Whether a meta-step has few enough operations to be translated to machine code."""
    trust_region: TrustRegion | None
    """How far an outer step may change policies, None where the outer optimiser takes it."""

    @property
    def parent(self) -> dict[str, str]:
        """The run that its data are made with: `run`, `kind` and hash; empty for most."""

    @property
    def base(self) -> Tensor | None:
        """The weights (C, d) with which a backbone told the base classes of its features apart."""

    def net_spec(self) -> NetSpec:
        """Describe the network that is adapted."""

    def net(self) -> Net:
        """Return the network that is adapted."""

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return tasks first..first+count-1 of a split, always the same, on the CPU in float64.

        Problems with classes draw them in another shape, where one is given.

        Images come as float32, which holds their 256 levels exactly, or as the levels themselves,
        and on the device that the problem was placed on where it keeps them there.
        """

    def check_training(self, shape: EpisodeShape, method: str) -> None:
        """Refuse training episodes that there are no data for. Raises: OptionError."""

    def sizes(self, split: str) -> np.ndarray:
        """Return how many examples each class of a split has, by its number; none in regression."""

    def examples(self, split: str, first: int, count: int, *, drawn: bool = True) -> Batch:
        """Return examples of all classes of a split as one task; y is the number of the class.

        Drawn: numbers first.. of an endless row in which each epoch has every example once, in an
        order of its own; those of training are changed as images of training episodes are. Else:
        as they are, class by class.
        Raises: OptionError where there are no classes.
        """

    def place(self, device: torch.device) -> None:
        """Learn on which device tasks will be used, so that data can be kept there."""

    def expect(self, steps: int, eval_steps: int) -> None:
        """Learn how many inner steps training and evaluations take, where each sees other data.

        Whatever was drawn for fewer steps stays as it is.
        """

    def bytes_of(self, tasks: int, steps: int, *, evaluating: bool) -> int:
        """Return about how many bytes so many tasks, and K steps of one of them, take at least."""

    def evaluation_tasks(self, first: int, count: int) -> TaskBatch:
        """Return tasks of the fixed evaluation list."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return mean losses, shape (tasks,)."""

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the share of right answers, shape (tasks,)."""

    def pool(self, tasks: TaskBatch) -> Batch:
        """Return support and query examples as one set."""

    def shown(self, x: Tensor) -> np.ndarray:
        """Return examples as they are shown: images as 8-bit levels, numbers as they are."""

    def picture(self, predict: PredictSteps) -> dict[str, np.ndarray]:
        """Return arrays that draw adaptation on a few fixed tasks; empty where nothing is drawn."""


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
    evaluation_query: int | None = None
    compiles = True
    trust_region: TrustRegion | None = None

    @property
    def parent(self) -> dict[str, str]:
        """Nothing: no other run is needed."""
        return {}

    @property
    def base(self) -> Tensor | None:
        """None: these are no features."""
        return None

    @abstractmethod
    def net_spec(self) -> NetSpec:
        """Describe the network that is adapted."""

    def net(self) -> Net:
        """Return the network that is adapted."""
        return build(self.net_spec())

    def shown(self, x: Tensor) -> np.ndarray:
        """Return numbers as they are."""
        return x.cpu().numpy()

    def check_training(self, shape: EpisodeShape, method: str) -> None:
        """Refuse: there are no classes. Raises: OptionError."""
        del shape
        raise OptionError(method, f"{method} tells classes apart, and this problem has none.")

    def sizes(self, split: str) -> np.ndarray:
        """Return nothing: there are no classes."""
        del split
        return np.empty(0, np.int64)

    def examples(self, split: str, first: int, count: int, *, drawn: bool = True) -> Batch:
        """Refuse: there are no classes. Raises: OptionError."""
        del split, first, count, drawn
        raise OptionError("problem", "This problem has no classes, and so no examples of them.")

    def place(self, device: torch.device) -> None:
        """Do nothing: tasks are drawn, not kept."""
        del device

    def expect(self, steps: int, eval_steps: int) -> None:
        """Learn how many inner steps training and evaluations take, where each sees other data."""
        del steps, eval_steps

    def bytes_of(self, tasks: int, steps: int, *, evaluating: bool) -> int:
        """Return about how many bytes so many tasks, and K steps of one of them, take at least.

        0 where batches of any shape fit.
        """
        del tasks, steps, evaluating
        return 0

    def picture(self, predict: PredictSteps) -> dict[str, np.ndarray]:
        """Return nothing: the inner-loop curves show all there is."""
        del predict
        return {}


class ClassificationJudge:
    """Judges classifications by cross-entropy and accuracy."""

    has_accuracy = True

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return mean cross-entropies in nats, shape (tasks,)."""
        return cross_entropy(outputs, batch)

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the share of right answers, shape (tasks,)."""
        return classification_accuracy(outputs, batch)

    def pool(self, tasks: TaskBatch) -> Batch:
        """Return support and query examples together."""
        return concatenated(tasks)


class Classification(ClassificationJudge, Family):
    """What all families of classification tasks share: cross-entropy and accuracy.

    `layout` says in words how the data are kept; `size` is an image's height and width.
    """

    dataset: str
    layout: str
    size: tuple[int, int]
    seed: int
    shape: EpisodeShape
    """Of evaluation, and of training unless a method asks for another."""
    stream: str
    """What names the family's random numbers."""
    held_out = "test"
    """The split of the evaluation tasks."""

    @abstractmethod
    def counts(self) -> dict[str, np.ndarray]:
        """Return the number of images of every class, by split."""

    @abstractmethod
    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return tasks, as every problem does."""

    def sizes(self, split: str) -> np.ndarray:
        """Return the number of examples of every class, where no option makes more classes."""
        return self.counts()[split]

    def examples(self, split: str, first: int, count: int, *, drawn: bool = True) -> Batch:
        """Return examples of all classes of a split, see Problem."""
        sizes = self.sizes(split)
        places, numbers = np.arange(first, first + count), None
        if drawn:
            purpose = f"{self.stream} examples {split}"
            places = drawn_places(self.seed, purpose, first, count, int(sizes.sum()))
            numbers = first if split == "train" else None
        ends = sizes.cumsum()
        classes = ends.searchsorted(places, side="right")
        images = places - (ends - sizes)[classes]
        x = self._images_of(split, classes, images, numbers)
        return Batch(x.unsqueeze(0), torch.from_numpy(classes).unsqueeze(0))

    @abstractmethod
    def _images_of(
        self, split: str, classes: np.ndarray, images: np.ndarray, number: int | None
    ) -> Tensor:
        """Return images (n, ...) of classes by their numbers within these.

        They are numbers `number`.. of the row of training examples, by which their random changes
        are drawn; None for images as they are.
        """

    def evaluation_tasks(self, first: int, count: int) -> TaskBatch:
        """Return episodes of classes that training never shows."""
        return self.tasks(self.held_out, first, count)

    def check_training(self, shape: EpisodeShape, method: str) -> None:
        """Refuse training episodes that the training classes do not fill. Raises: OptionError."""
        counts = self.counts()["train"]
        enough = int((counts >= shape.examples).sum())
        if not enough:
            raise OptionError(
                f"{method}.train_query",
                f"{method}.train_shots + {method}.train_query = {shape.examples} is more than the "
                f"{counts.max()} images of a training class: use at most {counts.max()} together.",
            )
        if shape.ways > enough:
            raise OptionError(
                f"{method}.train_ways",
                f"{method}.train_ways = {shape.ways} is more than the {enough} training classes "
                f"with {shape.examples} images: use at most {enough}.",
            )

    def shown(self, x: Tensor) -> np.ndarray:
        """Return images as 8-bit levels."""
        if x.is_floating_point():
            x = (x * 255).round().clamp(0, 255).to(torch.uint8)
        return super().shown(x)


def concatenated(tasks: TaskBatch) -> Batch:
    """Return support and query examples one after another, as one set that stands alone.

    Where the support set has rounds, the query set is the same in all of them.
    """
    support, x = tasks.support, tasks.query.x
    if support.rounds > 1:
        x = x.unsqueeze(2).expand(*x.shape[:2], support.rounds, *x.shape[2:])
    both = torch.cat([support.x, x], 1)
    return Batch(both, torch.cat([support.y, tasks.query.y], 1), rounds=support.rounds)
