"""One file adds a method everywhere: its options, description and recipe are registered here."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from metaviz.algorithms.methods import METHODS
from metaviz.config.catalogue import AlgorithmEntry
from metaviz.config.options import OptionError, Options, OptionSpec, Plain, checked, option, specs
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, CannotTrainError


class AlgorithmOptions(Options):
    """Options that every method has: its own values of the shared inner loop."""

    inner_lr: float | None = option(
        None,
        "Own inner step size α",
        "Step size of this method's inner loop. Empty: the shared value.",
        gt=0,
        le=1000,
        log=True,
    )
    inner_steps: int | None = option(
        None,
        "Own inner steps K",
        "Inner steps of this method. Empty: the shared value.",
        ge=1,
        le=100_000,
    )

    def rate(self, shared: Shared) -> float:
        """Return the inner step size in force."""
        return shared.inner_lr if self.inner_lr is None else self.inner_lr

    def steps(self, shared: Shared) -> int:
        """Return the number of inner steps in force."""
        return shared.inner_steps if self.inner_steps is None else self.inner_steps


class Recipe(Protocol):
    """Builds an algorithm from its checked options and the shared hyperparameters."""

    def __call__(self, options: Any, shared: Shared) -> Algorithm:
        """Return the algorithm."""


@dataclass(frozen=True)
class RegisteredAlgorithm:
    """A method's description, option model and recipe."""

    entry: AlgorithmEntry
    options: type[AlgorithmOptions]
    recipe: Recipe

    def build(self, values: dict[str, Plain], shared: Shared) -> Algorithm:
        """Check the options and build the algorithm. Raises: OptionError."""
        return self.make(self.checked(values), shared)

    def make(self, options: AlgorithmOptions, shared: Shared) -> Algorithm:
        """Build the algorithm of checked options.

        Raises: OptionError where the chosen estimator cannot train the method.
        """
        try:
            return self.recipe(options, shared)
        except CannotTrainError as error:
            raise OptionError(f"{self.entry.id}.estimator", str(error)) from error

    def checked(self, values: dict[str, Plain]) -> AlgorithmOptions:
        """Check the options; a `preset` among them is filled in first. Raises: OptionError."""
        return checked(self.options, self.entry.without_preset(values), f"{self.entry.id}.")


ALGORITHMS: dict[str, RegisteredAlgorithm] = {}


def register(options: type[AlgorithmOptions], **description: Any) -> Callable[[Recipe], Recipe]:
    """Register a method; `description` has the fields of AlgorithmEntry."""

    def keep(recipe: Recipe) -> Recipe:
        described = tuple(_with_refusals(spec, options, recipe) for spec in specs(options))
        entry = AlgorithmEntry(options=described, **description)
        ALGORITHMS[entry.id] = RegisteredAlgorithm(entry, options, recipe)
        return recipe

    return keep


def _with_refusals(spec: OptionSpec, options: type[AlgorithmOptions], recipe: Recipe) -> OptionSpec:
    """Say which estimators cannot train a method, by asking each of them."""
    if spec.name != "estimator":
        return spec
    refused = {}
    for choice in spec.choices:
        try:
            recipe(options.model_validate({"estimator": choice}), Shared())
        except CannotTrainError as error:
            refused[choice] = str(error)
    return spec.model_copy(update={"refused": refused})


def find_algorithm(name: str) -> RegisteredAlgorithm:
    """Return a registered method.

    Raises: OptionError naming those there are.
    """
    load_algorithms()
    if name not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise OptionError("algorithms", f"There is no algorithm {name!r}; known: {known}.")
    return ALGORITHMS[name]


def load_algorithms() -> None:
    """Import every method, which registers it, and put them in the order they are shown in."""
    for name in METHODS:
        import_module(f"metaviz.algorithms.{name}")
    if tuple(ALGORITHMS)[: len(METHODS)] != METHODS:
        for name in METHODS:
            ALGORITHMS[name] = ALGORITHMS.pop(name)
