"""The runs dock: a table of all runs, with what can be done to them."""

from collections.abc import Sequence

from PySide6.QtCore import QItemSelectionModel, QPoint, QSortFilterProxyModel, Qt, QUrl, Signal
from PySide6.QtGui import QAction, QDesktopServices, QKeySequence
from PySide6.QtWidgets import QHeaderView, QLabel, QMenu, QStackedLayout, QTableView, QWidget

from metaviz.gui.rows import Row
from metaviz.gui.runs_model import SORT_ROLE, RunsModel

_WIDTHS = (140, 84, 48, 80, 92, 108, 108, 68, 36, 52)


class RunsTable(QWidget):
    """Shows the model sorted; a context menu acts on the selected rows."""

    settings_wanted = Signal(object)

    def __init__(self, model: RunsModel, parent: QWidget | None = None) -> None:
        """Show a model."""
        super().__init__(parent)
        self.model = model
        self.proxy = QSortFilterProxyModel(self)
        self.proxy.setSortRole(SORT_ROLE)
        self.proxy.setSourceModel(model)
        self.view = QTableView(self)
        self._dress()
        self._actions = [
            self._action(
                "&Show or hide", "Tick or untick the selected runs.", self._toggle, "Space"
            ),
            self._action("Show &only this", "Hide all other runs.", self._only, "Return"),
            self._action("Open &folder", "Show the run's files.", self._open_folder),
            self._action("&Use these settings", "Fill the form.", self._use_settings),
            self._action("&Remove from list", "Its files stay.", self._remove, "Delete"),
        ]
        empty = QLabel("No runs yet. Tick algorithms on the left and press Run.", self)
        empty.setObjectName("runs_empty")
        empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._pages = QStackedLayout(self)
        self._pages.setContentsMargins(0, 0, 0, 0)
        self._pages.addWidget(empty)
        self._pages.addWidget(self.view)
        for signal in (model.rowsInserted, model.rowsRemoved):
            signal.connect(self._on_count)

    def selected(self) -> list[Row]:
        """Return the selected runs."""
        indexes = self.view.selectionModel().selectedRows()
        return [self.model.rows[self.proxy.mapToSource(index).row()] for index in indexes]

    def add_commands(self, commands: Sequence[QAction]) -> None:
        """Put commands of the window into the context menu."""
        self._actions[:0] = commands

    def select(self, name: str) -> None:
        """Select one run."""
        for place, row in enumerate(self.model.rows):
            if row.id == name:
                index = self.proxy.mapFromSource(self.model.index(place, 0))
                flags = QItemSelectionModel.SelectionFlag
                self.view.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)

    def _dress(self) -> None:
        view = self.view
        view.setObjectName("runs")
        view.setAccessibleName("Runs")
        view.setModel(self.proxy)
        view.setSortingEnabled(True)
        view.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        view.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        view.setAlternatingRowColors(True)
        view.setShowGrid(False)
        view.setTabKeyNavigation(False)
        view.setWordWrap(False)
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

    def _action(self, text: str, tip: str, slot: object, keys: str = "") -> QAction:
        action = QAction(text, self.view)
        action.setStatusTip(tip)
        action.setToolTip(tip)
        if keys:
            action.setShortcut(QKeySequence(keys))
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(slot)
        self.view.addAction(action)
        return action

    def _menu(self, place: QPoint) -> None:
        if not self.selected():
            return
        menu = QMenu(self)
        menu.addActions(self._actions)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.view.viewport().mapToGlobal(place))

    def _on_count(self) -> None:
        self._pages.setCurrentIndex(1 if self.model.rows else 0)

    def _toggle(self) -> None:
        rows = self.selected()
        visible = not all(row.visible for row in rows)
        self.model.show([row.id for row in rows], visible=visible)

    def _only(self) -> None:
        if rows := self.selected():
            self.model.show_only([row.id for row in rows])

    def _open_folder(self) -> None:
        for row in self.selected()[:1]:
            if row.folder is not None:
                QDesktopServices.openUrl(QUrl.fromLocalFile(str(row.folder)))

    def _use_settings(self) -> None:
        for row in self.selected()[:1]:
            self.settings_wanted.emit(row.config)

    def _remove(self) -> None:
        over = [row.id for row in self.selected() if row.summary.state not in {"running", "paused"}]
        self.model.remove(over)
