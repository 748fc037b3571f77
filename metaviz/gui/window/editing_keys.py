"""Keys of the window that text fields would take for themselves."""

from collections.abc import Iterable

from PySide6.QtCore import QEvent, QObject, Qt, Slot
from PySide6.QtGui import QAction, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QApplication, QComboBox, QWidget


class WindowKeys(QObject):
    """Decides between the window's commands and the widget with the cursor, where both want a key.

    On Linux a text field takes Ctrl+E for "end of line", which End does as well. A list of choices
    finds its entries by their first letters, digits among them.
    """

    def __init__(self, commands: Iterable[QAction], window: QWidget) -> None:
        """Watch whichever widget of the window has the keyboard."""
        super().__init__(window)
        self._window, self._commands = window, list(commands)
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._on_focus)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave a key of these commands to the window."""
        if event.type() != QEvent.Type.ShortcutOverride or not isinstance(event, QKeyEvent):
            return False
        pressed = QKeySequence(event.keyCombination())
        if any(pressed in command.shortcuts() for command in self._commands):
            event.ignore()
            return True
        if isinstance(watched, QComboBox) and _types(event):
            event.accept()
            return True
        return False

    @Slot(QWidget, QWidget)
    def _on_focus(self, old: QWidget | None, new: QWidget | None) -> None:
        if old is not None:
            old.removeEventFilter(self)
        if new is not None and new.window() is self._window:
            new.installEventFilter(self)


def _types(event: QKeyEvent) -> bool:
    """Tell whether a key writes a letter or digit."""
    keypad = Qt.KeyboardModifier.KeypadModifier
    return event.text().isalnum() and event.modifiers() & ~keypad == Qt.KeyboardModifier(0)
