"""Where a person changes keys: a list of commands, and a field that takes the keys pressed."""

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QKeySequenceEdit,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.widgets.controls import named, push_button, search_line, text_label
from metaviz.gui.widgets.key_bindings import KeyBindings
from metaviz.gui.widgets.layouts import fill, row

_NAME = Qt.ItemDataRole.UserRole
_WHAT_WIDTH = 230


class KeyEditor(QWidget):
    """Lists every command with its keys. A change applies at once; conflicts are told before."""

    def __init__(self, bindings: KeyBindings, parent: QWidget | None = None) -> None:
        """List the commands."""
        super().__init__(parent)
        named(self, "key_editor", "Keys")
        self._bindings = bindings
        self.filter = search_line("key_filter", "Find a command or keys", "Find a command or keys")
        self.filter.textChanged.connect(self._filter)
        self.list = named(QTreeWidget(), "key_list", "Commands and their keys")
        self.list.setHeaderLabels(["Command", "Keys"])
        self.list.setRootIsDecorated(False)
        self.list.setTabKeyNavigation(False)
        self.list.setColumnWidth(0, _WHAT_WIDTH)
        for name in bindings.defaults:
            item = QTreeWidgetItem(self.list, [bindings.title(name)])
            item.setData(0, _NAME, name)
        self.list.currentItemChanged.connect(self._on_chosen)
        tip = "Press the keys that the command shall have; empty for none."
        self.edit = named(QKeySequenceEdit(), "key_edit", "New keys of the command", tip)
        self.edit.setMaximumSequenceLength(1)
        self.edit.setClearButtonEnabled(True)
        self.edit.keySequenceChanged.connect(self._check)
        self.told = text_label("key_conflict", "What else has these keys")
        self.assign = push_button("key_assign", "Ass&ign", "Give the command these keys.")
        self.assign.clicked.connect(self._assign)
        tip = "Give the command its usual keys again."
        self.reset = push_button("key_reset", "Res&et", tip, "Reset the keys of the command")
        self.reset.clicked.connect(self._reset)
        tip = "Give every command its usual keys again."
        self.reset_all = push_button("key_reset_all", "Reset &all keys", tip)
        self.reset_all.clicked.connect(self._reset_all)
        below = row(self.edit, self.assign, self.reset, self.reset_all, stretch=self.edit)
        fill(QVBoxLayout(self), self.filter, self.list, below, self.told, stretch=self.list)
        self._show()
        self.choose(next(iter(bindings.defaults)))

    @property
    def chosen(self) -> str:
        """The name of the command that is chosen."""
        item = self.list.currentItem()
        return str(item.data(0, _NAME)) if item is not None else ""

    def choose(self, name: str) -> None:
        """Choose a command."""
        for item in self._items():
            if item.data(0, _NAME) == name:
                self.list.setCurrentItem(item)

    def _items(self) -> list[QTreeWidgetItem]:
        every = (self.list.topLevelItem(at) for at in range(self.list.topLevelItemCount()))
        return [item for item in every if item is not None]

    def _show(self) -> None:
        for item in self._items():
            name = item.data(0, _NAME)
            native = QKeySequence.SequenceFormat.NativeText
            text = ", ".join(keys.toString(native) for keys in self._bindings.keys(name))
            item.setText(1, text)
            font = item.font(1)
            font.setBold(self._bindings.is_changed(name))
            item.setFont(1, font)

    @Slot(QTreeWidgetItem, QTreeWidgetItem)
    def _on_chosen(self, _item: object, _before: object) -> None:
        found = self._bindings.keys(self.chosen) if self.chosen else []
        self.edit.setKeySequence(found[0] if found else QKeySequence())
        self._check()

    @Slot()
    def _check(self) -> None:
        """Say what else has the keys, before they are given away."""
        keys, name = self.edit.keySequence(), self.chosen
        owner, may_lose = ("", False) if keys.isEmpty() else self._bindings.owner(keys, name)
        self.assign.setText("Take &it" if owner and may_lose else "Ass&ign")
        self.assign.setEnabled(bool(name) and (may_lose or not owner))
        self.reset.setEnabled(bool(name) and self._bindings.is_changed(name))
        if not owner:
            self.told.setText("")
        elif may_lose:
            self.told.setText(f"“{owner}” has these keys; it will have none.")
        else:
            self.told.setText(f"“{owner}” has these keys: choose others.")

    @Slot()
    def _assign(self) -> None:
        keys, name = self.edit.keySequence(), self.chosen
        if keys.isEmpty():
            self._bindings.assign(name, [])
        else:
            others = [one for one in self._bindings.keys(name)[1:] if one != keys]
            self._bindings.take(keys)
            self._bindings.assign(name, [keys, *others])
        self._after_change()

    @Slot()
    def _reset(self) -> None:
        self._bindings.reset(self.chosen)
        self._after_change()

    @Slot()
    def _reset_all(self) -> None:
        self._bindings.reset_all()
        self._after_change()

    def _after_change(self) -> None:
        self._show()
        self._on_chosen(None, None)

    @Slot(str)
    def _filter(self, text: str) -> None:
        for item in self._items():
            inside = f"{item.text(0)} {item.text(1)}".casefold()
            item.setHidden(text.casefold() not in inside)
