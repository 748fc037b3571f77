"""The task families that can be chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metaviz.config.catalogue import ProblemEntry
from metaviz.config.options import OptionError, Options, checked, specs
from metaviz.config.run_config import Shared
from metaviz.problems.base import Problem, ProblemFactory


@dataclass(frozen=True)
class RegisteredProblem:
    """A task family's description, option model and factory."""

    entry: ProblemEntry
    options: type[Options]
    factory: ProblemFactory

    def checked(self, values: dict[str, Any]) -> Options:
        """Check the options. Raises: OptionError."""
        return checked(self.options, values, prefix=f"{self.entry.id}.")

    def build(self, values: dict[str, Any], shared: Shared, seed: int) -> Problem:
        """Check the options and build the problem.

        Raises: OptionError for wrong options, ValueError for data that cannot be read.
        """
        return self.factory(self.checked(values), shared, seed)


PROBLEMS: dict[str, RegisteredProblem] = {}


def register_problem(
    options: type[Options], **description: Any
) -> Callable[[ProblemFactory], ProblemFactory]:
    """Register a task family; `description` has the fields of ProblemEntry."""
    entry = ProblemEntry(options=specs(options), **description)

    def keep(factory: ProblemFactory) -> ProblemFactory:
        PROBLEMS[entry.id] = RegisteredProblem(entry, options, factory)
        return factory

    return keep


def find_problem(name: str) -> RegisteredProblem:
    """Return a registered task family.

    Raises: OptionError naming those there are.
    """
    import metaviz.problems.families  # noqa: F401 - registers them

    if name not in PROBLEMS:
        known = ", ".join(PROBLEMS)
        raise OptionError("problem", f"There is no problem {name!r}; known: {known}.")
    return PROBLEMS[name]
