"""Linear models on a finite space: risks and MAML's meta-objective with all their derivatives."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from metaviz.theory.errors import NoAnswerError, finite

LossName = Literal["squared", "logistic"]
_SCALES, _GROUPS, _DRAWN = (0.5, 2.0, 6.0), 8, 100
_MOST_STEPS = 200
_SOLVED, _STUCK = 1e-11, 1e-9
_HALVINGS = 40
_LEAST_CURVATURE = 1e-10
_FLAT, _TO_WIN = 1e-10, 1e-6
"""Of the features' own square, and of L: a logistic loss that falls for ever has both."""
_EQUAL = 1e-9
_SCAN, _BISECTIONS = 4001, 60


@dataclass(frozen=True)
class MetaRisk:
    """L(theta) = mean over tasks of R_i(theta - rate grad R_i(theta)), with h(x) = phi(x)'theta.

    R_i is the expected loss under the table P_i(x, y). Squared loss is (h - y)^2 without 1/2,
    logistic loss log(1 + exp(-(2y - 1) h)). Shapes: tables (n, m, c), features (m, d),
    outcomes (c,). Methods that take `thetas` (..., n, d) have one point for each task.
    Source: Wang et al. 2020, arXiv:2006.13182.
    """

    tables: np.ndarray
    features: np.ndarray
    outcomes: np.ndarray
    loss: LossName
    rate: float

    @property
    def marginals(self) -> np.ndarray:
        """P_i(x), shape (n, m)."""
        return np.asarray(self.tables.sum(axis=2))

    @property
    def shared(self) -> bool:
        """Whether all tasks have the same marginal of x."""
        return bool(np.allclose(self.marginals, self.marginals[:1], rtol=0, atol=1e-9))

    def slopes(self, hypotheses: np.ndarray, order: int = 1) -> np.ndarray:
        """Return the derivative of the loss of an order by h: (..., m) to (..., m, c)."""
        h = hypotheses[..., None]
        if self.loss == "squared":
            if order == 0:
                return np.asarray((h - self.outcomes) ** 2)
            by_h = {1: 2 * (h - self.outcomes), 2: 2.0}.get(order, 0.0)
            return np.asarray(by_h + np.zeros((*hypotheses.shape, len(self.outcomes))))
        sign = 2 * self.outcomes - 1
        if order == 0:
            return np.asarray(np.logaddexp(0, -sign * h))
        p = np.exp(-np.logaddexp(0, sign * h))  # sigmoid of -sign h
        return np.asarray(
            {1: -sign * p, 2: sign**2 * p * (1 - p), 3: -(sign**3) * p * (1 - p) * (1 - 2 * p)}[
                order
            ]
        )

    def risks(self, thetas: np.ndarray) -> np.ndarray:
        """Return R_i, shape (..., n)."""
        return np.asarray((self.tables * self.slopes(thetas @ self.features.T, 0)).sum((-2, -1)))

    def gradients(self, thetas: np.ndarray) -> np.ndarray:
        """Return grad R_i, shape (..., n, d)."""
        return np.asarray(self._expected(thetas, 1) @ self.features)

    def hessians(self, thetas: np.ndarray) -> np.ndarray:
        """Return the Hessians of R_i, shape (..., n, d, d)."""
        return self._weighted(self._expected(thetas, 2))

    def adapted(self, theta: np.ndarray) -> np.ndarray:
        """Return theta_i = theta - rate grad R_i(theta), shape (..., n, d)."""
        thetas = self._for_each(theta)
        return np.asarray(thetas - self.rate * self.gradients(thetas))

    def jacobians(self, theta: np.ndarray) -> np.ndarray:
        """Return d theta_i / d theta = I - rate Hess R_i(theta), shape (..., n, d, d)."""
        identity = np.eye(self.features.shape[1])
        return np.asarray(identity - self.rate * self.hessians(self._for_each(theta)))

    def values(self, theta: np.ndarray) -> np.ndarray:
        """Return L at points (..., d), shape (...)."""
        return np.asarray(self.risks(self.adapted(theta)).mean(-1))

    def value(self, theta: np.ndarray) -> float:
        """Return L at one point."""
        return float(self.values(theta))

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """Return grad L at points (..., d), in their shape."""
        slopes = self.gradients(self.adapted(theta))
        return np.asarray(np.einsum("...nde,...nd->...ne", self.jacobians(theta), slopes).mean(-2))

    def hessian(self, theta: np.ndarray) -> np.ndarray:
        """Return the Hessian of L at points (..., d), shape (..., d, d)."""
        adapted, jacobians = self.adapted(theta), self.jacobians(theta)
        curved = jacobians.mT @ self.hessians(adapted) @ jacobians
        if self.loss == "logistic":
            along = self.gradients(adapted) @ self.features.T
            third = self._expected(self._for_each(theta), 3) * along
            curved = curved - self.rate * self._weighted(third)
        return np.asarray(curved.mean(-3))

    def _for_each(self, theta: np.ndarray) -> np.ndarray:
        """Return a point (..., d) once for each task, shape (..., n, d)."""
        repeated = np.asarray(theta, dtype=float)[..., None, :]
        return np.repeat(repeated, len(self.tables), axis=-2)

    def _expected(self, thetas: np.ndarray, order: int) -> np.ndarray:
        """Return sum over y of P_i(x, y) times a derivative of the loss, shape (..., n, m)."""
        return np.asarray((self.tables * self.slopes(thetas @ self.features.T, order)).sum(-1))

    def _weighted(self, weights: np.ndarray) -> np.ndarray:
        """Return sum over x of weights (..., n, m) times phi(x) phi(x)', (..., n, d, d)."""
        return np.asarray((self.features.T * weights[..., None, :]) @ self.features)


@dataclass(frozen=True)
class Minimiser:
    """The best minimum that was found; `agree` says whether all starts reached its value."""

    theta: np.ndarray
    value: float
    agree: bool


def minimiser(risk: MetaRisk) -> Minimiser:
    """Return the global minimiser of L.

    With squared loss L is a convex quadratic, and its minimiser (the shortest where there are
    several) is a solution of linear equations. Otherwise damped Newton steps go from the joint
    solution, from 0, and from 48 seeded points, half of which are the best of 100 each; with one
    feature also from every stationary point of a fine grid.
    Raises: NoAnswerError where L keeps falling as theta grows.
    """
    d = risk.features.shape[1]
    if risk.loss == "squared":
        zero = np.zeros(d)
        hessian, gradient = finite(risk.hessian(zero)), finite(risk.gradient(zero))
        theta = -np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        return Minimiser(theta, risk.value(theta), agree=True)
    ends = [_descended(risk, start) for start in _starts(risk)]
    found = [end for end in ends if end.settled]
    best = min(found, key=lambda end: end.value, default=None)
    lowest = min(end.value for end in ends)
    if best is None or lowest < best.value - _EQUAL * (1 + abs(lowest)):
        raise NoAnswerError(
            "L has no minimiser that could be found: it keeps falling as theta grows, as it does "
            "where the features tell the outcomes of every task apart"
        )
    spread = float(np.ptp([end.value for end in found]))
    return Minimiser(best.theta, best.value, spread <= _EQUAL * (1 + best.value))


def stationary_points(risk: MetaRisk, reach: float = 12.0) -> np.ndarray:
    """Return the zeros of L' in [-reach, reach] of a problem with one feature, rising.

    They lie between points of a fine grid at which L' has two signs, and are found by bisection.
    """
    grid = np.linspace(-reach, reach, _SCAN)
    slopes = risk.gradient(grid[:, None])[:, 0]
    at = np.flatnonzero(np.sign(slopes[1:]) * np.sign(slopes[:-1]) < 0)
    low, high, rising = grid[at], grid[at + 1], slopes[at + 1] > 0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        above = (risk.gradient(middle[:, None])[:, 0] > 0) == rising
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray(np.sort(np.concatenate([grid[slopes == 0], low])))


def _starts(risk: MetaRisk) -> Iterator[np.ndarray]:
    d = risk.features.shape[1]
    yield np.zeros(d)
    joint = _descended(MetaRisk(risk.tables, risk.features, risk.outcomes, risk.loss, 0.0))
    if joint.settled:
        yield joint.theta
    size = 1 / max(np.abs(risk.features).max(), 1e-12)
    generator = np.random.default_rng(0)
    for scale in _SCALES:
        for _ in range(_GROUPS):
            points = scale * size * generator.standard_normal((_DRAWN, d))
            yield points[risk.values(points).argmin()]
            yield points[0]
    if d == 1:
        for at in stationary_points(risk, 12.0 * size):
            yield np.array([at])


class _End(NamedTuple):
    """Where a descent ended; `settled` says that it is a minimum."""

    theta: np.ndarray
    value: float
    settled: bool


def _descended(risk: MetaRisk, start: np.ndarray | None = None) -> _End:
    """Return where damped Newton steps on L end.

    The step divides the gradient by the absolute curvatures, so that saddles are left.
    """
    theta = np.zeros(risk.features.shape[1]) if start is None else start
    value, scale = risk.value(theta), 1 + float(np.abs(risk.features).max())
    for _ in range(_MOST_STEPS):
        gradient = risk.gradient(theta)
        if np.linalg.norm(gradient) < _SOLVED * 1e-3 * scale:
            break
        curvatures, axes = np.linalg.eigh(finite(risk.hessian(theta)))
        floor = max(_LEAST_CURVATURE, 1e-12 * float(np.abs(curvatures).max()))
        step = -axes @ ((axes.T @ gradient) / np.maximum(np.abs(curvatures), floor))
        moved = _shortened(risk, theta, step, value)
        if moved is None:
            break
        theta, value = moved
        if not np.linalg.norm(theta) < 1e6:  # noqa: PLR2004 - where logistic losses are flat
            return _End(theta, value, settled=False)
    return _End(theta, value, _is_minimum(risk, theta, value, scale))


def _is_minimum(risk: MetaRisk, theta: np.ndarray, value: float, scale: float) -> bool:
    """Say whether L has a minimum here, and does not merely fall ever more slowly.

    Where a logistic loss falls for ever, along a direction in which features tell outcomes apart,
    its curvature is as small as its slope, and what a Newton step wins is a share of L.
    """
    gradient = risk.gradient(theta)
    curvatures, axes = np.linalg.eigh(finite(risk.hessian(theta)))
    squares = ((risk.features @ axes) ** 2 * risk.marginals.mean(0)[:, None]).sum(0)
    if np.linalg.norm(gradient) >= _STUCK * scale or (curvatures <= _FLAT * squares).any():
        return False
    return bool((axes.T @ gradient) ** 2 @ (1 / curvatures) <= _TO_WIN * value)


def _shortened(
    risk: MetaRisk, theta: np.ndarray, step: np.ndarray, value: float
) -> tuple[np.ndarray, float] | None:
    """Return the first of ever shorter steps that lowers L, and L there."""
    for halving in range(_HALVINGS):
        there = theta + step * 0.5**halving
        lower = risk.value(there)
        if lower < value:
            return there, lower
    # Where rounding hides what is left to win, a full step still makes the gradient smaller.
    full = theta + step
    if np.linalg.norm(risk.gradient(full)) < 0.5 * np.linalg.norm(risk.gradient(theta)):
        return full, risk.value(full)
    return None
