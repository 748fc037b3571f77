"""How far the reading of images is: logged, and told to whoever listens."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Progress = Callable[[int, int], None]
"""Called with the number of images that are decoded, and of all; what it raises ends the work."""

_log = logging.getLogger("metaviz.images")
_listener: ContextVar[Progress | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Progress) -> Iterator[None]:
    """Have `listener` told of all reading inside the block, in this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(done: int, count: int) -> None:
    """Tell the listener, if there is one, that `done` of `count` images are decoded."""
    listener = _listener.get()
    if listener is not None:
        listener(done, count)


class Telling:
    """Logs every tenth of one reading, and tells the listener of each call."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._said = -1

    def __call__(self, done: int, count: int) -> None:
        """Log and tell that `done` of `count` images are decoded."""
        tenth = 10 * done // max(count, 1)
        if tenth > self._said:
            self._said = tenth
            _log.info("Decoded %d of %d images; this is for the first use only.", done, count)
        tell(done, count)
