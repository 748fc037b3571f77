"""Quadratic losses with explicit matrices: every meta-gradient is known in closed form."""

from pathlib import Path

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError, Options, checked, option
from metaviz.config.run_config import Shared, read_toml
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.spec import NetSpec, net_spec
from metaviz.problems.base import Family
from metaviz.problems.registry import register_problem
from metaviz.problems.stream import normals, uniforms
from metaviz.theory.playground import HESSIAN, LINEAR, START

MAX_DIMENSION = 500


class QuadraticMatrices(Options):
    """L_S(p) = p'Ap/2 - b'p and L_Q(p) = p'Cp/2 - d'p, and the start of adaptation."""

    support_hessian: list[list[float]] = Field(default=[list(row) for row in HESSIAN])
    support_linear: list[float] = Field(default=list(LINEAR))
    query_hessian: list[list[float]] = Field(default=[[1.0, -0.25], [-0.25, 3.0]])
    query_linear: list[float] = Field(default=[0.5, 2.0])
    start: list[float] = Field(default=list(START))

    @model_validator(mode="after")
    def _fit_together(self) -> "QuadraticMatrices":
        size = len(self.start)
        if not 1 <= size <= MAX_DIMENSION:
            raise ValueError(f"start has {size} numbers; use 1 to {MAX_DIMENSION}.")
        for name in ("support_linear", "query_linear"):
            if len(getattr(self, name)) != size:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} numbers, but start has {size}."
                )
        for name in ("support_hessian", "query_hessian"):
            rows = getattr(self, name)
            if len(rows) != size or any(len(row) != size for row in rows):
                shape = f"{len(rows)} rows of {', '.join(sorted({str(len(row)) for row in rows}))}"
                raise ValueError(
                    f"{name} has {shape}, but must be {size} x {size}, as start has {size}."
                )
            matrix = np.array(rows)
            if not np.allclose(matrix, matrix.T, rtol=1e-10, atol=1e-12):
                raise ValueError(_not_symmetric(name, matrix))
        return self


def _not_symmetric(name: str, matrix: np.ndarray) -> str:
    row, column = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
    return (
        f"{name} is not symmetric: {float(matrix[row, column])!r} in row {row + 1}, column "
        f"{column + 1} is {float(matrix[column, row])!r} across the diagonal, where it must be "
        "the same."
    )


class QuadraticOptions(Options):
    """Options of the quadratic family."""

    file: str = option(
        "",
        "Matrices",
        "TOML file with support_hessian, support_linear, query_hessian, query_linear and start. "
        "Empty: a built-in two-dimensional example.",
    )
    spread: float = option(
        0.0,
        "Spread of tasks",
        "Standard deviation of the linear terms from task to task. 0: every task is the same.",
        ge=0,
        le=1000,
    )


def read_matrices(path: str) -> QuadraticMatrices:
    """Read the matrices of a file, or the built-in ones for an empty path.

    Raises: OptionError with one sentence where the file is wrong.
    """
    if not path:
        return QuadraticMatrices()
    values = read_toml(Path(path))
    missing = [name for name in QuadraticMatrices.model_fields if name not in values]
    if missing:
        raise OptionError("quadratic.file", f"{path} lacks {', '.join(missing)}.")
    return checked(QuadraticMatrices, values)


@register_problem(
    QuadraticOptions,
    id="quadratic",
    title="Quadratic losses",
    summary="Losses p'Ap/2 − b'p with matrices you give: every gradient can be checked by hand.",
    loss_name="loss",
    has_accuracy=False,
    steps=200,
    shared={
        "inner_lr": 0.1,
        "inner_steps": 3,
        "outer_lr": 0.05,
        "meta_batch": 1,
        "eval_tasks": 20,
    },
    hidden=("ways", "shots", "query_shots"),
    offers=("objective",),
)
class Quadratic(Family):
    """Support loss p'Ap/2 - b'p, query loss p'Cp/2 - d'p.

    A batch holds the matrix as its example, x (tasks, 1, d, d), and the linear term as its target,
    y (tasks, 1, d).
    """

    dataset = "quadratic"
    has_accuracy = False
    chunk = 1000
    shards = 1

    def __init__(self, options: QuadraticOptions, shared: Shared, seed: int) -> None:
        """Read the matrices."""
        del shared
        self.matrices = read_matrices(options.file)
        self.spread = options.spread
        self.seed = seed

    def net_spec(self) -> NetSpec:
        """Describe the identity as a network, at the given start."""
        return net_spec("point", start=self.matrices.start)

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return tasks; with a spread their linear terms differ."""
        del shape
        size = len(self.matrices.start)
        shift = np.zeros((2, count, size))
        if self.spread:
            draw = uniforms(self.seed, f"quadratic {split}", first, count, 2 * size)
            shift = self.spread * normals(draw).reshape(count, 2, size).swapaxes(0, 1)
        given = self.matrices
        return TaskBatch(
            _quadratics(given.support_hessian, given.support_linear + shift[0]),
            _quadratics(given.query_hessian, given.query_linear + shift[1]),
        )

    def evaluation_tasks(self, first: int, count: int) -> TaskBatch:
        """Return tasks of the test split."""
        return self.tasks("test", first, count)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return p'Ap/2 - b'p, shape (tasks,)."""
        point = outputs[:, 0, :, None]
        curved = (point.mT @ batch.x[:, 0] @ point).flatten(1).squeeze(1)
        return 0.5 * curved - (batch.y[:, 0] * outputs[:, 0]).sum(1)

    def accuracy(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Refuse: there is no accuracy."""
        raise NotImplementedError("Quadratic losses have no accuracy.")

    def pool(self, tasks: TaskBatch) -> Batch:
        """Return the support loss alone: the query loss is another goal, not more examples."""
        return tasks.support


def _quadratics(hessian: list[list[float]], linear: np.ndarray) -> Batch:
    matrix = torch.tensor(hessian, dtype=torch.float64)
    count = linear.shape[0]
    return Batch(
        matrix.expand(count, 1, *matrix.shape), torch.from_numpy(linear).unsqueeze(1).contiguous()
    )
