"""What can be chosen, as plain data, for the window and the help pages."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from metaviz.config.options import OptionSpec, Plain
from metaviz.config.traits import Need, Traits


class AlgorithmEntry(BaseModel):
    """One method, as the algorithm list and the form show it."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    group: str
    summary: str
    formula: str
    cost: str
    citation: str
    note: str = ""
    options: tuple[OptionSpec, ...] = ()
    presets: dict[str, dict[str, Plain]] = {}
    quantities: tuple[str, ...] = ()
    """Ids of quantities of its own that it measures."""
    charts: tuple[str, ...] = ()
    """Ids of charts that it draws of what it has learned."""
    needs: dict[Need, str] = {}
    """What it asks of a problem, each with the clause that says what for."""
    traits: Traits = Traits()
    """What is true of it with its default options."""
    exceptions: dict[str, dict[str, Traits]] = {}
    """What is true of it with another choice of one option, where that differs."""

    def unsuited(self, problem: "ProblemEntry") -> str:
        """Say in one sentence why it cannot run on a problem; empty where it can."""
        for need, clause in self.needs.items():
            if need not in problem.offers:
                return f"{clause}, and the {problem.id} problem has none."
        return ""

    def traits_with(self, options: Mapping[str, Plain]) -> Traits:
        """Return what is true of it under some options."""
        for name, choices in self.exceptions.items():
            found = choices.get(str(options.get(name)))
            if found is not None:
                return found
        return self.traits


class ProblemEntry(BaseModel):
    """One task family, as the problem list and the form show it.

    `shared` holds the defaults of the shared hyperparameters for this problem, `hidden` the
    shared hyperparameters that have no meaning here, `options` its own options and
    `algorithm_defaults` options of algorithms that suit it better than the general default.
    `offers` is what methods may need.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    summary: str
    loss_name: str
    has_accuracy: bool
    needs_data: bool = False
    can_download: bool = False
    has_images: bool = False
    citation: str = ""
    steps: int = 2000
    shared: dict[str, Plain] = {}
    hidden: tuple[str, ...] = ()
    options: tuple[OptionSpec, ...] = ()
    algorithm_defaults: dict[str, dict[str, Plain]] = {}
    offers: tuple[Need, ...] = ("layers", "residuals")


class Catalogue(BaseModel):
    """Every method and problem, and the options that all share."""

    model_config = ConfigDict(frozen=True)

    shared: tuple[OptionSpec, ...]
    comparison: tuple[OptionSpec, ...]
    algorithms: tuple[AlgorithmEntry, ...]
    problems: tuple[ProblemEntry, ...]

    def algorithm(self, name: str) -> AlgorithmEntry | None:
        """Return the method with this id, or None."""
        return next((entry for entry in self.algorithms if entry.id == name), None)

    def problem(self, name: str) -> ProblemEntry | None:
        """Return the problem with this id, or None."""
        return next((entry for entry in self.problems if entry.id == name), None)

    def unsuited(self, problem: ProblemEntry) -> dict[str, str]:
        """Return why methods cannot run on a problem, by their ids; without those that can."""
        reasons = {entry.id: entry.unsuited(problem) for entry in self.algorithms}
        return {name: reason for name, reason in reasons.items() if reason}
