"""A table to read: rows of cells under columns that explain themselves."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPoint, Qt, Slot
from PySide6.QtGui import QAction, QColor
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QTableWidget, QTableWidgetItem

from metaviz.gui.widgets.controls import named, popup_menu
from metaviz.gui.widgets.legible import legible
from metaviz.gui.widgets.plain_table import set_up_table
from metaviz.gui.widgets.plain_text import plain_tip


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

        The column `wide` takes what room is left. Others are as wide as what they hold, and hidden
        while they hold nothing.
        """
        super().__init__()
        named(self, name, title)
        self._words, self._wide, self._lengths = words, wide, list[int]()
        set_up_table(self)
        self.setShowGrid(True)
        self.setAlternatingRowColors(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self._asked = -1
        self.horizontalHeader().setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.horizontalHeader().customContextMenuRequested.connect(self._on_header_menu)
        self.set_columns(columns)
        if wide is not None:
            self.horizontalHeader().setSectionResizeMode(wide, QHeaderView.ResizeMode.Stretch)

    def help_words(self) -> str:
        """Return the title of the column that was asked about, or that the keyboard is at."""
        place = self._asked if self._asked >= 0 else self.currentColumn()
        return self._columns[place][0] if 0 <= place < len(self._columns) else ""

    @Slot(QPoint)
    def _on_header_menu(self, place: QPoint) -> None:
        """Offer to explain a column."""
        header = self.horizontalHeader()
        column = header.logicalIndexAt(place)
        command = self.window().findChild(QAction, "action_help")
        if column < 0 or command is None:
            return
        menu = QMenu(self)
        menu.setObjectName("column_menu")
        asked = menu.addAction(f"&What is “{self._columns[column][0]}”?")
        asked.triggered.connect(lambda _checked: self._ask(column, command))
        popup_menu(menu, header.mapToGlobal(place))

    def _ask(self, column: int, command: QAction) -> None:
        self._asked = column
        self.setFocus()
        command.trigger()
        self._asked = -1

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
        for at in range(len(lengths)):
            texts = (item.text() for row in range(len(rows)) if (item := self.item(row, at)))
            self.setColumnHidden(at, bool(rows) and not any(texts))
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
        item.setForeground(legible(cell.color) if cell.ground is None else cell.color)
    if cell.ground is not None:
        item.setBackground(cell.ground)
    if cell.bold:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
    return item
