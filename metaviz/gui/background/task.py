"""Work on other threads: one call at a time, or a worker object with a thread of its own."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from PySide6.QtCore import QObject, QThread, QThreadPool, Signal, SignalInstance, Slot

_log = logging.getLogger("metaviz.background")


class Task(QObject):
    """A call on another thread. Its signals reach bound slots on the thread that made it.

    `finished` carries what the call returned, `failed` one sentence, `progressed` a line from a
    call that reports how far it is. The task deletes itself afterwards.
    """

    finished = Signal(object)
    failed = Signal(str)
    progressed = Signal(str)

    def __init__(
        self,
        call: Callable[..., object],
        finished: Callable[..., object],
        failed: Callable[[str], object],
        parent: QObject,
        ended: Callable[[], object] | None = None,
    ) -> None:
        """Take a call, and the slots for its result and its failure; `ended` comes before both."""
        super().__init__(parent)
        self._call = call
        if ended is not None:
            self.finished.connect(ended)
            self.failed.connect(ended)
        self.finished.connect(finished)
        self.failed.connect(failed)
        for signal in (self.finished, self.failed):
            signal.connect(self.deleteLater)

    def start(self) -> None:
        """Run in the thread pool."""
        QThreadPool.globalInstance().start(self.run)

    def run(self, *arguments: object) -> None:
        """Run on the calling thread; an unexpected exception is logged, too."""
        try:
            answer = self._call(*arguments)
        except Exception as error:  # noqa: BLE001 - the one door of what runs beside the window
            if not isinstance(error, OSError | ValueError):
                _log.exception("A background task failed")
            self.send(self.failed, sentence_of(error))
        else:
            self.send(self.finished, answer)

    def send(self, signal: SignalInstance, value: object) -> None:
        """Emit, unless the window that asked has been deleted meanwhile."""
        with suppress(RuntimeError):
            signal.emit(value)


class WorkerThread(QThread):
    """A thread on which the methods of a worker object are called, one after another."""

    _called = Signal(object)

    def __init__(
        self,
        worker: QObject,
        name: str,
        parent: QObject,
        priority: QThread.Priority = QThread.Priority.InheritPriority,
    ) -> None:
        """Move the worker to a new thread, and start it."""
        super().__init__(parent)
        self.setObjectName(name)
        self._caller = _Caller()
        for part in (worker, self._caller):
            part.moveToThread(self)
        self._called.connect(self._caller.call)
        self.start(priority)

    def post(self, method: Callable[..., object], *arguments: object) -> None:
        """Call a method of the worker when those before it have returned."""
        self._called.emit(partial(method, *arguments))

    def close(self, last: Callable[[], object]) -> None:
        """Call one more method, and end the thread; `finished` follows."""
        self.post(last)
        self.post(self.quit)


class _Caller(QObject):
    @Slot(object)
    def call(self, method: Callable[[], object]) -> None:
        """Call a method on this object's thread."""
        method()


def sentence_of(error: BaseException) -> str:
    """Return the first line of an error's text as a sentence."""
    text = str(error).strip() or type(error).__name__
    first = text.splitlines()[0]
    return first if first.endswith((".", "!", "?")) else f"{first}."
