"""One writer per run: a lock that the system takes back when its process ends, however it ends."""

import os
import platform
import time
from pathlib import Path

from metaviz.files.foreign import MOST_TOML_BYTES, ForeignError, check_regular, part_of
from metaviz.files.platform import (
    LOCKS_HAVE_NAMES,
    UNSUPPORTED,
    lock_file,
    look_at_lock,
    plain_name,
    put_in_place,
)

LOCK = "run.lock"
STORE_LOCK = "window.lock"
SESSION_LOCK = "session.lock"
_PATIENCE_SECONDS = 1.0
"""Readers hold the lock for an instant to see whether it is free; a writer waits for them."""


class RunLock:
    """Marks a folder as being written to; `release` it when done."""

    def __init__(self, handle: int | None) -> None:
        """Take over an open, locked file; None where the file system knows no locks."""
        self._handle = handle

    @property
    def is_open(self) -> bool:
        """Whether a file is held open."""
        return self._handle is not None

    def release(self) -> None:
        """Let the next one write."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def own(self) -> "RunLock":
        """Return a lock that belongs to the folder alone. Raises: OSError."""
        return self


class SharedLock:
    """Keeps many folders locked by one open file, while what writes to them waits for its turn.

    The lock files of all are names of one file. Where a file can have one name only, each folder
    keeps a file of its own.
    """

    def __init__(self) -> None:
        """Begin without a folder."""
        self._lock = RunLock(None)
        self._folders: dict[Path, None] = {}

    def hold(self, folder: Path, lock: RunLock) -> RunLock:
        """Take over the lock of a folder, and return what stands for it."""
        if not LOCKS_HAVE_NAMES or not lock.is_open:
            return lock
        known = next(iter(self._folders), None)
        if known is None:
            self._lock = lock
        elif _also_as(known / LOCK, folder / LOCK):
            lock.release()
        else:
            return lock
        self._folders[folder] = None
        return _Share(self, folder)

    def leave(self, folder: Path) -> None:
        """Forget a folder, whose lock file is another one now."""
        self._folders.pop(folder, None)
        if not self._folders:
            self._lock.release()


class _Share(RunLock):
    """One folder of a SharedLock."""

    def __init__(self, shared: SharedLock, folder: Path) -> None:
        super().__init__(None)
        self._shared: SharedLock | None = shared
        self._folder = folder

    def release(self) -> None:
        """Leave the folder to others, who are not to wait for the rest."""
        if self._shared is None:
            return
        try:
            self.own().release()
        except OSError:
            self._leave()

    def own(self) -> RunLock:
        """Put a lock file of the folder's own in place of the shared one."""
        lock = RunLock(_new_file(self._folder / LOCK))
        self._leave()
        return lock

    def _leave(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.leave(self._folder)


def _new_file(path: Path) -> int:
    """Put a new, locked file in place of a lock file; return it open. Raises: OSError."""
    new = path.with_name(f"{path.name}.own")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        lock_file(handle)
        put_in_place(new, path)
    except BaseException:
        os.close(handle)
        new.unlink(missing_ok=True)
        raise
    return handle


def _also_as(path: Path, other: Path) -> bool:
    """Let a file have another one's name, too; return whether that is possible here."""
    work = other.with_name(f"{other.name}.shared")
    try:
        work.unlink(missing_ok=True)
        work.hardlink_to(path)
        put_in_place(work, other)
    except OSError:
        return False
    return True


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
            if _is_at(handle, path):
                return RunLock(_alone(handle, path))
            os.close(handle)  # another writer put a new file there meanwhile
            handle = os.open(path, flags, 0o666)


def _alone(handle: int, path: Path) -> int:
    """Return a locked file that has no other name, as a process that was killed may have left one.

    Raises: OSError; the file that is given is closed then.
    """
    if os.fstat(handle).st_nlink <= 1 or not LOCKS_HAVE_NAMES:
        return handle
    try:
        return _new_file(path)
    finally:
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is the one that has a name now."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def is_locked(folder: Path) -> bool | None:
    """Return whether a process writes to a run; None where it has no lock file."""
    path = folder / LOCK
    while True:
        try:
            check_regular(part_of(folder, LOCK), MOST_TOML_BYTES)
            handle = os.open(path, os.O_RDONLY)
        except (OSError, ForeignError):
            return None
        try:
            look_at_lock(handle)
            if _is_at(handle, path):
                return False
        except OSError as error:
            return None if error.errno in UNSUPPORTED else True
        finally:
            os.close(handle)
        # A writer put a file of its own there meanwhile: that one tells.


def host_name() -> str:
    """Return the name of this computer as it is stored beside process ids."""
    return plain_name(platform.node())
