"""What can be chosen, as plain data, for the window and the help pages."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from metaviz.config.options import OptionError, OptionSpec, Plain
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
    options: tuple[OptionSpec, ...] = ()
    presets: dict[str, dict[str, Plain]] = {}

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


class ProblemEntry(BaseModel):
    """One task family, as the problem list and the form show it.

    `shared` holds the defaults of the shared hyperparameters for this problem, `hidden` the
    shared hyperparameters that have no meaning here, `options` its own options and
    `algorithm_defaults` options of algorithms that suit it better than the general default.
    `unsuited` says why some algorithms cannot run on it.
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
    unsuited: dict[str, str] = {}


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


def shipped_catalogue() -> Catalogue:
    """Read the catalogue that comes with the program; no method or problem is imported for it."""
    text = resource("catalogue.json").read_text(encoding="utf-8")
    return Catalogue.model_validate_json(text)
