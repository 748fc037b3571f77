"""The log dock: messages of runs and of the program."""

import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
    Slot,
)
from PySide6.QtGui import QAction, QColor, QGuiApplication, QKeySequence
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.widgets.editors import ChoiceBox
from metaviz.gui.widgets.theme import current_theme

LEVELS = ("info", "warning", "error")
_CAPACITY = 5000
_TITLES = ("Time", "Run", "Level", "Message")
_NOWHERE = QModelIndex()
Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True)
class LogEntry:
    """One line of the log."""

    time: str
    run: str
    level: str
    message: str
    run_id: str = ""

    def text(self) -> str:
        """Return the line as it is copied."""
        return f"{self.time}\t{self.level}\t{self.run}\t{self.message}"


class LogModel(QAbstractTableModel):
    """The newest lines, oldest first."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.lines: deque[LogEntry] = deque()

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of lines."""
        return 0 if parent.isValid() else len(self.lines)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(_TITLES)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return headings."""
        across = orientation == Qt.Orientation.Horizontal
        return _TITLES[section] if across and role == Qt.ItemDataRole.DisplayRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        if not index.isValid():
            return None
        line = self.lines[index.row()]
        if role in {Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole}:
            return (line.time, line.run, line.level, line.message)[index.column()]
        if role == Qt.ItemDataRole.UserRole:
            return line
        if role == Qt.ItemDataRole.ForegroundRole and line.level != "info":
            theme = current_theme()
            return QColor(theme.error if line.level == "error" else theme.warning)
        return None

    def append(self, line: LogEntry) -> None:
        """Add a line; the oldest is removed when there are too many."""
        if len(self.lines) >= _CAPACITY:
            self.beginRemoveRows(QModelIndex(), 0, 0)
            self.lines.popleft()
            self.endRemoveRows()
        place = len(self.lines)
        self.beginInsertRows(QModelIndex(), place, place)
        self.lines.append(line)
        self.endInsertRows()


class _Filter(QSortFilterProxyModel):
    """Filters lines by level, run and text."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._least, self._run = 0, ""
        self._words: list[str] = []

    def set_least(self, level: int) -> None:
        self.beginFilterChange()
        self._least = level
        self.endFilterChange()

    def set_run(self, run: str) -> None:
        self.beginFilterChange()
        self._run = run
        self.endFilterChange()

    def set_text(self, text: str) -> None:
        self.beginFilterChange()
        self._words = text.casefold().split()
        self.endFilterChange()

    def filterAcceptsRow(self, row: int, parent: Index) -> bool:  # noqa: N802 - a name of Qt's
        line: LogEntry = self.sourceModel().index(row, 0, parent).data(Qt.ItemDataRole.UserRole)
        if LEVELS.index(line.level) < self._least or (self._run and line.run != self._run):
            return False
        told = line.text().casefold()
        return all(word in told for word in self._words)


class LogDock(QWidget):
    """Shows the log from a chosen level upwards, of all runs or of one, and searched.

    `run_requested` carries id and label of the run that a line is about; the id may be empty.
    """

    run_requested = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = LogModel(self)
        self.proxy = _Filter(self)
        self.proxy.setSourceModel(self.model)
        self.view = QTableView(self)
        self.level = ChoiceBox(self)
        self.run = ChoiceBox(self)
        self.search = QLineEdit(self)
        self._kept = 0
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addLayout(self._head())
        layout.addWidget(self.view)
        self._set_up_widgets()

    def add(self, level: str, message: str, run: str = "", run_id: str = "") -> None:
        """Append a line with the present time, and stay at the end if the view is there."""
        if LEVELS.index(level) < self._kept:
            return
        follow = self._is_at_end()
        self.model.append(LogEntry(time.strftime("%H:%M:%S"), run, level, message, run_id))
        if run and self.run.findData(run) < 0:
            self.run.addItem(run, run)
        if follow:
            self.view.scrollToBottom()

    def keep_from(self, level: str) -> None:
        """Keep no more lines below a level."""
        self._kept = LEVELS.index(level)

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        self.view.viewport().update()

    @Slot(str, str, str)
    def add_logged(self, level: str, message: str, run_id: str = "") -> None:
        """Append what Python's logging reported, under the name that its run has here."""
        known = (line.run for line in reversed(self.model.lines) if line.run_id == run_id)
        self.add(level, message, next(known, run_id) if run_id else "", run_id)

    def copy(self) -> None:
        """Copy the selected lines, or all that are shown."""
        indexes = self.view.selectionModel().selectedRows()
        places = [self.proxy.mapToSource(index).row() for index in indexes]
        if not places:
            count = self.proxy.rowCount()
            places = [self.proxy.mapToSource(self.proxy.index(i, 0)).row() for i in range(count)]
        lines = [self.model.lines[place].text() for place in places]
        QGuiApplication.clipboard().setText("\n".join(lines))

    def _head(self) -> QHBoxLayout:
        label = QLabel("&From level", self)
        label.setBuddy(self.level)
        self.level.setObjectName("log_level")
        self.level.setAccessibleName("Lowest level shown")
        self.level.addItems(LEVELS)
        self.level.setToolTip("Show lines of this level and above.")
        self.level.currentIndexChanged.connect(self._filter_level)
        self.run.setObjectName("log_run")
        self.run.setAccessibleName("Run whose lines are shown")
        self.run.setToolTip("Show the lines of one run only.")
        self.run.addItem("all runs", "")
        self.run.setMinimumContentsLength(8)
        self.run.currentIndexChanged.connect(self._filter_run)
        self.search.setObjectName("log_search")
        self.search.setAccessibleName("Search the log")
        self.search.setPlaceholderText("Search the log")
        self.search.setToolTip("Show the lines that hold all of these words.")
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(130)
        self.search.textChanged.connect(self._filter_text)
        copy = QPushButton("Copy &lines", self)
        copy.setObjectName("log_copy")
        copy.setAccessibleName("Copy lines of the log")
        copy.setToolTip("Copy the selected lines, or all that are shown.")
        copy.clicked.connect(self.copy)
        line = self._line = QHBoxLayout()
        line.addWidget(label)
        line.addWidget(self.level)
        line.addWidget(self.run)
        line.addWidget(self.search, 1)
        line.addWidget(copy)
        return line

    def add_command(self, action: QAction) -> None:
        """Put a command of the window at the right of the filters, and into the context menu."""
        button = QToolButton(self)
        button.setDefaultAction(action)
        button.setObjectName(f"log_{action.objectName()}")
        button.setAccessibleName(action.text().replace("&", ""))
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self._line.addWidget(button)
        self.view.addAction(action)

    @Slot()
    def _filter_run(self) -> None:
        self.proxy.set_run(str(self.run.currentData() or ""))
        self.view.scrollToBottom()

    @Slot(str)
    def _filter_text(self, text: str) -> None:
        self.proxy.set_text(text)
        self.view.scrollToBottom()

    @Slot(int)
    def _filter_level(self, level: int) -> None:
        self.proxy.set_least(level)
        self.view.scrollToBottom()

    def _is_at_end(self) -> bool:
        bar = self.view.verticalScrollBar()
        return bar.value() >= bar.maximum() - 1

    @Slot()
    def _jump(self) -> None:
        index = self.view.currentIndex()
        if index.isValid():
            line: LogEntry = index.siblingAtColumn(0).data(Qt.ItemDataRole.UserRole)
            if line.run:
                self.run_requested.emit(line.run_id, line.run)

    def _set_up_widgets(self) -> None:
        view = self.view
        view.setObjectName("log")
        view.setAccessibleName("Log")
        view.setModel(self.proxy)
        view.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        view.setShowGrid(False)
        view.setTabKeyNavigation(False)
        view.setWordWrap(False)
        view.verticalHeader().hide()
        view.verticalHeader().setDefaultSectionSize(view.fontMetrics().height() + 6)
        view.horizontalHeader().setStretchLastSection(True)
        view.horizontalHeader().setHighlightSections(False)
        for column, width in enumerate((70, 190, 70)):
            view.setColumnWidth(column, width)
        action = QAction("&Copy lines", view)
        action.setObjectName("action_log_copy")
        action.setStatusTip("Copy the selected lines, or all that are shown.")
        action.setToolTip(action.statusTip())
        action.setShortcut(QKeySequence.StandardKey.Copy)
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(self.copy)
        view.addAction(action)
        jump = QAction("&Show this run", view)
        jump.setObjectName("action_log_jump")
        jump.setStatusTip("Select the run that the line is about in the runs table.")
        jump.setToolTip(f"{jump.statusTip()} (Return)")
        jump.setShortcut(QKeySequence("Return"))
        jump.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        jump.triggered.connect(self._jump)
        view.doubleClicked.connect(self._jump)
        view.addAction(jump)
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)


class _Bridge(QObject):
    logged = Signal(str, str, str)


class LogHandler(logging.Handler):
    """Passes Python's log records, from any thread, to the log dock.

    What is about one run carries its id as `extra={"run": id}`.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.bridge = _Bridge()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        level = "error" if record.levelno >= logging.ERROR else "info"
        if logging.WARNING <= record.levelno < logging.ERROR:
            level = "warning"
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message = f"{message}: {record.exc_info[1]}"
        self.bridge.logged.emit(level, message, getattr(record, "run", ""))
