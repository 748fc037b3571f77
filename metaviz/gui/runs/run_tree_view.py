"""The tree view of the runs table: it keeps widths, order of columns and selection."""

from collections.abc import Sequence

from PySide6.QtCore import (
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPoint,
    QRect,
    QSize,
    Qt,
    Signal,
    Slot,
)
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeView,
    QWidget,
)

from metaviz.gui.runs.row import Row
from metaviz.gui.runs.run_tree_model import Index, RunTreeModel
from metaviz.runs.table.columns import DELTA

_WIDTHS = {
    "run": 190,
    "star": 30,
    "algorithm": 96,
    "problem": 84,
    "seed": 48,
    "state": 84,
    "step": 92,
    "loss": 116,
    "accuracy": 116,
    "seconds": 76,
    "inner_steps": 40,
    "inner_lr": 56,
    "tags": 110,
    "note": 180,
    "started": 128,
    "id": 160,
    DELTA: 190,
}
_GROUPED = {"run": 230, "state": 150, "loss": 160, "accuracy": 160}
"""Wider where groups say more."""
_WORDS = {
    "loss": "query loss",
    "seconds": "training time",
    "step": "meta-step",
    "algorithm": "method",
    DELTA: "baseline",
}
"""What columns are about whose keys are no names of options or quantities."""
_USUAL_WIDTH, _NARROWEST, _WIDEST = 96, 24, 1000
_PADDING = 8
_Flag = QItemSelectionModel.SelectionFlag


class _PaddedDelegate(QStyledItemDelegate):
    """Pads rows."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        size = super().sizeHint(option, index)
        return QSize(size.width(), max(size.height(), option.fontMetrics.height() + _PADDING))


class RunTreeView(QTreeView):
    """Shows runs and groups. `header_menu_requested` carries a column and a position."""

    header_menu_requested = Signal(int, QPoint)
    star_requested = Signal(object)

    def __init__(self, tree_model: RunTreeModel, parent: QWidget) -> None:
        """Show runs."""
        super().__init__(parent)
        self.tree_model = tree_model
        self.widths: dict[str, int] = {}
        self._kept: tuple[list[str], str, set[str], int] = ([], "", set(), 0)
        self._keys: list[str] = []
        self._grouped = False
        self._busy = False
        self.setObjectName("runs")
        self.setAccessibleName("Runs")
        self.setUniformRowHeights(True)
        self.setItemDelegate(_PaddedDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setAlternatingRowColors(True)
        self.setTabKeyNavigation(False)
        self.setRootIsDecorated(False)
        self.setExpandsOnDoubleClick(True)
        self.setModel(tree_model)
        self._set_up_header()
        self.clicked.connect(self._on_clicked)
        tree_model.modelAboutToBeReset.connect(self._keep)
        tree_model.modelReset.connect(self._give_back)
        self._fit_columns()

    def dataChanged(  # noqa: N802 - Qt's name
        self, first: Index, last: Index, roles: Sequence[int] = ()
    ) -> None:
        """Redraw cells; Qt would also compute the height of all cells of the top row."""
        if QAccessible.isActive():
            super().dataChanged(first, last, list(roles))
            return
        if any(map(self.isColumnHidden, range(first.column(), last.column() + 1))):
            self._hide_empty()
        area = QRect()
        for column in range(first.column(), last.column() + 1):
            for index in (first, last):
                area |= self.visualRect(index.sibling(index.row(), column))
        self.viewport().update(area)

    def select(self, name: str) -> None:
        """Select one run, opening its group."""
        index = self.tree_model.index_of(name)
        if index.isValid():
            if index.parent().isValid():
                self.expand(index.parent())
            self.selectionModel().setCurrentIndex(index, _Flag.ClearAndSelect | _Flag.Rows)
            self.scrollTo(index)

    def selected(self) -> list[Row]:
        """Return the selected runs, each once; a group stands for all of its runs."""
        self.tree_model.flush()
        found: dict[str, Row] = {}
        for index in sorted(self.selectionModel().selectedRows(), key=_place):
            found |= {row.id: row for row in self.tree_model.rows_of(index)}
        return list(found.values())

    def help_words(self) -> str:
        """Return what the column is about that the keyboard is at."""
        place = self.currentIndex().column()
        key = self._keys[place] if 0 <= place < len(self._keys) else ""
        return _WORDS.get(key, key)

    def _set_up_header(self) -> None:
        header = self.header()
        header.setObjectName("runs_header")
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setMinimumSectionSize(_NARROWEST)
        header.setSectionsMovable(True)
        header.setSortIndicatorClearable(True)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._on_header_menu)
        header.sectionResized.connect(self._on_resized)
        header.sectionMoved.connect(self._on_moved)
        self.setSortingEnabled(True)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)

    @Slot()
    def _keep(self) -> None:
        rows = self.selectionModel().selectedRows()
        names = [self._name(index) for index in rows]
        open_groups: set[str] = set()
        if self.rootIsDecorated():
            tops = (self.tree_model.index(p, 0) for p in range(self.tree_model.rowCount()))
            open_groups = {self._name(index) for index in tops if self.isExpanded(index)}
        current = self._name(self.currentIndex())
        self._kept = (names, current, open_groups, self.verticalScrollBar().value())

    @Slot()
    def _give_back(self) -> None:
        names, current, open_groups, scrolled = self._kept
        self.setRootIsDecorated(self.tree_model.is_grouped)
        self._fit_columns()
        self._hide_empty()
        self._select(set(names), open_groups, current)
        self.verticalScrollBar().setValue(scrolled)

    def _select(self, names: set[str], open_groups: set[str], current: str = "") -> None:
        if not names and not open_groups:
            self.selectionModel().clearSelection()
            return
        selection, model = QItemSelection(), self.tree_model
        last = model.columnCount() - 1
        now = QModelIndex()
        for place in range(model.rowCount()):
            index = model.index(place, 0)
            inner = [model.index(row, 0, index) for row in range(model.rowCount(index))]
            if inner and self._name(index) in open_groups:
                self.expand(index)
            for one in (index, *inner):
                name = self._name(one)
                if name in names:
                    selection.select(one, one.siblingAtColumn(last))
                if name == current:
                    now = one
        self.selectionModel().select(selection, _Flag.ClearAndSelect)
        if now.isValid():
            self.selectionModel().setCurrentIndex(now, _Flag.NoUpdate)

    def _name(self, index: QModelIndex) -> str:
        item = self.tree_model.item(index)
        if item is None:
            return ""
        return item.id if isinstance(item, Row) else repr((item.keys, item.values))

    def _fit_columns(self) -> None:
        """Give columns their widths, and their order where others are shown than before."""
        keys = [column.key for column in self.tree_model.shown]
        grouped = self.tree_model.is_grouped
        if (keys, grouped) == (self._keys, self._grouped):
            return
        self._keys, self._grouped, self._busy = keys, grouped, True
        header = self.header()
        for place in range(len(keys)):
            header.moveSection(header.visualIndex(place), place)
            usual = _GROUPED.get(keys[place], 0) if grouped else 0
            usual = max(usual, _WIDTHS.get(keys[place], _USUAL_WIDTH))
            width = self.widths.get(keys[place], usual)
            header.resizeSection(place, min(max(width, _NARROWEST), _WIDEST))
        self._busy = False
        self._show_sorting()

    def _hide_empty(self) -> None:
        """Hide columns of results that no listed run has."""
        model, self._busy = self.tree_model, True
        for place, column in enumerate(model.shown):
            cells = (model.index(row, place).data() for row in range(model.rowCount()))
            is_empty = column.result is not None and model.rowCount() > 0 and not any(cells)
            self.setColumnHidden(place, is_empty)
        self._busy = False

    def _show_sorting(self) -> None:
        """Keep the arrow on the column that is sorted by."""
        key, header = self.tree_model.sorted_by, self.header()
        place = self._keys.index(key) if key in self._keys else -1
        if header.sortIndicatorSection() != place:
            blocked = header.blockSignals(True)
            header.setSortIndicator(place, header.sortIndicatorOrder())
            header.blockSignals(blocked)

    @Slot(int, int, int)
    def _on_resized(self, place: int, _old: int, width: int) -> None:
        if not self._busy and place < len(self._keys):
            self.widths[self._keys[place]] = width

    @Slot(int, int, int)
    def _on_moved(self, _place: int, _old: int, _new: int) -> None:
        if self._busy:
            return
        header = self.header()
        keys = [self._keys[header.logicalIndex(place)] for place in range(len(self._keys))]
        self.tree_model.order(keys)

    @Slot(QPoint)
    def _on_header_menu(self, place: QPoint) -> None:
        section = self.header().logicalIndexAt(place)
        self.header_menu_requested.emit(section, self.header().mapToGlobal(place))

    @Slot(QModelIndex)
    def _on_clicked(self, index: QModelIndex) -> None:
        item = self.tree_model.item(index)
        if isinstance(item, Row) and self._keys[index.column()] == "star":
            self.star_requested.emit([item])


def _place(index: QModelIndex) -> tuple[int, int]:
    parent = index.parent()
    return (parent.row(), index.row()) if parent.isValid() else (index.row(), -1)
