"""One writer per run: a lock that the system takes back when its process ends, however it ends."""

import errno
import os
import sys
import time
from pathlib import Path

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

else:
    import fcntl

    def _seize(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RunLock:
    """Says that somebody writes to a folder; `release` it when done."""

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
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
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
    """Return whether somebody writes to a run; None where it has no lock file to tell by."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
    except PermissionError:
        return None
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EROFS}:
            return None
        raise
    try:
        _seize(handle)
    except OSError as error:
        return None if error.errno in _UNSUPPORTED else True
    finally:
        os.close(handle)
    return False


def process_runs(pid: int) -> bool:
    """Return whether a process of this id runs; ids are used again, so a lock tells better."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
