"""How far a point of linear meta-learning is from the global optimum, and bounds on that."""

from dataclasses import dataclass

import numpy as np

from metaviz.theory.errors import finite
from metaviz.theory.linear import MetaRisk, Minimiser, minimiser

_NO_WEIGHT = 1e-12
_HALVINGS = 300


@dataclass(frozen=True)
class Corollary:
    """Corollary 1, for squared loss and one marginal: R eps + 2 mean_risk * approximation.

    `mean_risk` is the mean over tasks of the root of R_i at the adapted parameters; `slope_norm`,
    which is at most twice that, the length of the mean of dR_i/dh in L2(rho). Shapes: (radii,).
    """

    mean_risk: float
    slope_norm: float
    approximation: np.ndarray
    bound: np.ndarray


@dataclass(frozen=True)
class Optimality:
    """Theorem 1 at one point omega: gap <= R epsilon + w_norm * approximation(R) for every R.

    `gap` is L(omega) - L(theta*), `epsilon` the length of `gradient`. Shapes: approximation and
    bound like radii. `identity_error` is the largest difference between <w, phi> and grad L,
    `inner_product` is <w, u>, which is at least the gap. `dropped` counts points (x, y, x') left
    out of the norm, as w is zero there.
    """

    theta_star: np.ndarray
    gap: float
    gradient: np.ndarray
    w_norm: float
    radii: np.ndarray
    approximation: np.ndarray
    bound: np.ndarray
    identity_error: float
    inner_product: float
    dropped: int
    agree: bool
    corollary: Corollary | None

    @property
    def epsilon(self) -> float:
        """The length of the meta-gradient."""
        return float(np.linalg.norm(self.gradient))

    @property
    def best(self) -> int:
        """The place of the radius with the smallest bound."""
        return int(self.bound.argmin())


def optimality(
    risk: MetaRisk, omega: np.ndarray, radii: np.ndarray, least: Minimiser | None = None
) -> Optimality:
    """Return gap and bounds of Theorem 1 (and Corollary 1 where it applies) at omega.

    The derivative of R_i by h in L2(rho) has the ratio of densities dD_i/drho, which is 1 for
    one marginal, so that the identity <w, phi> = grad L holds for any marginals.
    Source: Wang et al. 2020, arXiv:2006.13182, theorem 1 and corollary 1.
    """
    least = least or minimiser(risk)
    mean = risk.tables.mean(0)
    rho = mean.sum(1)
    here, best = (risk.adapted(theta) @ risk.features.T for theta in (omega, least.theta))
    with np.errstate(divide="ignore", invalid="ignore"):
        by_h = np.where(rho > 0, (risk.tables * risk.slopes(here)).sum(2) / rho, 0.0)
        ratios = np.where(mean > 0, risk.tables / mean, 0.0)
    tasks = len(risk.tables)
    w = np.einsum("np,nxy->xyp", by_h, ratios) / tasks
    numerator = (by_h * (here - best)).mean(0)
    mass = mean[:, :, None] * rho
    directions = _directions(risk, omega)
    gradient = risk.gradient(omega)
    identity = np.einsum("xyp,xyp,xypd->d", mass, w, directions)
    counted = (mass > 0) & (np.abs(w) > _NO_WEIGHT * np.abs(w).max(initial=0.0))
    root = np.sqrt(mass[counted])
    u = np.broadcast_to(numerator, w.shape)[counted] / w[counted]
    approximation = ball_distances(root[:, None] * directions[counted], root * u, radii)
    w_norm = float(np.sqrt((mass * w**2).sum()))
    epsilon = float(np.linalg.norm(gradient))
    return Optimality(
        theta_star=least.theta,
        gap=risk.value(omega) - least.value,
        gradient=gradient,
        w_norm=w_norm,
        radii=radii,
        approximation=approximation,
        bound=radii * epsilon + w_norm * approximation,
        identity_error=float(np.abs(identity - gradient).max()),
        inner_product=float((rho * numerator).sum()),
        dropped=int((mass > 0).sum() - counted.sum()),
        agree=least.agree,
        corollary=_corollary(risk, omega, least.theta, radii, by_h),
    )


def ball_distances(matrix: np.ndarray, target: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return min |target - matrix v| over |v| <= R for every R. Shapes: (N, d), (N,), (r,).

    On the sphere v = (F'F + mu I)^-1 F'u, whose length falls with mu: mu is found by bisection.
    """
    axes, sizes, _ = np.linalg.svd(finite(matrix), full_matrices=False)
    along = axes.T @ finite(target)
    solvable = sizes > (sizes.max(initial=0.0) * max(matrix.shape) * np.finfo(float).eps)
    free = np.where(solvable, along / np.where(solvable, sizes, 1.0), 0.0)
    found = []
    for radius in radii.tolist():
        v = free
        if np.linalg.norm(free) > radius:
            v = _on_sphere(sizes, along, radius)
        found.append(float(np.linalg.norm(target - axes @ (sizes * v))))
    return np.array(found)


def _on_sphere(sizes: np.ndarray, along: np.ndarray, radius: float) -> np.ndarray:
    """Return the solution of length `radius`, in the basis of singular vectors."""
    if radius == 0:
        return np.zeros(len(sizes))

    def solution(mu: float) -> np.ndarray:
        return np.asarray(sizes * along / (sizes**2 + mu))

    low, high = 0.0, float(np.linalg.norm(sizes * along)) / radius
    for _ in range(_HALVINGS):
        mu = (low + high) / 2
        if mu in {low, high}:
            break
        low, high = (mu, high) if np.linalg.norm(solution(mu)) > radius else (low, mu)
    return solution(high)


def _directions(risk: MetaRisk, omega: np.ndarray) -> np.ndarray:
    """Return phi_{l,omega}(x, y, x') = (I - rate Hess l(phi(x)'omega, y)) phi(x'), (m, c, m, d)."""
    phi = risk.features
    curved = risk.slopes(phi @ omega, 2)
    change = np.einsum("xy,xd,xp->xypd", curved, phi, phi @ phi.T)
    return np.asarray(phi - risk.rate * change)


def _corollary(
    risk: MetaRisk, omega: np.ndarray, star: np.ndarray, radii: np.ndarray, slopes: np.ndarray
) -> Corollary | None:
    """Return Corollary 1 where it applies; slopes (n, m) are dR_i/dh at the adapted parameters."""
    if risk.loss != "squared" or not risk.shared:
        return None
    # With one marginal u(x') = (K phi(x'))'(omega - theta*) exactly.
    (jacobian, *_), rho = risk.jacobians(omega), risk.marginals[0]
    matrix = np.sqrt(rho)[:, None] * (risk.features @ jacobian)
    approximation = ball_distances(matrix, matrix @ (omega - star), radii)
    epsilon = float(np.linalg.norm(risk.gradient(omega)))
    mean_risk = float(np.sqrt(risk.risks(risk.adapted(omega))).mean())
    slope_norm = float(np.sqrt(rho @ slopes.mean(0) ** 2))
    bound = radii * epsilon + 2 * mean_risk * approximation
    return Corollary(mean_risk, slope_norm, approximation, bound)
