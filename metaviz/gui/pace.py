"""When to redraw: twenty times a second, less often where drawing is slow."""

import time

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot

PERIOD_MS = 50
_PAINTING_MS = 10
_REST = 2.0


class Pace(QObject):
    """Ticks while it runs.

    A tick waits until the last redraw is on screen, and then twice as long as that took, so that
    drawing never takes more than a third of the window's time.
    """

    tick = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._running = False
        self._began = 0.0
        self._next = QTimer(self)
        self._next.setSingleShot(True)
        self._next.timeout.connect(self._on_next)
        self._painted = QTimer(self)
        self._painted.setSingleShot(True)
        self._painted.setTimerType(Qt.TimerType.PreciseTimer)
        self._painted.timeout.connect(self._on_painted)

    @property
    def running(self) -> bool:
        """Whether it ticks."""
        return self._running

    def start(self) -> None:
        """Begin to tick."""
        if not self._running:
            self._running = True
            self._next.start(0)

    def stop(self) -> None:
        """Tick no more."""
        self._running = False
        self._next.stop()
        self._painted.stop()

    @Slot()
    def _on_next(self) -> None:
        self._began = time.perf_counter()
        self.tick.emit()
        # The paint event comes before this timer does.
        self._painted.start(_PAINTING_MS)

    @Slot()
    def _on_painted(self) -> None:
        if not self._running:
            return
        taken = (time.perf_counter() - self._began) * 1000
        drawing = max(0.0, taken - _PAINTING_MS)
        self._next.start(round(max(PERIOD_MS - taken, _REST * drawing)))
