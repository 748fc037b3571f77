"""When to redraw: twenty times a second, less often where drawing is slow, and in small pieces."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from PySide6.QtCore import QObject, Qt, QTimer, Signal, Slot

Piece = Callable[[], object]

PERIOD_MS = 50
PIECE_MS = 20
_PAINTING_MS = 10
_REST = 2.0


class RedrawTimer(QObject):
    """Ticks while it runs.

    A slot of `tick` may `schedule` what is to be drawn: a piece is done at once, the others each in
    a turn of their own, before the next tick. A turn waits until the last one is on screen, and
    then twice as long as that took, so that drawing takes at most a third of the window's time.
    """

    tick = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._running = False
        self._began = 0.0
        self._pieces: deque[Piece] = deque()
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
        """Stop ticking; pieces that are left are dropped."""
        self._running = False
        self._pieces.clear()
        self._next.stop()
        self._painted.stop()

    def schedule(self, pieces: Sequence[Piece]) -> None:
        """Do these in turns of their own, the first one now where this is called in a tick."""
        self._pieces.extend(pieces)

    @Slot()
    def _on_next(self) -> None:
        self._began = time.perf_counter()
        # The paint event comes before this timer does.
        self._painted.start(_PAINTING_MS)
        if not self._pieces:
            self.tick.emit()
        if self._pieces:
            self._pieces.popleft()()
            self._painted.start(_PAINTING_MS)

    @Slot()
    def _on_painted(self) -> None:
        if not self._running:
            return
        taken = (time.perf_counter() - self._began) * 1000
        drawing = max(0.0, taken - _PAINTING_MS)
        pause = PIECE_MS if self._pieces else PERIOD_MS
        self._next.start(round(max(pause - taken, _REST * drawing)))
