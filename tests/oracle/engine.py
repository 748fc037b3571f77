"""Small problems for tests of the engine, in float64."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaviz.algorithms.registry import find_algorithm
from metaviz.config.episodes import EpisodeShape
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.draws import Draws
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.linear import Linear
from metaviz.nets.mlp import MLP
from metaviz.nets.point import PointNet
from metaviz.nets.spec import NetSpec
from metaviz.problems.base import Classification
from metaviz.problems.quadratic import Quadratic, QuadraticOptions
from metaviz.problems.registry import find_problem
from metaviz.problems.sinusoid import Sinusoid, SinusoidOptions
from metaviz.problems.stream import uniforms

DOUBLE = torch.float64
FEATURES = Path(__file__).parents[1] / "fixtures" / "features.npz"
"""Features of 64 training classes and 6 others of each kind, not negative."""


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


def classes(tasks: int = 4, ways: int = 3) -> tuple[Learner, TaskBatch]:
    """A smooth little network on points around the centres of classes, labels interleaved.

    Methods that ask for plain examples get those of the same classes.
    """
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(tasks, ways, 2, generator=generator, dtype=DOUBLE)

    def drawn(shots: int) -> Batch:
        labels = torch.arange(ways).repeat(shots).expand(tasks, -1)
        noise = torch.randn(tasks, ways * shots, 2, generator=generator, dtype=DOUBLE)
        return Batch(centres.repeat(1, shots, 1) + noise, labels.contiguous())

    learner = Learner(MLP((2, 6, ways), "tanh"), ClassificationLoss(), classes=ways)
    support, query = drawn(2), drawn(3)
    return learner, TaskBatch(support, query, drawn(1))


def suited(name: str, tasks: int = 4) -> tuple[Learner, TaskBatch]:
    """Return tasks that a registered method can learn: the simplest that it takes."""
    of = {"sinusoid": sinusoid, "strokes": classes, "features": features}[problem_of(name)]
    return of(tasks)


def features(tasks: int = 4, ways: int = 3) -> tuple[Learner, TaskBatch]:
    """A linear layer on features that are not negative, beside the weights of base classes."""
    generator = torch.Generator().manual_seed(3)
    learner, drawn = classes(tasks, ways)
    base = torch.randn(5, 2, generator=generator, dtype=DOUBLE)

    def positive(batch: Batch) -> Batch:
        return Batch(batch.x.exp(), batch.y)

    on = Learner(Linear(2, ways), learner.judge, base=base)
    return on, TaskBatch(positive(drawn.support), positive(drawn.query))


def problem_of(name: str) -> str:
    """Return a problem that suits a registered method: the simplest that offers what it needs."""
    entry = find_algorithm(name).entry
    return next(
        problem
        for problem in ("sinusoid", "strokes", "features")
        if not entry.unsuited(find_problem(problem).entry)
    )


def loops(name: str) -> bool:
    """Return whether a registered method has an inner loop."""
    return find_algorithm(name).entry.traits.has_inner_loop


def initial(algorithm: Algorithm, learner: Learner, seed: int = 1) -> Meta:
    """Draw meta-parameters."""
    return algorithm.init(learner, torch.Generator().manual_seed(seed))


def draws(tasks: int, seed: int = 7, numbers: Sequence[int] | None = None) -> Draws:
    """Return the random numbers of so many tasks, from the first on, or of these."""
    return Draws(((partial(uniforms, seed), numbers or range(tasks)),))


def called(
    algorithm: Algorithm,
    learner: Learner,
    tasks: TaskBatch,
    seed: int = 7,
    *,
    reading: bool = True,
) -> Context:
    """Return what a method is called with to learn from tasks."""
    drawn = draws(len(tasks), seed)
    ways = ways_of(learner, tasks)
    return Context(learner, tasks, algorithm.steps, drawn, reading, ways)


def ways_of(learner: Learner, tasks: TaskBatch) -> int:
    """Return the number of classes of a task, 0 in regression."""
    return int(tasks.support.y.max()) + 1 if learner.judge.has_accuracy else 0


def meta_step(
    algorithm: Algorithm, learner: Learner, meta: Meta, tasks: TaskBatch, seed: int = 0
) -> MetaStep:
    """Compute one meta-step."""
    return algorithm.meta_gradient(called(algorithm, learner, tasks, seed), meta)


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

    def _images_of(
        self, split: str, classes: np.ndarray, images: np.ndarray, number: int | None
    ) -> Tensor:
        """Have no images."""
        raise NotImplementedError(f"no images {split} {classes} {images} {number}")

    def counts(self) -> dict[str, np.ndarray]:
        """Have no data."""
        return {}

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Have no tasks."""
        raise NotImplementedError(f"no tasks {split} {first} {count} {shape}")
