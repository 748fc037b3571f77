"""What the bounds assume, with the numbers that were checked."""

from dataclasses import dataclass

import numpy as np

from metaviz.theory.linear import MetaRisk
from metaviz.theory.optimality import Optimality

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Assumption:
    """One assumption: what it says, the number that was measured, and whether it holds."""

    claim: str
    measured: str
    holds: bool

    @property
    def text(self) -> str:
        """The assumption as a sentence."""
        verdict = "holds" if self.holds else "does not hold here"
        return f"{self.claim}: {verdict} ({self.measured})."


def assumptions(risk: MetaRisk, found: Optimality) -> list[Assumption]:
    """Return the assumptions of Theorem 1, of its reading, and of Corollary 1."""
    spread = float(np.ptp(risk.marginals, axis=0).max())
    least = float(risk.slopes(np.linspace(-20, 20, 201), 2).min())
    squared = risk.loss == "squared"
    curvature = float(np.linalg.eigvalsh(risk.hessian(found.theta_star)).min())
    minimum = "L is a convex quadratic" if squared else "all starts of Newton steps reached it"
    if not squared and not found.agree:
        minimum = "starts of Newton steps reached several minima, and the lowest is taken"
    return [
        Assumption("Every R_i is convex in h", f"smallest l'' {max(least, 0.0):.1g}", least >= 0),
        Assumption(
            "The identity <w, phi> = grad L",
            f"largest difference {found.identity_error:.1e}",
            found.identity_error < _ROUNDING * (1 + found.epsilon),
        ),
        Assumption(
            "theta* is a minimum", f"least curvature {curvature:.2g}", curvature > -_ROUNDING
        ),
        Assumption("theta* is the global minimum", minimum, squared or found.agree),
        Assumption(
            "L is convex",
            "squared loss" if squared else f"{risk.loss} loss, for which nothing says so",
            squared,
        ),
        Assumption(
            "One marginal of x for all tasks, as Corollary 1 needs",
            f"they differ by up to {spread:.2g}",
            risk.shared,
        ),
        Assumption("Squared loss, as Corollary 1 needs", f"{risk.loss} loss", squared),
    ]
