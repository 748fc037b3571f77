"""A form made from option specs, and the fold that hides one."""

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from metaviz.config.options import OptionSpec, Plain
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
    ) -> None:
        """Make one row per option; `prefix` goes before names in dotted keys."""
        super().__init__(parent)
        self._baseline: dict[str, Plain] = {spec.name: spec.default for spec in specs}
        self.fields: dict[str, OptionField] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(0, 9)
        grid.setColumnStretch(1, 10)
        for number, spec in enumerate(specs):
            field = OptionField(spec, f"{prefix}{spec.name}", self, (checks or {}).get(spec.name))
            field.place(grid, 2 * number)
            field.changed.connect(self.changed)
            field.focused.connect(self.focused)
            field.sweep_requested.connect(self.sweep_requested)
            self.fields[spec.name] = field
        self._hidden: frozenset[str] = frozenset()

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
        self.heading = QToolButton(self)
        self.heading.setObjectName(f"fold_{name}")
        self.heading.setAccessibleName(title)
        self.heading.setCheckable(True)
        self.heading.setAutoRaise(True)
        self.heading.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.heading.setToolTip("Show or hide these settings.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.heading)
        layout.addWidget(body)
        self.heading.toggled.connect(self.set_open)
        self.note("")
        self.set_open(False)

    def note(self, text: str) -> None:
        """Add a remark to the heading, for instance how much was changed."""
        self.heading.setText(f"{self._title}  ·  {text}" if text else self._title)

    def note_changes(self, form: OptionForm) -> None:
        """Say in the heading how many options of a form were changed."""
        count = len(form.changes())
        self.note(f"{count} changed" if count else "")

    def set_open(self, is_open: bool) -> None:
        """Open or close the fold."""
        arrow = Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow
        self.heading.setArrowType(arrow)
        self.heading.setChecked(is_open)
        self.body.setVisible(is_open)
