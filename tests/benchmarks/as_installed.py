"""The program as a user starts it: with bytecode, and an empty folder of its own."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def environment(**more: str) -> Iterator[dict[str, str]]:
    """Yield what processes that are measured get as their environment."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    inherited.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory() as home:
        yield {**inherited, "METAVIZ_HOME": home, **more}
