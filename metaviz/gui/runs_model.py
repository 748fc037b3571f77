"""The runs as a table model: newest first, sorted by raw numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QPainter, QPen, QPixmap

from metaviz.gui.editors import write_value
from metaviz.gui.rows import Row, Summary, summarise
from metaviz.gui.theme import PEN_STYLES, current_theme, curve_color
from metaviz.runs.curves import Style, styles
from metaviz.runs.record import Record

SORT_ROLE = Qt.ItemDataRole.UserRole
Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()


@dataclass(frozen=True)
class Column:
    """One column: its heading, what it shows, and what it sorts by."""

    title: str
    tip: str
    text: Callable[[Summary], str]
    key: Callable[[Summary], Any]
    right: bool = True


COLUMNS = (
    Column(
        "Algorithm",
        "Ticked: shown in the plots",
        lambda s: s.algorithm,
        lambda s: s.algorithm,
        False,
    ),
    Column("Problem", "Task family", lambda s: s.problem, lambda s: s.problem, False),
    Column("Seed", "Seed of tasks and initial weights", lambda s: str(s.seed), lambda s: s.seed),
    Column("State", "How the run is doing", lambda s: s.state, lambda s: s.state, False),
    Column(
        "Step",
        "Meta-steps done of those asked for",
        lambda s: f"{s.step} / {s.total}",
        lambda s: s.step,
    ),
    Column(
        "Query loss",
        "After adaptation at the last evaluation: mean ± 95 % interval over the tasks",
        lambda s: _interval(s.loss, s.loss_ci95),
        lambda s: s.loss,
    ),
    Column(
        "Accuracy",
        "After adaptation at the last evaluation: mean ± 95 % interval over the tasks",
        lambda s: _interval(s.accuracy, s.accuracy_ci95),
        lambda s: s.accuracy,
    ),
    Column("Seconds", "Training time", lambda s: _plain(s.seconds, ".1f"), lambda s: s.seconds),
    Column(
        "K", "Inner steps while training", lambda s: str(s.inner_steps), lambda s: s.inner_steps
    ),
    Column("α", "Inner step size", lambda s: write_value(s.inner_lr), lambda s: s.inner_lr),
)
ID_COLUMN = len(COLUMNS)


class RunsModel(QAbstractTableModel):
    """Holds every run that the window knows. Ticking a row shows its curves."""

    visibility_changed = Signal()
    record_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self._styles: dict[str, Style] = {}

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of runs."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(COLUMNS) + 1

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return headings and their tooltips."""
        if orientation != Qt.Orientation.Horizontal or not 0 <= section <= ID_COLUMN:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return "Id" if section == ID_COLUMN else COLUMNS[section].title
        if role == Qt.ItemDataRole.ToolTipRole:
            return "Name of the run's folder" if section == ID_COLUMN else COLUMNS[section].tip
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        if not index.isValid():
            return None
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, index.column())
        if role == SORT_ROLE:
            return _sort_key(row, index.column())
        if role == Qt.ItemDataRole.ToolTipRole:
            return row.summary.message or self._text(row, index.column())
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(index.column())
        return self._first_cell(row, role) if index.column() == 0 else None

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Let the first column be ticked."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == 0 else flags

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Show or hide a run."""
        if role != Qt.ItemDataRole.CheckStateRole or index.column() != 0 or not index.isValid():
            return False
        visible = Qt.CheckState(value) == Qt.CheckState.Checked
        self.show([self.rows[index.row()].id], visible=visible)
        return True

    def add(self, rows: Sequence[Row], *, first: bool) -> None:
        """Add runs that are not known yet: on top, or below."""
        known = {row.id for row in self.rows}
        fresh = [row for row in rows if row.id not in known]
        if not fresh:
            return
        place = 0 if first else len(self.rows)
        self.beginInsertRows(QModelIndex(), place, place + len(fresh) - 1)
        self.rows[place:place] = fresh
        self.endInsertRows()

    def remove(self, ids: Sequence[str]) -> None:
        """Forget runs; their folders stay."""
        self.forget(ids)
        self.restyle()
        self.visibility_changed.emit()

    def forget(self, ids: Sequence[str]) -> None:
        """Take rows away; the plots hear of it with the next change of what is shown."""
        for place in reversed(range(len(self.rows))):
            if self.rows[place].id in ids:
                self.beginRemoveRows(QModelIndex(), place, place)
                del self.rows[place]
                self.endRemoveRows()

    def find(self, name: str) -> Row | None:
        """Return the row of a run."""
        return next((row for row in self.rows if row.id == name), None)

    def show(self, ids: Sequence[str], *, visible: bool) -> None:
        """Show or hide runs; a record that is not in memory is asked for."""
        for row in self.rows:
            if row.id in ids and row.visible != visible:
                row.visible = visible
                if visible and row.record is None:
                    self.record_wanted.emit(row.folder)
        self.restyle()
        self.visibility_changed.emit()

    def show_only(self, ids: Sequence[str]) -> None:
        """Show exactly these runs."""
        for row in self.rows:
            row.visible = row.visible and row.id in ids
        self.show(ids, visible=True)

    def take_record(self, record: Record) -> None:
        """Keep the record of a run that was asked for."""
        row = self.find(record.id)
        if row is not None and row.record is None:
            row.record = record
            self.restyle()
            self.visibility_changed.emit()

    def visible_records(self) -> list[Record]:
        """Return the shown runs, oldest first."""
        return [r.record for r in reversed(self.rows) if r.visible and r.record is not None]

    def folders(self) -> dict[str, Path]:
        """Return the folders of the shown runs by id."""
        return {
            row.record.id: row.folder
            for row in self.rows
            if row.visible and row.record is not None and row.folder is not None
        }

    def refresh(self) -> bool:
        """Renew the rows whose record has grown; return whether there was one."""
        grown = False
        for place, row in enumerate(self.rows):
            if row.record is not None and row.record.revision != row.seen:
                row.seen, row.summary = row.record.revision, summarise(row.record)
                self.dataChanged.emit(self.index(place, 0), self.index(place, ID_COLUMN))
                grown = True
        return grown

    def restyle(self) -> None:
        """Give the shown runs their colours in the current theme."""
        self._styles = styles(self.visible_records())
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, 0))

    def _first_cell(self, row: Row, role: int) -> Any:
        if role == Qt.ItemDataRole.CheckStateRole:
            return Qt.CheckState.Checked if row.visible else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.DecorationRole:
            return _swatch(self._styles.get(row.id))
        return None

    def _text(self, row: Row, column: int) -> str:
        return row.id if column == ID_COLUMN else COLUMNS[column].text(row.summary)


def _alignment(column: int) -> Qt.AlignmentFlag:
    right = column < ID_COLUMN and COLUMNS[column].right
    side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


def _sort_key(row: Row, column: int) -> Any:
    if column == ID_COLUMN:
        return row.id
    key = COLUMNS[column].key(row.summary)
    # Rows without a number go last.
    return float("inf") if isinstance(key, float) and np.isnan(key) else key


def _swatch(style: Style | None) -> QPixmap:
    picture = QPixmap(22, 12)
    picture.fill(Qt.GlobalColor.transparent)
    if style is not None:
        painter = QPainter(picture)
        color = curve_color(style.color, current_theme())
        painter.setPen(QPen(color, 3, PEN_STYLES[style.dash], Qt.PenCapStyle.FlatCap))
        painter.drawLine(0, 6, 22, 6)
        painter.end()
    return picture


def _interval(mean: float, half: float) -> str:
    if np.isnan(mean):
        return ""
    return f"{mean:.4g} ± {half:.2g}" if np.isfinite(half) else f"{mean:.4g}"


def _plain(value: float, form: str) -> str:
    return "" if np.isnan(value) else format(value, form)
