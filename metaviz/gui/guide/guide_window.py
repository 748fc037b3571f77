"""The guide: contents and search beside a page of text, all of it on this machine."""

from PySide6.QtCore import QModelIndex, Qt, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices, QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QSplitter,
    QTextBrowser,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.widgets.controls import close_buttons, named, search_line, tool_button
from metaviz.gui.widgets.layouts import column, fill, row
from metaviz.guide.library import HOME, Library
from metaviz.guide.shipped import TERMS, TUTORIALS
from metaviz.guide.topics import Topic, by_kind, plain

_ADDRESS = Qt.ItemDataRole.UserRole
_SIZE, _CONTENTS = (900, 640), 260
_MOST_FOUND = 60
_WEB = {"http", "https"}


class GuideWindow(QDialog):
    """Shows topics of a library; keeps where a person was, for going back."""

    opened = Signal(str)
    """The address that is shown now."""

    def __init__(self, library: Library, parent: QWidget) -> None:
        """Show the first page."""
        super().__init__(parent)
        named(self, "guide", "Guide")
        self.setWindowTitle("Guide")
        self.setWindowFlag(Qt.WindowType.Window)
        self._library = library
        self._visited: list[str] = []
        self._place = -1
        self._make_parts()
        self._lay_out()
        self._list("")
        self.open_address(HOME)

    @property
    def address(self) -> str:
        """The address of the topic that is shown."""
        return self._visited[self._place] if self._visited else ""

    def use(self, library: Library) -> None:
        """Show another library, at the same place where it has one."""
        self._library = library
        self._list(self.line.text())
        self._show()

    def open_address(self, address: str) -> None:
        """Show a topic, or the first page where there is none at the address."""
        found = self._library.topic(address) or self._library.topic(HOME)
        if found is not None and found.address != self.address:
            self._visited[self._place + 1 :] = [found.address]
            self._place += 1
        self._show()

    def _make_parts(self) -> None:
        self.line = search_line("guide_search", "Search the guide", "Search the guide")
        self.line.textChanged.connect(self._list)
        self.line.returnPressed.connect(self._open_first)
        self.contents = named(QTreeWidget(), "guide_contents", "Contents of the guide")
        self.contents.setHeaderHidden(True)
        self.contents.setTabKeyNavigation(False)
        self.contents.currentItemChanged.connect(self._on_chosen)
        self.contents.activated.connect(self._on_activated)
        self.text = named(QTextBrowser(), "guide_text", "Page of the guide")
        self.text.setOpenLinks(False)
        self.text.anchorClicked.connect(self._follow)
        keys = QKeySequence.StandardKey
        self.back = tool_button("guide_back", "◀", "Back", "Back")
        self.forward = tool_button("guide_forward", "▶", "Forward", "Forward")
        self.home = tool_button("guide_home", "Contents", "The first page", "First page")
        for button, shortcut in ((self.back, keys.Back), (self.forward, keys.Forward)):
            button.setShortcut(QKeySequence(shortcut))
        self.back.clicked.connect(self._go_back)
        self.forward.clicked.connect(self._go_forward)
        self.home.clicked.connect(self._go_home)

    def _lay_out(self) -> None:
        bar = row(self.back, self.forward, self.home, None)
        left = column(None, self.line, self.contents, stretch=self.contents)
        split = QSplitter(self)
        split.addWidget(left)
        split.addWidget(column(None, bar, self.text, stretch=self.text))
        split.setStretchFactor(1, 1)
        split.setSizes([_CONTENTS, _SIZE[0] - _CONTENTS])
        split.setChildrenCollapsible(False)
        buttons = close_buttons(self, "guide_close", "Close the guide")
        # Enter in the search line opens what was found, and must not close the guide.
        buttons.button(QDialogButtonBox.StandardButton.Close).setDefault(False)
        fill(QVBoxLayout(self), split, buttons, stretch=split)
        room = self.screen().availableSize()
        self.resize(min(_SIZE[0], room.width() - 40), min(_SIZE[1], room.height() - 80))

    def _show(self) -> None:
        topic = self._library.topic(self.address) or self._library.topic(HOME)
        if topic is None:
            return
        self.text.setMarkdown(markdown(topic))
        self.text.setAccessibleName(f"Guide: {topic.title}")
        self.setWindowTitle(f"{topic.title} – Guide")
        self.back.setEnabled(self._place > 0)
        self.forward.setEnabled(self._place < len(self._visited) - 1)
        self._select(topic.address)
        self.opened.emit(topic.address)

    @Slot(str)
    def _list(self, query: str) -> None:
        """List what a query finds; for none everything, folded under its kind."""
        found = self._library.search(query)
        self.contents.blockSignals(True)
        self.contents.clear()
        if query.strip():
            for topic in found[:_MOST_FOUND]:
                self.contents.addTopLevelItem(_item(topic, topic.kind))
        else:
            for kind, topics in by_kind([topic for topic in found if topic.kind]).items():
                top = QTreeWidgetItem(self.contents, [kind])
                for topic in topics:
                    top.addChild(_item(topic))
                top.setExpanded(kind == TUTORIALS)
        self.contents.blockSignals(False)
        self._select(self.address)
        if query.strip():
            self.contents.scrollToTop()

    def _select(self, address: str) -> None:
        """Mark a topic in the contents, without opening it again."""
        flags = Qt.MatchFlag.MatchRecursive
        self.contents.blockSignals(True)
        for item in self.contents.findItems("", flags | Qt.MatchFlag.MatchContains):
            if item.data(0, _ADDRESS) == address:
                self.contents.setCurrentItem(item)
                break
        else:
            self.contents.setCurrentIndex(QModelIndex())
        self.contents.blockSignals(False)

    @Slot(QTreeWidgetItem, QTreeWidgetItem)
    def _on_chosen(self, item: QTreeWidgetItem | None, _before: object) -> None:
        if item is not None and item.data(0, _ADDRESS):
            self.open_address(item.data(0, _ADDRESS))

    @Slot(QModelIndex)
    def _on_activated(self, index: QModelIndex) -> None:
        if index.data(_ADDRESS):
            self.open_address(index.data(_ADDRESS))
            self.text.setFocus()

    @Slot()
    def _open_first(self) -> None:
        found = self._library.search(self.line.text())
        if found:
            self.open_address(found[0].address)
            self.text.setFocus()

    @Slot(QUrl)
    def _follow(self, url: QUrl) -> None:
        if url.scheme() in _WEB:
            QDesktopServices.openUrl(url)
        else:
            self.open_address(url.path())

    @Slot()
    def _go_back(self) -> None:
        self._place -= 1
        self._show()

    @Slot()
    def _go_forward(self) -> None:
        self._place += 1
        self._show()

    @Slot()
    def _go_home(self) -> None:
        self.open_address(HOME)


def markdown(topic: Topic) -> str:
    """Return a whole page: what it belongs to, its title, other names, its text."""
    is_term = topic.kind == TERMS and topic.names
    also = f"*Also: {plain(', '.join(topic.names))}*\n\n" if is_term else ""
    above = f"{topic.kind}\n\n" if topic.kind else ""
    return f"{above}# {plain(topic.title)}\n\n{also}{topic.text}\n"


def _item(topic: Topic, kind: str = "") -> QTreeWidgetItem:
    item = QTreeWidgetItem([f"{topic.title}  –  {kind}" if kind else topic.title])
    item.setData(0, _ADDRESS, topic.address)
    item.setToolTip(0, "")
    return item
