"""Reading files of unknown origin, which may be damaged or hostile.

What is read here can change no file, never waits, and takes memory and time in proportion to
its size on disk. Whatever is refused raises ForeignError with the name of the file, at the place
where the system, a library or a value says that something is wrong: the system is asked within
`accessed`, a library called within `refused`, a value asked for its kind by `files.values`. What
else a reader raises is a mistake of its own, and is told as such.
"""

import codecs
import csv
import errno
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
from contextlib import closing, contextmanager
from pathlib import Path, PurePath
from typing import Any

from metaviz.files.platform import has_no_handle, is_link, reason_of

MOST_TOML_BYTES = 1_000_000
MOST_ARRAY_BYTES = 256_000_000
"""Largest file of arrays, and largest value in a database."""
MOST_CHECKPOINT_BYTES = 16_000_000_000
MOST_DATABASE_BYTES = 64_000_000_000
MOST_GROWTH, FREE_GROWTH_BYTES = 50, 64_000_000
"""Arrays may take so many times the size of their file, or so many bytes. Images of drawings shrink
to a thirtieth."""
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

_SYNTAX = re.compile(r"near \".*\": syntax error|incomplete input")
"""What SQLite says of statements, which are all ours."""
_UNDECODED = "Could not decode to UTF-8"
"""What Python says of a text of SQLite."""
_OF_CODE = (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.NotSupportedError)
_UNAVAILABLE = frozenset(
    {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH),
    }
)
"""SQLite's numbers for what says nothing of the database itself."""

_log = logging.getLogger("metaviz.files")


class ForeignError(ValueError):
    """A file is refused; the message is a clause that names it."""


class UnreadableError(OSError, ForeignError):
    """The system gives no access to a file; `errno` says why."""

    def __str__(self) -> str:
        """Return the reason in words."""
        return reason_of(self)

    @property
    def is_missing(self) -> bool:
        """Whether there is no such file."""
        return self.errno == errno.ENOENT


class MalformedError(ForeignError):
    """A text is not of the format that it should have."""


class UnavailableError(ForeignError):
    """A database cannot be used now, which says nothing of what it holds."""


@contextmanager
def accessed() -> Iterator[None]:
    """Turn what the system says of a file into UnreadableError.

    Nothing but calls of the system may stand inside: of our own code it would hide mistakes.
    """
    try:
        yield
    except ForeignError:
        raise
    except OSError as error:
        raise UnreadableError(error.errno, reason_of(error), error.filename) from error


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

    Raises: ForeignError where it is none or has more bytes than `most`, or cannot be reached.
    """
    with accessed():
        found = path.stat()
    return _checked_size(found, path, most)


def part_of(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder that others may have made, to be read or written.

    Raises: ForeignError where a link on the way leads out of the folder.
    """
    parts = PurePath(name).parts
    steps = [folder.joinpath(*parts[: count + 1]) for count in range(len(parts))]
    with accessed():
        linked = next((step for step in steps if is_link(step)), None)
        if linked is None or _real(folder / name).is_relative_to(_real(folder)):
            return folder / name
    raise ForeignError(f"{linked.relative_to(folder)} is a link that leads out of {folder}")


def _real(path: Path) -> Path:
    """Return where a path leads; links that lead in a circle stay as they are."""
    return Path(os.path.realpath(path))


def read_bytes(path: Path, most: int) -> bytes:
    """Return the contents of a regular file. Raises: as `check_regular`."""
    size = check_regular(path, most)
    with accessed(), path.open("rb") as stream:
        data = stream.read(size)
        while rest := stream.read(_PIECE):  # it grows, or the system names no size
            data += rest
            if len(data) > most:
                raise _too_large(path, most)
    return data


def read_part(path: Path, most: int, count: int, *, tail: bool = False) -> bytes:
    """Return the first or last bytes of a regular file. Raises: as `check_regular`."""
    size = check_regular(path, most)
    with accessed(), path.open("rb") as stream:
        if tail:
            stream.seek(max(0, size - count))
        return stream.read(count)


def read_text(path: Path, most: int = MOST_TOML_BYTES) -> str:
    """Return the text of a regular file: UTF-8, or what its byte order mark says.

    Raises: as `check_regular`, and MalformedError where it is no text.
    """
    data = read_bytes(path, most)
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if marked and len(data) == len(codecs.BOM_UTF16_LE):
        raise MalformedError(f"{path.name} is no text")
    try:
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError(str(error)) from error


def parsed_toml(text: str) -> dict[str, Any]:
    """Read TOML. Raises: ForeignError where it is nested too deeply, or MalformedError."""
    if _LONG_KEY.search(text):
        raise ForeignError("it is nested too deeply")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ForeignError("it is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, or a number of too many digits
        raise MalformedError(str(error).rstrip(".")) from error


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
    Raises: ForeignError, as its connection does.
    """
    check_regular(path, MOST_DATABASE_BYTES)
    with accessed():
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
    except UnavailableError:
        # A journal is to be played back, or the folder takes no shared memory for the log.
        if not _size(path, "-wal") or _size(path, "-journal"):
            return _opened(path, live=False)
        return _copied(path)


def open_copy(path: Path, **options: Any) -> sqlite3.Connection:
    """Return a copy in memory of a small database, which is only read. Raises: ForeignError."""
    check_regular(path, MOST_ARRAY_BYTES)
    with closing(open_to_read(path, live=False)) as source:
        with _by_sqlite():
            copy = sqlite3.connect(":memory:", factory=_Connection, **options)
        source.backup(copy)
    return copy


def _copied(path: Path) -> sqlite3.Connection:
    """Open a copy of a database and its write-ahead log, so that nothing is written beside them.

    Raises: ForeignError where it is too large to be copied, or written to meanwhile.
    """
    with accessed():
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
        with accessed():
            free = shutil.disk_usage(work).free
        if _stored_bytes(path) > min(_MOST_COPIED, free):
            raise ForeignError(f"{path.name} is too large to be copied with its log")
        with accessed():
            for end in ("", "-wal"):
                shutil.copyfile(path.with_name(path.name + end), copy.with_name(copy.name + end))
        if _stamps(path) == before:
            return copy
    raise ForeignError(f"{path.name} is written to by another program")


def _stored_bytes(path: Path) -> int:
    return sum(size for size, _ in _stamps(path))


def _stamps(path: Path) -> list[tuple[int, int]]:
    """Return size and time of a database and of its log."""
    with accessed():
        found = [path.with_name(path.name + end).stat() for end in ("", "-wal")]
    return [(one.st_size, one.st_mtime_ns) for one in found]


def open_to_write(path: Path, **options: Any) -> sqlite3.Connection:
    """Open, or make, a database of this program's own, with the options of `sqlite3.connect`.

    Raises: ForeignError where SQLite would touch other files, and as its connection does.
    """
    if os.path.lexists(path):
        _check_own(path)
    _check_beside(path)
    if _size(path, "-journal") >= len(_SUPER_JOURNAL):
        journal, length = path.with_name(f"{path.name}-journal"), len(_SUPER_JOURNAL)
        if read_part(journal, MOST_DATABASE_BYTES, length, tail=True) == _SUPER_JOURNAL:
            raise ForeignError(f"{path.name}-journal names another file: remove it")
    with _by_sqlite():
        database: sqlite3.Connection = sqlite3.connect(path, factory=_Connection, **options)
    try:
        _restrict(database)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def _by_sqlite() -> Iterator[None]:
    """Turn what SQLite says of a database into ForeignError; for its own calls alone."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _refusal(error) from error
    except UnicodeDecodeError as error:  # of SQLite's own message, which quotes what is damaged
        raise ForeignError("its database is damaged") from error


def _refusal(error: sqlite3.DatabaseError) -> Exception:
    """Return what to raise for what SQLite says; a mistake in a statement stays what it is.

    So does what a function of ours raises that SQLite calls, which has no number of SQLite.
    """
    code, text = getattr(error, "sqlite_errorcode", None), str(error)
    ours = code is None and not text.startswith(_UNDECODED)
    if ours or isinstance(error, _OF_CODE) or _SYNTAX.fullmatch(text):
        return error
    number = (code or 0) & 0xFF
    if number == sqlite3.SQLITE_CANTOPEN and has_no_handle():
        return UnavailableError(reason_of(OSError(errno.EMFILE, "")))
    kind = UnavailableError if number in _UNAVAILABLE else ForeignError
    return kind(text.rstrip(".") or "its database is damaged")


class _Cursor(sqlite3.Cursor):
    """Raises ForeignError where the database is at fault."""

    def execute(self, sql: str, parameters: Any = (), /) -> "_Cursor":
        with _by_sqlite():
            super().execute(sql, parameters)
        return self

    def executemany(self, sql: str, parameters: Any, /) -> "_Cursor":
        with _by_sqlite():
            super().executemany(sql, parameters)
        return self

    def executescript(self, script: str, /) -> "_Cursor":
        with _by_sqlite():
            super().executescript(script)
        return self

    def fetchone(self) -> Any:
        with _by_sqlite():
            return super().fetchone()

    def fetchall(self) -> list[Any]:
        with _by_sqlite():
            return super().fetchall()

    def __next__(self) -> Any:
        try:  # for every row of a run, where a `with` would take as long as the row
            return super().__next__()
        except sqlite3.DatabaseError as error:
            raise _refusal(error) from error
        except UnicodeDecodeError as error:
            raise ForeignError("its database is damaged") from error


class _Connection(sqlite3.Connection):
    """Raises ForeignError where the database is at fault, UnavailableError where it is not."""

    def cursor(self, factory: Any = _Cursor) -> Any:
        with _by_sqlite():
            return super().cursor(factory)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return _Connection.cursor(self).execute(sql, parameters)  # type: ignore[no-any-return]

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        return _Connection.cursor(self).executemany(sql, parameters)  # type: ignore[no-any-return]

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        return _Connection.cursor(self).executescript(script)  # type: ignore[no-any-return]

    def commit(self) -> None:
        with _by_sqlite():
            super().commit()

    def rollback(self) -> None:
        with _by_sqlite():
            super().rollback()

    def __exit__(self, *raised: Any) -> Any:
        with _by_sqlite():
            return super().__exit__(*raised)

    def backup(self, target: sqlite3.Connection, **options: Any) -> None:
        with _by_sqlite():
            super().backup(target, **options)


class _Bounded(_Connection):
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
    with _by_sqlite():
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
    """Refuse what SQLite would write through, or wait for. Raises: ForeignError."""
    with accessed():
        found = path.lstat()
    _checked_size(found, path, MOST_DATABASE_BYTES)


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
