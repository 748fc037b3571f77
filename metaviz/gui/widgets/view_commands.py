"""Actions that work while the runs table has the focus."""

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget


def view_action(
    view: QWidget, name: str, text: str, tip: str, slot: Callable[..., object], keys: str = ""
) -> QAction:
    """Return an action of a view, with its keys in the tip."""
    action = QAction(text, view)
    action.setObjectName(f"action_runs_{name}")
    action.setStatusTip(tip)
    action.setToolTip(f"{tip} ({keys})" if keys else tip)
    if keys:
        action.setShortcut(QKeySequence(keys))
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
    action.triggered.connect(slot)
    view.addAction(action)
    return action
