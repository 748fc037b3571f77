"""How pages are laid out: margins, splitters, sliders and tables to read."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QColor
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
from metaviz.gui.widgets.plain_table import set_up_table
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
    """Return a slider that cannot be moved yet; a transient one is not remembered."""
    made = named(QSlider(Qt.Orientation.Horizontal), name, title, tip)
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


def plain_label(name: str, text: str = "", title: str = "", *, wraps: bool = True) -> QLabel:
    """Return a label that shows its text as it is; without wrapping it may be cut."""
    label = text_label(name, title, text)
    label.setWordWrap(wraps)
    if not wraps:
        label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


@dataclass(frozen=True)
class Cell:
    """A cell of a table; without a tip its tip is its text, which may be cut."""

    text: str
    tip: str = ""
    color: QColor | None = None
    ground: QColor | None = None
    bold: bool = False


class ReadTable(QTableWidget):
    """A table to read, whose columns explain themselves."""

    def __init__(
        self,
        name: str,
        title: str,
        columns: Sequence[tuple[str, str]],
        words: Collection[int] = (0,),
        wide: int | None = None,
    ) -> None:
        """Show no rows under columns with a title and a tip; `words` are not numbers.

        The column `wide` takes what room is left, the last one for None.
        """
        super().__init__()
        named(self, name, title)
        self._words, self._wide, self._lengths = words, wide, list[int]()
        set_up_table(self)
        self.setShowGrid(True)
        self.setAlternatingRowColors(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.set_columns(columns)
        self.horizontalHeader().setStretchLastSection(wide is None)
        if wide is not None:
            self.horizontalHeader().setSectionResizeMode(wide, QHeaderView.ResizeMode.Stretch)

    def set_columns(self, columns: Sequence[tuple[str, str]]) -> None:
        """Name the columns: a title and a tip each."""
        self._columns = columns
        self.setColumnCount(len(columns))
        for at, (text, tip) in enumerate(columns):
            header = QTableWidgetItem(text)
            header.setToolTip(plain_tip(tip))
            self.setHorizontalHeaderItem(at, header)

    def show_rows(self, rows: Sequence[Sequence[str | Cell]]) -> None:
        """Show these rows; columns get the width that they need, where that may have changed."""
        self.setRowCount(len(rows))
        lengths = [len(title) for title, _ in self._columns]
        for place, cells in enumerate(rows):
            for at, one in enumerate(cells):
                cell = Cell(one) if isinstance(one, str) else one
                lengths[at] = max(lengths[at], len(cell.text))
                self.setItem(place, at, _item(cell, number=at not in self._words))
        if lengths != self._lengths:
            self._lengths = lengths
            for at in range(len(lengths)):
                if at != self._wide:
                    self.resizeColumnToContents(at)


def _item(cell: Cell, *, number: bool) -> QTableWidgetItem:
    item = QTableWidgetItem(cell.text)
    item.setToolTip(plain_tip(cell.tip or cell.text))
    if number:
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    if cell.color is not None:
        item.setForeground(cell.color)
    if cell.ground is not None:
        item.setBackground(cell.ground)
    if cell.bold:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
    return item
