"""Linear models on a finite space with population risks: what theory says of them is exact."""

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
from metaviz.problems.base import Family, PredictSteps
from metaviz.problems.registry import register_problem
from metaviz.problems.stream import uniforms
from metaviz.theory.linear import LossName, MetaRisk

_SHIFT = 0.25


class LinearOptions(Options):
    """Options of the linear family."""

    family: int = option(5, "Tasks", "How many tasks there are in all.", ge=1, le=200)
    points: int = option(16, "Points", "How many points of [0, 1] x can be.", ge=2, le=200)
    features: Literal["fourier", "polynomial", "relu"] = option(
        "fourier",
        "Features",
        "What a prediction is linear in: 1, cos, sin, ... of the point; its powers; or ramps that "
        "begin at even distances.",
        labels={"fourier": "Fourier", "polynomial": "powers", "relu": "ramps"},
    )
    width: int = option(3, "Width", "Number of features.", ge=1, le=50)
    marginals: Literal["shared", "shifted"] = option(
        "shared",
        "Marginals",
        "Whether all tasks see the same points equally often, or each those around a place of its "
        "own.",
    )
    loss: Literal["squared", "logistic"] = option(
        "squared",
        "Loss",
        "(h − y)², or log(1 + exp(−(2y − 1) h)), of outcomes y of 0 and 1.",
    )

    @model_validator(mode="after")
    def _not_wider_than_points(self) -> "LinearOptions":
        if self.width > self.points:
            raise ValueError(
                f"linear.width = {self.width} is above points = {self.points}: features would "
                "depend on each other."
            )
        return self


@register_problem(
    LinearOptions,
    id="linear",
    title="Linear models, exact risks",
    summary="Fit probabilities on a few points by a linear model, by risks that are sums: what "
    "the Theory page says of a run is exact. All tasks are trained on and evaluated.",
    loss_name="risk",
    has_accuracy=False,
    citation="Wang, Cai, Yang & Wang 2020",
    steps=200,
    shared={
        "inner_lr": 0.2,
        "inner_steps": 1,
        "outer_lr": 0.02,
        "meta_batch": 5,
        "eval_tasks": 5,
        "eval_steps": 5,
    },
    hidden=("ways", "shots", "query_shots"),
    offers=("objective",),
)
class LinearModels(Family):
    """y ~ Bernoulli(sigmoid(a sin(3 pi x + p))) on a grid of [0, 1], a ~ U[1, 4], p ~ U[0, 2 pi].

    A batch has the features of all points as examples, x (tasks, m, d), and the probabilities of
    each point together with y = 0 and with y = 1 as targets, y (tasks, m, 2): no sampling. Task i
    is task i modulo their number, so that a meta-batch of all of them is the whole meta-objective.
    """

    dataset = "linear"
    has_accuracy = False
    chunk = 1000
    shards = 1

    def __init__(self, options: LinearOptions, shared: Shared, seed: int) -> None:
        """Make the tables of all tasks."""
        self.options, self.rate = options, shared.inner_lr
        x = np.linspace(0, 1, options.points)
        self.features = _features(options, x)
        self.tables = _tables(options, x, seed)

    @property
    def risk(self) -> MetaRisk:
        """The meta-objective of MAML with one step of the shared inner step size."""
        loss: LossName = self.options.loss
        return MetaRisk(self.tables, self.features, np.array([0.0, 1.0]), loss, self.rate)

    def net_spec(self) -> NetSpec:
        """Describe one linear layer without bias, which begins at zero."""
        return net_spec("linear", inputs=self.options.width, ways=1, bias=False)

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return tasks, whose query risk is their support risk."""
        del split, shape
        chosen = np.arange(first, first + count) % self.options.family
        x = torch.from_numpy(np.repeat(self.features[None], count, axis=0))
        batch = Batch(x, torch.from_numpy(self.tables[chosen]))
        return TaskBatch(batch, batch)

    def evaluation_tasks(self, first: int, count: int) -> TaskBatch:
        """Return the same tasks."""
        return self.tasks("test", first, count)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return risks, shape (tasks,); of some points their mean times the number of all."""
        h = outputs[:, :, 0]
        if self.options.loss == "squared":
            of_outcomes = torch.stack([h**2, (h - 1) ** 2], dim=2)
        else:
            of_outcomes = torch.nn.functional.softplus(torch.stack([h, -h], dim=2))
        of_points = (of_outcomes * batch.y).sum(2)
        return of_points.mean(1) * self.options.points

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Refuse: there is no accuracy."""
        raise NotImplementedError("Exact risks have no accuracy.")

    def pool(self, tasks: TaskBatch) -> Batch:
        """Return the support set, which is the query set, too."""
        return tasks.support

    def picture(self, predict: PredictSteps) -> dict[str, np.ndarray]:
        """Return the tables, and what a run predicts before and after its inner steps.

        Shapes: tables (n, m, 2), features (m, d), predictions (K_eval + 1, n, m).
        """
        steps = predict(self.evaluation_tasks(0, self.options.family))
        return {
            "optimality_tables": self.tables,
            "optimality_features": self.features,
            "optimality_loss": np.array(self.options.loss),
            "optimality_rate": np.array(self.rate),
            "optimality_predictions": steps[..., 0].double().numpy(),
        }


def _features(options: LinearOptions, x: np.ndarray) -> np.ndarray:
    """Return features of points, shape (m, d), of a length that does not grow with their number."""
    width = options.width
    if options.features == "polynomial":
        return np.asarray(x[:, None] ** np.arange(width))
    if options.features == "fourier":
        turns = 2 * np.pi * x[:, None] * ((np.arange(width) + 1) // 2)
        waves = np.where(np.arange(width) % 2 == 0, np.sin(turns), np.cos(turns))
        waves[:, 0] = 1.0
        return np.asarray(waves / np.sqrt(width))
    starts = np.linspace(0, 1, width, endpoint=False) - 1 / width
    return np.where(np.arange(width) == 0, 1.0, np.maximum(x[:, None] - starts, 0.0))


def _tables(options: LinearOptions, x: np.ndarray, seed: int) -> np.ndarray:
    """Return P_i(x, y), shape (n, m, 2)."""
    draw = uniforms(seed, "linear tasks", 0, options.family, 3)
    slope, phase = 1 + 3 * draw[:, :1], 2 * np.pi * draw[:, 1:2]
    p = 1 / (1 + np.exp(-slope * np.sin(3 * np.pi * x + phase)))
    weights = np.ones_like(p)
    if options.marginals == "shifted":
        weights = np.exp(-((x - draw[:, 2:]) ** 2) / (2 * _SHIFT**2))
    weights /= weights.sum(1, keepdims=True)
    return np.asarray(np.stack([1 - p, p], axis=2) * weights[:, :, None])
