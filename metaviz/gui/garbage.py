"""Garbage collection on the window's thread alone.

Python collects wherever an object is made. On a worker's thread that would take widgets apart while
the window's thread holds Qt's locks and waits for Python's: both would wait for ever.
"""

import gc

from PySide6.QtCore import QObject, QTimer, Slot

_EVERY_MS = 250


class Garbage(QObject):
    """Collects in the thread of its parent while it lives, in the steps that Python would take."""

    def __init__(self, parent: QObject) -> None:
        """Take collection over from Python."""
        super().__init__(parent)
        self._thresholds = gc.get_threshold()
        gc.disable()
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self.look)
        self._timer.start()

    @Slot()
    def look(self) -> None:
        """Collect the oldest generation that has grown beyond its threshold."""
        counts = gc.get_count()
        for generation in (2, 1, 0):
            if counts[generation] > self._thresholds[generation]:
                gc.collect(generation)
                return

    def spare(self) -> None:
        """Look no more at what is there now: modules that were loaded for good."""
        gc.collect()
        gc.freeze()

    def stop(self) -> None:
        """Give collection back."""
        self._timer.stop()
        gc.enable()
