"""How the outer optimiser moves one group of meta-parameters."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OuterRule:
    """How the outer optimiser moves one group of meta-parameters.

    `key` names the option that holds the rate; it is the method's own where `own`, else shared.
    `optimizer` is None where the shared one moves it. `momentum` is gradient descent's: velocities
    v ← momentum v + g are followed, with `nesterov` g + momentum v. `decay` w is added to the
    gradient as w times the weights (L2). After each epoch of `drops`, counted from 1, the rate is
    multiplied by `drop` from then on; where training is by episodes, each step is one. The entries
    of the group's gradient are cut to ±`entry_clip`, then it is scaled down to the norm `clip`,
    before that of all groups is clipped.
    """

    rate: float
    key: str = "outer_lr"
    own: bool = False
    optimizer: Literal["adam", "sgd"] | None = None
    momentum: float = 0.0
    nesterov: bool = False
    decay: float = 0.0
    drops: tuple[int, ...] = ()
    drop: float = 0.1
    clip: float | None = None
    entry_clip: float | None = None

    def share(self, epochs: int) -> float:
        """Return what share of the rate is in force after so many whole epochs."""
        return self.drop ** sum(done <= epochs for done in self.drops)
