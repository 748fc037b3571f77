"""Writing files so that a crash or a full disk never leaves half of one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from metaviz.files.platform import put_in_place


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all: into a file beside it first, then renamed into place.

    Raises: OSError (or what `write` raises); the old file is then untouched.
    """
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with beside.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        put_in_place(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))


def sweep(folder: Path) -> None:
    """Remove what interrupted writes left in a folder that no other process writes to."""
    for path in folder.glob("*.tmp-*"):
        path.unlink(missing_ok=True)
