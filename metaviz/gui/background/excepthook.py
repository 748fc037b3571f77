"""Exceptions that nobody caught: logged, and shown in the window instead of ending it."""

import logging
import sys
import threading
import traceback
from types import TracebackType

from PySide6.QtCore import QObject, Signal

_log = logging.getLogger("metaviz")


class ExceptionHook(QObject):
    """The application's excepthook. `raised` carries a sentence and the traceback."""

    raised = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self._known: set[tuple[str, str, int]] = set()

    def install(self) -> None:
        """Take over from Python's own hooks."""
        sys.excepthook = self.report
        threading.excepthook = self._report_of_thread

    def report(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Log an exception and show it, the same one once.

        What fails in a timer fails many times a second. An interrupt from the keyboard keeps its
        meaning.
        """
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        place = _place_of(kind, trace)
        if place in self._known:
            return
        self._known.add(place)
        _log.critical("Unexpected error", exc_info=(kind, error, trace))
        details = "".join(traceback.format_exception(kind, error, trace))
        self.raised.emit(f"Something unexpected happened: {error or kind.__name__}", details)

    def _report_of_thread(self, caught: threading.ExceptHookArgs) -> None:
        error = caught.exc_value or caught.exc_type()
        self.report(caught.exc_type, error, caught.exc_traceback)


def _place_of(kind: type[BaseException], trace: TracebackType | None) -> tuple[str, str, int]:
    """Return what tells one mistake from another: its kind, and where it was raised."""
    frames = traceback.extract_tb(trace)
    last = frames[-1] if frames else None
    return kind.__name__, last.filename if last else "", (last.lineno or 0) if last else 0
