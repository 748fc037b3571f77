"""Meta-gradients in powers of the step size: what AvgGrad and AvgGradInner explain of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

_ONE_DIRECTION = 1e-13
"""The square of the sine of an angle that is rounding."""

MAML, FOMAML, REPTILE = "maml", "fomaml", "reptile"
METHODS = {MAML: "MAML", FOMAML: "FOMAML", REPTILE: "Reptile"}
"""The three gradients that are expanded, by the names of their JSON keys, with their titles."""


@dataclass(frozen=True)
class Quadratics:
    """Losses L_i = p'A_i p / 2 - b_i'p. Shapes: hessians (k, d, d), linear (k, d)."""

    hessians: np.ndarray
    linear: np.ndarray

    def gradients(self, start: np.ndarray) -> np.ndarray:
        """Return the gradient of every loss at a point, shape (k, d)."""
        return np.asarray(self.hessians @ start - self.linear)


@dataclass(frozen=True)
class Fit:
    """E g in terms of a and b at one step size: E g = c0 a - rate c1 b.

    `c1` is fitted with c0 known, the others together. `remainder` is
    |E g - c0 a + rate c1 b| / rate^2 with the c0 and c1 of the expansion, and `share` how much of
    E g the expansion explains, 1 - |E g - expansion|^2 / |E g|^2. What no number fits is nan: c1
    where b is zero, the joint ones where a and b have one direction, as they do in one dimension.
    """

    c0: float
    c1: float
    joint_c0: float
    joint_c1: float
    remainder: float
    share: float


def coefficients(method: str, count: int) -> tuple[float, float]:
    """Return c0 and c1 of the expansion for k = `count` losses, MAML's last one the query loss.

    Source: Nichol et al. 2018, arXiv:1803.02999, section 5.1.
    """
    one = {MAML: 2.0 * (count - 1), FOMAML: count - 1.0, REPTILE: count * (count - 1) / 2}
    return (float(count) if method == REPTILE else 1.0), one[method]


def averages(losses: Quadratics, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return AvgGrad a, the mean of g_i, and AvgGradInner b, the mean of H_i g_j, at the start."""
    gradients = losses.gradients(start)
    count = len(gradients)
    others = gradients.sum(0) - gradients
    inner = np.einsum("kde,ke->d", losses.hessians, others) / (count * (count - 1))
    return gradients.mean(0), inner


def expected_gradients(
    losses: Quadratics, start: np.ndarray, rate: float
) -> Mapping[str, np.ndarray]:
    """Return each method's gradient, its mean over all k! orderings of the losses.

    MAML and FOMAML take all but the last loss as inner steps; Reptile's gradient is the sum of
    the k gradients along the path. Every one is affine in the start, F_S (p, 1) for the set S of
    losses that are left. Whichever of them comes first is equally likely, so that F_S is the mean
    of the F of smaller sets after one step: 2^k sets in place of k! orderings.
    """
    point = np.append(start, 1.0)
    return {method: _affine(method, losses, rate) @ point for method in METHODS}


def fit(
    method: str, count: int, rate: float, expected: np.ndarray, ab: Sequence[np.ndarray]
) -> Fit:
    """Fit E g by a and b, AvgGrad and AvgGradInner, each of shape (d,)."""
    a, b = ab
    products = np.array([expected @ a, expected @ b, a @ a, a @ b, b @ b, expected @ expected])
    c0, c1 = coefficients(method, count)
    # From products alone, rounding would hide a small remainder.
    left = float(np.linalg.norm(expected - c0 * a + rate * c1 * b))
    return replace(fit_products(method, count, rate, products), remainder=left / rate**2)


def fit_products(method: str, count: int, rate: float, products: np.ndarray) -> Fit:
    """Fit by the products <g, a>, <g, b>, <a, a>, <a, b>, <b, b> and <g, g> alone, shape (6,).

    With sums of products of several tasks it is the least-squares fit of all of them.
    """
    ga, gb, aa, ab, bb, gg = products.tolist()
    c0, c1 = coefficients(method, count)
    left = (
        gg + c0**2 * aa + (rate * c1) ** 2 * bb - 2 * c0 * ga + 2 * rate * c1 * gb
    ) - 2 * c0 * rate * c1 * ab
    determinant = aa * bb - ab * ab
    with np.errstate(divide="ignore", invalid="ignore"):
        fitted = np.divide(c0 * ab - gb, rate * bb)
        joint = np.divide([bb * ga - ab * gb, aa * gb - ab * ga], determinant)
        if not determinant > _ONE_DIRECTION * aa * bb:
            joint = np.full(2, np.nan)
        share = 1 - np.divide(left, gg)
    return Fit(
        c0=c0,
        c1=float(fitted),
        joint_c0=float(joint[0]),
        joint_c1=float(-joint[1] / rate),
        remainder=float(np.sqrt(max(left, 0.0)) / rate**2),
        share=float(share),
    )


def _affine(method: str, losses: Quadratics, rate: float) -> np.ndarray:
    """Return F of the set of all losses, shape (d, d + 1)."""
    count, size = losses.linear.shape
    own = np.concatenate([losses.hessians, -losses.linear[:, :, None]], axis=2)
    steps = np.tile(np.eye(size + 1), (count, 1, 1))
    steps[:, :size] -= rate * own
    known: dict[tuple[int, ...], np.ndarray] = {(at,): own[at] for at in range(count)}
    for left in range(2, count + 1):
        smaller, known = known, {}
        for chosen in combinations(range(count), left):
            total = np.zeros((size, size + 1))
            for at in chosen:
                later = smaller[tuple(other for other in chosen if other != at)] @ steps[at]
                if method == MAML:
                    later = steps[at, :size, :size] @ later
                elif method == REPTILE:
                    later = later + own[at]
                total += later
            known[chosen] = total / left
    return known[tuple(range(count))]
