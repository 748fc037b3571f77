"""Writing files so that a crash or a full disk never leaves half of one."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from metaviz.files.platform import process_runs, put_in_place


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all: into a file beside it first, then renamed into place.

    Raises: OSError (or what `write` raises); the old file is then untouched.
    """
    _sweep_before(path)
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        beside.unlink(missing_ok=True)  # a link of that name would be written through
        with beside.open("xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        put_in_place(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; where what follows fails, those that stay empty go again.

    Raises: OSError where it cannot be made.
    """
    above = (folder, *folder.parents)
    new = [place for place in above if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        with suppress(OSError):
            for place in new:
                place.rmdir()
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))


def _sweep_before(path: Path) -> None:
    """Remove what processes that are gone left when they wrote the same file."""
    start = f"{path.name}.tmp-"
    with suppress(OSError), os.scandir(path.parent) as entries:
        left = [entry.name for entry in entries if entry.name.startswith(start)]
        for name in left:
            pid = name.removeprefix(start)
            if pid.isdecimal() and not process_runs(int(pid)):
                path.with_name(name).unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what interrupted writes left in a folder that no other process writes to."""
    for path in folder.glob("*.tmp-*"):
        path.unlink(missing_ok=True)
