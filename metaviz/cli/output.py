"""What commands write: results to standard output, all else to standard error, and files."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metaviz.files.text import printable


def say(*sentences: object) -> None:
    """Write lines to standard error."""
    sys.stderr.writelines(f"{printable(str(sentence))}\n" for sentence in sentences)


def put(*results: object) -> None:
    """Write lines to standard output."""
    sys.stdout.writelines(f"{printable(str(result))}\n" for result in results)


def write_file(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises: StoreError with one sentence."""
    from metaviz.files.atomic import write_text
    from metaviz.files.platform import reason_of
    from metaviz.runs.storage.store import StoreError

    try:
        write_text(path, text)
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {reason_of(error)}.") from error


class Said(logging.Handler):
    """Says what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, without a traceback."""
        say(record.getMessage())


@contextmanager
def said_warnings() -> Iterator[None]:
    """Say meanwhile what is logged as a warning or worse."""
    log, handler = logging.getLogger("metaviz"), Said(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def escape_unknown_letters() -> None:
    """Let Greek letters meet a terminal without them: their numbers are written instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
