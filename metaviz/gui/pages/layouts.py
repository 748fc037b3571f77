"""How pages are laid out: margins, splitters, sliders and tables to read."""

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QSlider,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from metaviz.gui.widgets.controls import named, text_label
from metaviz.gui.widgets.layouts import Part, column, row
from metaviz.gui.widgets.plain_text import plain_tip

__all__ = ["column", "named", "row"]


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
    """Return a slider; a transient one is not remembered."""
    made = named(QSlider(Qt.Orientation.Horizontal), name, title, tip)
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


def plain_label(name: str, text: str = "", title: str = "", *, wraps: bool = True) -> QLabel:
    """Return a label that shows its text as it is; without wrapping it may be cut."""
    label = text_label(name, title, text)
    label.setWordWrap(wraps)
    if not wraps:
        label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


class ReadTable(QTableWidget):
    """A table to read, whose columns explain themselves."""

    def __init__(self, name: str, title: str, columns: Sequence[tuple[str, str]]) -> None:
        """Show no rows under columns with a title and a tip."""
        super().__init__()
        named(self, name, title)
        self.setAlternatingRowColors(True)
        self.setTabKeyNavigation(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.set_columns(columns)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.horizontalHeader().setStretchLastSection(True)

    def set_columns(self, columns: Sequence[tuple[str, str]]) -> None:
        """Name the columns: a title and a tip each."""
        self.setColumnCount(len(columns))
        for at, (text, tip) in enumerate(columns):
            header = QTableWidgetItem(text)
            header.setToolTip(plain_tip(tip))
            self.setHorizontalHeaderItem(at, header)

    def put(
        self, place: int, at: int, text: str, *, number: bool, tip: str = ""
    ) -> QTableWidgetItem:
        """Write a cell; numbers stand on the right."""
        item = QTableWidgetItem(text)
        item.setToolTip(plain_tip(tip))
        if number:
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(place, at, item)
        return item
