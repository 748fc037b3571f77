"""The Gaussian prior that a few gradient steps stand for, and how many directions they learn."""

from dataclasses import dataclass

import numpy as np

from metaviz.theory.errors import NoAnswerError


@dataclass(frozen=True)
class ImplicitPrior:
    """K gradient steps from theta on a quadratic loss end where the MAP point of N(theta, P^-1) is.

    Shapes: eigenvalues (d,) of the Hessian, rising; precisions (d,) in their directions, the
    columns of axes (d, d). Source: Santos 1996; Grant et al. 2018, arXiv:1801.08930.
    """

    eigenvalues: np.ndarray
    axes: np.ndarray
    precisions: np.ndarray
    rate: float
    steps: int

    @property
    def precision(self) -> np.ndarray:
        """The precision P = H ((I - rate H)^-K - I)^-1, shape (d, d)."""
        return np.asarray((self.axes * self.precisions) @ self.axes.T)

    @property
    def is_prior(self) -> bool:
        """Whether no precision is below 0; with an odd K one is where rate * eigenvalue > 1."""
        return bool((self.precisions >= 0).all())

    @property
    def effective_dimension(self) -> float:
        """Sum of h / (h + P) = sum of 1 - (1 - rate h)^K: how many directions were learnt."""
        return effective_dimension(self.eigenvalues, self.rate, self.steps)


def implicit_prior(hessian: np.ndarray, rate: float, steps: int) -> ImplicitPrior:
    """Return the prior of `steps` steps of size `rate` for a Hessian (d, d). Raises: as below."""
    values, axes = np.linalg.eigh(hessian)
    return ImplicitPrior(values, axes, precisions_of(values, rate, steps), rate, steps)


def precisions_of(values: np.ndarray, rate: float, steps: int) -> np.ndarray:
    """Return the precision along each eigenvalue; a flat direction has 1 / (rate steps).

    Raises: NoAnswerError where one is not finite, as the steps lead back to their start there.
    """
    flat = np.abs(values) < np.finfo(float).eps * max(1.0, float(np.abs(values).max(initial=0.0)))
    safe = np.where(flat, 1.0, values)
    found = np.where(flat, 1 / (rate * steps), precision_along(safe, rate, steps))
    if not np.isfinite(found).all():
        worst = float(values[~np.isfinite(found)][0])
        raise NoAnswerError(
            f"{steps} steps of size {rate:g} stand for no prior: along the eigenvalue {worst:g} "
            "they lead back to their start"
        )
    return np.asarray(found)


def precision_along(values: np.ndarray, rate: float, steps: int) -> np.ndarray:
    """Return h / ((1 - rate h)^-K - 1) for eigenvalues h that are not 0."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        left = 1 - rate * values
        # Where steps are short, rounding of 1 - rate h would show in the difference.
        growth = np.where(
            left > 0,
            np.expm1(-steps * np.log1p(np.minimum(-rate * values, np.inf))),
            (-1.0) ** steps * np.abs(left) ** -float(steps) - 1,
        )
        return np.asarray(values / growth)


def effective_dimension(values: np.ndarray, rate: float, steps: int) -> float:
    """Return the sum over eigenvalues h of 1 - (1 - rate h)^K."""
    with np.errstate(over="ignore"):
        return float((1 - (1 - rate * values) ** steps).sum())


def gradient_envelope(steps: np.ndarray) -> np.ndarray:
    """Return the bound (K/(K+1))^K / (K+1) on |grad L_S(phi^K)| / (L |theta - phi*|).

    For convex quadratics with rate 1/L; an eigenvalue L/(K+1) attains it. Of the distance
    itself there is none without strong convexity: flat directions never move.
    """
    k = np.asarray(steps, dtype=float)
    return np.asarray((k / (k + 1)) ** k / (k + 1))
