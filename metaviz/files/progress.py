"""How slow work reports its progress, and how it is cancelled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Report = Callable[[str], None]
"""Takes a line on how far the work is; raises InterruptedError once it is cancelled."""
Counted = Callable[[int, int], None]
"""Takes how many images are decoded, and of how many; what it raises ends the work."""

_listener: ContextVar[Counted | None] = ContextVar("listener", default=None)


@contextmanager
def reading_reported_to(listener: Counted) -> Iterator[None]:
    """Report all reading of images inside the block, in this thread, to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report_reading(done: int, count: int) -> None:
    """Report to the listener, if there is one, that `done` of `count` images are decoded."""
    listener = _listener.get()
    if listener is not None:
        listener(done, count)
