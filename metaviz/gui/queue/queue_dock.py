"""The queue dock: what waits, what trains and how it ended, with what can be done to it."""

from collections.abc import Sequence

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QPoint, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QSpinBox,
    QStackedLayout,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.queue.queue_model import QueueModel
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.controls import text_label
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
        self.workers = QSpinBox(self)
        self._empty = QLabel(_EMPTY, self)
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
        rows = [place for place, entry in enumerate(self.model.entries) if entry.id in ids]
        chosen = QItemSelection()
        last = self.model.columnCount() - 1
        for row in rows:
            chosen.select(self.model.index(row, 0), self.model.index(row, last))
        flags = QItemSelectionModel.SelectionFlag
        self.view.selectionModel().select(chosen, flags.ClearAndSelect)
        if rows:
            self.view.selectionModel().setCurrentIndex(self.model.index(rows[0], 0), flags.NoUpdate)

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
        self.workers.setObjectName("queue_workers")
        self.workers.setAccessibleName("Number of workers")
        tip = "So many runs of the queue train at once, each in a process of its own."
        self.workers.setToolTip(tip)
        self.workers.setStatusTip(tip)
        self.workers.setRange(1, 1)
        self.workers.valueChanged.connect(self.workers_changed)
        label = QLabel("&Workers", self)
        label.setBuddy(self.workers)
        head = QHBoxLayout()
        head.setSpacing(6)
        for name in ("queue_pause", "queue_resume", "queue_clear"):
            head.addWidget(self._button(name))
        head.addWidget(self.summary, 1)
        head.addWidget(label)
        head.addWidget(self.workers)
        self._empty.setObjectName("queue_empty")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        pages = QWidget(self)
        self._pages = QStackedLayout(pages)
        self._pages.setContentsMargins(0, 0, 0, 0)
        self._pages.addWidget(self._empty)
        self._pages.addWidget(self.view)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addLayout(head)
        layout.addWidget(pages, 1)

    def _button(self, name: str) -> QToolButton:
        button = QToolButton(self)
        button.setObjectName(f"button_{name}")
        button.setDefaultAction(self._commands[name])
        button.setAccessibleName(self._commands[name].text().replace("&", ""))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        return button

    def _set_up_view(self) -> None:
        view = self.view
        view.setObjectName("queue")
        view.setAccessibleName("Queue")
        view.setModel(self.model)
        view.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        view.setAlternatingRowColors(True)
        view.setShowGrid(False)
        view.setTabKeyNavigation(False)
        view.setWordWrap(False)
        view.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        view.setDragDropOverwriteMode(False)
        view.setDropIndicatorShown(True)
        view.verticalHeader().hide()
        view.verticalHeader().setDefaultSectionSize(view.fontMetrics().height() + 8)
        header = view.horizontalHeader()
        header.setStretchLastSection(True)
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for column, width in enumerate(_WIDTHS):
            view.setColumnWidth(column, width)
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
        menu.setToolTipsVisible(True)
        menu.addActions([self._commands[name] for name in ROW_COMMANDS])
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.view.viewport().mapToGlobal(place))

    @Slot()
    def _remember(self) -> None:
        self._selected = {entry.id for entry in self.selected()}

    @Slot()
    def _on_reset(self) -> None:
        self._pages.setCurrentIndex(1 if self.model.entries else 0)
        if self._selected:
            self.select(list(self._selected))
        self.selection_changed.emit()
