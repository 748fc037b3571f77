"""What commands write: results to standard output, all else to standard error, and files."""

import io
import sys
from pathlib import Path


def say(*sentences: object) -> None:
    """Write lines to standard error."""
    sys.stderr.writelines(f"{sentence}\n" for sentence in sentences)


def put(*results: object) -> None:
    """Write lines to standard output."""
    sys.stdout.writelines(f"{result}\n" for result in results)


def write_file(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises: StoreError with one sentence."""
    from metaviz.files.atomic import write_text
    from metaviz.runs.storage.store import StoreError

    try:
        write_text(path, text)
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror or error}.") from error


def escape_unknown_letters() -> None:
    """Let Greek letters meet a terminal without them: their numbers are written instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
