"""Options of methods that were published with an outer optimiser of their own."""

import re
from typing import ClassVar, Literal

from typing_extensions import override

from metaviz.algorithms.registry import MethodOptions
from metaviz.config.options import OptionError, option
from metaviz.config.outer_rule import OuterRule
from metaviz.config.run_config import Shared


class OwnOuter(MethodOptions):
    """Options of the outer optimiser, where it is not the shared one.

    Recipes ask for `epochs` to have them refused before training, where they are wrong.
    """

    method: ClassVar[str]
    """The id of the method, for what is refused."""

    outer_lr: float | None = option(
        None,
        "Own step size β",
        "Step size of training. Empty: the shared value.",
        gt=0,
        le=1000,
        log=True,
    )
    optimizer: Literal["adam", "sgd"] | None = option(
        None,
        "Own optimiser",
        "Adam, or gradient descent with the momentum below. Empty: the shared one.",
        labels={"adam": "Adam", "sgd": "SGD"},
    )
    momentum: float = option(
        0.9, "Momentum of SGD", "v ← μ v + g; weights step along v.", ge=0, le=0.9999
    )
    nesterov: bool = option(False, "Nesterov's momentum", "Weights step along g + μ v.")
    weight_decay: float = option(
        0.0,
        "Weight decay",
        "Times the weights, added to their gradient, also those of the normalisation.",
        ge=0,
        le=1,
    )
    drops: str = option(
        "",
        "Drop the step size after",
        "Epochs, or meta-steps where training is by episodes, with commas between, like 45,67. "
        "Empty: never.",
    )
    drop: float = option(
        0.1, "Drop to", "What the step size is multiplied by at each drop.", gt=0, le=1
    )

    def epochs(self) -> tuple[int, ...]:
        """Return after which epochs, or meta-steps, the step size drops. Raises: OptionError."""
        text = self.drops.replace(" ", "")
        if text and not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8}){0,99}", text):
            key = f"{self.method}.drops"
            raise OptionError(
                key,
                f"{key} = {self.drops[:40]!r} is not valid: use whole numbers of epochs, or of "
                "meta-steps where training is by episodes, with commas between, like 45,67.",
            )
        return tuple(map(int, filter(None, text.split(","))))

    @override
    def outer_rule(self, shared: Shared, *, of_network: bool) -> OuterRule:
        del of_network
        return OuterRule(
            shared.outer_lr if self.outer_lr is None else self.outer_lr,
            optimizer=self.optimizer,
            momentum=self.momentum,
            nesterov=self.nesterov,
            decay=self.weight_decay,
            drops=self.epochs(),
            drop=self.drop,
        )
