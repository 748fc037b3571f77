"""The queue as a table model, in its own order; rows are moved by dragging."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QMimeData,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor

from metaviz.files.foreign import ForeignError
from metaviz.files.values import of_kind, parsed_json
from metaviz.gui.widgets.commands import icon
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.widgets.theme import current_theme
from metaviz.runs.model.record import Record
from metaviz.runs.storage.queue import Entry
from metaviz.runs.table.differences import differing_texts

Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()
MIME = "application/x-metaviz-queue"
_ICONS = {
    "waiting": "mdi6.clock-outline",
    "running": "mdi6.play",
    "paused": "mdi6.pause",
    "done": "mdi6.check",
    "failed": "mdi6.alert-circle-outline",
    "diverged": "mdi6.chart-line-variant",
    "stopped": "mdi6.stop",
    "aborted": "mdi6.close-octagon",
    "interrupted": "mdi6.connection",
}
_BAD = {"failed", "diverged"}


@dataclass(frozen=True)
class _Column:
    title: str
    tip: str
    right: bool = False


COLUMNS = (
    _Column("", "Place in the queue", right=True),
    _Column("Algorithm", "Method"),
    _Column("Problem", "Task family"),
    _Column("Seed", "Seed of tasks and initial weights", right=True),
    _Column("Differs in", "Settings that are not the same in all runs of the queue"),
    _Column("State", "How the run is doing"),
    _Column("Progress", "Meta-steps done of those asked for, and about how long it will take"),
    _Column("Message", "Why a run did not end well"),
)
STATE, PROGRESS, MESSAGE = 5, 6, 7

Progress = Callable[[Entry], str]
Find = Callable[[str], Record | None]


class QueueModel(QAbstractTableModel):
    """Shows entries; `moved` carries ids to be put before a place."""

    moved = Signal(object, int)

    def __init__(self, find: Find, progress: Progress, parent: Any = None) -> None:
        """Take the functions that find a run's record and write an entry's progress."""
        super().__init__(parent)
        self.entries: list[Entry] = []
        self._find, self._progress = find, progress
        self._differences: list[str] = []
        self._pictures: dict[tuple[str, str], Any] = {}

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of entries."""
        return 0 if parent.isValid() else len(self.entries)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def show(self, entries: Sequence[Entry]) -> None:
        """Show other entries; what is selected stays so where entries were only moved."""
        before = [entry.id for entry in self.entries]
        after = [entry.id for entry in entries]
        if before == after:
            self.entries = list(entries)
            self.renew()
            return
        differences = differing_texts([entry.config for entry in entries])
        if sorted(before) != sorted(after):
            self.beginResetModel()
            self.entries, self._differences = list(entries), differences
            self.endResetModel()
            return
        self.layoutAboutToBeChanged.emit()
        places = {name: place for place, name in enumerate(after)}
        old = self.persistentIndexList()
        new = [self.index(places[before[index.row()]], index.column()) for index in old]
        self.entries, self._differences = list(entries), differences
        self.changePersistentIndexList(old, new)
        self.layoutChanged.emit()

    def renew(self) -> None:
        """Say again how far every entry is."""
        if self.entries:
            self.dataChanged.emit(
                self.index(0, 0), self.index(len(self.entries) - 1, len(COLUMNS) - 1)
            )

    def state(self, entry: Entry) -> str:
        """Return an entry's state; the queue itself calls a paused run running."""
        record = self._find(entry.run)
        paused = entry.state == "running" and record is not None and record.state == "paused"
        return "paused" if paused else entry.state

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return headings and their tooltips."""
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(COLUMNS):
            return None
        column = COLUMNS[section]
        known = {
            Qt.ItemDataRole.DisplayRole: column.title,
            Qt.ItemDataRole.ToolTipRole: column.tip,
            Qt.ItemDataRole.TextAlignmentRole: _alignment(section),
        }
        return known.get(Qt.ItemDataRole(role))

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        if not index.isValid() or index.row() >= len(self.entries):
            return None
        entry = self.entries[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(index.row(), index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(
                entry.message or entry.sweep or self._text(index.row(), index.column())
            )
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(index.column())
        return self._appearance(entry, index.column(), role)

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Make rows draggable, and droppable between others."""
        if not index.isValid():
            return Qt.ItemFlag.ItemIsDropEnabled
        return super().flags(index) | Qt.ItemFlag.ItemIsDragEnabled

    def supportedDropActions(self) -> Qt.DropAction:
        """Rows are moved only."""
        return Qt.DropAction.MoveAction

    def mimeTypes(self) -> list[str]:
        """Rows of this queue only."""
        return [MIME]

    def mimeData(self, indexes: Sequence[Index]) -> QMimeData:
        """Return the ids of dragged rows, in order."""
        rows = sorted({index.row() for index in indexes})
        data = QMimeData()
        data.setData(MIME, json.dumps([self.entries[row].id for row in rows]).encode())
        return data

    def dropMimeData(
        self, data: QMimeData, action: Qt.DropAction, row: int, column: int, parent: Index
    ) -> bool:
        """Emit `moved` for dropped rows."""
        if action != Qt.DropAction.MoveAction or not data.hasFormat(MIME):
            return False
        place = row if row >= 0 else parent.row() if parent.isValid() else len(self.entries)
        try:
            found = of_kind(parsed_json(bytes(data.data(MIME).data())), list, "rows")
            moved = [of_kind(number, int, "rows") for number in found]
        except ForeignError:
            return False
        self.moved.emit(moved, place)
        return True

    def _text(self, row: int, column: int) -> str:
        entry = self.entries[row]
        if column == PROGRESS:
            return self._progress(entry)
        config = entry.config
        texts = (
            str(row + 1),
            str(config.get("algorithm", "?")),
            str(config.get("problem", "?")),
            str(config.get("seed", "?")),
            self._differences[row],
            self.state(entry),
            "",
            entry.message,
        )
        return texts[column]

    def _appearance(self, entry: Entry, column: int, role: int) -> Any:
        """Return a cell's picture or colour."""
        if role == Qt.ItemDataRole.DecorationRole and column == STATE:
            return self._picture(self.state(entry))
        bad = entry.state in _BAD and column in {STATE, MESSAGE}
        if role == Qt.ItemDataRole.ForegroundRole and bad:
            return QColor(current_theme().error)
        return None

    def _picture(self, state: str) -> Any:
        theme = current_theme()
        key = state, theme.name
        if key not in self._pictures:
            self._pictures[key] = icon(_ICONS.get(state, "mdi6.help"), theme)
        return self._pictures[key]


def _alignment(column: int) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if COLUMNS[column].right else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
