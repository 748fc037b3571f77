"""A problem without its data: what a stored run needs to predict for examples that are given."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.spec import NetSpec
from metaviz.problems.base import (
    ClassificationJudge,
    Family,
    Problem,
    concatenated,
    mean_squared_error,
)
from metaviz.problems.features import FeatureOptions, Features, of_vectors
from metaviz.problems.image_options import ImageOptions
from metaviz.problems.images import restored
from metaviz.problems.normalising import paired
from metaviz.problems.registry import RegisteredProblem, find_problem
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import StoreError
from metaviz.training.prediction.examples import Given


class _StandIn(Family):
    """Stands for the problem of a run; its data are read only where a method needs them."""

    chunk = 1
    shards = 1
    dataset = ""

    def __init__(self, record: Record, config: RunConfig, spec: NetSpec) -> None:
        """Take the run, its configuration, and what its weights belong to."""
        self.record, self.config, self.spec = record, config, spec
        self.registered: RegisteredProblem = find_problem(config.problem)
        self.options = self.registered.checked(dict(config.problem_options))

    @override
    def net_spec(self) -> NetSpec:
        return self.spec

    @cached_property
    def real(self) -> Problem:
        """The problem with its data. Raises: StoreError where these cannot be read."""
        try:
            return self.registered.factory(self.options, self.config.shared, self.config.seed)
        except ValueError as error:
            raise StoreError(
                f"{self.record.id} predicts with something of its training data, which cannot be "
                f"read: {error}"
            ) from error

    @property
    @override
    def base(self) -> Tensor | None:
        return self.real.base

    @override
    def sizes(self, split: str) -> np.ndarray:
        known = self.record.resolved.get("training_examples")
        if isinstance(known, Mapping) and isinstance(known.get("classes"), int):
            return np.ones(known["classes"], np.int64)  # how many of each is not asked
        return self.real.sizes(split)

    @override
    def check_training(self, shape: EpisodeShape, method: str) -> None:
        del shape, method  # nothing is trained

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Refuse: there are no data."""
        raise NotImplementedError("A stand-in has no tasks.")

    def evaluation_tasks(self, first: int, count: int) -> TaskBatch:
        """Refuse: there are no data."""
        raise NotImplementedError("A stand-in has no tasks.")

    def shown_as_given(self, x: Tensor) -> np.ndarray:
        """Return examples as pages show them."""
        if len(self.example_shape) == 1:
            return self.shown(x)
        if isinstance(self.options, ImageOptions) and self.options.normalise != "unit":
            x = restored(x)
        return self.shown((x * 255).round().clamp(0, 255).to(torch.uint8))

    def inputs(self, given: Given, part: str) -> Tensor:
        """Return given examples as those of the problem's tasks, (1, n, *features).

        Raises: OptionError with one sentence where they are of another kind or shape.
        """
        shape = self.example_shape
        images = given.pictures()
        if images:
            of_pictures: Any = getattr(self.registered.factory, "of_pictures", None)
            if of_pictures is None:
                raise OptionError(
                    part,
                    f"{self.config.problem} has no pictures: give {part} examples as an .npz file.",
                )
            found: Tensor = of_pictures(self.options, images, shape[-1])
            return found.unsqueeze(0)
        x = np.asarray(given.examples)
        if x.ndim == 1 and shape == (1,):
            x = x[:, None]
        if x.shape[1:] != shape:
            raise OptionError(
                part,
                f"{part} examples have the shape {x.shape[1:]}, and those of {self.record.id} "
                f"{shape}.",
            )
        return self._values(x).unsqueeze(0)

    def _values(self, x: np.ndarray) -> Tensor:
        """Return an array as tasks hold their examples: numbers as they are, features changed."""
        values = torch.from_numpy(np.array(x, dtype=np.float64))
        if not isinstance(self.options, FeatureOptions):
            return values
        mean = None
        if self.options.centre:
            real = self.real
            mean = real.mean if isinstance(real, Features) else None
        return of_vectors(self.options, np.array(x, dtype=np.float32), mean)

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one example. Raises: OptionError where runs take none of a person's."""
        options = self.spec.options
        if "image" in options:
            return int(options["in_channels"]), int(options["image"]), int(options["image"])
        if self.spec.id == "linear" and isinstance(self.options, FeatureOptions):
            return (int(options["inputs"]),)
        if self.spec.id == "mlp" and "x_low" in type(self.options).model_fields:
            return (int(options["widths"][0]),)
        if isinstance(options.get("example"), list):
            return tuple(map(int, options["example"]))
        raise OptionError(
            "run",
            f"{self.record.id} is a run on {self.config.problem}, whose tasks have no examples "
            "that could be given: use a run on pictures, features, sinusoids or their mixture.",
        )


class GivenClasses(ClassificationJudge, _StandIn):
    """Stands for a problem whose tasks tell classes apart."""


class GivenValues(_StandIn):
    """Stands for a problem of regression."""

    has_accuracy = False

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return mean squared errors, shape (tasks,)."""
        return mean_squared_error(outputs, batch)

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Refuse: regression has no accuracy."""
        raise NotImplementedError("Regression has no accuracy.")

    def pool(self, tasks: TaskBatch) -> Batch:
        """Return support and query points together."""
        return concatenated(tasks)


def stand_in(record: Record, config: RunConfig, spec: NetSpec) -> GivenClasses | GivenValues:
    """Return what stands for a run's problem. Raises: OptionError, see `example_shape`."""
    entry = find_problem(config.problem).entry
    kind = GivenClasses if entry.has_accuracy else GivenValues
    made = kind(record, config, spec)
    _ = made.example_shape
    return made


def task_of(
    problem: GivenClasses | GivenValues, support: Given, query: Given, classes: tuple[str, ...]
) -> TaskBatch:
    """Return given examples as one task. Raises: OptionError with one sentence."""
    x, asked = problem.inputs(support, "support"), problem.inputs(query, "query")
    if problem.has_accuracy:
        numbers = [support.numbered(classes), np.zeros(len(query), np.int64)]
        y, unknown = (torch.from_numpy(part).unsqueeze(0) for part in numbers)
    else:
        targets = _targets(support)
        y = torch.from_numpy(targets).unsqueeze(0)
        unknown = torch.zeros(1, len(query), targets.shape[1], dtype=torch.float64)
    by_support = problem.config.problem_options.get("norm") == "support"
    return paired(Batch(x, y), Batch(asked, unknown), "support" if by_support else "batch")


def _targets(support: Given) -> np.ndarray:
    """Return targets (n, d). Raises: OptionError."""
    if isinstance(support.labels, np.ndarray):
        return np.asarray(support.labels, dtype=np.float64)
    told = [label for label in support.labels if label is not None]
    try:
        numbers = [float(label) for label in told]
    except ValueError:
        numbers = []
    if len(numbers) != len(support):
        raise OptionError("support", "support_y is missing: give a number for each row of x.")
    return np.array(numbers, dtype=np.float64)[:, None]
