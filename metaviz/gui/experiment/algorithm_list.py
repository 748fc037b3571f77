"""The algorithms that can be ticked, in groups."""

from collections.abc import Mapping
from html import escape

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QFont, QPalette
from PySide6.QtWidgets import (
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from metaviz.config.catalogue import AlgorithmEntry
from metaviz.gui.widgets.controls import named

_ID = Qt.ItemDataRole.UserRole
_PADDING, _TALLEST = 6, 420


class AlgorithmList(QTreeWidget):
    """A checkable list; `ticked_changed` follows each change of ticks."""

    ticked_changed = Signal()
    entered_algorithm = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        named(self, "algorithms", "Algorithms")
        self.setColumnCount(2)
        self.setHeaderHidden(True)
        self.setRootIsDecorated(False)
        self.setIndentation(0)
        self.setItemsExpandable(False)
        self.setUniformRowHeights(True)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.setItemDelegateForColumn(0, _PaddedDelegate(self))
        self.setItemDelegateForColumn(1, _Muted(self))
        self._entries: dict[str, AlgorithmEntry] = {}
        self._items: dict[str, QTreeWidgetItem] = {}
        self.itemChanged.connect(self._on_item_changed)
        self.currentItemChanged.connect(self._on_current)

    def show_entries(self, entries: tuple[AlgorithmEntry, ...]) -> None:
        """List these algorithms under their groups; ticks of known ids are kept."""
        ticked = self.ticked()
        self.blockSignals(True)
        self.clear()
        self._entries = {entry.id: entry for entry in entries}
        self._items = {}
        for group in dict.fromkeys(entry.group for entry in entries):
            heading = _heading(group)
            self.addTopLevelItem(heading)
            heading.setFirstColumnSpanned(True)
            for entry in (entry for entry in entries if entry.group == group):
                item = _item(entry, ticked=entry.id in ticked)
                self.addTopLevelItem(item)
                self._items[entry.id] = item
        self.blockSignals(False)
        header = self.header()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        self.setFixedHeight(self._height())

    def ticked(self) -> tuple[str, ...]:
        """Return the ids of the ticked algorithms, in the order shown."""
        on = Qt.CheckState.Checked
        return tuple(name for name, item in self._items.items() if item.checkState(0) == on)

    def tick(self, names: tuple[str, ...]) -> None:
        """Tick exactly these algorithms; emits `ticked_changed` once."""
        before = self.ticked()
        with QSignalBlocker(self):
            for name, item in self._items.items():
                on = name in names
                item.setCheckState(0, Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        if self.ticked() != before:
            self.ticked_changed.emit()

    def toggle(self, name: str) -> None:
        """Tick an algorithm, or untick it."""
        is_on = self._items[name].checkState(0) == Qt.CheckState.Checked
        state = Qt.CheckState.Unchecked if is_on else Qt.CheckState.Checked
        self._items[name].setCheckState(0, state)

    def show_unsuited(self, reasons: Mapping[str, str]) -> None:
        """Grey out the algorithms that cannot run, each with its reason; untick them."""
        for name, item in self._items.items():
            entry, reason = self._entries[name], reasons.get(name, "")
            flags = item.flags() | Qt.ItemFlag.ItemIsEnabled
            item.setFlags(flags & ~Qt.ItemFlag.ItemIsEnabled if reason else flags)
            if reason:
                item.setCheckState(0, Qt.CheckState.Unchecked)
            for column in (0, 1):
                item.setToolTip(column, f"<p>{escape(reason) or describe(entry)}</p>")

    def help_words(self) -> str:
        """Return where the guide tells of the method that the keyboard is at."""
        item = self.currentItem()
        name = item.data(0, _ID) if item is not None else None
        return f"/method/{name}" if name else ""

    def _height(self) -> int:
        return min(self.topLevelItemCount() * self._row_height(), _TALLEST) + 2 * self.frameWidth()

    def _row_height(self) -> int:
        return self.fontMetrics().height() + _PADDING

    def _on_item_changed(self, _item: QTreeWidgetItem, column: int) -> None:
        if column == 0:
            self.ticked_changed.emit()

    def _on_current(self, item: QTreeWidgetItem | None) -> None:
        if item is not None and item.data(0, _ID):
            self.entered_algorithm.emit(self._entries[item.data(0, _ID)])


class _PaddedDelegate(QStyledItemDelegate):
    """Pads rows."""

    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        hint = super().sizeHint(option, index)
        return QSize(hint.width() + _PADDING, option.fontMetrics.height() + _PADDING)


class _Muted(_PaddedDelegate):
    """Draws summaries in the placeholder colour of the palette."""

    def initStyleOption(  # noqa: N802 - a name of Qt's
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        super().initStyleOption(option, index)
        quiet = option.palette.color(QPalette.ColorRole.PlaceholderText)
        option.palette.setColor(QPalette.ColorRole.Text, quiet)

    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        return QSize(0, super().sizeHint(option, index).height())


def describe(entry: AlgorithmEntry) -> str:
    """Explain an algorithm as rich text: formula, cost, source."""
    parts = [
        f"<b>{escape(entry.title)}</b> – {escape(entry.summary)}",
        f"<i>{escape(entry.formula)}</i>",
        f"Cost: {escape(entry.cost)}." if entry.cost else "",
        escape(entry.note),
        escape(entry.citation),
    ]
    return "<br>".join(part for part in parts if part)


def _heading(group: str) -> QTreeWidgetItem:
    item = QTreeWidgetItem([group])
    item.setFlags(Qt.ItemFlag.ItemIsEnabled)
    font = QFont()
    font.setBold(True)
    font.setPointSizeF(font.pointSizeF() * 0.85)
    item.setFont(0, font)
    return item


def _item(entry: AlgorithmEntry, *, ticked: bool) -> QTreeWidgetItem:
    item = QTreeWidgetItem([entry.title, entry.summary])
    item.setData(0, _ID, entry.id)
    item.setFlags(
        Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable
    )
    item.setCheckState(0, Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
    for column in (0, 1):
        item.setToolTip(column, f"<p>{describe(entry)}</p>")
    item.setData(
        0,
        Qt.ItemDataRole.AccessibleDescriptionRole,
        f"{entry.summary} {entry.formula} {entry.cost}",
    )
    return item
