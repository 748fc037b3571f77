"""The outer step size of one group of meta-parameters, and where it comes from."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OuterRule:
    """How the outer optimiser moves one group of meta-parameters.

    `key` names the option that holds the rate; it is the method's own where `own`, else shared.
    `optimizer` is None where the shared one moves it.
    """

    rate: float
    key: str = "outer_lr"
    own: bool = False
    optimizer: Literal["adam", "sgd"] | None = None
