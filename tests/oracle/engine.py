"""Small problems for tests of the engine, in float64."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaviz.algorithms.registry import find_algorithm
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.draws import Draws
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.learner import Learner
from metaviz.meta.rules import Meta
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.point import PointNet
from metaviz.nets.spec import NetSpec
from metaviz.problems.base import Classification
from metaviz.problems.quadratic import Quadratic, QuadraticOptions
from metaviz.problems.sinusoid import Sinusoid, SinusoidOptions
from metaviz.problems.stream import uniforms

DOUBLE = torch.float64


def shared(**values: Any) -> Shared:
    """Shared hyperparameters with a moderate inner loop."""
    return Shared(**{"inner_lr": 0.1, "inner_steps": 3, **values})


def build(name: str, values: Shared | None = None, **options: Any) -> Algorithm:
    """Build a registered algorithm."""
    return find_algorithm(name).build(options, values or shared())


def quadratic_learner(size: int) -> Learner:
    """The identity network in `size` dimensions with quadratic losses."""
    judge = Quadratic(QuadraticOptions(), shared(), 0)
    return Learner(PointNet([0.0] * size), judge)


def quadratic_batch(matrices: Tensor, linear: Tensor) -> Batch:
    """Losses p'Ap/2 - b'p. Shapes: matrices (tasks, d, d), linear (tasks, d)."""
    return Batch(matrices.unsqueeze(1), linear.unsqueeze(1))


def sinusoid(tasks: int = 4, **options: Any) -> tuple[Learner, TaskBatch]:
    """A smooth little network on sinusoids: ReLU kinks would break finite differences."""
    chosen = SinusoidOptions(**{"hidden": 8, "activation": "tanh", **options})
    problem = Sinusoid(chosen, shared(shots=5, query_shots=6), 3)
    return Learner(problem.net(), problem), problem.tasks("train", 0, tasks)


def initial(algorithm: Algorithm, learner: Learner, seed: int = 1) -> Meta:
    """Draw meta-parameters."""
    return algorithm.init(learner, torch.Generator().manual_seed(seed))


def draws(tasks: int, seed: int = 7, numbers: Sequence[int] | None = None) -> Draws:
    """Return the random numbers of so many tasks, from the first on, or of these."""
    return Draws(((partial(uniforms, seed), numbers or range(tasks)),))


def meta_step(
    algorithm: Algorithm, learner: Learner, meta: Meta, tasks: TaskBatch, seed: int = 0
) -> MetaStep:
    """Compute one meta-step."""
    return algorithm.meta_gradient(learner, meta, tasks, draws(len(tasks), seed))


def assert_close(found: Tensor, expected: Tensor | Sequence[float], tolerance: float) -> None:
    """Compare with a relative tolerance, after making sure that there is something to compare."""
    wanted = torch.as_tensor(expected, dtype=found.dtype)
    assert wanted.abs().max() > 0
    torch.testing.assert_close(
        found, wanted, rtol=tolerance, atol=tolerance * float(wanted.abs().max())
    )


class ClassificationLoss(Classification):
    """Judges classifications, of tasks that a test makes itself."""

    def net_spec(self) -> NetSpec:
        """Have no network."""
        raise NotImplementedError("no network")

    def counts(self) -> dict[str, np.ndarray]:
        """Have no data."""
        return {}

    def tasks(self, split: str, first: int, count: int) -> TaskBatch:
        """Have no tasks."""
        raise NotImplementedError(f"no tasks {split} {first} {count}")
