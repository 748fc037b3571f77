"""The rows of the runs table as a person looks at them: searched, sorted, grouped, in columns."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import (
    QAbstractItemModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QColor

from metaviz.files.text import printable
from metaviz.gui.plotting.swatches import swatch
from metaviz.gui.runs.cell_cache import CellCache, blocks
from metaviz.gui.runs.row import Row
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.widgets.theme import current_theme
from metaviz.runs.export.tables import safe_text
from metaviz.runs.table.columns import (
    DELTA,
    USUAL,
    CellContext,
    Column,
    Columns,
    cell_context,
    in_order,
)
from metaviz.runs.table.groups import Group, differing, grouped

Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()
_Role = Qt.ItemDataRole
_CHECKED, _UNCHECKED, _PARTLY = (
    Qt.CheckState.Checked,
    Qt.CheckState.Unchecked,
    Qt.CheckState.PartiallyChecked,
)
_SOON_MS, _LATER_MS = 0, 400
_MOST_COMPARED = 64


def _anything(_row: Row) -> bool:
    return True


class RunTreeModel(QAbstractItemModel):
    """A tree of one level without groups, of two with them. It follows the runs by itself.

    Indexes carry the place of their group plus one, 0 on top.
    """

    arranged = Signal()
    """The rows or columns are others now."""

    def __init__(self, model: RunListModel, columns: Columns, parent: Any = None) -> None:
        """Arrange the runs of a model."""
        super().__init__(parent)
        self.model, self.columns = model, columns
        self.chosen: list[str] = list(USUAL)
        self.context = CellContext()
        self.shown: list[Column] = []
        self.only_differing = False
        self.group_keys: tuple[str, ...] | None = ()
        """Keys that runs are grouped by; None leaves out the seed only, () groups nothing."""
        self._accepts: Callable[[Row], bool] = _anything
        self._sorting = (-1, Qt.SortOrder.AscendingOrder)
        self._sort_key = ""
        self._tops: list[Row | Group] = []
        self._members: list[list[Row]] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._cells = CellCache()
        self._dirty = self._must_redraw = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.flush)
        model.rowsInserted.connect(self._rearrange_soon)
        model.rowsRemoved.connect(self._rearrange_soon)
        model.rows_changed.connect(self._on_rows_changed)
        self._choose_columns([])

    @property
    def is_grouped(self) -> bool:
        """Whether rows are groups."""
        return self.group_keys != ()

    # What is shown

    def search(self, accepts: Callable[[Row], bool]) -> None:
        """Show only the runs that a test accepts."""
        self._accepts = accepts
        self.rearrange()

    def group_by(self, keys: Sequence[str] | None) -> None:
        """Group runs with equal values of these keys; none at all ungroups them."""
        self.group_keys = None if keys is None else tuple(keys)
        self.rearrange()

    def choose(self, keys: Sequence[str], *, only_differing: bool) -> None:
        """Show these columns, or of the hyperparameters those in which the shown runs differ."""
        self.chosen = [key for key in dict.fromkeys(keys) if key != DELTA]
        if "run" not in self.chosen:
            self.chosen.insert(0, "run")
        self.only_differing = only_differing
        self.rearrange()

    def order(self, keys: Sequence[str]) -> None:
        """Keep the order of the shown columns that a person dragged."""
        shown = [key for key in keys if key in self.chosen]
        rest = [key for key in self.chosen if key not in shown]
        self.chosen = [*shown, *rest]
        self._rearrange_soon()

    @property
    def sorted_by(self) -> str:
        """Key of the column that rows are sorted by; empty for the order of the runs."""
        return self._sort_key

    def look(self, seen: CellContext) -> None:
        """Take another interval, baseline or result."""
        self.context = seen
        self.rearrange()

    def entries(self) -> list[Row]:
        """Return the runs that the search finds, as they are listed."""
        self.flush()
        if self.is_grouped:
            return [row for members in self._members for row in members]
        return [row for row in self._tops if isinstance(row, Row)]

    # Where things are

    def item(self, index: Index) -> Row | Group | None:
        """Return the run or group of a row."""
        if not index.isValid():
            return None
        parent = index.internalId()
        if parent == 0:
            return self._tops[index.row()]
        return self._members[parent - 1][index.row()]

    def rows_of(self, index: Index) -> list[Row]:
        """Return the run of a row, or all of a group."""
        item = self.item(index)
        if isinstance(item, Group):
            return list(self._members[index.row()])
        return [item] if item is not None else []

    def index_of(self, name: str) -> QModelIndex:
        """Return where a run is listed; an invalid index where it is not."""
        self.flush()
        place = self._places.get(name)
        return QModelIndex() if place is None else self._cell(*place, 0)

    # Qt's own questions

    def index(self, row: int, column: int, parent: Index = _NOWHERE) -> QModelIndex:
        """Return the index of a cell."""
        # Not hasIndex: a tree asks for thousands at once.
        if not (0 <= row < self.rowCount(parent) and 0 <= column < len(self.shown)):
            return QModelIndex()
        return self.createIndex(row, column, parent.row() + 1 if parent.isValid() else 0)

    def hasChildren(self, parent: Index = _NOWHERE) -> bool:
        """Return whether a row is a group, or the table has rows."""
        if not parent.isValid():
            return bool(self._tops)
        return bool(self._members) and parent.internalId() == 0 and parent.column() == 0

    def parent(self, index: Index = _NOWHERE) -> Any:
        """Return a run's group."""
        if not index.isValid() or index.internalId() == 0:
            return QModelIndex()
        return self.createIndex(index.internalId() - 1, 0, 0)

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of rows, or of runs in a group."""
        if not parent.isValid():
            return len(self._tops)
        if parent.internalId() or parent.column() or not self._members:
            return 0
        return len(self._members[parent.row()])

    def columnCount(self, _parent: Index = _NOWHERE) -> int:
        """Return the number of columns."""
        return len(self.shown)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = _Role.DisplayRole
    ) -> Any:
        """Return headings and their tooltips."""
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.shown):
            return None
        column = self.shown[section]
        if role == _Role.DisplayRole:
            return self.context.title(column, grouped=self.is_grouped)
        if role in {_Role.ToolTipRole, _Role.StatusTipRole}:
            return plain_tip(self.context.tip(column, grouped=self.is_grouped))
        return _alignment(column) if role == _Role.TextAlignmentRole else None

    def data(self, index: Index, role: int = _Role.DisplayRole) -> Any:
        """Return what a cell shows."""
        item = self.item(index)
        if item is None:
            return None
        column = self.shown[index.column()]
        if role == _Role.DisplayRole:
            return self._text(item, column)
        if role == _Role.TextAlignmentRole:
            return _alignment(column)
        if column.key == "run" and role in {_Role.CheckStateRole, _Role.DecorationRole}:
            return self._first_cell(item, index, role)
        return self._words_and_colors(item, column, role)

    def _words_and_colors(self, item: Row | Group, column: Column, role: int) -> Any:
        if role == _Role.ToolTipRole:
            return self._tip(item, column)
        if role == _Role.AccessibleTextRole:
            return f"{column.title}: {self._spoken(item, column)}"
        if role == _Role.ForegroundRole and column.key == DELTA:
            return self._delta_color(item)
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Make the first column checkable."""
        flags = super().flags(index)
        if index.isValid() and self.shown[index.column()].key == "run":
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def setData(self, index: Index, value: Any, role: int = _Role.EditRole) -> bool:
        """Show or hide a run, or all of a group."""
        if role != _Role.CheckStateRole or not index.isValid():
            return False
        rows = self.rows_of(index)
        self.model.tick([row.id for row in rows], visible=Qt.CheckState(value) == _CHECKED)
        return True

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column's raw values, absent ones last; -1 is the order of the runs."""
        self._sorting = (column, order)
        self._sort_key = self.shown[column].key if 0 <= column < len(self.shown) else ""
        self.rearrange()

    def tab_separated(self, rows: Sequence[QModelIndex]) -> str:
        """Return rows with their headings as spreadsheets read them, formulas disarmed."""
        places = range(self.columnCount())
        lines = [[str(self.headerData(place, Qt.Orientation.Horizontal)) for place in places]]
        lines += [[str(row.siblingAtColumn(p).data() or "") for p in places] for row in rows]
        plain = [[cell.replace("\t", " ").replace("\n", " ") for cell in line] for line in lines]
        return "\n".join("\t".join(printable(safe_text(cell)) for cell in line) for line in plain)

    # Following the runs

    def rearrange(self) -> None:
        """Arrange everything now."""
        self._dirty = self._must_redraw = True
        self.flush()

    def flush(self) -> None:
        """Arrange what has changed."""
        if not self._dirty:
            return
        must_redraw, self._dirty, self._must_redraw = self._must_redraw, False, False
        self._timer.stop()
        rows = [row for row in self.model.rows if self._accepts(row)]
        seen = self.context
        self.context = cell_context(self.model.rows, seen.interval, seen.baseline, seen.result)
        columns = self._wanted_columns(rows)
        tops, members = self._arranged(rows)
        if self._same(columns, tops, members):
            self._tops, self._members = tops, members
            if must_redraw or not _same_base(self.context, seen):
                self._emit_all_changed()
            elif self.is_grouped:
                self._emit_changed_rows([(0, place) for place in range(len(tops))])
            return
        self.beginResetModel()
        self.shown = columns
        self._tops, self._members = tops, members
        self._places = {row.id: (0, p) for p, row in enumerate(tops) if isinstance(row, Row)}
        for group, inner in enumerate(members):
            self._places |= {row.id: (group + 1, place) for place, row in enumerate(inner)}
        self._cells.forget()
        self.endResetModel()
        self.arranged.emit()

    def _arranged(self, rows: list[Row]) -> tuple[list[Row | Group], list[list[Row]]]:
        if not self.is_grouped:
            return list(self._sorted(rows)), []
        by_id = {row.id: row for row in rows}
        found = self._sorted(grouped(rows, self.group_keys))
        members = [
            self._sorted([by_id[entry.id] for entry in group.members])
            for group in found
            if isinstance(group, Group)
        ]
        return list(found), members

    def _sorted(self, items: Sequence[Any]) -> list[Any]:
        if not self._sort_key or not items:
            return list(items)
        key = self._sort_key
        column = self.context.delta_column() if key == DELTA else self.columns.column(key)
        values = [
            self.context.group_value(column, item)
            if isinstance(item, Group)
            else self.context.value(column, item)
            for item in items
        ]
        descending = self._sorting[1] == Qt.SortOrder.DescendingOrder
        return [items[place] for place in in_order(values, descending=descending)]

    def _same(
        self, columns: list[Column], tops: list[Row | Group], members: list[list[Row]]
    ) -> bool:
        """Return whether rows and columns are the same, in the same order."""
        if [c.key for c in columns] != [c.key for c in self.shown]:
            return False
        return [_name(i) for i in tops] == [_name(i) for i in self._tops] and [
            [row.id for row in group] for group in members
        ] == [[row.id for row in group] for group in self._members]

    def _wanted_columns(self, rows: Sequence[Row]) -> list[Column]:
        keys = list(self.chosen)
        self.columns.learn(rows)
        if self.only_differing:
            own = {c.key for c in self.columns.known([])}
            keys = [key for key in keys if key in own] + differing(rows)
        found = [self.columns.column(key) for key in keys]
        if self.context.baseline:
            after = next((p for p, key in enumerate(keys) if key == self.context.result), 0)
            found.insert(after + 1, self.context.delta_column())
        return found

    def _choose_columns(self, rows: Sequence[Row]) -> None:
        self.shown = self._wanted_columns(rows)

    def _rearrange_soon(self) -> None:
        self._dirty = True
        if not self._timer.isActive() or self._timer.interval() != _SOON_MS:
            self._timer.start(_SOON_MS)

    def _on_rows_changed(self, ids: list[str] | None) -> None:
        if ids is None or len(ids) > _MOST_COMPARED:
            self._emit_all_changed()
        else:
            self._emit_changed_rows([self._places[name] for name in ids if name in self._places])
        self._dirty = True
        if not self._timer.isActive():
            self._timer.start(_LATER_MS)

    def _emit_changed_rows(self, places: Sequence[tuple[int, int]]) -> None:
        """Emit `dataChanged` for those cells of some rows that show something else now."""
        changed = []
        for parent, row in places:
            item = self._members[parent - 1][row] if parent else self._tops[row]
            texts = [self._text(item, column) for column in self.shown]
            columns = self._cells.renew(_name(item), self._appearance(item), texts)
            if columns is not None:
                changed.append((parent, row, columns))
        for block in blocks(changed):
            corners = [
                self._cell(block.parent, block.top, block.left),
                self._cell(block.parent, block.bottom, block.right),
            ]
            self.dataChanged.emit(*corners)

    def _appearance(self, item: Row | Group) -> object:
        """Return what the cells of a row show besides their texts."""
        if isinstance(item, Group):
            shown = {entry.visible for entry in item.members if isinstance(entry, Row)}
            return item.style, frozenset(shown)
        return item.marks, item.visible, self.model.styles.get(item.id)

    def _cell(self, parent: int, row: int, column: int) -> QModelIndex:
        return self.index(row, column, self.index(parent - 1, 0) if parent else _NOWHERE)

    def _emit_all_changed(self) -> None:
        self._cells.forget()
        if self._tops and self.shown:
            last = len(self.shown) - 1
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._tops) - 1, last))
            for place, members in enumerate(self._members):
                if members:
                    group = self.index(place, 0)
                    corner = self.index(len(members) - 1, last, group)
                    self.dataChanged.emit(self.index(0, 0, group), corner)
        if self.shown:
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(self.shown) - 1)

    # Cells

    def _text(self, item: Row | Group, column: Column) -> str:
        if isinstance(item, Group):
            return self.context.group_text(column, item)
        return self.context.text(column, item)

    def _spoken(self, item: Row | Group, column: Column) -> str:
        if column.key == "star" and isinstance(item, Row):
            return "starred" if item.marks.star else "not starred"
        return self._text(item, column)

    def _tip(self, item: Row | Group, column: Column) -> str:
        """Return a tip as plain text: names are a person's, and no markup."""
        text = self._text(item, column)
        if column.key == DELTA:
            found = self._difference(item)
            text = f"{text}\n{found.tip}" if found and text != "baseline" else text
        elif isinstance(item, Group):
            if column.result:
                text = f"{text}\n{item.count_text(column.result)}"
        elif column.key == "note":
            text = item.marks.notes
        elif item.summary.message:
            text = item.summary.message
        return plain_tip(text)

    def _difference(self, item: Row | Group) -> Any:
        if isinstance(item, Group):
            return self.context.group_difference(item)
        return self.context.run_difference(item)

    def _delta_color(self, item: Row | Group) -> QColor | None:
        found = self._difference(item)
        if found is None or found.verdict not in {"better", "worse"}:
            return None
        theme = current_theme()
        return QColor(theme.good if found.verdict == "better" else theme.error)

    def _first_cell(self, item: Row | Group, index: Index, role: int) -> Any:
        if role == _Role.CheckStateRole:
            visible = {row.visible for row in self.rows_of(index)}
            return _PARTLY if len(visible) > 1 else _CHECKED if True in visible else _UNCHECKED
        if role != _Role.DecorationRole:
            return None
        if isinstance(item, Group):
            shown = any(row.visible for row in self.rows_of(index))
            return swatch(item.style if shown else None)
        return swatch(self.model.styles.get(item.id), given=item.marks.color)


def _same_base(one: CellContext, other: CellContext) -> bool:
    if one.base is None or other.base is None:
        return one.base is other.base
    return np.array_equal(one.base, other.base)


def _name(item: Row | Group) -> Any:
    return item.id if isinstance(item, Row) else ("group", item.keys, repr(item.values))


def _alignment(column: Column) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column.right else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
