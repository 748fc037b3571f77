"""What differs between Linux, macOS and Windows: files, locks, processes and signals.

No other module asks for that which system this is. What was written for Windows was tested with
stand-ins for its calls.
"""

import ctypes
import errno
import itertools
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
"""Numbers of errors that say that a file system knows no locks."""
_TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})
_OF_DISKS = frozenset(
    {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EIO, errno.EFBIG}
)
_FILES_OF_LIBRARIES = 8
"""So many files SQLite may have open at once for one database."""
_RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|COM\d|LPT\d)(?:\..*)?", re.IGNORECASE)
_PLAIN = re.compile(r"\w[\w.-]*")
_MOST_BYTES = 200
"""Names may have 255 bytes or letters, with what is added to them while they are written."""
_TRIES, _PAUSE_SECONDS = 10, 0.02
_JUNCTION = 0xA0000003
"""Windows' mark of a folder that stands for another one; Python calls it no link."""
_IN_USE = frozenset({5, 32, 33})
"""Windows' numbers for a file that another program has open: denied, shared, locked."""

_OF_CMD = re.compile(r"[&|<>^()@!,;=']")
QUOTES_FOR_CMD = sys.platform == "win32"
"""Whether a line of words is for Windows' command interpreter."""
LOCKS_HAVE_NAMES = sys.platform != "win32"
"""Whether a locked file may get other names and lose them, and stays locked under each."""

if sys.platform == "win32":
    import msvcrt

    def lock_file(handle: int) -> None:
        """Lock an open file for writing. Raises: OSError where another process holds it."""
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    look_at_lock = lock_file

    def process_runs(pid: int) -> bool:
        """Return whether a process runs on this computer."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        return process_runs_on_windows(pid, kernel, ctypes.get_last_error)

else:
    import fcntl

    def lock_file(handle: int) -> None:
        """Lock an open file for writing. Raises: OSError where another process holds it."""
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def look_at_lock(handle: int) -> None:
        """Raise OSError where a process holds an open file's lock; this takes no write access."""
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def process_runs(pid: int) -> bool:
        """Return whether a process runs on this computer."""
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except OSError:
            return True
        return True


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


def joined(words: Iterable[str]) -> str:
    """Return words as one line that the system's shell reads as those words.

    On Windows programs take a line apart by themselves, and `cmd` reads it before them: it takes
    %NAME% for a variable also inside quotation marks, and the rest outside of them alone.
    """
    return " ".join(map(_quoted, words)) if QUOTES_FOR_CMD else shlex.join(words)


def _quoted(word: str) -> str:
    """Quote a word for `cmd` and for the program that it starts."""
    quoted = subprocess.list2cmdline([word])
    if not quoted.startswith('"') and _OF_CMD.search(word):
        quoted = f'"{word}' + "\\" * (len(word) - len(word.rstrip("\\"))) + '"'
    return quoted


def is_link(path: Path) -> bool:
    """Return whether a path is a link, or what Windows calls a junction, which leads elsewhere.

    Raises: OSError where the system does not tell.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) == _JUNCTION


def is_plain_name(name: str) -> bool:
    """Return whether a name is that of a file on every system: no path, stream or device."""
    return (
        _PLAIN.fullmatch(name) is not None
        and len(name.encode()) <= _MOST_BYTES
        and not name.endswith(".")
        and not _RESERVED.fullmatch(name)
    )


def plain_name(name: str) -> str:
    """Return a name as it may stand in paths on every system: letters, digits, `_` and `-`."""
    plain = re.sub(r"[^\w-]", "_", name).encode()[:_MOST_BYTES].decode(errors="ignore")
    return f"_{plain}" if _RESERVED.fullmatch(plain) else plain


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Return a plain name for each name, none twice on any system; see `plain_name`."""
    found: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        plain = plain_name(name)
        numbered = (f"{plain}_{number}" for number in itertools.count(2))
        found[name] = next(
            one for one in itertools.chain([plain], numbered) if one.casefold() not in used
        )
        used.add(found[name].casefold())
    return found


def put_in_place(path: Path, target: Path) -> None:
    """Rename a file over another one.

    Windows refuses that while a program has the other one open, as scanners do for a moment, so it
    is tried again for a fifth of a second. Raises: OSError.
    """
    for _ in range(_TRIES - 1):
        try:
            path.replace(target)
        except PermissionError as error:
            if getattr(error, "winerror", None) not in _IN_USE:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return
    path.replace(target)


class _Held:
    """What signals ask for while the main thread does what must be done whole."""

    depth = 0
    waiting: ClassVar[list[Callable[[], object]]] = []


@contextmanager
def signals_held() -> Iterator[None]:
    """Let what `unless_held` is given wait until the end; in other threads nothing is held.

    Blocking the signals themselves would not do: the system gives them to any other thread.
    """
    if threading.get_ident() != threading.main_thread().ident:
        yield
        return
    _Held.depth += 1
    try:
        yield
    finally:
        _Held.depth -= 1
        if _Held.waiting and not _Held.depth:
            _Held.waiting.pop()()


def unless_held(act: Callable[[], object]) -> None:
    """Act now, or once signals are no longer held; for a signal's handler."""
    if _Held.depth:
        _Held.waiting[:] = [act]
    else:
        act()


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals by which a system, a terminal or a person ends a program, but Ctrl+C."""
    names = ("SIGTERM", "SIGHUP", "SIGBREAK")
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


def reason_of(error: OSError) -> str:
    """Return why the system refused something, without a full stop."""
    if error.errno in _TOO_MANY:
        return "too many files are open in this program at once"
    return (error.strerror or str(error)).rstrip(".")


def advice_on(error: Exception) -> str:
    """Return what to do where a folder takes no files, with a space before it; empty elsewhere."""
    number = getattr(error, "errno", None)
    if number in _TOO_MANY or number in _OF_DISKS or "full" in str(error):
        return ""
    return " Choose a folder that you may write to."


def has_no_handle() -> bool:
    """Return whether a library that needs several files can open no further ones here."""
    opened: list[int] = []
    try:
        for _ in range(_FILES_OF_LIBRARIES):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in _TOO_MANY
    finally:
        for handle in opened:
            os.close(handle)
    return False
