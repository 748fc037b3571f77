"""Every number that a run records of a meta-step, by its id: the one list that all others show."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Better = Literal["smaller", "larger", ""]
_ID = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Quantity:
    """What a recorded number means.

    `per` says what one number belongs to. `rounding` marks what a rounding error may change by much
    of its size: recorded programs are not refused for its sake.
    """

    id: str
    title: str
    unit: str = ""
    better: Better = ""
    per: str = "meta-step"
    rounding: bool = False

    def __post_init__(self) -> None:
        """Refuse an id that could not be the name of a column. Raises: ValueError."""
        if not _ID.fullmatch(self.id):
            raise ValueError(
                f"The id {self.id!r} of a quantity is not valid: use small letters, digits and "
                "underscores, and begin with a letter."
            )


def _adapted(name: str, better: Better, *, rounding: bool) -> list[Quantity]:
    """Return a loss or accuracy on support and query set, before and after adaptation."""
    return [
        Quantity(
            f"{when}_{part}_{name}",
            f"{part.capitalize()} {name} {word} adaptation",
            better=better,
            rounding=rounding,
        )
        for part in ("support", "query")
        for when, word in (("pre", "before"), ("post", "after"))
    ]


STORED = (
    Quantity("seconds", "Training time", "s"),
    Quantity("gradient_evaluations", "Gradient evaluations"),
    Quantity("hessian_vector_products", "Hessian-vector products"),
    *_adapted("loss", "smaller", rounding=False),
    # Two outputs that are all but equal make an answer right or wrong.
    *_adapted("accuracy", "larger", rounding=True),
    Quantity("meta_gradient_norm", "Length of the meta-gradient"),
    # Of a problem that is solved they are rounding errors.
    Quantity("inner_residual", "Inner residual", better="smaller", rounding=True),
    Quantity("solver_residual", "Solver residual", better="smaller", rounding=True),
    Quantity("peak_memory_mb", "Largest memory until now", "MiB", rounding=True),
)
"""Those that have a column of their own in every run's database, in its order, which is fixed."""

QUANTITIES: dict[str, Quantity] = {quantity.id: quantity for quantity in STORED}


def register_quantity(quantity: Quantity) -> Quantity:
    """Add a number that a method or problem measures: per task, recorded as the batch mean.

    Raises: ValueError where another quantity has its id.
    """
    known = QUANTITIES.setdefault(quantity.id, quantity)
    if known != quantity:
        raise ValueError(f"There is a quantity {quantity.id!r} already: {known.title}.")
    return quantity


def quantity_of(name: str) -> Quantity:
    """Return a registered quantity, or one of no known meaning."""
    return QUANTITIES.get(name) or Quantity(name, name.replace("_", " ").capitalize())


def own_quantities(names: Iterable[str]) -> tuple[Quantity, ...]:
    """Return those of the named quantities that have no column of their own in the database."""
    return tuple(quantity_of(name) for name in names if name not in _STORED_IDS)


_STORED_IDS = frozenset(quantity.id for quantity in STORED)
