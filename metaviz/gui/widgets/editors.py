"""Editors of single values: numbers with keyboard steps, choices, paths."""

import math
import re
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QKeyEvent, QWheelEvent
from PySide6.QtWidgets import QComboBox, QDialog, QFileDialog, QLineEdit, QMenu, QWidget

from metaviz.config.options import OptionSpec, Plain
from metaviz.gui.widgets.controls import tool_button
from metaviz.gui.widgets.layouts import row
from metaviz.gui.widgets.plain_text import plain_tip

_MANTISSAS = (1.0, 2.0, 5.0, 10.0)


class ChoiceBox(QComboBox):
    """A choice that the wheel changes only after a click, so that scrolling past is harmless."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)

    def refuse(self, place: int, reason: str) -> None:
        """Grey out a choice and say why it cannot be taken."""
        index = self.model().index(place, 0)
        item = getattr(self.model(), "itemFromIndex")(index)  # noqa: B009 - Qt's default model
        item.setEnabled(False)
        item.setToolTip(plain_tip(reason))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Pass the wheel to the scroll area around."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class NumberEdit(QLineEdit):
    """A number as text; up and down step it, by factors where the option is logarithmic."""

    sweep_requested = Signal()
    KEYS = (("Next number up", "Up"), ("Next number down", "Down"))

    def __init__(self, spec: OptionSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._spec = spec

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Show the menu."""
        self.menu().popup(event.globalPos())

    def menu(self) -> QMenu:
        """Offer to vary the number, besides what can be done to any text."""
        menu = self.createStandardContextMenu()
        menu.setObjectName("number_menu")
        if not isinstance(self.window(), QDialog):  # what a dialog asks for is no hyperparameter
            menu.addSeparator()
            sweep = menu.addAction("&Sweep this…")
            sweep.setObjectName("sweep_this")
            sweep.triggered.connect(self.sweep_requested)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        return menu

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Step the number by the arrow keys."""
        direction = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}.get(Qt.Key(event.key()), 0)
        if direction == 0:
            super().keyPressEvent(event)
            return
        try:
            value = read_number(self._spec, self.text())
        except ValueError:
            return
        start = self._spec.default if value is None else value
        if isinstance(start, int | float):
            self.setText(write_value(stepped(self._spec, start, direction)))


class PathEdit(QWidget):
    """A path as text, with a button that browses."""

    changed = Signal(str)

    def __init__(self, spec: OptionSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = QLineEdit(self)
        self._folder = spec.name != "file"
        tip = "Choose on this computer. A path can also be typed."
        browse = tool_button(f"browse_{spec.name}", "Browse…", tip, f"Browse for {spec.title}")
        browse.clicked.connect(self._browse)
        row(self.line, browse, spacing=4, stretch=self.line, inside=self)
        self.setFocusProxy(self.line)
        self.line.textChanged.connect(self.changed)

    def _browse(self) -> None:
        here = self.line.text() or str(Path.home())
        if self._folder:
            chosen = QFileDialog.getExistingDirectory(self, "Choose a folder", here)
        else:
            chosen, _ = QFileDialog.getOpenFileName(self, "Choose a file", here)
        if chosen:
            self.line.setText(chosen)


def read_number(spec: OptionSpec, text: str) -> int | float | None:
    """Read a number, with a decimal point or comma; None where an optional field is empty.

    Raises: ValueError with one sentence that says what would be right.
    """
    stripped = text.strip()
    if not stripped:
        if spec.optional:
            return None
        raise ValueError(f"{spec.title} is empty: use {spec.range_text}.")
    plain = stripped.replace("−", "-")
    if plain.count(",") == 1 and "." not in plain:
        plain = plain.replace(",", ".")
    wrong = ValueError(f"{spec.title}: “{stripped}” is not valid; use {spec.range_text}.")
    try:
        value = float(plain)
    except ValueError:
        raise wrong from None
    if not math.isfinite(value) or not _within(spec, value):
        raise wrong
    if spec.kind != "int":
        return value
    if value != int(value):
        raise wrong
    return int(value)


def write_value(value: Plain) -> str:
    """Write a value as a person would; reading it gives the same value back."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


def stepped(spec: OptionSpec, value: float, direction: int) -> int | float:
    """Return the next value up or down: 1, 2, 5, 10 … on a logarithmic option."""
    if spec.kind == "int":
        moved: float = int(value) + direction
    elif spec.log and value > 0:
        moved = _next_mantissa(value, direction)
    else:
        size = 10.0 ** math.floor(math.log10(abs(value))) if value else 0.1
        moved = float(f"{value + direction * size:.12g}")
    return moved if _within(spec, moved) else value


def automatic_text(spec: OptionSpec) -> str:
    """Return what an empty field means, out of the option's own description."""
    found = re.search(r"Empty: ([^.]+)\.", spec.description)
    return found.group(1) if found else ("automatic" if spec.optional else "")


def _within(spec: OptionSpec, value: float) -> bool:
    if spec.minimum is not None:
        above = value > spec.minimum if spec.exclusive_minimum else value >= spec.minimum
        if not above:
            return False
    return spec.maximum is None or value <= spec.maximum


def _next_mantissa(value: float, direction: int) -> float:
    decade = 10.0 ** math.floor(math.log10(value) + 1e-9)
    mantissa = value / decade
    if direction > 0:
        factor = next((step for step in _MANTISSAS if step > mantissa * (1 + 1e-9)), 10.0)
    else:
        below = [step for step in _MANTISSAS if step < mantissa * (1 - 1e-9)]
        factor = below[-1] if below else 0.5
    return float(f"{factor * decade:.12g}")
