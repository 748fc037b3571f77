"""How meta-gradients come nearer to the exact one as inner steps are added."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from metaviz.theory.errors import NoAnswerError

_MOST_STEPS, _HALVINGS = 100, 40
_SOLVED = 1e-12


class Smooth(Protocol):
    """A loss of one task with two derivatives; points have shape (d,)."""

    def value(self, point: np.ndarray) -> float:
        """Return the loss."""

    def gradient(self, point: np.ndarray) -> np.ndarray:
        """Return its gradient."""

    def hessian(self, point: np.ndarray) -> np.ndarray:
        """Return its Hessian, shape (d, d)."""

    def product(self, point: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Return its Hessian times a vector."""


@dataclass(frozen=True)
class Logistic:
    """The mean cross-entropy of logistic regression. Shapes: x (n, d), y (n,) of 0 and 1."""

    x: np.ndarray
    y: np.ndarray

    def value(self, point: np.ndarray) -> float:
        """Return the loss in nats."""
        return float(np.logaddexp(0, -(2 * self.y - 1) * (self.x @ point)).mean())

    def gradient(self, point: np.ndarray) -> np.ndarray:
        """Return the gradient."""
        return np.asarray((self._share(point) - self.y) @ self.x / len(self.y))

    def hessian(self, point: np.ndarray) -> np.ndarray:
        """Return the Hessian."""
        p = self._share(point)
        return np.asarray((self.x.T * (p * (1 - p))) @ self.x / len(self.y))

    def product(self, point: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Return the Hessian times a vector."""
        return np.asarray(self.hessian(point) @ vector)

    def _share(self, point: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-np.logaddexp(0, -(self.x @ point))))


@dataclass(frozen=True)
class Accuracy:
    """Errors after K = `steps` inner steps, each of shape (number of K,).

    `distance` is |phi^K - phi*|, `residual` |grad of the regularised loss at phi^K|, `unrolled` and
    `implicit` the distances of the two meta-gradients from the exact one.
    """

    steps: np.ndarray
    distance: np.ndarray
    residual: np.ndarray
    unrolled: np.ndarray
    implicit: np.ndarray
    solution: np.ndarray
    exact: np.ndarray


def accuracy(
    losses: tuple[Smooth, Smooth],
    theta: np.ndarray,
    rate: float,
    strength: float,
    steps: Sequence[int],
) -> Accuracy:
    """Compare meta-gradients after K steps on L_S + strength/2 |phi - theta|^2 with the exact one.

    `losses` are L_S and L_Q. Exact: strength (H + strength I)^-1 grad L_Q at the solution phi*.
    Raises: NoAnswerError where the inner problem has no solution near theta that can be found.
    """
    support, query = losses
    identity = np.eye(len(theta))

    def residual(point: np.ndarray) -> np.ndarray:
        return np.asarray(support.gradient(point) + strength * (point - theta))

    def implicit(point: np.ndarray) -> np.ndarray:
        matrix = support.hessian(point) + strength * identity
        return np.asarray(strength * np.linalg.solve(matrix, query.gradient(point)))

    solution = _solution(support, theta, strength)
    exact = implicit(solution)
    rows, points = [], [theta]
    for k in range(1, max(steps) + 1):
        point = points[-1] - rate * residual(points[-1])
        points.append(point)
        if k in steps:
            unrolled = _unrolled(support, query, points, rate, strength)
            both = (point - solution, residual(point), unrolled - exact, implicit(point) - exact)
            rows.append([float(np.linalg.norm(one)) for one in both])
    distance, left, by_path, by_formula = np.array(rows).T
    ordered = np.array(sorted(steps))
    return Accuracy(ordered, distance, left, by_path, by_formula, solution, exact)


def _unrolled(
    support: Smooth, query: Smooth, points: Sequence[np.ndarray], rate: float, strength: float
) -> np.ndarray:
    """Return the derivative of L_Q(phi^K) by theta along a path, backwards through its steps.

    The regulariser pulls every step towards theta, whose direct term is rate * strength.
    """
    vector = query.gradient(points[-1])
    direct = np.zeros_like(vector)
    for point in reversed(points[:-1]):
        direct = direct + rate * strength * vector
        vector = (1 - rate * strength) * vector - rate * support.product(point, vector)
    return np.asarray(vector + direct)


def _solution(support: Smooth, theta: np.ndarray, strength: float) -> np.ndarray:
    """Return the minimiser of L_S + strength/2 |phi - theta|^2 by damped Newton steps."""
    point, identity = theta, np.eye(len(theta))

    def value(at: np.ndarray) -> float:
        return support.value(at) + strength / 2 * float((at - theta) @ (at - theta))

    gradient = support.gradient(theta)
    scale = 1 + float(np.linalg.norm(gradient))
    for _ in range(_MOST_STEPS):
        gradient = support.gradient(point) + strength * (point - theta)
        if np.linalg.norm(gradient) < _SOLVED * scale:
            return point
        values, axes = np.linalg.eigh(support.hessian(point) + strength * identity)
        step = -axes @ ((axes.T @ gradient) / np.maximum(np.abs(values), 1e-9))
        now, length = value(point), 1.0
        while value(point + length * step) > now and length > 0.5**_HALVINGS:
            length /= 2
        point = point + length * step
    if np.linalg.norm(gradient) < 1e-8 * scale:
        return point
    raise NoAnswerError("The regularised inner problem was not solved: choose a larger lambda.")
