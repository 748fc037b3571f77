"""The runs dock: search and buttons above a table of all runs, and what can be done to them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QPoint, Qt, QUrl, Signal, Slot
from PySide6.QtGui import QAction, QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QMenu, QWidget

from metaviz.config.catalogue import Catalogue
from metaviz.gui.runs.column_dialog import ColumnDialog
from metaviz.gui.runs.mark_commands import MarkCommands
from metaviz.gui.runs.row import Row
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.runs.run_tree_model import RunTreeModel
from metaviz.gui.runs.run_tree_view import RunTreeView
from metaviz.gui.runs.runs_toolbar import RunsToolbar
from metaviz.gui.widgets.commands import view_action
from metaviz.gui.widgets.controls import menu_choice, popup_menu, text_label
from metaviz.gui.widgets.layouts import alternatives, column
from metaviz.runs.table.baseline import Baseline, read_baseline
from metaviz.runs.table.columns import CellContext, Columns
from metaviz.runs.table.groups import BASIC, INTERVALS, Group
from metaviz.runs.table.search import Query

_RESULTS = ("loss", "accuracy")
_NO_RUNS = "No runs yet. Tick algorithms on the left and press Run."
_NO_MATCH = "No run matches the search. Esc in the field clears it."
_NO_BRUSHED = "The brushes of the Compare page leave no run. Its “Clear brushes” shows all again."
_NO_TRASH = "The trash is empty."


class RunsDock(QWidget):
    """Shows runs searched, sorted and grouped; a context menu acts on the selected rows."""

    settings_requested = Signal(object)

    def __init__(
        self, model: RunListModel, parent: QWidget | None = None, catalogue: Catalogue | None = None
    ) -> None:
        """Show a model; the catalogue gives hyperparameters their titles."""
        super().__init__(parent)
        self.setObjectName("runs_table")
        self.model = model
        self.columns = Columns(catalogue)
        self.tree_model = RunTreeModel(model, self.columns, self)
        self.view = RunTreeView(self.tree_model, self)
        self.bar = RunsToolbar(lambda: model.rows, self._group_keys, self.columns, self)
        self.marks = MarkCommands(self, self.view)
        self.showing_trash = False
        self._brushed: set[str] | None = None
        self._actions = self._make_actions()
        self._empty = text_label("runs_empty", text=_NO_RUNS)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        box, self._pages = alternatives(self._empty, self.view, parent=self)
        column(self, self.bar, box, stretch=box, spacing=0)
        self._connect()
        self._filter()
        self._on_arranged()

    def selected(self) -> list[Row]:
        """Return the selected runs; a group stands for all of its runs."""
        return self.view.selected()

    def add_commands(self, commands: Sequence[QAction]) -> None:
        """Put commands of the window into the context menu."""
        self._actions[:0] = commands

    def select(self, name: str) -> None:
        """Select one run."""
        self.view.select(name)

    def focus_search(self) -> None:
        """Put the cursor into the search field."""
        self.bar.search.line.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.bar.search.line.selectAll()

    def restyle(self) -> None:
        """Take the current theme's colours."""
        self.bar.search.restyle()

    def state(self) -> dict[str, Any]:
        """Return columns, widths, search, grouping, interval and baseline as plain values."""
        seen = self.tree_model.context
        return {
            "columns": self.tree_model.chosen,
            "differing": self.tree_model.only_differing,
            "widths": self.view.widths,
            "search": self.bar.search.line.text(),
            "group": self.tree_model.group_keys,
            "interval": seen.interval,
            "result": seen.result,
            "baseline": seen.baseline.to_text(),
        }

    def restore(self, state: Mapping[str, Any]) -> bool:
        """Show what `state` returned; return whether it makes sense."""
        try:
            self._restore(state)
        except (ValueError, TypeError, AttributeError, KeyError):
            return False
        return True

    def _restore(self, state: Mapping[str, Any]) -> None:
        columns, group, widths = state["columns"], state["group"], state["widths"]
        for keys in (columns, group or []):
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                raise TypeError("keys are a list of texts")
        interval, result = state["interval"], state["result"]
        if interval not in INTERVALS or result not in _RESULTS:
            raise ValueError("there is no such interval or result")
        self.view.widths = {str(key): int(width) for key, width in widths.items()}
        baseline = read_baseline(str(state["baseline"]))
        self.bar.show_interval(interval)
        self.bar.show_result(result)
        self.tree_model.context = CellContext(interval, baseline, result)
        differing = bool(state["differing"])
        self.tree_model.choose(columns, only_differing=differing)
        self.bar.differing.setChecked(differing)
        self.group_by(None if group is None else tuple(group))
        self.bar.search.set_text(str(state["search"]))

    # What is shown

    @Slot(object)
    def group_by(self, keys: Sequence[str] | None) -> None:
        """Group runs by keys; None leaves out the seed only, () ungroups."""
        self.bar.show_grouping(keys)
        self.tree_model.group_by(keys)

    @Slot(str)
    def use_interval(self, interval: Any) -> None:
        """Show another interval for groups."""
        seen = self.tree_model.context
        self.bar.show_interval(interval)
        self.tree_model.look(CellContext(interval, seen.baseline, seen.result))

    @Slot(str)
    def compare(self, result: Any) -> None:
        """Compare another result with the baseline."""
        seen = self.tree_model.context
        self.bar.show_result(result)
        self.tree_model.look(CellContext(seen.interval, seen.baseline, result))

    @Slot()
    def clear_baseline(self) -> None:
        """Compare with nothing."""
        self.use_baseline(Baseline())

    def use_baseline(self, baseline: Baseline) -> None:
        """Compare everything with a run or a group."""
        seen = self.tree_model.context
        self.tree_model.look(CellContext(seen.interval, baseline, seen.result))

    @Slot(bool)
    def show_differing(self, only: bool) -> None:
        """Of all hyperparameters show those in which the listed runs differ."""
        self.tree_model.choose(self.tree_model.chosen, only_differing=only)

    @Slot(bool)
    def show_trash(self, trash: bool) -> None:
        """Show the trash, or the runs outside it."""
        self.showing_trash = trash
        self._filter()
        self._update_menu()

    @Slot(object)
    def keep_only(self, ids: set[str] | None) -> None:
        """Of what the search finds list only these runs; None lists all of it again."""
        self._brushed = ids
        self.bar.brushed.setVisible(ids is not None)
        self._filter()

    @Slot()
    def choose_columns(self) -> None:
        """Open the dialog that chooses columns."""
        known = self.columns.known(self.model.rows)
        dialog = ColumnDialog(known, self.tree_model.chosen, self)
        dialog.chosen.connect(self._on_columns)
        dialog.open()

    def _connect(self) -> None:
        bar = self.bar
        bar.search.searched.connect(self._on_searched)
        bar.columns_requested.connect(self.choose_columns)
        bar.differing_requested.connect(self.show_differing)
        bar.grouping_requested.connect(self.group_by)
        bar.interval_requested.connect(self.use_interval)
        bar.result_requested.connect(self.compare)
        bar.baseline_cleared.connect(self.clear_baseline)
        bar.trash_requested.connect(self.show_trash)
        bar.show_interval(self.tree_model.context.interval)
        bar.show_result(self.tree_model.context.result)
        bar.show_grouping(())
        self.view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.view.customContextMenuRequested.connect(self._menu)
        self.view.header_menu_requested.connect(self._header_menu)
        self.view.selectionModel().selectionChanged.connect(self._update_menu)
        self.tree_model.modelReset.connect(self._on_arranged)

    def _make_actions(self) -> list[QAction]:
        view = self.view
        self._baseline = view_action(
            view,
            "baseline",
            "Use as &baseline",
            "Show in a column how far all others are from this run or group.",
            self._use_baseline,
        )
        return [
            view_action(
                view, "show", "&Show or hide", "Tick or untick the runs.", self._toggle, "Space"
            ),
            view_action(
                view, "only", "Show &only these", "Hide all other runs.", self._only, "Return"
            ),
            self._baseline,
            *self.marks.actions,
            view_action(
                view,
                "copy",
                "&Copy as table",
                "Copy the rows and columns with tabs between, as spreadsheets read them.",
                self._copy,
                "Ctrl+C",
            ),
            view_action(view, "folder", "Show in &folder", "Show its files.", self._open_folder),
            view_action(
                view, "settings", "&Use these settings", "Fill the form.", self._use_settings
            ),
        ]

    def _group_keys(self) -> list[str]:
        own = dict.fromkeys(key for row in self.tree_model.entries() for key in row.values)
        return [*BASIC, "tags", *own]

    def _filter(self) -> None:
        query, trash, brushed = self.bar.search.query, self.showing_trash, self._brushed

        def accepts(row: Row) -> bool:
            if brushed is not None and row.id not in brushed:
                return False
            if row.marks.trashed != trash and not query.about_trash:
                return False
            return row.found_by(query)

        self.tree_model.search(accepts)

    @Slot(object)
    def _on_searched(self, _query: Query) -> None:
        self._filter()

    @Slot(object)
    def _on_columns(self, keys: list[str]) -> None:
        self.tree_model.choose(keys, only_differing=self.tree_model.only_differing)

    @Slot()
    def _on_arranged(self) -> None:
        some = self.tree_model.rowCount() > 0
        text = _NO_TRASH if self.showing_trash else _NO_RUNS
        if self.model.rows and self._brushed is not None:
            text = _NO_BRUSHED
        elif self.model.rows and self.bar.search.query.text.strip():
            text = _NO_MATCH
        self._empty.setText(text if self.model.rows else _NO_RUNS)
        self._pages.setCurrentIndex(1 if some else 0)
        self._update_menu()

    @Slot()
    def _update_menu(self) -> None:
        self.marks.update_actions(trash=self.showing_trash)

    @Slot(QPoint)
    def _menu(self, place: QPoint) -> None:
        if not self.selected():
            return
        menu = QMenu(self)
        menu.setObjectName("runs_menu")
        menu.addActions([action for action in self._actions if action.isVisible()])
        popup_menu(menu, self.view.viewport().mapToGlobal(place))

    @Slot(int, QPoint)
    def _header_menu(self, section: int, place: QPoint) -> None:
        menu = QMenu(self)
        menu.setObjectName("runs_header_menu")
        menu.addAction("&Choose columns…").triggered.connect(self.choose_columns)
        only = self.tree_model.only_differing
        differing = menu_choice(menu, "Only &differing", None, checked=only)
        differing.triggered.connect(self.bar.differing.setChecked)
        shown = self.tree_model.shown
        if 0 < section < len(shown) and shown[section].key in self.tree_model.chosen:
            hide = menu.addAction(f"&Hide “{shown[section].title}”")
            hide.triggered.connect(partial(self._hide_column, shown[section].key))
        popup_menu(menu, place)

    def _hide_column(self, key: str) -> None:
        self._on_columns([other for other in self.tree_model.chosen if other != key])

    @Slot()
    def _toggle(self) -> None:
        rows = self.selected()
        visible = not all(row.visible for row in rows)
        self.model.tick([row.id for row in rows], visible=visible)

    @Slot()
    def _only(self) -> None:
        if rows := self.selected():
            self.model.tick_only([row.id for row in rows])

    @Slot()
    def _use_baseline(self) -> None:
        item = self.tree_model.item(self.view.currentIndex())
        if isinstance(item, Group):
            self.use_baseline(Baseline(keys=item.keys, values=item.values))
        elif isinstance(item, Row):
            self.use_baseline(Baseline(item.id))

    @Slot()
    def _copy(self) -> None:
        rows = self.view.selectionModel().selectedRows()
        QGuiApplication.clipboard().setText(self.tree_model.tab_separated(rows))

    @Slot()
    def _open_folder(self) -> None:
        for row in self.selected()[:1]:
            if row.folder is not None:
                QDesktopServices.openUrl(QUrl.fromLocalFile(str(row.folder)))

    @Slot()
    def _use_settings(self) -> None:
        for row in self.selected()[:1]:
            self.settings_requested.emit(row.config)
