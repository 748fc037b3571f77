"""How pages are laid out: margins, splitters and sliders."""

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QSlider, QSplitter, QWidget

from metaviz.gui.widgets.controls import JumpSlider, named
from metaviz.gui.widgets.layouts import Part, column, flow, row

__all__ = ["column", "flow", "named", "row"]


def page(widget: QWidget, *parts: Part, stretch: QWidget, spacing: int | None = None) -> None:
    """Lay a page out, with the margins that all pages have."""
    column(widget, *parts, stretch=stretch, margins=(6, 6, 6, 2), spacing=spacing)


def split(
    name: str, *widgets: QWidget, upright: bool = False, sizes: Sequence[int] = ()
) -> QSplitter:
    """Return widgets side by side, or below each other, with edges that a person can move."""
    made = QSplitter(Qt.Orientation.Vertical if upright else Qt.Orientation.Horizontal)
    made.setObjectName(name)
    for widget in widgets:
        made.addWidget(widget)
    made.setChildrenCollapsible(False)
    if sizes:
        made.setSizes(list(sizes))
    return made


def slider(
    name: str, title: str, tip: str, *, transient: bool = False, ticks: bool = False
) -> QSlider:
    """Return a slider that cannot be moved yet; a transient one is not remembered."""
    made = named(JumpSlider(Qt.Orientation.Horizontal), name, title, tip)
    made.setMaximum(0)
    if transient:
        made.setProperty("transient", True)
        made.setPageStep(1)
    if ticks:
        made.setTickPosition(QSlider.TickPosition.TicksBelow)
    return made


def follow(made: QSlider, last: int) -> None:
    """Let a slider reach the last place, and stay at the newest if it was there; emits nothing."""
    newest = made.value() == made.maximum()
    with QSignalBlocker(made):
        made.setMaximum(max(0, last))
        if newest:
            made.setValue(made.maximum())
    made.setEnabled(last > 0)
