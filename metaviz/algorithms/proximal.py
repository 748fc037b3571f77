"""Options that all methods with a proximal inner problem share."""

from metaviz.algorithms.registry import AlgorithmOptions
from metaviz.config import Shared
from metaviz.options import option

ENOUGH_STEPS = 100


class ProximalOptions(AlgorithmOptions):
    """Options of a method whose inner loop solves min L_S(φ) + λ/2 ||φ − θ||²."""

    inner_steps: int | None = option(
        None,
        "Own inner steps",
        "Steps towards the solution of the inner problem. Empty: the shared K, but at least 100, "
        "because an implicit gradient is right only where the inner problem is solved; watch the "
        "inner residual.",
        ge=1,
        le=100_000,
    )
    prox: float = option(
        0.5,
        "Prox weight λ",
        "Strength of the pull λ/2 ||φ − θ||² towards the start. Not the penalty weight of the "
        "penalty method. Below −λ_min(H) the system I + H/λ is indefinite.",
        gt=0,
        le=1e6,
        log=True,
    )

    def steps(self, shared: Shared) -> int:
        """Return the number of inner steps in force."""
        if self.inner_steps is not None:
            return self.inner_steps
        return max(shared.inner_steps, ENOUGH_STEPS)
