"""The queue dock: what waits, what trains and how it ended, with what can be done to it."""

from collections.abc import Sequence

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QPoint, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractItemView,
    QMenu,
    QSpinBox,
    QTableView,
    QWidget,
)

from metaviz.gui.queue.queue_model import QueueModel
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.controls import command_button, named, popup_menu, text_label
from metaviz.gui.widgets.flow_layout import FlowLayout
from metaviz.gui.widgets.layouts import alternatives, column, flow
from metaviz.gui.widgets.plain_table import set_up_table
from metaviz.gui.widgets.theme import current_theme, tint
from metaviz.runs.storage.queue import Entry

_WIDTHS = (30, 84, 74, 40, 150, 96, 130)
ROW_COMMANDS = (
    "queue_next",
    "queue_up",
    "queue_down",
    "queue_resume",
    "queue_retry",
    "queue_remove",
)
_EMPTY = (
    "Nothing is queued. Press Queue below the form to have its runs trained one after another, "
    "or Sweep… to vary a hyperparameter. The queue outlives this window."
)


class QueueDock(QWidget):
    """Shows the queue's model; commands act on the selected rows."""

    workers_changed = Signal(int)
    selection_changed = Signal()

    def __init__(self, model: QueueModel, commands: Actions, parent: QWidget | None = None) -> None:
        """Show a model."""
        super().__init__(parent)
        self.model = model
        self._commands = commands
        self.view = QTableView(self)
        self.summary = text_label("queue_summary", "State of the queue")
        self.workers = named(
            QSpinBox(self),
            "queue_workers",
            "Number of workers",
            "So many runs of the queue train at once, each in a process of its own.",
        )
        self._empty = text_label("queue_empty", text=_EMPTY)
        self._selected: set[int] = set()
        self._build()
        self._set_up_view()
        model.modelAboutToBeReset.connect(self._remember)
        model.modelReset.connect(self._on_reset)
        self._on_reset()

    def selected(self) -> list[Entry]:
        """Return the selected entries in order."""
        rows = sorted(index.row() for index in self.view.selectionModel().selectedRows())
        return [self.model.entries[row] for row in rows if row < len(self.model.entries)]

    def select(self, ids: Sequence[int]) -> None:
        """Select entries."""
        places = [place for place, entry in enumerate(self.model.entries) if entry.id in ids]
        chosen, view = QItemSelection(), self.view.selectionModel()
        last = self.model.columnCount() - 1
        for place in places:
            chosen.select(self.model.index(place, 0), self.model.index(place, last))
        flags = QItemSelectionModel.SelectionFlag
        view.select(chosen, flags.ClearAndSelect)
        if places:
            view.setCurrentIndex(self.model.index(places[0], 0), flags.NoUpdate)

    def show_running(self) -> None:
        """Bring what trains into sight, unless a person is looking at something."""
        running = (p for p, entry in enumerate(self.model.entries) if entry.state == "running")
        place = next(running, None)
        if place is not None and not self.view.selectionModel().hasSelection():
            self.view.scrollTo(self.model.index(place, 0))

    def show_summary(self, text: str) -> None:
        """Say how the queue is doing as a whole."""
        self.summary.setText(text)

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        tint(self._empty, current_theme().muted)
        self.model.renew()

    def _build(self) -> None:
        self.workers.setRange(1, 1)
        self.workers.valueChanged.connect(self.workers_changed)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        box, self._pages = alternatives(self._empty, self.view, parent=self)
        column(self, self._head(), self.summary, box, stretch=box, margins=(8, 4, 8, 4), spacing=4)

    def _head(self) -> FlowLayout:
        names = ("queue_pause", "queue_resume", "queue_clear")
        buttons = [command_button(f"button_{name}", self._commands[name]) for name in names]
        return flow(*buttons, ("Workers", self.workers))

    def _set_up_view(self) -> None:
        view = self.view
        set_up_table(named(view, "queue", "Queue"), self.model, _WIDTHS, spacing=8)
        view.setAlternatingRowColors(True)
        view.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        view.setDragDropOverwriteMode(False)
        view.setDropIndicatorShown(True)
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        view.customContextMenuRequested.connect(self._menu)
        view.selectionModel().selectionChanged.connect(self.selection_changed)
        for name in ROW_COMMANDS:
            command = self._commands[name]
            command.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
            view.addAction(command)

    @Slot(QPoint)
    def _menu(self, place: QPoint) -> None:
        if not self.selected():
            return
        menu = QMenu(self)
        menu.addActions([self._commands[name] for name in ROW_COMMANDS])
        popup_menu(menu, self.view.viewport().mapToGlobal(place))

    @Slot()
    def _remember(self) -> None:
        self._selected = {entry.id for entry in self.selected()}

    @Slot()
    def _on_reset(self) -> None:
        self._pages.setCurrentIndex(1 if self.model.entries else 0)
        if self._selected:
            self.select(list(self._selected))
        self.selection_changed.emit()
