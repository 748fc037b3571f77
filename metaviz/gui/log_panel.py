"""The log dock: what runs and the program had to say."""

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
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QTableView, QVBoxLayout, QWidget

from metaviz.gui.editors import ChoiceBox
from metaviz.gui.theme import current_theme

LEVELS = ("info", "warning", "error")
_CAPACITY = 5000
_TITLES = ("Time", "Run", "Level", "Message")
_NOWHERE = QModelIndex()
Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True)
class Line:
    """One line of the log."""

    time: str
    run: str
    level: str
    message: str

    def text(self) -> str:
        """Return the line as it is copied."""
        return f"{self.time}\t{self.level}\t{self.run}\t{self.message}"


class LogModel(QAbstractTableModel):
    """The newest lines, oldest first."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.lines: deque[Line] = deque()

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
            return LEVELS.index(line.level)
        if role == Qt.ItemDataRole.ForegroundRole and line.level != "info":
            theme = current_theme()
            return QColor(theme.error if line.level == "error" else theme.warning)
        return None

    def append(self, line: Line) -> None:
        """Add a line; the oldest goes when there are too many."""
        if len(self.lines) >= _CAPACITY:
            self.beginRemoveRows(QModelIndex(), 0, 0)
            self.lines.popleft()
            self.endRemoveRows()
        place = len(self.lines)
        self.beginInsertRows(QModelIndex(), place, place)
        self.lines.append(line)
        self.endInsertRows()


class _LevelFilter(QSortFilterProxyModel):
    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._least = 0

    def set_least(self, level: int) -> None:
        self.beginFilterChange()
        self._least = level
        self.endFilterChange()

    def filterAcceptsRow(self, row: int, parent: Index) -> bool:  # noqa: N802 - a name of Qt's
        index = self.sourceModel().index(row, 0, parent)
        return int(index.data(Qt.ItemDataRole.UserRole)) >= self._least


class LogPanel(QWidget):
    """Shows the log from a chosen level upwards."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = LogModel(self)
        self.proxy = _LevelFilter(self)
        self.proxy.setSourceModel(self.model)
        self.view = QTableView(self)
        self.level = ChoiceBox(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addLayout(self._head())
        layout.addWidget(self.view)
        self._dress()

    def add(self, level: str, message: str, run: str = "") -> None:
        """Append a line with the present time, and stay at the end if the view is there."""
        bar = self.view.verticalScrollBar()
        follow = bar.value() >= bar.maximum() - 1
        self.model.append(Line(time.strftime("%H:%M:%S"), run, level, message))
        if follow:
            self.view.scrollToBottom()

    @Slot(str, str)
    def add_logged(self, level: str, message: str) -> None:
        """Append what Python's logging reported."""
        self.add(level, message)

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
        label = QLabel("Show &from level", self)
        label.setBuddy(self.level)
        self.level.setObjectName("log_level")
        self.level.setAccessibleName("Lowest level shown")
        self.level.addItems(LEVELS)
        self.level.currentIndexChanged.connect(self.proxy.set_least)
        copy = QPushButton("Copy &lines", self)
        copy.setObjectName("log_copy")
        copy.setAccessibleName("Copy lines of the log")
        copy.setToolTip("Copy the selected lines, or all that are shown.")
        copy.clicked.connect(self.copy)
        line = QHBoxLayout()
        line.addWidget(label)
        line.addWidget(self.level)
        line.addStretch(1)
        line.addWidget(copy)
        return line

    def _dress(self) -> None:
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
        action.setShortcut(QKeySequence.StandardKey.Copy)
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(self.copy)
        view.addAction(action)
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)


class _Bridge(QObject):
    logged = Signal(str, str)


class LogHandler(logging.Handler):
    """Hands Python's log records, from any thread, to the log dock."""

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
        self.bridge.logged.emit(level, message)
