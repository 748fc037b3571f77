"""A form made from option specs, and a section that can be closed."""

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QWidget

from metaviz.config.options import OptionSpec, Plain
from metaviz.gui.widgets.controls import tool_button
from metaviz.gui.widgets.layouts import column
from metaviz.gui.widgets.option_field import Check, OptionField


class OptionForm(QWidget):
    """Editors for some options; `changes` holds only what differs from the defaults."""

    changed = Signal()
    focused = Signal(object)
    sweep_requested = Signal(str)

    def __init__(
        self,
        specs: Sequence[OptionSpec],
        prefix: str = "",
        checks: Mapping[str, Check] | None = None,
        parent: QWidget | None = None,
        more: Sequence[OptionSpec] = (),
        more_title: str = "",
    ) -> None:
        """Make one row per option; `prefix` goes before names in dotted keys.

        Options in `more` are in a section below that can be opened.
        """
        super().__init__(parent)
        self.fields: dict[str, OptionField] = {}
        self._hidden: frozenset[str] = frozenset()
        self._more = frozenset(spec.name for spec in more)
        parts = [self._rows(specs, prefix, checks or {})]
        if more:
            rows = self._rows(more, prefix, checks or {})
            self.section = CollapsibleSection(more_title, "more", rows)
            parts.append(self.section)
        column(self, *parts)

    def _rows(
        self, specs: Sequence[OptionSpec], prefix: str, checks: Mapping[str, Check]
    ) -> QWidget:
        rows = QWidget(self)
        grid = QGridLayout(rows)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(0, 12)
        grid.setColumnStretch(2, 8)
        for number, spec in enumerate(specs):
            field = OptionField(spec, f"{prefix}{spec.name}", rows, checks.get(spec.name))
            field.place(grid, number)
            field.changed.connect(self._on_changed)
            field.focused.connect(self.focused)
            field.sweep_requested.connect(self.sweep_requested)
            self.fields[spec.name] = field
        return rows

    @Slot()
    def _on_changed(self) -> None:
        if self._more:
            self.section.note_changes(sum(name in self._more for name in self.changes()))
        self.changed.emit()

    def values(self) -> dict[str, Plain]:
        """Return every value, changed or not."""
        return {name: field.value for name, field in self.fields.items()}

    def set_baseline(self, defaults: Mapping[str, Plain]) -> None:
        """Take defaults that go before those of the specs."""
        for name, field in self.fields.items():
            field.set_baseline(defaults.get(name, field.spec.default))

    def hide_fields(self, names: Sequence[str]) -> None:
        """Hide options that have no meaning now; they do not count as changes."""
        self._hidden = frozenset(names)
        for name, field in self.fields.items():
            field.set_visible(visible=name not in self._hidden)

    def changes(self) -> dict[str, Plain]:
        """Return the values that differ from the defaults."""
        return {name: field.value for name, field in self._shown() if field.is_changed}

    def set_changes(self, values: Mapping[str, Plain]) -> None:
        """Show these values, and defaults everywhere else."""
        for name, field in self.fields.items():
            if name in values:
                field.set_value(values[name])
            else:
                field.reset()

    def first_error(self) -> str:
        """Return the first sentence about a wrong value, or an empty text."""
        return next((field.error for _, field in self._shown() if field.error), "")

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        for field in self.fields.values():
            field.restyle()

    def _shown(self) -> list[tuple[str, OptionField]]:
        return [item for item in self.fields.items() if item[0] not in self._hidden]


class CollapsibleSection(QWidget):
    """A heading that shows or hides what is below it."""

    def __init__(self, title: str, name: str, body: QWidget, parent: QWidget | None = None) -> None:
        """Put the body under a heading, closed."""
        super().__init__(parent)
        self._title = title
        self.body = body
        self.heading = tool_button(f"fold_{name}", title, "Show or hide these settings.")
        self.heading.setCheckable(True)
        self.heading.setAutoRaise(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        column(self, self.heading, body, spacing=2)
        self.heading.toggled.connect(self.set_open)
        self.note("")
        self.set_open(False)

    def note(self, text: str) -> None:
        """Add a remark to the heading, for instance how much was changed."""
        self.heading.setText(f"{self._title}  ·  {text}" if text else self._title)

    def note_changes(self, count: int) -> None:
        """Say in the heading how many options were changed."""
        self.note(f"{count} changed" if count else "")

    def set_open(self, is_open: bool) -> None:
        """Open or close the section."""
        arrow = Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow
        self.heading.setArrowType(arrow)
        self.heading.setChecked(is_open)
        self.body.setVisible(is_open)
