"""One file adds a method everywhere: its options, description and recipe are registered here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, cast

from metaviz.algorithms.display_order import method_modules
from metaviz.config.catalogue import AlgorithmEntry
from metaviz.config.options import OptionError, Options, OptionSpec, Plain, option, specs
from metaviz.config.outer_rule import OuterRule
from metaviz.config.run_config import Shared
from metaviz.meta.algorithm import Algorithm, CannotTrainError
from metaviz.registry import Registered, Registry


class MethodOptions(Options):
    """Options of any method."""

    def stored(self) -> dict[str, Plain]:
        """Return the options as runs store them, so that they keep their meaning for ever."""
        return self.model_dump()

    def changed_since(self, version: tuple[int, ...], shared: Shared) -> str:
        """Say in what numbers differ from those of a version; empty where bits are the same."""
        del version, shared
        return ""

    def outer_rule(self, shared: Shared, *, of_network: bool) -> OuterRule:
        """Return how a group is trained: that of the network's weights, or another."""
        del of_network
        return OuterRule(shared.outer_lr)

    def untrained(self, examples: int) -> Self | None:
        """Return options with which an episode of so many examples is predicted without training.

        None where the method has to be trained first. Raises: OptionError.
        """
        del examples
        return None

    def own_clip(self) -> float | None:
        """Return the method's own largest norm of the meta-gradient, None for the shared one."""
        return None


class AlgorithmOptions(MethodOptions):
    """Options of methods with an inner loop: their own values of what all share of it."""

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
class RegisteredAlgorithm(Registered[AlgorithmEntry, Recipe]):
    """A method's description, option model and recipe."""

    def build(self, values: Mapping[str, Plain], shared: Shared) -> Algorithm:
        """Check the options and build the algorithm. Raises: OptionError."""
        return self.make(self.checked(values), shared)

    def make(self, options: MethodOptions, shared: Shared) -> Algorithm:
        """Build the algorithm of checked options.

        Raises: OptionError where the chosen estimator cannot train the method.
        """
        try:
            return self.factory(options, shared)
        except CannotTrainError as error:
            raise OptionError(f"{self.entry.id}.estimator", str(error)) from error

    def checked(self, values: Mapping[str, Plain]) -> MethodOptions:
        """Check the options; a `preset` among them is filled in first. Raises: OptionError."""
        return cast(MethodOptions, super().checked(self.entry.without_preset(values)))


ALGORITHMS: Registry[RegisteredAlgorithm] = Registry(
    "algorithm", "algorithms", "metaviz.algorithms", method_modules
)


def register(options: type[MethodOptions], **description: Any) -> Callable[[Recipe], Recipe]:
    """Register a method; `description` has the fields of AlgorithmEntry."""

    def keep(recipe: Recipe) -> Recipe:
        described = tuple(_with_refusals(spec, options, recipe) for spec in specs(options))
        traits = recipe(options(), Shared()).traits
        entry = AlgorithmEntry(options=described, traits=traits, **description)
        ALGORITHMS.register(RegisteredAlgorithm(entry, options, recipe))
        return recipe

    return keep


def _with_refusals(spec: OptionSpec, options: type[MethodOptions], recipe: Recipe) -> OptionSpec:
    """Say which estimators cannot train a method, by asking each of them."""
    refused = {}
    for choice in spec.choices:
        try:
            recipe(options.model_validate({spec.name: choice}), Shared())
        except CannotTrainError as error:
            refused[choice] = str(error)
    return spec.model_copy(update={"refused": refused})


def find_algorithm(name: str) -> RegisteredAlgorithm:
    """Return a registered method. Raises: OptionError naming those there are."""
    return ALGORITHMS.find(name)
