"""The algorithms that can be ticked, in groups that fold, one line each."""

from collections.abc import Mapping
from html import escape

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from metaviz.config.catalogue import AlgorithmEntry
from metaviz.gui.widgets.controls import named

_ID = Qt.ItemDataRole.UserRole
_PADDING = 4
_FEWEST, _MOST = 5, 16
"""So many lines of the list are in sight, by what room there is."""


class AlgorithmList(QTreeWidget):
    """A checkable list; `ticked_changed` follows each change of ticks."""

    ticked_changed = Signal()
    entered_algorithm = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        named(self, "algorithms", "Algorithms")
        self.setHeaderHidden(True)
        self.setIndentation(16)
        self.setExpandsOnDoubleClick(False)
        self.setUniformRowHeights(True)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.setItemDelegate(_PaddedDelegate(self))
        self._entries: dict[str, AlgorithmEntry] = {}
        self._items: dict[str, QTreeWidgetItem] = {}
        self._open_groups: set[str] = set()
        self._searched = ""
        self.itemChanged.connect(self._on_item_changed)
        self.currentItemChanged.connect(self._on_current)
        self.itemClicked.connect(self._on_clicked)
        self.itemExpanded.connect(self._on_folded)
        self.itemCollapsed.connect(self._on_folded)
        self.show_lines(_FEWEST)

    def show_entries(self, entries: tuple[AlgorithmEntry, ...]) -> None:
        """List these algorithms under their groups; ticks of known ids are kept."""
        ticked = self.ticked()
        with QSignalBlocker(self):
            self.clear()
            self._entries = {entry.id: entry for entry in entries}
            self._items = {}
            for group in dict.fromkeys(entry.group for entry in entries):
                heading = _heading(group)
                self.addTopLevelItem(heading)
                for entry in (entry for entry in entries if entry.group == group):
                    item = _item(entry, ticked=entry.id in ticked)
                    heading.addChild(item)
                    self._items[entry.id] = item
        self._unfold_ticked()
        self._show_matching()

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
        self._unfold_ticked()
        if self.ticked() != before:
            self.ticked_changed.emit()

    def toggle(self, name: str) -> None:
        """Tick an algorithm, or untick it."""
        is_on = self._items[name].checkState(0) == Qt.CheckState.Checked
        state = Qt.CheckState.Unchecked if is_on else Qt.CheckState.Checked
        self._items[name].setCheckState(0, state)
        self._unfold_ticked()

    def search(self, text: str) -> None:
        """List only the algorithms in whose texts every word of `text` is."""
        self._searched = text
        self._show_matching()

    def show_unsuited(self, reasons: Mapping[str, str]) -> None:
        """Grey out the algorithms that cannot run, each with its reason; untick them."""
        for name, item in self._items.items():
            entry, reason = self._entries[name], reasons.get(name, "")
            flags = item.flags() | Qt.ItemFlag.ItemIsEnabled
            item.setFlags(flags & ~Qt.ItemFlag.ItemIsEnabled if reason else flags)
            if reason:
                item.setCheckState(0, Qt.CheckState.Unchecked)
            item.setToolTip(0, f"<p>{escape(reason) or describe(entry)}</p>")

    def show_lines(self, lines: int) -> None:
        """Be about as high as so many lines."""
        high = self.fontMetrics().height() + _PADDING
        self.setFixedHeight(max(_FEWEST, min(_MOST, lines)) * high + 2 * self.frameWidth())

    def help_words(self) -> str:
        """Return where the guide tells of the method that the keyboard is at."""
        item = self.currentItem()
        name = item.data(0, _ID) if item is not None else None
        return f"/method/{name}" if name else ""

    @property
    def line_height(self) -> int:
        """The height of a line in pixels."""
        return self.fontMetrics().height() + _PADDING

    def _headings(self) -> list[QTreeWidgetItem]:
        return [item for at in range(self.topLevelItemCount()) if (item := self.topLevelItem(at))]

    def _unfold_ticked(self) -> None:
        """Open the groups that have ticks; the first one, where nothing is ticked."""
        found = {self._entries[name].group for name in self.ticked()}
        if not self._open_groups and not found and self._entries:
            found = {next(iter(self._entries.values())).group}
        self._open_groups |= found
        self._fold()

    def _fold(self) -> None:
        """Open groups as they are remembered, and count ticks where they are folded."""
        ticked = self.ticked()
        with QSignalBlocker(self):
            for heading in self._headings():
                group = str(heading.data(0, _ID + 1))
                heading.setExpanded(bool(self._searched) or group in self._open_groups)
                count = sum(self._entries[name].group == group for name in ticked)
                heading.setText(0, f"{group}  ·  {count} ticked" if count else group)

    def _show_matching(self) -> None:
        words = self._searched.casefold().split()
        for name, item in self._items.items():
            text = _searchable(self._entries[name])
            item.setHidden(not all(word in text for word in words))
        for heading in self._headings():
            members = (heading.child(at) for at in range(heading.childCount()))
            heading.setHidden(all(member is None or member.isHidden() for member in members))
        self._fold()

    def _on_item_changed(self, item: QTreeWidgetItem, column: int) -> None:
        if column == 0 and item.data(0, _ID):
            self._fold()
            self.ticked_changed.emit()

    def _on_current(self, item: QTreeWidgetItem | None) -> None:
        if item is not None and item.data(0, _ID):
            self.entered_algorithm.emit(self._entries[item.data(0, _ID)])

    def _on_clicked(self, item: QTreeWidgetItem) -> None:
        """Open or close a group by a click on its name; the arrow does so of itself."""
        if not item.data(0, _ID):
            item.setExpanded(not item.isExpanded())

    def _on_folded(self, item: QTreeWidgetItem) -> None:
        if not self._searched:
            group = str(item.data(0, _ID + 1))
            (self._open_groups.add if item.isExpanded() else self._open_groups.discard)(group)


class _PaddedDelegate(QStyledItemDelegate):
    """Pads rows."""

    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        hint = super().sizeHint(option, index)
        return QSize(hint.width() + _PADDING, option.fontMetrics.height() + _PADDING)


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


def _searchable(entry: AlgorithmEntry) -> str:
    parts = (entry.id, entry.title, entry.group, entry.summary, entry.citation)
    return " ".join(parts).casefold()


def _heading(group: str) -> QTreeWidgetItem:
    item = QTreeWidgetItem([group])
    item.setData(0, _ID + 1, group)
    item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
    font = item.font(0)
    font.setBold(True)
    item.setFont(0, font)
    return item


def _item(entry: AlgorithmEntry, *, ticked: bool) -> QTreeWidgetItem:
    item = QTreeWidgetItem([entry.title])
    item.setData(0, _ID, entry.id)
    item.setFlags(
        Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable
    )
    item.setCheckState(0, Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
    item.setToolTip(0, f"<p>{describe(entry)}</p>")
    item.setData(
        0,
        Qt.ItemDataRole.AccessibleDescriptionRole,
        f"{entry.summary} {entry.formula} {entry.cost}",
    )
    return item
