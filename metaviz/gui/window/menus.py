"""The menu bar, out of the window's actions."""

from collections.abc import Sequence

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMainWindow, QMenu

from metaviz.gui.widgets.commands import Actions

_SEPARATOR = "-"
_FILE = (
    "open_runs",
    "import_run",
    "pack_run",
    "save_weights",
    _SEPARATOR,
    "open_configuration",
    "save_configuration",
    "reset_form",
    "look",
    _SEPARATOR,
    "export",
    "copy_plot",
    _SEPARATOR,
    "quit",
)
_EDIT = ("undo", "redo", _SEPARATOR, "find", "palette", _SEPARATOR, "preferences")
_RUN = (
    "run",
    "pause",
    "step",
    _SEPARATOR,
    "stop",
    "abort",
    _SEPARATOR,
    "resume",
    "mend",
    "repeat",
    "fine_tune",
)
_QUEUE = (
    "queue",
    "sweep",
    _SEPARATOR,
    "queue_pause",
    _SEPARATOR,
    "queue_next",
    "queue_up",
    "queue_down",
    "queue_resume",
    "queue_retry",
    "queue_remove",
    _SEPARATOR,
    "queue_clear",
)
_HELP = ("welcome", "shortcuts", _SEPARATOR, "copy_diagnostics", "open_log", _SEPARATOR, "about")


def build_menus(
    window: QMainWindow, actions: Actions, docks: list[QAction], menus: Sequence[QMenu]
) -> None:
    """Fill the menu bar; `menus` go into View."""
    _fill(_menu(window, "&File"), _FILE, actions)
    _fill(_menu(window, "&Edit"), _EDIT, actions)
    _fill(_menu(window, "&Run"), _RUN, actions)
    _fill(_menu(window, "&Queue"), _QUEUE, actions)
    view = _menu(window, "&View")
    view.addActions(docks)
    view.addSeparator()
    for menu in menus:
        view.addMenu(menu)
    _fill(view, ("full_screen", _SEPARATOR, "reset_layout"), actions)
    _fill(_menu(window, "&Help"), _HELP, actions)


def _menu(window: QMainWindow, title: str) -> QMenu:
    menu = window.menuBar().addMenu(title)
    menu.setObjectName(f"menu_{title.strip('&').lower()}")
    menu.setToolTipsVisible(True)
    return menu


def _fill(menu: QMenu, names: tuple[str, ...], actions: Actions) -> None:
    for name in names:
        if name == _SEPARATOR:
            menu.addSeparator()
        else:
            menu.addAction(actions[name])
