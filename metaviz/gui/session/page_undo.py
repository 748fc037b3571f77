"""Undo of what a person sets in the tabs' toolbars. Changes by the program are not undone."""

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import QCheckBox, QComboBox, QWidget

from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.session.page_state import controls
from metaviz.gui.widgets.controls import Control, Value, read_control, show_control
from metaviz.gui.widgets.undo import UndoCommand


class PageUndo(QObject):
    """Watches the controls of every page."""

    def __init__(self, tabs: Tabs, stack: QUndoStack) -> None:
        """Watch each page from when it is made."""
        super().__init__(tabs)
        self._stack = stack
        tabs.made.connect(self.watch)

    @Slot(object)
    def watch(self, page: QWidget) -> None:
        """Put on the stack what a person sets on a page."""
        for control in controls(page):
            _ControlUndo(control, self._stack, self)


class _ControlUndo(QObject):
    """One control. Signals, keys and the mouse show whether a person or the program set it."""

    def __init__(self, control: Control, stack: QUndoStack, parent: QObject) -> None:
        super().__init__(parent)
        self._control, self._stack = control, stack
        self._before = self._now = read_control(control)
        self._touched = self._showing = False
        if isinstance(control, QComboBox):
            control.currentIndexChanged.connect(self._note)
            control.activated.connect(self._push)
        elif isinstance(control, QCheckBox):
            control.toggled.connect(self._note)
            control.clicked.connect(self._push)
        else:
            if hasattr(control, "actionTriggered"):
                control.actionTriggered.connect(self._touch)
            control.valueChanged.connect(self._on_value)

    @Slot()
    def _note(self) -> None:
        self._before, self._now = self._now, read_control(self._control)

    @Slot()
    def _touch(self) -> None:
        self._touched = True

    @Slot()
    def _on_value(self) -> None:
        self._note()
        if not self._showing and (self._touched or self._control.hasFocus()):
            self._push()
        self._touched = False

    @Slot()
    def _push(self) -> None:
        before, after = self._before, self._now
        if before == after:
            return
        self._before = after
        name = self._control.accessibleName() or self._control.objectName()
        key = "" if isinstance(self._control, QComboBox | QCheckBox) else f"view {id(self)}"
        text = f"{name[0].lower()}{name[1:]}" if name[1:2].islower() else name
        self._stack.push(UndoCommand(f"view: {text}", (before, after), self._show, key))

    def _show(self, value: Value) -> None:
        self._showing = True
        show_control(self._control, value)
        self._showing = False
