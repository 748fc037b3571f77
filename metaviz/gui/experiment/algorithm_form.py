"""The section of one ticked algorithm: its presets and its own options."""

from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from metaviz.config.catalogue import AlgorithmEntry
from metaviz.config.options import Plain
from metaviz.gui.widgets.editors import ChoiceBox, write_value
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
        body = QWidget(self)
        inside = QVBoxLayout(body)
        inside.setContentsMargins(12, 2, 0, 8)
        self.presets = ChoiceBox(body)
        self._add_presets(inside)
        inside.addWidget(self.form)
        self.section = CollapsibleSection(f"{entry.title} settings", entry.id, body, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.section)
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

    def _add_presets(self, layout: QVBoxLayout) -> None:
        self.presets.setObjectName(f"presets_{self.entry.id}")
        self.presets.setAccessibleName(f"Presets of {self.entry.title}")
        self.presets.setToolTip("Values that a paper or its code used.")
        for name in (_DEFAULTS, *self.entry.presets):
            self.presets.addItem(name, name)
        label = QLabel("Preset", self)
        label.setBuddy(self.presets)
        line = QHBoxLayout()
        line.addWidget(label)
        line.addWidget(self.presets, 1)
        layout.addLayout(line)
        shown = bool(self.entry.presets)
        label.setVisible(shown)
        self.presets.setVisible(shown)
        self.presets.activated.connect(self._use_preset)

    def _use_preset(self) -> None:
        name = self.presets.currentData()
        if name != _CUSTOM:
            self.form.blockSignals(True)  # one change, not one per field
            self.form.set_changes(self.entry.presets.get(name, {}))
            self.form.blockSignals(False)
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
