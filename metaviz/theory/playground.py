"""Descent in the plane: losses, paths of several methods from one start, and Bregman balls."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from metaviz.theory.mirror_maps import Euclid, Matrix, MirrorMap, Quadratic, divergence

HESSIAN: Matrix = ((2.0, 0.5), (0.5, 1.0))
LINEAR, START = (1.0, -1.0), (1.0, 2.0)
"""The built-in quadratic problem: support loss p'Ap/2 - b'p, and where adaptation starts."""
_HALVINGS = 50
_DIRECTIONS = 96
_FARTHEST = 1e3
_TOO_FAR = 1e8


@dataclass(frozen=True)
class Loss2D(ABC):
    """A loss of the plane. Points have shape (..., 2).

    `centre` is what a person may drag: the minimiser, where there is one.
    """

    centre: tuple[float, float] = (0.6, 0.9)

    @abstractmethod
    def value(self, points: np.ndarray) -> np.ndarray:
        """Return the loss, shape (...)."""

    @abstractmethod
    def gradient(self, points: np.ndarray) -> np.ndarray:
        """Return its gradient."""

    def moved_to(self, centre: tuple[float, float]) -> "Loss2D":
        """Return the same loss around another centre."""
        return replace(self, centre=centre)


@dataclass(frozen=True)
class QuadraticLoss(Loss2D):
    """f = (p - c)'A(p - c) / 2."""

    hessian: Matrix = HESSIAN

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return f."""
        apart = points - np.array(self.centre)
        return np.asarray(((apart @ np.array(self.hessian)) * apart).sum(-1) / 2)

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """Return A(p - c)."""
        return np.asarray((points - np.array(self.centre)) @ np.array(self.hessian))


@dataclass(frozen=True)
class Rosenbrock(Loss2D):
    """f = (1 + cx - x)^2 / 4 + (y - cy + 1 - (x - cx + 1)^2)^2: a bent valley that ends at c."""

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return f."""
        x, y = self._moved(points)
        return np.asarray((1 - x) ** 2 / 4 + (y - x**2) ** 2)

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """Return grad f."""
        x, y = self._moved(points)
        bent = y - x**2
        return np.stack([-(1 - x) / 2 - 4 * x * bent, 2 * bent], axis=-1)

    def _moved(self, points: np.ndarray) -> np.ndarray:
        return np.moveaxis(points - np.array(self.centre) + 1, -1, 0)


@dataclass(frozen=True)
class TwoBasins(Loss2D):
    """f = ((x - cx)^2 - 1)^2 / 4 + (y - cy)^2 / 2: minima beside c, which is a saddle."""

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return f."""
        x, y = np.moveaxis(points - np.array(self.centre), -1, 0)
        return np.asarray((x**2 - 1) ** 2 / 4 + y**2 / 2)

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """Return grad f."""
        x, y = np.moveaxis(points - np.array(self.centre), -1, 0)
        return np.stack([(x**2 - 1) * x, y], axis=-1)


@dataclass(frozen=True)
class LogisticLoss(Loss2D):
    """The mean logistic loss of six points of two classes, with weights p - c.

    Points are vectors from c, and drawn there.
    """

    x: tuple[tuple[float, float], ...] = (
        *((1.0, 0.2), (0.4, -1.0), (-0.8, 0.5), (0.3, 0.9), (-1.2, -0.4), (0.7, 0.7)),
    )
    y: tuple[int, ...] = (1, 0, 0, 1, 0, 1)

    def value(self, points: np.ndarray) -> np.ndarray:
        """Return f."""
        return np.asarray(np.logaddexp(0, -self._margins(points)).mean(-1))

    def gradient(self, points: np.ndarray) -> np.ndarray:
        """Return grad f."""
        wrong = np.exp(-np.logaddexp(0, self._margins(points)))
        return np.asarray(-(wrong * self._signs) @ np.array(self.x) / len(self.y))

    @property
    def places(self) -> tuple[tuple[float, float], ...]:
        """Where the points are in the plane."""
        a, b = self.centre
        return tuple((a + x, b + y) for x, y in self.x)

    def with_point(self, number: int, place: tuple[float, float]) -> "LogisticLoss":
        """Return the loss with one point at another place."""
        moved = place[0] - self.centre[0], place[1] - self.centre[1]
        return replace(self, x=(*self.x[:number], moved, *self.x[number + 1 :]))

    @property
    def _signs(self) -> np.ndarray:
        return 2 * np.array(self.y) - 1

    def _margins(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(((points - np.array(self.centre)) @ np.array(self.x).T) * self._signs)


@dataclass(frozen=True)
class Path:
    """Points and their dual points after 0, 1, ... steps, shape (steps + 1, 2).

    It may have fewer points than asked for; `stopped` says why.
    """

    points: np.ndarray
    duals: np.ndarray
    stopped: str = ""


def path(loss: Loss2D, chosen: MirrorMap, start: np.ndarray, rate: float, steps: int) -> Path:
    """Return the path of z_{k+1} = z_k - rate grad f(p_k), p = (grad h)^-1(z)."""
    point = chosen.project(start)
    dual = chosen.dual(point)
    points, duals, stopped = [point], [dual], ""
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(1, steps + 1):
            dual = dual - rate * loss.gradient(point)
            point = chosen.primal(dual)
            if np.isnan(point).any():
                stopped = f"step {step} leaves the dual domain"
            elif not np.abs(point).max() < _TOO_FAR:
                stopped = f"diverges at step {step}"
            if stopped:
                break
            points.append(point)
            duals.append(dual)
    return Path(np.array(points), np.array(duals), stopped)


def ball(chosen: MirrorMap, centre: np.ndarray, radius: float) -> np.ndarray:
    """Return the edge D_h(p, centre) = radius as a closed line, shape (n + 1, 2).

    D_h grows along every ray from its centre, so that bisection finds the edge; where the ball
    reaches the border of the domain the line follows it.
    """
    angles = np.linspace(0, 2 * np.pi, _DIRECTIONS + 1)
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if isinstance(chosen, Euclid | Quadratic):  # D grows with the square of the distance
        lengths = np.sqrt(radius / divergence(chosen, rays, np.zeros(2)))
        return np.asarray(centre + lengths[:, None] * rays)
    low, high = np.zeros(len(rays)), np.full(len(rays), _FARTHEST)
    if chosen.positive:
        with np.errstate(divide="ignore"):
            to_border = np.where(rays < 0, -centre / rays, np.inf).min(1)
        high = np.minimum(high, to_border)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        with np.errstate(over="ignore", invalid="ignore"):
            inside = divergence(chosen, centre + middle[:, None] * rays, centre) <= radius
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.asarray(centre + low[:, None] * rays)


def rate_for(
    loss: Loss2D, chosen: MirrorMap, point: np.ndarray, radius: float, most: float
) -> float:
    """Return the step size whose step from a point ends at D_h(p', p) = radius, up to `most`.

    Longer steps end farther away: it is found by bisection.
    """
    gradient, dual = loss.gradient(point), chosen.dual(point)
    low, high = 0.0, most
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        with np.errstate(over="ignore", invalid="ignore"):
            reached = divergence(chosen, chosen.primal(dual - middle * gradient), point)
        low, high = (middle, high) if reached <= radius else (low, middle)
    return low


def smoothness(loss: QuadraticLoss, matrix: Matrix) -> float:
    """Return L_h = lmax(P^1/2 A P^1/2): quadratic descent by P falls for rates up to 1 / L_h."""
    return float(np.linalg.eigvals(np.array(matrix) @ np.array(loss.hessian)).real.max())


def ellipse_matrix(lengths: tuple[float, float], angle: float) -> Matrix:
    """Return the P whose ellipse p'P^-1 p = 1 has axes of these lengths, the first at an angle."""
    cos, sin = np.cos(angle), np.sin(angle)
    axes = np.array([[cos, -sin], [sin, cos]])
    (a, b), (c, d) = ((axes * np.square(lengths)) @ axes.T).tolist()
    return ((a, b), (c, d))


def ellipse_axes(matrix: Matrix) -> tuple[tuple[float, float], float]:
    """Return lengths and angle of a matrix's ellipse; the inverse of `ellipse_matrix`."""
    values, axes = np.linalg.eigh(np.array(matrix))
    first = axes[:, 1]
    long, short = float(np.sqrt(values[1])), float(np.sqrt(max(values[0], 0.0)))
    return (long, short), float(np.arctan2(first[1], first[0]))


def ellipse(matrix: Matrix, centre: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Return the ellipse of a matrix around a centre as a closed line, shape (n + 1, 2)."""
    (long, short), angle = ellipse_axes(matrix)
    turn = np.linspace(0, 2 * np.pi, _DIRECTIONS + 1)
    along = np.stack([long * np.cos(turn), short * np.sin(turn)], axis=1)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(centre + scale * along @ np.array([[cos, sin], [-sin, cos]]))
