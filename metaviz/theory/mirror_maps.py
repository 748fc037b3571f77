"""Mirror maps of the plane: what gradient, preconditioned and mirror descent measure steps by.

One step of all of them is argmin_p <g, p> + D_h(p, p_k) / alpha, with the Bregman divergence
D_h(p, q) = h(p) - h(q) - <grad h(q), p - q>. Points have shape (..., 2).
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

Matrix = tuple[tuple[float, float], tuple[float, float]]


class MirrorMap(Protocol):
    """A strictly convex h with its gradient, whose values are dual points, and the inverse."""

    @property
    def id(self) -> str:
        """The name that charts and tables use."""

    @property
    def title(self) -> str:
        """What people call descent in it."""

    @property
    def positive(self) -> bool:
        """Whether its points have coordinates above 0 alone."""

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return h, shape (...)."""

    def dual(self, points: np.ndarray) -> np.ndarray:
        """Return z = grad h(p)."""

    def primal(self, duals: np.ndarray) -> np.ndarray:
        """Return the p with grad h(p) = z; NaN where there is none."""

    def project(self, point: np.ndarray) -> np.ndarray:
        """Return a point of the domain near a point of the plane."""


def divergence(chosen: MirrorMap, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return D_h(p, q) >= 0, shape (...)."""
    along = (chosen.dual(q) * (p - q)).sum(-1)
    return np.asarray(chosen.value(p) - chosen.value(q) - along)


@dataclass(frozen=True)
class _Plane:
    @property
    def positive(self) -> bool:
        return False

    def project(self, point: np.ndarray) -> np.ndarray:
        return np.array(point, dtype=float)


@dataclass(frozen=True)
class _Positive:
    @property
    def positive(self) -> bool:
        return True

    def project(self, point: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(point, 1e-3))


@dataclass(frozen=True)
class Euclid(_Plane):
    """h = |p|^2 / 2: gradient descent."""

    id: str = "euclid"
    title: str = "Gradient descent"

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return h."""
        return np.asarray((points**2).sum(-1) / 2)

    def dual(self, points: np.ndarray) -> np.ndarray:
        """Return p itself."""
        return np.asarray(points, dtype=float)

    def primal(self, duals: np.ndarray) -> np.ndarray:
        """Return z itself."""
        return np.asarray(duals, dtype=float)


@dataclass(frozen=True)
class Quadratic(_Plane):
    """h = p' P^-1 p / 2: descent preconditioned by a positive definite P."""

    matrix: Matrix = ((1.2, 0.3), (0.3, 0.8))
    id: str = "quadratic"
    title: str = "Preconditioned descent"
    _inverse: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Invert P once."""
        object.__setattr__(self, "_inverse", np.linalg.inv(np.array(self.matrix)))

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return h."""
        return np.asarray((points * self.dual(points)).sum(-1) / 2)

    def dual(self, points: np.ndarray) -> np.ndarray:
        """Return P^-1 p."""
        return np.asarray(points @ self._inverse)

    def primal(self, duals: np.ndarray) -> np.ndarray:
        """Return P z."""
        return np.asarray(duals @ np.array(self.matrix))


@dataclass(frozen=True)
class Entropy(_Positive):
    """h = sum p log p - p: exponentiated gradient."""

    id: str = "entropy"
    title: str = "Exponentiated gradient"

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return h, with 0 log 0 = 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(points > 0, points * np.log(points), 0.0)
        return np.asarray((logs - points).sum(-1))

    def dual(self, points: np.ndarray) -> np.ndarray:
        """Return log p."""
        return np.asarray(np.log(points))

    def primal(self, duals: np.ndarray) -> np.ndarray:
        """Return exp z."""
        return np.asarray(np.exp(duals))


@dataclass(frozen=True)
class Simplex(Entropy):
    """The entropy on p_1 + p_2 = 1: exponentiated gradient, normalised, which is a softmax."""

    id: str = "simplex"
    title: str = "On the simplex"

    def primal(self, duals: np.ndarray) -> np.ndarray:
        """Return softmax z."""
        shares = np.exp(duals - duals.max(-1, keepdims=True))
        return np.asarray(shares / shares.sum(-1, keepdims=True))

    def project(self, point: np.ndarray) -> np.ndarray:
        """Return the point divided by its sum."""
        inside = np.maximum(point, 1e-3)
        return np.asarray(inside / inside.sum())


@dataclass(frozen=True)
class Burg(_Positive):
    """h = -sum log p, Burg's entropy. Where alpha g <= -1/p a step leaves its dual domain z < 0."""

    id: str = "burg"
    title: str = "Burg's entropy"

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return h."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(-np.log(points).sum(-1))

    def dual(self, points: np.ndarray) -> np.ndarray:
        """Return -1/p."""
        return np.asarray(-1 / np.asarray(points, dtype=float))

    def primal(self, duals: np.ndarray) -> np.ndarray:
        """Return -1/z, NaN where z >= 0."""
        return np.asarray(-1 / np.where(duals < 0, duals, np.nan))


@dataclass(frozen=True)
class Hypentropy(_Plane):
    """h = sum p asinh(p/beta) - sqrt(p^2 + beta^2), between entropy and, for large beta, p^2."""

    beta: float = 0.5
    id: str = "hypentropy"
    title: str = "Hypentropy"

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return h."""
        root = np.sqrt(points**2 + self.beta**2)
        return np.asarray((points * np.arcsinh(points / self.beta) - root).sum(-1))

    def dual(self, points: np.ndarray) -> np.ndarray:
        """Return asinh(p / beta)."""
        return np.asarray(np.arcsinh(points / self.beta))

    def primal(self, duals: np.ndarray) -> np.ndarray:
        """Return beta sinh z."""
        return np.asarray(self.beta * np.sinh(duals))


@dataclass(frozen=True)
class PNorm(_Plane):
    """h = |p|_q^2 / 2 with the norm of exponent q in (1, 4]."""

    q: float = 3.0
    id: str = "pnorm"
    title: str = "p-norm"

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return h."""
        return np.asarray(np.linalg.norm(points, self.q, axis=-1) ** 2 / 2)

    def dual(self, points: np.ndarray) -> np.ndarray:
        """Return sign(p) |p|^(q-1) / |p|_q^(q-2)."""
        return _link(points, self.q)

    def primal(self, duals: np.ndarray) -> np.ndarray:
        """Return the same with the exponent q / (q - 1)."""
        return _link(duals, self.q / (self.q - 1))


def _link(points: np.ndarray, q: float) -> np.ndarray:
    """Return the gradient of |p|_q^2 / 2, which is 0 at 0."""
    lengths = np.linalg.norm(points, q, axis=-1, keepdims=True)
    safe = np.where(lengths > 0, lengths, 1.0)
    # Divided before powers are taken, so that none overflows.
    return np.asarray(np.sign(points) * np.abs(points / safe) ** (q - 1) * lengths)
