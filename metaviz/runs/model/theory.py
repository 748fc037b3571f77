"""What the theory found of a run, as plain numbers."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Expanded:
    """Meta-gradients of a run's weights in powers of the step size.

    Each task's support set is split into `count` minibatches. `products` has for each method the
    numbers <g, a>, <g, b>, <a, a>, <a, b>, <b, b> and <g, g> of every rate and task, where g is the
    mean over `orderings` orderings, a AvgGrad and b AvgGradInner: shape (rates, tasks, 6). `rate`
    is the run's own inner step size.
    """

    run: str
    label: str
    step: int
    count: int
    orderings: int
    rate: float
    rates: np.ndarray
    products: dict[str, np.ndarray]


@dataclass(frozen=True)
class ExpandedOverTraining:
    """The same at several meta-steps of a run, at its own step size, on the same tasks.

    Shapes: steps (n,), rising; products of each method (n, tasks, 6), as of `Expanded`. Weights of
    the first `retaken` of them come of training the run again, the others of its checkpoints.
    """

    run: str
    label: str
    count: int
    rate: float
    steps: np.ndarray
    retaken: int
    products: dict[str, np.ndarray]

    @property
    def rates(self) -> np.ndarray:
        """The step size of each place."""
        return np.full(len(self.steps), self.rate)


@dataclass(frozen=True)
class MeasuredAccuracy:
    """Errors of meta-gradients of a run's weights against the number K of inner steps.

    They are those of the inner problem L_S + strength/2 |phi - theta|^2 of each task. Shapes:
    steps (n,); distance, residual, unrolled, implicit (tasks, n), as `theory.accuracy` has them;
    apart (tasks,) is |theta - phi*|. Of the first task's support loss at theta: `curvatures`, the
    least and the largest eigenvalue of its Hessian; spectrum (P,), falling, of its Gauss-Newton
    Hessian, and that matrix itself where it is small.
    """

    run: str
    label: str
    step: int
    rate: float
    own_steps: int
    strength: float
    steps: np.ndarray
    distance: np.ndarray
    residual: np.ndarray
    unrolled: np.ndarray
    implicit: np.ndarray
    apart: np.ndarray
    curvatures: tuple[float, float]
    spectrum: np.ndarray
    matrix: np.ndarray | None


Flow = Literal["path", "end", "sum", "solve", "start", "other"]
"""What a meta-gradient differentiates: all inner steps; the query loss at their end alone; nothing,
it adds up the support gradients along the path; the equation that the end solves; the query loss at
the start; or something else."""


@dataclass(frozen=True)
class ReplayedStep:
    """One meta-step of a run, taken again: means over its meta-batch.

    Shapes: support_loss, query_loss, moved and gradient_norm (K + 1,), after k = 0..K inner steps,
    with moved = |phi^k - theta|. `readings` are what the run stores of the meta-step, by column,
    `change` how far the outer step moved each group.
    """

    step: int
    support_loss: np.ndarray
    query_loss: np.ndarray
    gradient_norm: np.ndarray
    moved: np.ndarray
    readings: dict[str, float]
    change: dict[str, float]


@dataclass(frozen=True)
class Replay:
    """The first meta-steps of a run in slow motion.

    `dual` says that inner steps move a state of which the weights are a function.
    """

    run: str
    label: str
    flow: Flow
    dual: bool
    steps: tuple[ReplayedStep, ...]
