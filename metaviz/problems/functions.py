"""Families of functions of one number, of which a task is one function at a few points."""

import math
from abc import abstractmethod
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metaviz.config.cells import VECTOR_CELL, VECTOR_OPERATIONS
from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.spec import NetSpec, net_spec
from metaviz.problems.base import Family, PredictSteps, concatenated, mean_squared_error
from metaviz.problems.stream import normals, uniforms

EVALUATION_POINTS = 100
PICTURED_TASKS = 6
PICTURED_POINTS = 200
USUAL_CELLS = 2


AMPLITUDE_LOW = option(0.1, "Smallest amplitude", "A is uniform in this range.", ge=0, le=1000)
AMPLITUDE_HIGH = option(5.0, "Largest amplitude", "A is uniform in this range.", gt=0, le=1000)
PHASE_HIGH = option(
    math.pi, "Largest phase", "p is uniform in [0, this].", unit="rad", ge=0, le=1000
)
X_LOW = option(-5.0, "Smallest input", "x is uniform in this range.", ge=-1000, le=1000)
X_HIGH = option(5.0, "Largest input", "x is uniform in this range.", ge=-1000, le=1000)
HIDDEN = option(40, "Hidden units", "Width of the two hidden layers of the network.", ge=1, le=4096)
ACTIVATION = option("relu", "Activation", "Non-linearity of the hidden layers.")
CELL = option(
    None,
    "Cell",
    "A network of cells takes the place of hidden layers: blocks of two operations that are added, "
    f"with | between, like {VECTOR_CELL}. 0 is what the cell before gave, 1 what the one before "
    f"that gave, 2 the first block of the same cell; {', '.join(VECTOR_OPERATIONS[1:])} have a "
    "linear layer before them. Empty: two hidden layers.",
    operations=VECTOR_OPERATIONS,
)
CELLS = option(
    None,
    "Number of cells",
    f"How many follow each other, where there is a cell. Empty: {USUAL_CELLS}.",
    ge=1,
    le=20,
)
"""Options that families of sinusoids share. Each puts them where its stored columns are."""


def noise_option(default: float) -> Any:
    """Return the option of normal noise on targets."""
    return option(
        default,
        "Target noise σ",
        "Standard deviation of normal noise on support and query targets while training, and on "
        "support targets at evaluation. Evaluation queries stay noise-free.",
        ge=0,
        le=100,
    )


class FunctionOptions(Protocol):
    """What the options of these families have in common."""

    noise: float
    amplitude_low: float
    amplitude_high: float
    x_low: float
    x_high: float
    hidden: int

    @property
    def activation(self) -> str:
        """Non-linearity of the hidden layers."""


def check_ranges(family: str, options: FunctionOptions) -> None:
    """Check that ranges go upwards. Raises: ValueError."""
    low, high = options.amplitude_low, options.amplitude_high
    if low > high:
        raise ValueError(
            f"{family}.amplitude_low = {low:g} is above amplitude_high = {high:g}: swap them."
        )
    if options.x_low >= options.x_high:
        raise ValueError(
            f"{family}.x_low = {options.x_low:g} must be below x_high = {options.x_high:g}."
        )


class Functions(Family):
    """A task is a function of `parameters` uniform numbers, seen at points drawn uniformly.

    `stream` names the family's random numbers.
    """

    stream: str
    parameters: int
    has_accuracy = False
    chunk = 1000
    shards = 1
    evaluation_query: int | None = EVALUATION_POINTS

    def __init__(self, options: FunctionOptions, shared: Shared, seed: int) -> None:
        """Take checked options, shots and the seed that addresses the tasks."""
        self.common = options
        self.shots, self.query_shots = shared.shots, shared.query_shots
        self.seed = seed

    @abstractmethod
    def _targets(self, draw: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the functions of uniform numbers (tasks, >= parameters) at x (tasks, n)."""

    def net_spec(self) -> NetSpec:
        """Describe the network, by default 1-40-40-1 with 1761 weights."""
        width = self.common.hidden
        return net_spec("mlp", widths=(1, width, width, 1), activation=self.common.activation)

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return tasks with fresh query points. Shapes: x and y (tasks, n, 1), float64."""
        del shape
        examples, known = self.shots + self.query_shots, self.parameters
        draw = uniforms(self.seed, f"{self.stream} {split}", first, count, known + examples)
        x = self._inputs(draw[:, known:])
        y = self._targets(draw, x) + self._noise(split, first, count, examples)
        return TaskBatch(
            _batch(x[:, : self.shots], y[:, : self.shots]),
            _batch(x[:, self.shots :], y[:, self.shots :]),
        )

    def evaluation_tasks(self, first: int, count: int) -> TaskBatch:
        """Return test tasks whose query is 100 equispaced points over the input range."""
        draw = self._drawn(first, count)
        x = self._inputs(draw[:, self.parameters :])
        y = self._targets(draw, x) + self._noise("evaluation", first, count, self.shots)
        grid = self._grid(EVALUATION_POINTS, count)
        return TaskBatch(_batch(x, y), _batch(grid, self._targets(draw, grid)))

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return mean squared errors, without 1/2, shape (tasks,)."""
        return mean_squared_error(outputs, batch)

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Refuse: regression has no accuracy."""
        raise NotImplementedError("Regression has no accuracy.")

    def pool(self, tasks: TaskBatch) -> Batch:
        """Return support and query points together."""
        return concatenated(tasks)

    def picture(self, predict: PredictSteps) -> dict[str, np.ndarray]:
        """Return truth, support points and predictions after 0..K_eval steps of a few tasks.

        Shapes: x (200,), truth (tasks, 200), support_x and support_y (tasks, shots), predictions
        (tasks, K_eval+1, 200).
        """
        tasks = self.evaluation_tasks(0, PICTURED_TASKS)
        draw = self._drawn(0, PICTURED_TASKS)
        grid = self._grid(PICTURED_POINTS, PICTURED_TASKS)
        steps = predict(TaskBatch(tasks.support, _batch(grid, grid))).squeeze(3)
        return {
            "x": grid[0].astype(np.float32),
            "truth": self._targets(draw, grid).astype(np.float32),
            "support_x": tasks.support.x.squeeze(2).numpy().astype(np.float32),
            "support_y": tasks.support.y.squeeze(2).numpy().astype(np.float32),
            "predictions": steps.transpose(0, 1).numpy().astype(np.float32),
        }

    def _drawn(self, first: int, count: int) -> np.ndarray:
        """Return the uniform numbers of evaluation tasks: parameters, then support inputs."""
        purpose = f"{self.stream} evaluation"
        return uniforms(self.seed, purpose, first, count, self.parameters + self.shots)

    def _inputs(self, uniform: np.ndarray) -> np.ndarray:
        low, high = self.common.x_low, self.common.x_high
        return low + (high - low) * uniform

    def _grid(self, points: int, count: int) -> np.ndarray:
        grid = np.linspace(self.common.x_low, self.common.x_high, points)
        return np.broadcast_to(grid, (count, points)).copy()

    def _noise(self, split: str, first: int, count: int, points: int) -> np.ndarray | float:
        if self.common.noise == 0:
            return 0.0
        draws = 2 * ((points + 1) // 2)
        uniform = uniforms(self.seed, f"{self.stream} noise {split}", first, count, draws)
        return self.common.noise * normals(uniform)[:, :points]


def _batch(x: np.ndarray, y: np.ndarray) -> Batch:
    return Batch(torch.from_numpy(x).unsqueeze(2), torch.from_numpy(y).unsqueeze(2))
