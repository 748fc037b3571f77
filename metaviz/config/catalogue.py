"""What can be chosen, as plain data, for the window and the help pages."""

from pydantic import BaseModel, ConfigDict

from metaviz.config.options import OptionSpec, Plain


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

    def algorithm(self, name: str) -> AlgorithmEntry | None:
        """Return the method with this id, or None."""
        return next((entry for entry in self.algorithms if entry.id == name), None)

    def problem(self, name: str) -> ProblemEntry | None:
        """Return the problem with this id, or None."""
        return next((entry for entry in self.problems if entry.id == name), None)
