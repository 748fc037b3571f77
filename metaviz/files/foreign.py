"""Reading files of unknown origin, which may be damaged or hostile.

What is read here can change no file, never waits, and takes memory and time in proportion to
its size on disk. Whatever is refused raises ForeignError with the name of the file.
"""

import codecs
import csv
import io
import logging
import os
import pickle
import pickletools
import re
import shutil
import sqlite3
import stat
import struct
import tempfile
import tokenize
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MOST_TOML_BYTES = 1_000_000
MOST_ARRAY_BYTES = 256_000_000
"""Largest file of arrays, and largest value in a database."""
MOST_CHECKPOINT_BYTES = 16_000_000_000
MOST_DATABASE_BYTES = 64_000_000_000
MOST_GROWTH, FREE_GROWTH_BYTES = 50, 64_000_000
"""Arrays may take so many times the size of their file, or so many bytes. Images of drawings shrink
to a thirtieth."""
DAMAGED = (OSError, ValueError, EOFError, OverflowError, MemoryError)
"""What our readers of any format raise for damaged files. Whatever else they raise is a mistake of
theirs, and is told as such; values are asked for their kind by `files.values`, libraries called
within `refused`."""
LIBRARY_ERRORS = (
    *(OSError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, EOFError),
    *(RuntimeError, SyntaxError, AssertionError, MemoryError, struct.error, zlib.error),
    *(zipfile.BadZipFile, csv.Error, tokenize.TokenError),
)
"""What libraries raise for damaged bytes; caught around their own calls only, as `refused` does."""
_PIECE = 1 << 20
_MOST_COPIED, _TRIES = 4_000_000_000, 3
_MOST_DOTS = 64
_MOST_SQL = 20_000
_FREE_OPERATIONS, _CHECK_EVERY = 10_000_000, 10_000
_FREE_BYTES = 100_000
_SIZED = frozenset({bytes, str})
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")
_BESIDE = ("-journal", "-wal", "-shm")
# A parser of TOML takes time with the square of the parts of one key.
_LONG_KEY = re.compile(rf"(?:\.[ \t]*+(?:[\w-]++|\"[^\"\n]*+\"|'[^'\n]*+')[ \t]*+){{{_MOST_DOTS}}}")
_COLUMNS = r"(?:[\w\s,]|'[\w-]*'|PRIMARY KEY\s*\([\w\s,]+\))*"
_TABLE = re.compile(rf"CREATE TABLE \w+\s*\({_COLUMNS}\)(?:\s*WITHOUT ROWID)?\s*", re.IGNORECASE)
_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX \w+ ON \w+\s*\([\w\s,]+\)\s*", re.IGNORECASE)
_PICKLED = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(?:tensor_v2|parameter)"
    r"|torch(?:\.storage)? \w*Storage|torch Size"
)
_CALLING = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})

_log = logging.getLogger("metaviz.files")


class ForeignError(ValueError):
    """A file is refused; the message is a clause that names it."""


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Turn whatever a library raises for damaged bytes into ForeignError.

    Nothing but one call of a library may stand inside: of our own code it would hide mistakes.
    """
    try:
        yield
    except ForeignError:
        raise
    except LIBRARY_ERRORS as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ForeignError(f"{what} is damaged ({reason:.200})") from error


def check_growth(size: int, stored: int, what: str) -> None:
    """Refuse what unpacks to far more than its file. Raises: ForeignError."""
    if size > max(FREE_GROWTH_BYTES, MOST_GROWTH * stored):
        raise ForeignError(
            f"{what} would take {size / 1e6:.0f} MB out of {stored / 1e6:.1f}, more than "
            f"{MOST_GROWTH} times as much"
        )


def check_regular(path: Path, most: int) -> int:
    """Return the size of a regular file, or of one that a link leads to.

    Raises: ForeignError where it is none or has more bytes than `most`; OSError.
    """
    return _checked_size(path.stat(), path, most)


def read_bytes(path: Path, most: int) -> bytes:
    """Return the contents of a regular file. Raises: as `check_regular`."""
    size = check_regular(path, most)
    with path.open("rb") as stream:
        data = stream.read(size)
        while rest := stream.read(_PIECE):  # it grows, or the system names no size
            data += rest
            if len(data) > most:
                raise _too_large(path, most)
    return data


def read_text(path: Path, most: int = MOST_TOML_BYTES) -> str:
    """Return the text of a regular file: UTF-8, or what its byte order mark says.

    Raises: as `check_regular`, and UnicodeDecodeError.
    """
    data = read_bytes(path, most)
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if marked and len(data) == len(codecs.BOM_UTF16_LE):
        raise ForeignError(f"{path.name} is no text")
    return data.decode("utf-16" if marked else "utf-8-sig")


def parsed_toml(text: str) -> dict[str, Any]:
    """Read TOML. Raises: ForeignError where it is nested too deeply, or tomllib.TOMLDecodeError."""
    if _LONG_KEY.search(text):
        raise ForeignError("it is nested too deeply")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ForeignError("it is nested too deeply") from None


def zipped_member(data: bytes, name: str, what: str) -> bytes | None:
    """Return a file of a zip archive, compressed or not; None where the archive has none.

    Its size is checked before memory is taken for it. Raises: ForeignError.
    """
    with refused(what):
        archive = zipfile.ZipFile(io.BytesIO(data))
    with archive:
        if name not in archive.namelist():
            return None
        check_growth(archive.getinfo(name).file_size, len(data), name)
        with refused(name):
            return archive.read(name)


def stored_members(data: bytes, what: str, ending: str) -> dict[str, bytes]:
    """Return files with an ending from a zip archive that compresses none, as MetaViz writes it.

    Raises: ForeignError where it is damaged, or holds more than its own size.
    """
    with refused(what):
        archive = zipfile.ZipFile(io.BytesIO(data))
    with archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ForeignError(f"{what} is compressed, which MetaViz never does")
        if sum(member.file_size for member in members) > len(data):
            raise ForeignError(f"{what} claims to hold more than its size")
        chosen = [one for one in members if one.filename.lower().endswith(ending)]
        with refused(what):
            return {member.filename: archive.read(member) for member in chosen}


def check_pickled(data: bytes, what: str) -> None:
    """Refuse a checkpoint that is compressed, or that calls anything but to rebuild tensors.

    Even what a careful reader of pickles allows may allocate gigabytes.
    Raises: ForeignError where it is damaged or compressed, pickle.UnpicklingError for calls.
    """
    for member in stored_members(data, what, "data.pkl").values():
        with refused(what):
            operations = list(pickletools.genops(member))
        called = [str(arg) for operation, arg, _ in operations if operation.name in _CALLING]
        wrong = next((one for one in called if not _PICKLED.fullmatch(one)), None)
        if wrong is not None:
            raise pickle.UnpicklingError(f"{what} calls {wrong:.80}")


def open_to_read(path: Path, *, live: bool) -> sqlite3.Connection:
    """Open a database of plain tables so that reading changes nothing and is bounded.

    SQLite deletes any file that a rollback journal names while it plays it back, so a journal is
    never played back here. A write-ahead log names none, and is read where it holds anything;
    `live`: another process writes, so that it may come to hold something.
    Raises: ForeignError, sqlite3.Error or OSError.
    """
    check_regular(path, MOST_DATABASE_BYTES)
    path = path.resolve()  # what lies beside it lies where a link leads
    if not (live or _size(path, "-wal")):
        return _opened(path, live=False)
    _check_beside(path)
    if _size(path, "-journal") and not live:
        return _opened(path, live=False)
    if not live and _stored_bytes(path) <= _MOST_COPIED:
        return _copied(path)  # SQLite would make a file of shared memory beside it
    try:
        return _opened(path, live=True)
    except sqlite3.OperationalError:
        # A journal is to be played back, or the folder takes no shared memory for the log.
        if not _size(path, "-wal") or _size(path, "-journal"):
            return _opened(path, live=False)
        return _copied(path)


def _copied(path: Path) -> sqlite3.Connection:
    """Open a copy of a database and its write-ahead log, so that nothing is written beside them.

    Raises: ForeignError where it is too large to be copied, or written to meanwhile.
    """
    work = tempfile.TemporaryDirectory(prefix="metaviz-")
    try:
        return _opened(_copy(path, Path(work.name)), live=True, work=work)
    except BaseException:
        work.cleanup()
        raise


def _copy(path: Path, work: Path) -> Path:
    """Copy a database and its log at one moment. Raises: as `_copied`."""
    copy = work / path.name
    for _ in range(_TRIES):
        before = _stamps(path)
        if _stored_bytes(path) > min(_MOST_COPIED, shutil.disk_usage(work).free):
            raise ForeignError(f"{path.name} is too large to be copied with its log")
        for end in ("", "-wal"):
            shutil.copyfile(path.with_name(path.name + end), copy.with_name(copy.name + end))
        if _stamps(path) == before:
            return copy
    raise ForeignError(f"{path.name} is written to by another program")


def _stored_bytes(path: Path) -> int:
    return sum(size for size, _ in _stamps(path))


def _stamps(path: Path) -> list[tuple[int, int]]:
    """Return size and time of a database and of its log."""
    found = [path.with_name(path.name + end).stat() for end in ("", "-wal")]
    return [(one.st_size, one.st_mtime_ns) for one in found]


def open_to_write(path: Path, **options: Any) -> sqlite3.Connection:
    """Open, or make, a database of this program's own, with the options of `sqlite3.connect`.

    Raises: ForeignError where SQLite would touch other files; sqlite3.Error.
    """
    if os.path.lexists(path):
        _check_own(path)
    _check_beside(path)
    if _size(path, "-journal") >= len(_SUPER_JOURNAL):
        with path.with_name(f"{path.name}-journal").open("rb") as stream:
            stream.seek(-len(_SUPER_JOURNAL), os.SEEK_END)
            if stream.read() == _SUPER_JOURNAL:
                raise ForeignError(f"{path.name}-journal names another file: remove it")
    database: sqlite3.Connection = sqlite3.connect(path, **options)
    try:
        _restrict(database)
    except BaseException:
        database.close()
        raise
    return database


class _Bounded(sqlite3.Connection):
    """A connection whose every statement may return and compute as much as the file's size allows.

    Pages of a crafted file may be used many times over, so that few hold endless rows.
    """

    _work: tempfile.TemporaryDirectory[str] | None = None

    def keep(self, work: "tempfile.TemporaryDirectory[str] | None") -> None:
        """Remove a folder once the connection is closed."""
        self._work = work

    def close(self) -> None:
        """Close the connection."""
        super().close()
        if self._work is not None:
            self._work.cleanup()

    def watch(self, size: Callable[[], int]) -> None:
        """Take the function that returns the size on disk in bytes."""
        self._size_of = size
        self.row_factory = self._counted
        self.set_progress_handler(self._is_over, _CHECK_EVERY)
        self._begin()

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement with a new allowance."""
        self._begin()
        return super().execute(sql, parameters)

    def _begin(self) -> None:
        size = self._size_of()
        self._bytes = size + _FREE_BYTES
        self._operations = 8 * size + _FREE_OPERATIONS

    def _counted(self, _cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
        self._bytes -= len(row) + sum([len(one) for one in row if type(one) in _SIZED])
        if self._bytes < 0:
            raise ForeignError("its database returns more than it holds")
        return row

    def _is_over(self) -> bool:
        self._operations -= _CHECK_EVERY
        return self._operations < 0


def _opened(
    path: Path, *, live: bool, work: "tempfile.TemporaryDirectory[str] | None" = None
) -> sqlite3.Connection:
    if not live and _size(path, "-journal"):
        _log.warning(
            "%s is left alone, and the database is read as it is; it is played back only where "
            "the run is resumed.",
            path.with_name(f"{path.name}-journal"),
        )
    address = f"{path.as_uri()}?mode=ro{'' if live else '&immutable=1'}"
    database = sqlite3.connect(address, uri=True, factory=_Bounded)
    try:
        database.watch(lambda: path.stat().st_size + _size(path, "-wal"))
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_ARRAY_BYTES)
        database.execute("PRAGMA query_only=ON")
        _restrict(database)
    except BaseException:
        database.close()
        raise
    database.keep(work)
    return database


def _restrict(database: sqlite3.Connection) -> None:
    """Trust nothing in a schema, and refuse one with more than tables and indexes of columns.

    Views, triggers, virtual tables and computed columns run whatever their author wrote.
    """
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    database.execute("PRAGMA trusted_schema=OFF")
    database.execute("PRAGMA cell_size_check=ON")
    query = f"SELECT type, name, substr(sql, 1, {_MOST_SQL}) FROM sqlite_master"
    for kind, name, sql in database.execute(query):
        automatic = kind == "index" and not sql and str(name).startswith("sqlite_autoindex_")
        known = {"table": _TABLE, "index": _INDEX}.get(kind)
        if not (automatic or (known is not None and known.fullmatch(str(sql)))):
            raise ForeignError(f"its database holds a {kind!s:.20} that is no plain table")


def _check_beside(path: Path) -> None:
    for end in _BESIDE:
        beside = path.with_name(path.name + end)
        if os.path.lexists(beside):
            _check_own(beside)


def _check_own(path: Path) -> None:
    """Refuse what SQLite would write through, or wait for. Raises: ForeignError or OSError."""
    _checked_size(path.lstat(), path, MOST_DATABASE_BYTES)


def _size(path: Path, end: str) -> int:
    try:
        return path.with_name(path.name + end).lstat().st_size
    except OSError:
        return 0


def _checked_size(found: os.stat_result, path: Path, most: int) -> int:
    if not stat.S_ISREG(found.st_mode):
        raise ForeignError(f"{path.name} is no regular file")
    if found.st_size > most:
        raise _too_large(path, most)
    return found.st_size


def _too_large(path: Path, most: int) -> ForeignError:
    return ForeignError(f"{path.name} is larger than {most / 1e6:g} MB")
