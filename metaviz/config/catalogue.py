"""What can be chosen, as plain data, for the window and the help pages."""

from collections.abc import Mapping
from functools import cache

from pydantic import BaseModel, ConfigDict

from metaviz.config.options import OptionError, OptionSpec, Plain
from metaviz.config.traits import Need, Traits
from metaviz.paths import resource


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
    color: int | None = None
    """Place of its colour in the palette of curves; None for one that its id decides."""
    options: tuple[OptionSpec, ...] = ()
    presets: dict[str, dict[str, Plain]] = {}
    quantities: tuple[str, ...] = ()
    """Ids of quantities of its own that it measures."""
    charts: tuple[str, ...] = ()
    """Ids of charts that it draws of what it has learned."""
    defaults: dict[str, dict[str, Plain]] = {}
    """Options that suit a problem better than the general default, by the problem's id."""
    in_peers: bool = False
    """Whether the libraries that are measured beside this one have it."""
    needs: dict[Need, str] = {}
    """What it asks of a problem, each with the clause that says what for."""
    traits: Traits = Traits()
    """What is true of it with its default options."""

    def unsuited(self, problem: "ProblemEntry") -> str:
        """Say in one sentence why it cannot run on a problem; empty where it can."""
        for need, clause in self.needs.items():
            if need not in problem.offers:
                return f"{clause}, and the {problem.id} problem has none."
        return ""

    def without_preset(self, values: Mapping[str, Plain]) -> dict[str, Plain]:
        """Return option values with what a `preset` among them stands for in its place.

        Raises: OptionError naming the presets there are.
        """
        own = dict(values)
        name = own.pop("preset", None)
        if name is None:
            return own
        if name not in self.presets:
            known = ", ".join(self.presets) or "none"
            key = f"{self.id}.preset"
            raise OptionError(key, f"{key} = {name!r} is not valid: known presets are {known}.")
        return {**self.presets[str(name)], **own}

    def as_stored(self, values: Mapping[str, Plain]) -> dict[str, Plain]:
        """Return a stored run's options with what it had where they are older than an option.

        Runs store every option there is, so that one they do not name was not there yet.
        """
        formerly = {spec.name: spec.formerly for spec in self.options if spec.formerly is not None}
        return {**formerly, **values}


class ProblemEntry(BaseModel):
    """One task family, as the problem list and the form show it.

    `shared` holds the defaults of the shared hyperparameters for this problem, `hidden` the
    shared hyperparameters that have no meaning here, and `options` its own options.
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
    evaluation_query: int | None = None
    """Query examples of an evaluation task, where they are not as many as in training."""
    shared: dict[str, Plain] = {}
    hidden: tuple[str, ...] = ()
    options: tuple[OptionSpec, ...] = ()
    offers: tuple[Need, ...] = ("layers", "residuals", "objective")


class Catalogue(BaseModel):
    """Every method and problem, and the options that all share."""

    model_config = ConfigDict(frozen=True)

    shared: tuple[OptionSpec, ...]
    comparison: tuple[OptionSpec, ...]
    algorithms: tuple[AlgorithmEntry, ...]
    problems: tuple[ProblemEntry, ...]

    @property
    def ids(self) -> list[str]:
        """The ids of all methods, then those of all problems."""
        methods, families = self.algorithms, self.problems
        return [*(entry.id for entry in methods), *(entry.id for entry in families)]

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


def shipped_catalogue() -> Catalogue:
    """Read the catalogue that comes with the program; no method or problem is imported for it."""
    text = resource("catalogue.json").read_text(encoding="utf-8")
    return Catalogue.model_validate_json(text)


def as_stored(algorithm: str, values: Mapping[str, Plain]) -> dict[str, Plain]:
    """Return a stored run's options as `AlgorithmEntry.as_stored` does, for shipped methods."""
    entry = _shipped().algorithm(algorithm)
    return dict(values) if entry is None else entry.as_stored(values)


@cache
def _shipped() -> Catalogue:
    return shipped_catalogue()
