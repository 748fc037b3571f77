"""The menu of saved views: what is compared, searched, grouped and shown, by name."""

from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtWidgets import QFileDialog, QInputDialog, QMenu, QWidget

from metaviz.gui.pages.page import PlotPage
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.runs.runs_dock import RunsDock
from metaviz.gui.widgets.controls import menu_choice
from metaviz.gui.widgets.message_boxes import input_dialog
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.runs.storage.saved_views import (
    SavedView,
    delete_view,
    export_view,
    read_view,
    read_views,
    rename_view,
    saved_view,
    write_view,
)
from metaviz.runs.storage.store import StoreError

_FILES = "Saved views (*.toml);;All files (*)"


class SavedViews(QObject):
    """Keeps views in a folder, and brings them back."""

    def __init__(
        self, tabs: Tabs, table: RunsDock, folder: Path, notifier: Notifier, window: QWidget
    ) -> None:
        """Act on the Compare page and the runs table."""
        super().__init__(window)
        self._tabs, self._table, self._folder = tabs, table, folder
        self._notifier, self._window = notifier, window
        self.current = ""
        self.menu = QMenu("Saved &views", window)
        self.menu.setObjectName("views_menu")
        self.menu.setToolTipsVisible(True)
        self.menu.aboutToShow.connect(self.fill)
        tabs.made.connect(self._on_page_made)

    @Slot()
    def fill(self) -> None:
        """List the views that there are, and what can be done with them."""
        self.menu.clear()
        views, broken = read_views(self._folder)
        ready = self._tabs.ready
        self._add("save_view", "&Save as…", "Keep this choice under a name.", self.ask_name, ready)
        known = self.current in views
        what = f"“{self.current}”" if known else "view"
        self._add("update_view", f"&Update {what}", "Keep it as it is now.", self.update, known)
        self._add("rename_view", f"&Rename {what}…", "Name it anew.", self.ask_new_name, known)
        self._add("delete_view", f"&Delete {what}", "Delete it for good.", self.delete, known)
        self.menu.addSeparator()
        for name in views:
            text = name.replace("&", "&&")
            action = menu_choice(self.menu, text, name, checked=name == self.current)
            action.setToolTip(plain_tip(f"{len(views[name].shown)} runs"))
            action.triggered.connect(partial(self.open, name))
        self.menu.addSeparator()
        self._add("import_view", "&Import…", "Take a view from a file.", self.ask_import, ready)
        self._add("export_view", "&Export…", "Write it to a file.", self.ask_export, known)
        if broken:
            self._notifier.fail(broken[0], "\n".join(broken[1:]))

    def save(self, name: str) -> None:
        """Keep what is chosen now under a name; a view of that name is replaced."""
        try:
            view = self._now(name)
            write_view(self._folder, view)
        except StoreError as error:
            self._notifier.fail(str(error))
            return
        self.current = view.name
        self._notifier.inform(f"Saved the view “{view.name}”")

    def open(self, name: str) -> None:
        """Bring a view back."""
        views, _ = read_views(self._folder)
        if name in views:
            self._show(views[name])
        else:
            self._notifier.fail(f"There is no view “{name}” any more.")

    def import_view(self, path: Path) -> None:
        """Take a view from a file: it is kept, and shown."""
        try:
            view = read_view(path)
            write_view(self._folder, view)
        except StoreError as error:
            self._notifier.fail(str(error), str(path))
            return
        self._show(view)

    def export(self, path: Path) -> None:
        """Write the current view to a file."""
        views, _ = read_views(self._folder)
        try:
            if self.current in views:
                export_view(views[self.current], path)
                self._notifier.inform(f"Wrote the view to {path}")
        except StoreError as error:
            self._notifier.fail(str(error))

    def rename(self, name: str) -> None:
        """Give the current view another name."""
        try:
            self.current = rename_view(self._folder, self.current, name).name
        except StoreError as error:
            self._notifier.fail(str(error))

    @Slot()
    def update(self) -> None:
        """Keep what is chosen now under the current name."""
        if self.current:
            self.save(self.current)

    @Slot()
    def delete(self) -> None:
        """Delete the current view."""
        try:
            delete_view(self._folder, self.current)
        except StoreError as error:
            self._notifier.fail(str(error))
            return
        self._notifier.inform(f"Deleted the view “{self.current}”")
        self.current = ""

    @Slot()
    def ask_name(self) -> None:
        """Ask for a name, and save."""
        self._ask("Save view", "Name of the view:", "").textValueSelected.connect(self.save)

    @Slot()
    def ask_new_name(self) -> None:
        """Ask for another name."""
        box = self._ask("Rename view", "New name of the view:", self.current)
        box.textValueSelected.connect(self.rename)

    @Slot()
    def ask_import(self) -> None:
        """Ask for a file."""
        chosen, _ = QFileDialog.getOpenFileName(
            self._window, "Import view", str(Path.home()), _FILES
        )
        if chosen:
            self.import_view(Path(chosen))

    @Slot()
    def ask_export(self) -> None:
        """Ask for a place."""
        chosen, _ = QFileDialog.getSaveFileName(
            self._window, "Export view", str(Path.home() / "view.toml"), _FILES
        )
        if chosen:
            self.export(Path(chosen))

    @Slot(object)
    def _on_page_made(self, page: PlotPage) -> None:
        """Offer the views on the Compare page, too."""
        if page.export_name == "comparison":
            self._tabs.compare.offer_views(self.menu)

    def _now(self, name: str) -> SavedView:
        shown = [row.id for row in self._table.model.rows if row.visible]
        return saved_view(name, self._tabs.compare.state(), self._table.state(), shown)

    def _show(self, view: SavedView) -> None:
        """Show a view; what does not fit any more is ignored."""
        self._tabs.compare.restore(view.compare)
        table = dict(view.table)
        if table.get("group") == "":  # TOML holds no None: all keys but the seed
            table["group"] = None
        if not self._table.restore(table):
            self._notifier.inform(f"The view “{view.name}” says nothing of the table")
        known = [name for name in view.shown if self._table.model.find(name) is not None]
        self._table.model.show_only(known)
        self._tabs.open_page("comparison")
        self.current = view.name
        gone = len(view.shown) - len(known)
        missing = f"; {gone} of its runs are not in the table" if gone else ""
        self._notifier.inform(f"Opened the view “{view.name}”{missing}")

    def _add(self, name: str, text: str, tip: str, slot: object, enabled: bool) -> None:
        action = self.menu.addAction(text)
        action.setObjectName(f"action_{name}")
        action.setToolTip(plain_tip(tip))
        action.setStatusTip(tip)
        action.setEnabled(enabled)
        action.triggered.connect(slot)

    def _ask(self, title: str, text: str, value: str) -> QInputDialog:
        box = input_dialog(self._window, "view_name_question", title, text)
        box.setTextValue(value)
        QTimer.singleShot(0, box.open)
        return box
