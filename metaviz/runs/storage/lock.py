"""One writer per run: a lock that the system takes back when its process ends, however it ends."""

import os
import platform
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from metaviz.files.platform import (
    UNSUPPORTED,
    lock_file,
    look_at_lock,
    plain_name,
    process_runs,
)

LOCK = "run.lock"
STORE_LOCK = "window.lock"
SESSION_LOCK = "session.lock"
_PATIENCE_SECONDS = 1.0
"""Readers hold the lock for an instant to see whether it is free; a writer waits for them."""


@dataclass(frozen=True)
class Writer:
    """The process that wrote to a folder last, and the name of its computer; 0 for none known."""

    pid: int
    host: str = ""


class RunLock:
    """Marks a folder as being written to; `release` it when done."""

    def __init__(self, handle: int | None) -> None:
        """Take over an open, locked file; None where the file system knows no locks."""
        self._handle = handle

    def release(self) -> None:
        """Let the next one write."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def lock_run(folder: Path) -> RunLock | None:
    """Lock a run for writing; None where another process or session holds it.

    Raises: OSError where the folder cannot be written.
    """
    return _lock(folder / LOCK)


def lock_store(home: Path) -> RunLock | None:
    """Note that a window uses a folder of runs; None where another one does.

    Raises: OSError where the folder cannot be written.
    """
    home.mkdir(parents=True, exist_ok=True)
    return _lock(home / STORE_LOCK)


def lock_session(home: Path) -> RunLock | None:
    """Take the window's session for writing, without waiting; None where another window has it.

    Raises: OSError where the folder cannot be written.
    """
    home.mkdir(parents=True, exist_ok=True)
    return _lock(home / SESSION_LOCK, patience=0.0)


def _lock(path: Path, patience: float = _PATIENCE_SECONDS) -> RunLock | None:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(path, flags, 0o666)
    until = time.monotonic() + patience
    while True:
        try:
            lock_file(handle)
        except OSError as error:
            if error.errno in UNSUPPORTED:
                os.close(handle)
                path.unlink(missing_ok=True)
                return RunLock(None)
            if time.monotonic() > until:
                os.close(handle)
                return None
            time.sleep(0.02)
        except BaseException:
            os.close(handle)
            raise
        else:
            return RunLock(handle)


def is_locked(folder: Path) -> bool | None:
    """Return whether a process writes to a run; None where it has no lock file."""
    path = folder / LOCK
    try:
        # What lies there may be a pipe or a device.
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        look_at_lock(handle)
    except OSError as error:
        return None if error.errno in UNSUPPORTED else True
    finally:
        os.close(handle)
    return False


def host_name() -> str:
    """Return the name of this computer as it is stored beside process ids."""
    return plain_name(platform.node())


def is_written(folder: Path, writer: Writer) -> bool:
    """Return whether a process writes to a folder, whose last writer is known.

    The lock decides, as process ids are used again. Without one the process decides, but only on
    its own computer: what another one does cannot be known here, so its run is left to it.
    """
    locked = is_locked(folder)
    if locked is not None or writer.pid <= 0:
        return bool(locked)
    return writer.host not in {"", host_name()} or process_runs(writer.pid)
