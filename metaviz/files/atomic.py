"""Writing files so that a crash or a full disk never leaves half of one."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


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
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))


def plain_name(name: str) -> str:
    """Return a name as it may stand in paths: letters, digits, underscores and dashes only."""
    return re.sub(r"[^\w-]", "_", name)


def sweep(folder: Path) -> None:
    """Remove what interrupted writes left in a folder that no other process writes to."""
    for path in folder.glob("*.tmp-*"):
        path.unlink(missing_ok=True)
