"""The menu bar, out of the window's actions."""

from collections.abc import Sequence

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMainWindow, QMenu

from metaviz.gui.pages.page_registry import GROUPS
from metaviz.gui.widgets.commands import Actions

_FILE = (
    ("open_runs", "import_run", "pack_run", "save_weights"),
    ("open_configuration", "save_configuration", "reset_form", "look"),
    ("export", "copy_plot"),
    ("quit",),
)
_EDIT = ("undo", "redo", "reset_field"), ("find", "palette"), ("preferences",)
_RUN = ("run", "pause", "step"), ("stop", "abort"), ("resume", "mend", "repeat", "fine_tune")
_QUEUE = (
    ("queue", "sweep"),
    ("queue_pause",),
    ("queue_next", "queue_up", "queue_down", "queue_resume", "queue_retry", "queue_remove"),
    ("queue_clear",),
)
_GROUPS = (tuple(f"group_{group}" for group in GROUPS),)
_VIEW = ("full_screen",), ("runs_below", "reset_layout")
_HELP = (
    ("guide", "help", "welcome", "tour", "shortcuts"),
    ("copy_diagnostics", "open_log"),
    ("about",),
)


def build_menus(
    window: QMainWindow, actions: Actions, docks: list[QAction], menus: Sequence[QMenu]
) -> None:
    """Fill the menu bar; `menus` go into View."""
    _fill(_menu(window, "&File"), _FILE, actions)
    _fill(_menu(window, "&Edit"), _EDIT, actions)
    _fill(_menu(window, "&Run"), _RUN, actions)
    _fill(_menu(window, "&Queue"), _QUEUE, actions)
    view = _menu(window, "&View")
    groups = view.addMenu("&Plots")
    groups.setObjectName("menu_plots")
    groups.setToolTipsVisible(True)
    _fill(groups, _GROUPS, actions)
    view.addSeparator()
    view.addActions(docks)
    view.addSeparator()
    for menu in menus:
        view.addMenu(menu)
    _fill(view, _VIEW, actions)
    _fill(_menu(window, "&Help"), _HELP, actions)


def _menu(window: QMainWindow, title: str) -> QMenu:
    menu = window.menuBar().addMenu(title)
    menu.setObjectName(f"menu_{title.strip('&').lower()}")
    menu.setToolTipsVisible(True)
    return menu


def _fill(menu: QMenu, groups: Sequence[Sequence[str]], actions: Actions) -> None:
    """Add groups of commands with a line between them."""
    for place, names in enumerate(groups):
        if place:
            menu.addSeparator()
        menu.addActions([actions[name] for name in names])
