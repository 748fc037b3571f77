"""How far the reading of images is: logged, and reported to a listener."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Progress = Callable[[int, int], None]
"""Called with the number of images that are decoded, and of all; what it raises ends the work."""

_log = logging.getLogger("metaviz.images")
_listener: ContextVar[Progress | None] = ContextVar("listener", default=None)


@contextmanager
def reported_to(listener: Progress) -> Iterator[None]:
    """Report all reading inside the block, in this thread, to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(done: int, count: int) -> None:
    """Report to the listener, if there is one, that `done` of `count` images are decoded."""
    listener = _listener.get()
    if listener is not None:
        listener(done, count)


class ProgressReport:
    """Logs every tenth of one reading, and reports each call to the listener."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._logged = -1

    def __call__(self, done: int, count: int) -> None:
        """Log and report that `done` of `count` images are decoded."""
        tenth = 10 * done // max(count, 1)
        if tenth > self._logged:
            self._logged = tenth
            _log.info("Decoded %d of %d images; this is for the first use only.", done, count)
        report(done, count)
