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
from PySide6.QtGui import QAction, QColor, QGuiApplication
from PySide6.QtWidgets import QTableView, QWidget

from metaviz.files.text import printable
from metaviz.gui.widgets.commands import view_action
from metaviz.gui.widgets.controls import command_button, named, push_button, search_line
from metaviz.gui.widgets.editors import ChoiceBox
from metaviz.gui.widgets.layouts import column, flow
from metaviz.gui.widgets.plain_table import set_up_table
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.widgets.theme import current_theme

LEVELS = ("info", "warning", "error")
_CAPACITY = 5000
_TITLES = ("Time", "Run", "Level", "Message")
_COPY_TIP = "Copy the selected lines, or all that are shown."
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
            text = (line.time, line.run, line.level, line.message)[index.column()]
            return plain_tip(text) if role == Qt.ItemDataRole.ToolTipRole else printable(text)
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

    def accept_only(self, least: int, run: str, text: str) -> None:
        """Accept lines from a level on, of one run or of all, that hold every word of a text."""
        self.beginFilterChange()
        self._least, self._run, self._words = least, run, text.casefold().split()
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
        self._kept = 0
        self._make_head()
        column(self, self._head, self.view, margins=(6, 4, 6, 4))
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

    def _make_head(self) -> None:
        tip = "Show lines of this level and above."
        self.level = named(ChoiceBox(self), "log_level", "Lowest level shown", tip)
        self.level.addItems(LEVELS)
        self.level.currentIndexChanged.connect(self._filter)
        tip = "Show the lines of one run only."
        self.run = named(ChoiceBox(self), "log_run", "Run whose lines are shown", tip)
        self.run.addItem("all runs", "")
        self.run.setMinimumContentsLength(8)
        self.run.currentIndexChanged.connect(self._filter)
        tip = "Show the lines that hold all of these words."
        self.search = search_line("log_search", "Search the log", "Search the log", tip)
        self.search.setMinimumWidth(130)
        self.search.textChanged.connect(self._filter)
        copy = push_button("log_copy", "Copy lines", _COPY_TIP, "Copy lines of the log")
        copy.clicked.connect(self.copy)
        self._head = flow(("From level", self.level), self.run, self.search, copy, spacing=6)

    def add_command(self, action: QAction) -> None:
        """Put a command of the window at the right of the filters, and into the context menu."""
        self._head.addWidget(command_button(f"log_{action.objectName()}", action, icon=False))
        self.view.addAction(action)

    @Slot()
    def _filter(self) -> None:
        run = str(self.run.currentData() or "")
        self.proxy.accept_only(self.level.currentIndex(), run, self.search.text())
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
        set_up_table(named(view, "log", "Log"), self.proxy, (70, 190, 70))
        view_action(view, "copy", "&Copy lines", _COPY_TIP, self.copy, "Ctrl+C")
        view_action(
            view,
            "jump",
            "&Show this run",
            "Select the run that the line is about in the runs table.",
            self._jump,
            "Return",
        )
        view.doubleClicked.connect(self._jump)
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
