"""Signals that end a program let a command save what it has, as Ctrl+C does."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from metaviz.files.platform import ending_signals, unless_held

_OF_SIGNALS = 128


@contextmanager
def saving_on_signals() -> Iterator[Callable[[int], int]]:
    """Raise KeyboardInterrupt where the first signal comes; yield what makes the exit code right.

    That is 128 and the signal's number where one came. Those that were ignored, as `nohup` has it,
    stay ignored.
    """
    came: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        if came:
            return  # it is being saved
        came.append(number)
        if number == getattr(signal, "SIGHUP", None):
            _leave_terminal()
        unless_held(_interrupt)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        unless_held(_interrupt)

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for which in ending_signals():
            if signal.getsignal(which) == signal.SIG_DFL:
                before[which] = signal.signal(which, end)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda code: _OF_SIGNALS + came[0] if came else code
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _leave_terminal() -> None:
    """Write nowhere instead of to a terminal that is gone, which would break saving off."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            if stream.isatty():
                os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
