"""The section of one ticked algorithm: its presets and its own options."""

from collections.abc import Mapping

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QWidget

from metaviz.config.catalogue import AlgorithmEntry
from metaviz.config.options import Plain
from metaviz.gui.widgets.controls import named
from metaviz.gui.widgets.editors import ChoiceBox, write_value
from metaviz.gui.widgets.layouts import column, row
from metaviz.gui.widgets.option_form import CollapsibleSection, OptionForm

_DEFAULTS, _CUSTOM = "defaults", "changed by hand"


class AlgorithmForm(QWidget):
    """Options of one algorithm under a heading that says how many were changed."""

    changed = Signal()
    focused = Signal(object)
    sweep_requested = Signal(str)

    def __init__(self, entry: AlgorithmEntry, parent: QWidget | None = None) -> None:
        """Make the form of the algorithm's options."""
        super().__init__(parent)
        self.entry = entry
        self.form = OptionForm(entry.options, f"{entry.id}.")
        self._defaults: Mapping[str, Plain] = {}
        tip, title = "Values that a paper or its code used.", f"Presets of {entry.title}"
        self.presets = named(ChoiceBox(), f"presets_{entry.id}", title, tip)
        for name in (_DEFAULTS, *entry.presets):
            self.presets.addItem(name, name)
        self.presets.activated.connect(self._use_preset)
        choice = QWidget()
        row(("Preset", self.presets), spacing=6, stretch=self.presets, inside=choice)
        choice.setVisible(bool(entry.presets))
        body = column(None, choice, self.form, margins=(12, 2, 0, 8))
        self.section = CollapsibleSection(f"{entry.title} settings", entry.id, body, self)
        column(self, self.section)
        self.form.changed.connect(self._on_changed)
        self.form.focused.connect(self.focused)
        self.form.sweep_requested.connect(self.sweep_requested)

    def set_baseline(self, defaults: Mapping[str, Plain]) -> None:
        """Take the defaults that suit the problem."""
        self._defaults = defaults
        self.form.set_baseline(defaults)

    def show_shared(self, shared: Mapping[str, Plain]) -> None:
        """Say in empty fields which shared value they take."""
        for name, field in self.form.fields.items():
            if name in shared and field.spec.optional:
                field.set_automatic(f"shared: {write_value(shared[name])}")

    def _use_preset(self) -> None:
        name = self.presets.currentData()
        if name != _CUSTOM:
            with QSignalBlocker(self.form):  # one change, not one per field
                self.form.set_changes(self.entry.presets.get(name, {}))
            self._on_changed()

    def _on_changed(self) -> None:
        self.section.note_changes(len(self.form.changes()))
        self._show_preset()
        self.changed.emit()

    def _show_preset(self) -> None:
        values = self.form.values()
        plain = {spec.name: spec.default for spec in self.entry.options} | dict(self._defaults)
        known = {_DEFAULTS: plain} | {
            name: plain | preset for name, preset in self.entry.presets.items()
        }
        name = next((name for name, wanted in known.items() if wanted == values), _CUSTOM)
        place = self.presets.findData(name)
        if place < 0:
            self.presets.addItem(_CUSTOM, _CUSTOM)
            place = self.presets.count() - 1
        elif name != _CUSTOM and (extra := self.presets.findData(_CUSTOM)) >= 0:
            self.presets.removeItem(extra)
        self.presets.setCurrentIndex(place)
