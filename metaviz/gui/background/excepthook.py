"""Exceptions that nobody caught: logged, and shown in the window instead of ending it."""

import logging
import sys
import traceback
from types import TracebackType

from PySide6.QtCore import QObject, Signal

_log = logging.getLogger("metaviz")


class ExceptionHook(QObject):
    """The application's excepthook. `raised` carries a sentence and the traceback."""

    raised = Signal(str, str)

    def install(self) -> None:
        """Take over from Python's own hook."""
        sys.excepthook = self.report

    def report(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Log an exception and show it; an interrupt from the keyboard keeps its meaning."""
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        _log.critical("Unexpected error", exc_info=(kind, error, trace))
        details = "".join(traceback.format_exception(kind, error, trace))
        self.raised.emit(f"Something unexpected happened: {error or kind.__name__}", details)
