"""Every run that the window knows, newest first, as a list. What is ticked is in the plots."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    QTimer,
    Signal,
)

from metaviz.gui.runs.row import Row
from metaviz.runs.model.marks import Marks
from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import Style, styles

Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()
_BATCH_MS = 500
_CHECKED, _UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked


class RunListModel(QAbstractListModel):
    """Holds every run that the window knows. Ticking a row shows its curves."""

    visibility_changed = Signal()
    ticked = Signal(object, object)
    """A person showed or hid runs: the ids of those shown before and after."""
    record_requested = Signal(object)
    rows_changed = Signal(object)
    """Ids of rows whose numbers or marks changed; those of all where it is None."""
    reading = Signal(int, int)
    """How many of the requested records have been read, and how many were requested."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.styles: dict[str, Style] = {}
        self._by_id: dict[str, Row] = {}
        self._unsaved: dict[str, int] = {}
        self._awaited: set[str] = set()
        self._asked = 0
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_BATCH_MS)
        self._soon.timeout.connect(self._show_read)

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of runs."""
        return 0 if parent.isValid() else len(self.rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a run's label and whether it is shown."""
        if not index.isValid():
            return None
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return row.label
        if role == Qt.ItemDataRole.CheckStateRole:
            return _CHECKED if row.visible else _UNCHECKED
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Make runs checkable."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.isValid() else flags

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Show or hide a run."""
        if role != Qt.ItemDataRole.CheckStateRole or not index.isValid():
            return False
        self.tick([self.rows[index.row()].id], visible=Qt.CheckState(value) == _CHECKED)
        return True

    def add(self, rows: Sequence[Row], *, first: bool) -> None:
        """Add runs that are not known yet: on top, or below."""
        new_rows = [row for row in rows if row.id not in self._by_id]
        new_rows = list({row.id: row for row in new_rows}.values())
        if not new_rows:
            return
        place = 0 if first else len(self.rows)
        self.beginInsertRows(QModelIndex(), place, place + len(new_rows) - 1)
        self.rows[place:place] = new_rows
        self._by_id |= {row.id: row for row in new_rows}
        self.endInsertRows()

    def update(self, rows: Sequence[Row]) -> None:
        """Update rows from a scan: of runs that train here only the marks."""
        changed, marked = [], False
        for new in rows:
            old = self._by_id.get(new.id)
            if old is None:
                continue
            changed.append(old.id)
            if new.id not in self._unsaved and new.marks != old.marks:
                self._set_row_marks(old, new.marks)
                marked = marked or old.visible
            growing = old.record is not None and not old.record.ended and not old.stored
            same = (old.stamp, old.summary.state) == (new.stamp, new.summary.state)
            if growing or same:
                continue
            stale = repr(old.summary) != repr(new.summary)
            old.config, old.summary = new.config, new.summary
            old.stamp, old.stored = new.stamp, True
            old.__dict__["values"] = new.values
            if stale and old.record is not None:
                old.stale = True
                if old.visible:
                    self.record_requested.emit(old.folder)
                else:
                    old.record, old.stale = None, False
        if changed:
            self._emit_changed(changed)
        if marked:
            self.restyle()
            self.visibility_changed.emit()

    def remove(self, ids: Collection[str]) -> None:
        """Forget runs; their folders stay."""
        self.forget(ids)
        self.restyle()
        self.visibility_changed.emit()

    def remove_missing(self, ids: Collection[str]) -> None:
        """Remove runs whose folders do not exist any more, but for those that train here."""
        rows = [self._by_id[name] for name in ids if name in self._by_id]
        removed = [r.id for r in rows if r.record is None or r.record.ended or r.stored]
        if removed:
            self.remove(removed)

    def forget(self, ids: Collection[str]) -> None:
        """Remove rows; the plots follow with the next `visibility_changed`."""
        removed = set(ids) & self._by_id.keys()
        place = len(self.rows) - 1
        while removed and place >= 0:
            last = place
            while place >= 0 and self.rows[place].id in removed:
                place -= 1
            if place < last:
                self.beginRemoveRows(QModelIndex(), place + 1, last)
                for row in self.rows[place + 1 : last + 1]:
                    del self._by_id[row.id]
                    removed.discard(row.id)
                del self.rows[place + 1 : last + 1]
                self.endRemoveRows()
            place -= 1

    def find(self, name: str) -> Row | None:
        """Return the row of a run."""
        return self._by_id.get(name)

    def show(self, ids: Collection[str], *, visible: bool) -> None:
        """Show or hide runs; a record that is not in memory is asked for."""
        self._switch(set(ids), visible=visible)
        self.restyle()
        self.visibility_changed.emit()

    def show_only(self, ids: Collection[str]) -> None:
        """Show exactly these runs."""
        wanted = set(ids)
        for row in self.rows:
            row.visible = row.visible and row.id in wanted
        self.show(wanted, visible=True)

    def shown(self) -> frozenset[str]:
        """Return the ids of the runs that are to be shown, read already or not."""
        return frozenset(row.id for row in self.rows if row.visible)

    def tick(self, ids: Collection[str], *, visible: bool) -> None:
        """Show or hide runs because a person wants it."""
        before = self.shown()
        self.show(ids, visible=visible)
        self.ticked.emit(before, self.shown())

    def tick_only(self, ids: Collection[str]) -> None:
        """Show exactly these runs because a person wants it."""
        before = self.shown()
        self.show_only(ids)
        self.ticked.emit(before, self.shown())

    def add_record(self, record: Record) -> None:
        """Keep the record of a run that was asked for."""
        row = self.find(record.id)
        if row is None or not (row.record is None or row.stale):
            return
        row.record, row.stale = record, False
        record.marks = row.marks
        row.seen = record.revision
        self._awaited.discard(record.id)
        # One redraw for each record would draw all plots as often as there are runs.
        if not self._awaited:
            self._show_read()
        elif not self._soon.isActive():
            self._soon.start()

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
        grown = []
        for row in self.rows:
            if row.record is not None and row.record.revision != row.seen:
                row.renew()
                grown.append(row.id)
        if grown:
            self._emit_changed(grown)
        return bool(grown)

    def set_marks(self, marks: Mapping[str, Marks]) -> None:
        """Give runs other marks; the plots follow where these are seen."""
        rows = {name: row for name in marks if (row := self.find(name)) is not None}
        seen = False
        for name, row in rows.items():
            is_seen_changed = (row.marks.name, row.marks.color) != (
                marks[name].name,
                marks[name].color,
            )
            seen = seen or (is_seen_changed and row.visible)
            self._set_row_marks(row, marks[name])
        self._emit_changed(list(rows))
        if seen:
            self.restyle()
            self.visibility_changed.emit()

    def hold_marks(self, name: str) -> None:
        """Ignore a scan's marks of a run until those given here are saved."""
        self._unsaved[name] = self._unsaved.get(name, 0) + 1

    def release_marks(self, name: str) -> None:
        """Take a scan's marks again."""
        count = self._unsaved.pop(name, 0) - 1
        if count > 0:
            self._unsaved[name] = count

    def restyle(self) -> None:
        """Give the shown runs their colours in the current theme."""
        self.styles = styles(self.visible_records())
        self._emit_changed(None)

    def _switch(self, ids: set[str], *, visible: bool) -> None:
        for row in [self._by_id[name] for name in ids if name in self._by_id]:
            row.is_new = False
            if row.visible != visible:
                row.visible = visible
                if visible and (row.record is None or row.stale):
                    self._awaited.add(row.id)
                    self.record_requested.emit(row.folder)
                else:
                    self._awaited.discard(row.id)
        self._asked = max(self._asked, len(self._awaited))

    def _show_read(self) -> None:
        """Show the records that have been read."""
        self._soon.stop()
        if self._asked > 1:
            self.reading.emit(self._asked - len(self._awaited), self._asked)
        if not self._awaited:
            self._asked = 0
        self.restyle()
        self.visibility_changed.emit()

    def _set_row_marks(self, row: Row, marks: Marks) -> None:
        row.marks = marks
        if row.record is not None:
            row.record.marks = marks

    def _emit_changed(self, ids: list[str] | None) -> None:
        if not self.rows:
            return
        places = [0, len(self.rows) - 1]
        if ids is not None and len(ids) == 1:
            places = [self.rows.index(self._by_id[ids[0]])] * 2
        self.dataChanged.emit(self.index(places[0], 0), self.index(places[1], 0))
        self.rows_changed.emit(ids)
