"""Garbage collection on the window's thread alone.

Python collects wherever an object is made. On a worker's thread that would take widgets apart while
the window's thread holds Qt's locks and waits for Python's: both would wait for ever.
"""

import gc
import sys
import time

from PySide6.QtCore import QObject, QTimer, Slot

_EVERY_MS = 100
_MANY_MODULES = 20
_LONG_SECONDS = 0.01


class GarbageCollector(QObject):
    """Collects in the thread of its parent while it lives, in the steps that Python would take.

    What is there for good is frozen: it would be searched again and again, a tenth of a second each
    time once torch is loaded. That is what modules bring, and what outlives a long search.
    """

    def __init__(self, parent: QObject) -> None:
        """Take collection over from Python."""
        super().__init__(parent)
        self._thresholds = gc.get_threshold()
        self._modules = len(sys.modules)
        gc.disable()
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self.collect)
        self._timer.start()

    @Slot()
    def collect(self) -> None:
        """Collect the oldest generation that has grown beyond its threshold."""
        modules = len(sys.modules)
        if modules - self._modules > _MANY_MODULES:
            self._modules = modules
            gc.freeze()
            return
        counts = gc.get_count()
        for generation in (2, 1, 0):
            if counts[generation] > self._thresholds[generation]:
                began = time.thread_time()
                gc.collect(generation)
                if time.thread_time() - began > _LONG_SECONDS:
                    gc.freeze()
                return

    def stop(self) -> None:
        """Give collection back."""
        self._timer.stop()
        gc.enable()
