"""The list of all keys, made from the actions that have them."""

from collections.abc import Iterator
from typing import NamedTuple

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QLineEdit,
    QMainWindow,
    QMenu,
    QMenuBar,
    QTabWidget,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.widgets.command_palette import score
from metaviz.gui.widgets.controls import close_buttons, named, search_line, spoken
from metaviz.gui.widgets.editors import NumberEdit
from metaviz.gui.widgets.layouts import fill

_ELSEWHERE = "Elsewhere"


class Key(NamedTuple):
    """What some keys do, and where."""

    place: str
    what: str
    keys: str


def every_key(window: QMainWindow) -> list[Key]:
    """Return every key of a window, grouped by menu, then by the widget that must have the focus.

    Widgets that take keys themselves say so in a class attribute `KEYS`.
    """
    parts = (_of_menus(window), _of_widgets(window), _of_tabs(window), _of_classes(window))
    return list(dict.fromkeys(key for part in parts for key in part))


class ShortcutsDialog(QDialog):
    """Every key under the place where it works, searched by typing."""

    def __init__(self, keys: list[Key], parent: QWidget) -> None:
        """List keys."""
        super().__init__(parent)
        named(self, "shortcuts_dialog", "Keyboard shortcuts")
        self.setWindowTitle("Keyboard shortcuts")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        placeholder = "Search by what is done, or by keys"
        self.line = search_line("shortcuts_search", "Search shortcuts", placeholder)
        self.line.textChanged.connect(self._search)
        self.tree = named(QTreeWidget(self), "shortcuts_list", "Shortcuts")
        self.tree.setHeaderLabels(["What", "Keys"])
        self.tree.setTabKeyNavigation(False)
        self._fill(keys)
        buttons = close_buttons(self, "shortcuts_close", "Close the list of shortcuts")
        layout = QVBoxLayout(self)
        fill(layout, self.line, self.tree, buttons)
        self.resize(520, min(600, max(360, parent.height() - 80)))

    def shown(self) -> list[tuple[str, str]]:
        """Return what is listed now, with its keys."""
        return [(item.text(0), item.text(1)) for item in self._rows if not item.isHidden()]

    def _fill(self, keys: list[Key]) -> None:
        tops: dict[str, QTreeWidgetItem] = {}
        self._rows: list[QTreeWidgetItem] = []
        for key in keys:
            if key.place not in tops:
                top = tops[key.place] = QTreeWidgetItem(self.tree, [key.place])
                font = top.font(0)
                font.setBold(True)
                top.setFont(0, font)
            self._rows.append(QTreeWidgetItem(tops[key.place], [key.what, key.keys]))
        self._tops = list(tops.values())
        self.tree.expandAll()
        self.tree.header().setStretchLastSection(True)
        self.tree.setColumnWidth(0, 320)

    @Slot(str)
    def _search(self, query: str) -> None:
        for item in self._rows:
            plain = query.casefold() in f"{item.text(0)} {item.text(1)}".casefold()
            item.setHidden(not (plain or score(query, item.text(0)) is not None))
        for top in self._tops:
            top.setHidden(all(row.isHidden() for row in self._rows if row.parent() is top))


def _of_menus(window: QMainWindow) -> Iterator[Key]:
    for action in window.menuBar().actions():
        menu = action.menu()
        if isinstance(menu, QMenu):
            for inner in _of_menu(menu):
                yield from _keys(spoken(action.text()), inner)


def _of_widgets(window: QMainWindow) -> Iterator[Key]:
    """Yield keys of actions that are in no menu, under the widget that they belong to."""
    in_menus = set(_of_menu(window.menuBar()))
    for action in window.findChildren(QAction):
        parent = action.parent()
        if action not in in_menus and isinstance(parent, QWidget) and not _is_inner(parent):
            place = "" if parent is window else parent.accessibleName()
            yield from _keys(place or _ELSEWHERE, action)


def _of_tabs(window: QMainWindow) -> Iterator[Key]:
    for tabs in window.findChildren(QTabWidget):
        for place in range(tabs.count()):
            keys = QKeySequence.mnemonic(tabs.tabText(place))
            if not keys.isEmpty():
                what = f"Show {spoken(tabs.tabText(place))} tab"
                yield Key(tabs.accessibleName() or "Tabs", what, _written(keys))


def _of_classes(window: QMainWindow) -> Iterator[Key]:
    for place, kind in (("Window", type(window)), ("Number fields", NumberEdit)):
        for what, text in getattr(kind, "KEYS", ()):
            yield Key(place, what, _written(QKeySequence.fromString(text)))


def _of_menu(menu: QMenu | QMenuBar) -> Iterator[QAction]:
    for action in menu.actions():
        inner = action.menu()
        if isinstance(inner, QMenu):
            yield from _of_menu(inner)
        else:
            yield action


def _keys(place: str, action: QAction) -> Iterator[Key]:
    if action.shortcuts() and action.text():
        yield Key(place, spoken(action.text()), ", ".join(map(_written, action.shortcuts())))


def _is_inner(widget: QWidget) -> bool:
    """Tell inner parts of Qt's own widgets, like the clear button of a line, from ours."""
    return widget.objectName().startswith("qt_") or isinstance(widget, QLineEdit)


def _written(keys: QKeySequence) -> str:
    return keys.toString(QKeySequence.SequenceFormat.NativeText)
