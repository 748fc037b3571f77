"""Every number that a run records of a meta-step, by its id: the one list that all others show."""

import math
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
    of its size: recorded programs are not refused for its sake. `primary` ranks what a run may be
    judged by at its evaluations, 0 for what it never is; see `primary_of`.
    """

    id: str
    title: str
    unit: str = ""
    better: Better = ""
    per: str = "meta-step"
    rounding: bool = False
    primary: int = 0

    def __post_init__(self) -> None:
        """Refuse an id that could not be the name of a column. Raises: ValueError."""
        if not is_name(self.id):
            raise ValueError(
                f"The id {self.id!r} of a quantity is not valid: use small letters, digits and "
                "underscores, and begin with a letter."
            )

    @property
    def label(self) -> str:
        """The title with the unit, if there is one, as headings and axes show it."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def noun(self) -> str:
        """The title within a sentence: names and abbreviations keep their capitals."""
        kept = self.title[1:2].isupper() or self.title.startswith("Hessian")
        return self.title if kept else self.title[:1].lower() + self.title[1:]


def is_name(text: str) -> bool:
    """Return whether a text may be the id of a quantity: it can be the name of a column."""
    return _ID.fullmatch(text) is not None


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

EVALUATED = (
    Quantity("support_loss", "Support loss", better="smaller", per="task"),
    Quantity("query_loss", "Query loss", better="smaller", per="task", primary=1),
    Quantity("gradient_norm", "Support gradient norm", per="task"),
    Quantity("query_accuracy", "Query accuracy", better="larger", per="task", primary=2),
)
"""Those that evaluations hold of every k, in the order of tables."""

RETURNS = (
    Quantity("support_return", "Support return", better="larger", per="task"),
    Quantity("query_return", "Query return", better="larger", per="task", primary=3),
    *_adapted("return", "larger", rounding=False),
)
"""Those of problems in which policies act: the sum of a trajectory's rewards, without discount,
averaged over trajectories. The first two are of evaluations."""

TRUST = (
    Quantity("policy_divergence", "Divergence of policies over the meta-step", "nats"),
    Quantity("surrogate_gain", "Gain in the surrogate over the meta-step", better="larger"),
    Quantity("trust_share", "Share of the longest meta-step that was taken"),
)
"""Those of outer steps in a trust region; the share is 0 where no step was accepted."""

_LENGTH = (0.0, math.inf)
_COUNT = (0.0, 1e18)
RANGES: dict[str, tuple[float, float]] = {
    "seconds": (0.0, 1e11),
    "gradient_evaluations": _COUNT,
    "hessian_vector_products": _COUNT,
    "peak_memory_mb": (0.0, 1e9),
    **dict.fromkeys(("meta_gradient_norm", "gradient_norm"), _LENGTH),
    **dict.fromkeys(("inner_residual", "solver_residual"), _LENGTH),
    **dict.fromkeys((one.id for one in STORED if one.id.endswith("accuracy")), _LENGTH),
    "query_accuracy": (0.0, 1.0 + 1e-5),  # a mean of ones may be rounded up
}
"""Between which numbers quantities lie by their nature; others may be any."""

COUNTED = (
    Quantity("episodes", "Training episodes"),
    Quantity("images_seen", "Training examples seen"),
)
"""Those that follow from the number of meta-steps and what each of them takes, see `[resolved]`."""

QUANTITIES: dict[str, Quantity] = {
    quantity.id: quantity for quantity in (*STORED, *EVALUATED, *COUNTED, *RETURNS, *TRUST)
}


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


def unit_of(name: str) -> float:
    """Return what a quantity is multiplied by where it is shown: accuracies are in per cent."""
    return 100.0 if name.endswith("accuracy") else 1.0


def own_quantities(names: Iterable[str]) -> tuple[Quantity, ...]:
    """Return those of the named quantities that have no column of their own in the database."""
    return tuple(quantity_of(name) for name in names if name not in _STORED_IDS)


def primary_of(names: Iterable[str]) -> Quantity | None:
    """Return what a run that evaluates the named quantities is judged by, None without any.

    That is accuracy where there is one, else the query loss; methods and problems may register
    quantities of a higher rank.
    """
    found = max(map(quantity_of, names), key=lambda quantity: quantity.primary, default=None)
    return found if found is not None and found.primary else None


_STORED_IDS = frozenset(quantity.id for quantity in STORED)
