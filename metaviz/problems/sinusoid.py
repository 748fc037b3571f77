"""Sinusoids: the regression family of the MAML paper."""

from typing import Literal

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import Options, option
from metaviz.config.run_config import Shared
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.spec import NetSpec, net_spec
from metaviz.problems.base import Family, PredictSteps, concatenated, mean_squared_error
from metaviz.problems.registry import register_problem
from metaviz.problems.stream import normals, uniforms

EVALUATION_POINTS = 100
PICTURED_TASKS = 6
PICTURED_POINTS = 200


class SinusoidOptions(Options):
    """Options of the sinusoid family."""

    sign: Literal["minus", "plus"] = option(
        "minus",
        "Phase sign",
        "Targets are A sin(x − p), as in the MAML paper's code, or A sin(x + p), as some later "
        "code has it. The two families differ.",
        labels={"minus": "A sin(x − p)", "plus": "A sin(x + p)"},
    )
    noise: float = option(
        0.0,
        "Target noise σ",
        "Standard deviation of normal noise on support and query targets while training, and on "
        "support targets at evaluation. Evaluation queries stay noise-free.",
        ge=0,
        le=100,
    )
    amplitude_low: float = option(
        0.1, "Smallest amplitude", "A is uniform in this range.", ge=0, le=1000
    )
    amplitude_high: float = option(
        5.0, "Largest amplitude", "A is uniform in this range.", gt=0, le=1000
    )
    phase_high: float = option(
        3.141592653589793, "Largest phase", "p is uniform in [0, this].", unit="rad", ge=0, le=1000
    )
    x_low: float = option(-5.0, "Smallest input", "x is uniform in this range.", ge=-1000, le=1000)
    x_high: float = option(5.0, "Largest input", "x is uniform in this range.", ge=-1000, le=1000)
    hidden: int = option(
        40, "Hidden units", "Width of the two hidden layers of the network.", ge=1, le=4096
    )
    activation: Literal["relu", "tanh"] = option(
        "relu", "Activation", "Non-linearity of the hidden layers."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "SinusoidOptions":
        if self.amplitude_low > self.amplitude_high:
            raise ValueError(
                f"sinusoid.amplitude_low = {self.amplitude_low:g} is above amplitude_high = "
                f"{self.amplitude_high:g}: swap them."
            )
        if self.x_low >= self.x_high:
            raise ValueError(
                f"sinusoid.x_low = {self.x_low:g} must be below x_high = {self.x_high:g}."
            )
        return self


@register_problem(
    SinusoidOptions,
    id="sinusoid",
    title="Sinusoid regression",
    summary="Fit A sin(x − p) from a few points; amplitude and phase change from task to task.",
    loss_name="mean squared error",
    has_accuracy=False,
    citation="Finn, Abbeel & Levine 2017, section 5.1",
    steps=2000,
    shared={
        "inner_lr": 0.01,
        "inner_steps": 5,
        "meta_batch": 25,
        "shots": 10,
        "query_shots": 10,
        "reading_every": 10,
    },
    hidden=("ways",),
    # With alpha = 0.01 Reptile's path is too short to learn from in 2000 steps.
)
class Sinusoid(Family):
    """y = A sin(x - p), A ~ U[0.1, 5], p ~ U[0, pi], x ~ U[-5, 5], noise-free by default.

    Reference levels of the default family: predicting zero costs E[A^2]/2 = 4.2517; the best
    prediction without adaptation, -1.6234 cos x, costs 3.0057.
    Source: the data generator of the official MAML code.
    """

    dataset = "sinusoid"
    has_accuracy = False
    chunk = 1000
    shards = 1
    evaluation_query: int | None = EVALUATION_POINTS

    def __init__(self, options: SinusoidOptions, shared: Shared, seed: int) -> None:
        """Take checked options, shots and the seed that addresses the tasks."""
        self.options = options
        self.shots, self.query_shots = shared.shots, shared.query_shots
        self.seed = seed

    def net_spec(self) -> NetSpec:
        """Describe the network 1-40-40-1, 1761 weights."""
        width = self.options.hidden
        return net_spec("mlp", widths=(1, width, width, 1), activation=self.options.activation)

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return tasks with fresh query points. Shapes: x and y (tasks, n, 1), float64."""
        del shape
        examples = self.shots + self.query_shots
        draw = uniforms(self.seed, f"sinusoid {split}", first, count, 2 + examples)
        x = self._inputs(draw[:, 2:])
        y = self._targets(draw, x) + self._noise(split, first, count, examples)
        return TaskBatch(
            _batch(x[:, : self.shots], y[:, : self.shots]),
            _batch(x[:, self.shots :], y[:, self.shots :]),
        )

    def evaluation_tasks(self, first: int, count: int) -> TaskBatch:
        """Return test tasks whose query is 100 equispaced points over the input range."""
        draw = uniforms(self.seed, "sinusoid evaluation", first, count, 2 + self.shots)
        x = self._inputs(draw[:, 2:])
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
        draw = uniforms(self.seed, "sinusoid evaluation", 0, PICTURED_TASKS, 2 + self.shots)
        grid = self._grid(PICTURED_POINTS, PICTURED_TASKS)
        steps = predict(TaskBatch(tasks.support, _batch(grid, grid))).squeeze(3)
        return {
            "x": grid[0].astype(np.float32),
            "truth": self._targets(draw, grid).astype(np.float32),
            "support_x": tasks.support.x.squeeze(2).numpy().astype(np.float32),
            "support_y": tasks.support.y.squeeze(2).numpy().astype(np.float32),
            "predictions": steps.transpose(0, 1).numpy().astype(np.float32),
        }

    def _inputs(self, uniform: np.ndarray) -> np.ndarray:
        low, high = self.options.x_low, self.options.x_high
        return low + (high - low) * uniform

    def _grid(self, points: int, count: int) -> np.ndarray:
        grid = np.linspace(self.options.x_low, self.options.x_high, points)
        return np.broadcast_to(grid, (count, points)).copy()

    def _targets(self, draw: np.ndarray, x: np.ndarray) -> np.ndarray:
        low, high = self.options.amplitude_low, self.options.amplitude_high
        amplitude = low + (high - low) * draw[:, :1]
        phase = self.options.phase_high * draw[:, 1:2]
        shifted = x - phase if self.options.sign == "minus" else x + phase
        return np.asarray(amplitude * np.sin(shifted))

    def _noise(self, split: str, first: int, count: int, points: int) -> np.ndarray | float:
        if self.options.noise == 0:
            return 0.0
        draws = 2 * ((points + 1) // 2)
        uniform = uniforms(self.seed, f"sinusoid noise {split}", first, count, draws)
        return self.options.noise * normals(uniform)[:, :points]


def _batch(x: np.ndarray, y: np.ndarray) -> Batch:
    return Batch(torch.from_numpy(x).unsqueeze(2), torch.from_numpy(y).unsqueeze(2))
