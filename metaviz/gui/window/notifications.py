"""Desktop messages on ends of runs while another window is in front; seldom, and summed up."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from PySide6.QtCore import QObject, QTimer, Signal, Slot
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget

EVERY_SECONDS = 5.0
_TOGETHER_MS = 300
"""Runs that end within this time are reported together."""
_ORDER = ("done", "diverged", "failed", "interrupted", "stopped", "aborted")


class Tray(Protocol):
    """What shows a message beside the clock."""

    def showMessage(self, title: str, message: str, /) -> object:  # noqa: N802 - a name of Qt's
        """Show a message."""


class DesktopNotifier(QObject):
    """Collects ends of runs. `shown` carries every sentence that was shown."""

    shown = Signal(str)

    def __init__(
        self, window: QWidget, is_active: Callable[[], bool], tray: Tray | None = None
    ) -> None:
        """Notify for a window; without a tray one is looked for when it is first needed."""
        super().__init__(window)
        self._window, self._is_active, self._tray = window, is_active, tray
        self.is_on = True
        self._ended: Counter[str] = Counter()
        self._queue_over = False
        self._last = -EVERY_SECONDS
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._show)

    def set_on(self, on: bool) -> None:
        """Show messages, or none."""
        self.is_on = on

    @Slot(str, str, str)
    def on_run_ended(self, _name: str, state: str, _message: str) -> None:
        """Count a run of this window that ended."""
        self._add(state)

    @Slot(object)
    def on_queue_event(self, event: dict[str, Any]) -> None:
        """Count a run of the queue that ended."""
        if event.get("event") == "ended":
            self._add(str(event.get("state")))

    @Slot()
    def on_queue_emptied(self) -> None:
        """Note that nothing waits in the queue any more."""
        self._queue_over = True
        self._wait()

    def _add(self, state: str) -> None:
        self._ended[state] += 1
        self._wait()

    def _wait(self) -> None:
        if not self.is_on or self._is_active():
            self._ended.clear()
            self._queue_over = False
        elif not self._timer.isActive():
            left = max(0.0, self._last + EVERY_SECONDS - time.monotonic())
            self._timer.start(max(_TOGETHER_MS, round(1000 * left)))

    @Slot()
    def _show(self) -> None:
        sentence = summary_text(self._ended, queue_over=self._queue_over)
        self._ended.clear()
        self._queue_over = False
        if not self.is_on or self._is_active() or not sentence:
            return
        self._last = time.monotonic()
        QApplication.alert(self._window)
        if self._tray is None and QSystemTrayIcon.isSystemTrayAvailable():
            icon = QSystemTrayIcon(self._window.windowIcon(), self)
            icon.setToolTip("MetaViz")
            icon.activated.connect(self._window.activateWindow)
            icon.show()
            self._tray = icon
        if self._tray is not None:
            self._tray.showMessage("MetaViz", sentence)
        self.shown.emit(sentence)


def summary_text(ended: Counter[str], *, queue_over: bool = False) -> str:
    """Say how many runs ended how, like `3 runs done, 1 diverged`."""
    states = sorted(
        ended, key=lambda state: (_ORDER.index(state) if state in _ORDER else len(_ORDER), state)
    )
    parts = [f"{ended[state]} {state}" for state in states]
    if parts:
        first = states[0]
        noun = "run" if ended[first] == 1 else "runs"
        parts[0] = f"{ended[first]} {noun} {first}"
    sentence = ", ".join(parts)
    if queue_over:
        return f"{sentence}; the queue is empty" if sentence else "The queue is empty"
    return sentence
