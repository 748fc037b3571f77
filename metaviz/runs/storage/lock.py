"""One writer per run: a lock that the system takes back when its process ends, however it ends."""

import ctypes
import errno
import os
import platform
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaviz.files.atomic import plain_name

LOCK = "run.lock"
STORE_LOCK = "window.lock"
SESSION_LOCK = "session.lock"
_PATIENCE_SECONDS = 1.0
"""Readers hold the lock for an instant to see whether it is free; a writer waits for them."""
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}

if sys.platform == "win32":
    import msvcrt

    def _seize(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    _look_at = _seize

    def _process_runs(pid: int) -> bool:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        return process_runs_on_windows(pid, kernel, ctypes.get_last_error)

else:
    import fcntl

    def _seize(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _look_at(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def _process_runs(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True


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
            _seize(handle)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
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
        _look_at(handle)
    except OSError as error:
        return None if error.errno in _UNSUPPORTED else True
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
    return writer.host not in {"", host_name()} or _process_runs(writer.pid)


def process_runs_on_windows(pid: int, kernel: Any, last_error: Callable[[], int]) -> bool:
    """Return whether a process runs, where asking by a signal would end it.

    `kernel` is the system's library of that name, `last_error` returns why its last call failed.
    """
    access_denied, limited_information, still_active = 5, 0x1000, 259
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(limited_information, False, ctypes.c_ulong(pid))
    if not handle:
        return last_error() == access_denied
    handle, code = ctypes.c_void_p(handle), ctypes.c_ulong()
    try:
        asked = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        return bool(asked) and code.value == still_active
    finally:
        kernel.CloseHandle(handle)
