"""Keys of the window that text fields would take for themselves."""

from collections.abc import Iterable

from PySide6.QtCore import QEvent, QObject, Slot
from PySide6.QtGui import QAction, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QApplication, QWidget


class WindowKeys(QObject):
    """Lets some commands keep their keys while a text field has the cursor.

    On Linux a text field takes Ctrl+E for "end of line", which End does as well.
    """

    def __init__(self, commands: Iterable[QAction], window: QWidget) -> None:
        """Watch whichever widget of the window has the keyboard."""
        super().__init__(window)
        self._window, self._commands = window, list(commands)
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._on_focus)

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Leave a key of these commands to the window."""
        if event.type() != QEvent.Type.ShortcutOverride or not isinstance(event, QKeyEvent):
            return False
        pressed = QKeySequence(event.keyCombination())
        if any(pressed in command.shortcuts() for command in self._commands):
            event.ignore()
            return True
        return False

    @Slot(QWidget, QWidget)
    def _on_focus(self, old: QWidget | None, new: QWidget | None) -> None:
        if old is not None:
            old.removeEventFilter(self)
        if new is not None and new.window() is self._window:
            new.installEventFilter(self)
