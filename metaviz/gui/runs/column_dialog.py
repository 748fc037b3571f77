"""The dialog that chooses which columns the runs table has, and in which order."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.widgets.controls import explained, named, press_on_enter, search_line, spoken
from metaviz.gui.widgets.layouts import fill
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.runs.table.columns import USUAL, Column

_KEY = Qt.ItemDataRole.UserRole


class ColumnDialog(QDialog):
    """A list to tick and to drag. `chosen` carries the keys of the ticked columns in order."""

    chosen = Signal(object)

    def __init__(self, known: Sequence[Column], keys: Sequence[str], parent: QWidget) -> None:
        """List known columns, the shown ones first."""
        super().__init__(parent)
        self.setObjectName("column_chooser")
        explained(self, "/page/runs")
        self.setWindowTitle("Columns of the runs table")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(420, 460)
        self.filter = search_line("column_filter", "Find a column", "Find a column")
        self.filter.textChanged.connect(self._filter)
        tip = "Space ticks; the first column always stays."
        self.list = named(QListWidget(self), "column_list", "Columns", tip)
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self._known = {column.key: column for column in known}
        self._fill(keys)
        buttons = QDialogButtonBox(self)
        buttons.setStandardButtons(
            QDialogButtonBox.StandardButton.Ok
            | QDialogButtonBox.StandardButton.Cancel
            | QDialogButtonBox.StandardButton.RestoreDefaults
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        press_on_enter(buttons, buttons.button(QDialogButtonBox.StandardButton.Ok))
        usual = buttons.button(QDialogButtonBox.StandardButton.RestoreDefaults)
        usual.setToolTip("Tick the usual columns.")
        usual.clicked.connect(self._restore)
        for name in ("Ok", "Cancel", "RestoreDefaults"):
            button = buttons.button(getattr(QDialogButtonBox.StandardButton, name))
            named(button, f"columns_{name.lower()}", spoken(button.text()), button.toolTip())
        hint = "Tick what to show, and drag columns into order."
        fill(QVBoxLayout(self), hint, self.filter, self.list, buttons)

    def tick(self, key: str, *, on: bool = True) -> None:
        """Tick or untick a column."""
        for item in self._items():
            if item.data(_KEY) == key:
                item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    def keys(self) -> list[str]:
        """Return the ticked columns in order."""
        ticked = [i for i in self._items() if i.checkState() == Qt.CheckState.Checked]
        return [str(item.data(_KEY)) for item in ticked]

    def accept(self) -> None:
        """Take the ticked columns."""
        self.chosen.emit(self.keys())
        super().accept()

    def _items(self) -> list[QListWidgetItem]:
        return [self.list.item(place) for place in range(self.list.count())]

    def _fill(self, keys: Sequence[str]) -> None:
        self.list.clear()
        first = [key for key in keys if key in self._known]
        for key in dict.fromkeys([*first, *self._known]):
            column = self._known[key]
            title = column.title if column.title in {key, "★"} else f"{column.title}  –  {key}"
            item = QListWidgetItem("★  –  star" if key == "star" else title)
            item.setData(_KEY, key)
            item.setToolTip(plain_tip(column.tip))
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsDropEnabled)
            item.setCheckState(Qt.CheckState.Checked if key in first else Qt.CheckState.Unchecked)
            if key == "run":
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsUserCheckable)
            self.list.addItem(item)

    @Slot(str)
    def _filter(self, text: str) -> None:
        for item in self._items():
            item.setHidden(text.casefold() not in item.text().casefold())

    @Slot()
    def _restore(self) -> None:
        self._fill(USUAL)
