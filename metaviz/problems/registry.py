"""The task families that can be chosen; each is a module of this package."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from metaviz.config.catalogue import ProblemEntry
from metaviz.config.options import Options, specs
from metaviz.config.run_config import Shared
from metaviz.problems.base import Problem, ProblemFactory
from metaviz.registry import Registered, Registry


@dataclass(frozen=True)
class RegisteredProblem(Registered[ProblemEntry, ProblemFactory]):
    """A task family's description, option model and factory."""

    def build(self, values: Mapping[str, Any], shared: Shared, seed: int) -> Problem:
        """Check the options and build the problem.

        Raises: OptionError for wrong options, ValueError for data that cannot be read.
        """
        return self.factory(self.checked(values), shared, seed)


PROBLEMS: Registry[RegisteredProblem] = Registry(
    "problem",
    "problem",
    "metaviz.problems",
    lambda: (
        *("sinusoid", "mixture", "quadratic", "linear"),
        *("strokes", "omniglot", "images", "features"),
        *("navigation", "tabular"),
    ),
)


def register_problem(
    options: type[Options], **description: Any
) -> Callable[[ProblemFactory], ProblemFactory]:
    """Register a task family; `description` has the fields of ProblemEntry."""
    entry = ProblemEntry(options=specs(options), **description)

    def keep(factory: ProblemFactory) -> ProblemFactory:
        PROBLEMS.register(RegisteredProblem(entry, options, factory))
        return factory

    return keep


def find_problem(name: str) -> RegisteredProblem:
    """Return a registered task family. Raises: OptionError naming those there are."""
    return PROBLEMS.find(name)
