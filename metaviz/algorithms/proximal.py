"""Options that all methods with a proximal inner problem share."""

from typing import Literal

from metaviz.algorithms.registry import AlgorithmOptions
from metaviz.config.options import option
from metaviz.config.run_config import Shared
from metaviz.meta.rules import GuardedProximalDescent, ProximalDescent

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

    step_control: Literal["guarded", "fixed"] = option(
        "guarded",
        "Step control",
        "Guarded: a task halves its step size α whenever its gradient turns back, so that the "
        "inner problem is solved where a fixed step would oscillate. Fixed: α throughout.",
        labels={"guarded": "halve where it oscillates", "fixed": "fixed"},
    )

    def rule(
        self, shared: Shared, *, plain_steps: int = 0, learn_prox: bool = False
    ) -> ProximalDescent:
        """Return the inner rule."""
        kind = GuardedProximalDescent if self.step_control == "guarded" else ProximalDescent
        return kind(self.rate(shared), self.prox, plain_steps=plain_steps, learn_prox=learn_prox)

    def steps(self, shared: Shared) -> int:
        """Return the number of inner steps in force."""
        if self.inner_steps is not None:
            return self.inner_steps
        return max(shared.inner_steps, ENOUGH_STEPS)
