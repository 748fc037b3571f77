"""The settings that all algorithms share: the usual ones, and a fold with the rest."""

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionSpec, Plain
from metaviz.config.run_config import MACHINE, parse_seeds
from metaviz.gui.widgets.option_field import OptionField
from metaviz.gui.widgets.option_form import CollapsibleSection, OptionForm

SEEDS = OptionSpec(
    name="seeds",
    title="Seeds",
    description="One run per algorithm and seed; all algorithms of a seed see the same tasks. "
    "Write 0,1,2 or 0-4.",
    kind="text",
    default="0",
)
USUAL = ("inner_lr", "inner_steps", "outer_lr", "meta_batch", "shots", "query_shots", "ways")
OF_THE_COMPARISON = ("steps", "seeds", *MACHINE)
"""Names that a comparison holds itself, outside its shared hyperparameters."""


class SharedForm(QWidget):
    """Behaves as one form, though it is two."""

    changed = Signal()
    focused = Signal(object)
    sweep_requested = Signal(str)

    def __init__(self, catalogue: Catalogue, parent: QWidget | None = None) -> None:
        """Make the forms of a catalogue."""
        super().__init__(parent)
        known = {spec.name: spec for spec in (*catalogue.comparison, *catalogue.shared)}
        usual = [known["steps"], SEEDS, *(known[name] for name in USUAL if name in known)]
        names = {spec.name for spec in usual}
        rest = [spec for name, spec in known.items() if name not in names]
        rest.sort(key=lambda spec: spec.name in OF_THE_COMPARISON)
        self._usual = OptionForm(usual, checks={"seeds": parse_seeds})
        self._rest = OptionForm(rest)
        self.section = CollapsibleSection("More shared settings", "more", self._rest)
        self._hidden: frozenset[str] = frozenset()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._usual)
        layout.addWidget(self.section)
        for form in self._forms:
            form.changed.connect(self._on_changed)
            form.focused.connect(self.focused)
            form.sweep_requested.connect(self.sweep_requested)

    @property
    def fields(self) -> dict[str, OptionField]:
        """Every field by name."""
        return {**self._usual.fields, **self._rest.fields}

    def values(self) -> dict[str, Plain]:
        """Return every value, changed or not."""
        return {name: field.value for name, field in self.fields.items()}

    def set_baseline(self, defaults: Mapping[str, Plain]) -> None:
        """Take defaults that go before those of the specs."""
        for form in self._forms:
            form.set_baseline(defaults)

    def hide_fields(self, names: Sequence[str]) -> None:
        """Hide options that have no meaning now."""
        for form in self._forms:
            form.hide_fields(names)

    def changes(self) -> dict[str, Plain]:
        """Return the values that differ from the defaults."""
        return {**self._usual.changes(), **self._rest.changes()}

    def set_changes(self, values: Mapping[str, Plain]) -> None:
        """Show these values, and defaults everywhere else."""
        for form in self._forms:
            form.set_changes(values)

    def first_error(self) -> str:
        """Return the first sentence about a wrong value, or an empty text."""
        return self._usual.first_error() or self._rest.first_error()

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        for form in self._forms:
            form.restyle()

    @property
    def _forms(self) -> tuple[OptionForm, OptionForm]:
        return self._usual, self._rest

    def _on_changed(self) -> None:
        self.section.note_changes(self._rest)
        self.changed.emit()
