"""What the theory found of a run, as plain numbers."""

from dataclasses import dataclass

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
