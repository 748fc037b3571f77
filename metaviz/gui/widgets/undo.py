"""The one command of the undo stack: a change from one state to another."""

import time
from collections.abc import Callable
from typing import Any

from PySide6.QtGui import QUndoCommand

CLOSE_SECONDS = 1.5
"""Changes with the same key that follow each other within this time are one."""


class UndoCommand(QUndoCommand):
    """A change that has happened already; those with the same key that follow closely merge.

    An empty key never merges.
    """

    def __init__(
        self, text: str, states: tuple[Any, Any], show: Callable[[Any], object], key: str = ""
    ) -> None:
        """Take the states before and after, and what shows a state."""
        super().__init__(text)
        self.key, self.when = key, time.monotonic()
        self.before, self.after = states
        self._show = show
        self._is_done = True

    def id(self) -> int:
        """Return an id by which commands with the same key are merged."""
        return hash(self.key) & 0x7FFF_FFFF if self.key else -1

    def mergeWith(self, other: QUndoCommand) -> bool:  # noqa: N802 - a name of Qt's
        """Take over a following change; one that leads back to the start is no change."""
        if not isinstance(other, UndoCommand) or other.key != self.key:
            return False
        if other.when - self.when > CLOSE_SECONDS:
            return False
        self.after, self.when = other.after, other.when
        self.setText(other.text())
        self.setObsolete(self.before == self.after)
        return True

    def redo(self) -> None:
        """Make the change again; not when it is pushed."""
        if self._is_done:
            self._is_done = False
        else:
            self._show(self.after)

    def undo(self) -> None:
        """Take the change back."""
        self._show(self.before)
