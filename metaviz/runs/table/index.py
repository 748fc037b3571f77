"""What tables need of all runs, kept in a cache, so that thousands of runs open at once.

The cache may be deleted at any time, and several programs may use it together: every row carries
the times and sizes of the files that it was read from, and is used only while these are the same.
"""

import errno
import json
import math
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

from metaviz.config.quantities import Quantity
from metaviz.files.foreign import (
    ForeignError,
    UnavailableError,
    UnreadableError,
    accessed,
    open_to_write,
)
from metaviz.files.values import of_kind, parsed_json, row_of
from metaviz.runs.model.marks import MARKS, MarksError, marks_of, read_marks
from metaviz.runs.model.record import Record
from metaviz.runs.storage.database import DATABASE, quantity_out_of
from metaviz.runs.storage.interrupted import Writer, is_written
from metaviz.runs.storage.manifest import check_config
from metaviz.runs.storage.store import ABOUT, StoreError, open_last
from metaviz.runs.table.summary import Entry, Summary, entry_of

INDEX = "index.db"
VERSION = 5
_FIRST_BATCH, _BATCH, _BATCH_SECONDS, _SAVE_EVERY = 50, 250, 0.2, 200
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (root TEXT, name TEXT, stamp TEXT, body TEXT, crc INTEGER,
                                 PRIMARY KEY (root, name)) WITHOUT ROWID
"""
_INTERRUPTED = "interrupted"
_SUMMARY = (
    *(str, str, int, str, str, int, int),  # algorithm, problem, seed, state, message, step, total
    *(float, float, float, float, float),  # loss and accuracy with half-widths, seconds
    *(int, float, float, str, str),  # inner_steps, inner_lr, started, device, version
)
"""Kinds of the fields of a Summary but the last, in their order."""


@dataclass
class Found:
    """What a scan came upon: runs that are new or changed, ids that are gone, and sentences."""

    entries: list[Entry] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Return whether anything changed."""
        return bool(self.entries or self.gone or self.warnings)


@dataclass(frozen=True)
class _Place:
    """A run's folder, when it was made, and the stamp of its files without and with marks."""

    name: str
    made: float
    data: str
    marks: str


@dataclass(frozen=True)
class _Kept:
    place: _Place
    entry: Entry | None
    """None where the folder is not readable."""
    writer: Writer | None = None
    """Process that wrote to a run which did not end."""


class Index:
    """Lists the runs of folders; each scan yields only what changed since the one before."""

    def __init__(
        self, path: Path | None, unexpected: Callable[[Exception], None] | None = None
    ) -> None:
        """Use a cache file, made when first needed; without one every run is read anew.

        `unexpected` is told of a mistake in reading one run, which then costs only that run.
        """
        self._unexpected = unexpected
        self._cache = _Cache(path)
        self._kept: dict[Path, dict[str, _Kept]] = {}
        self._scanned: dict[Path, int] = {}

    def close(self) -> None:
        """Close the cache."""
        self._cache.close()

    def changed(self, root: Path) -> bool:
        """Return whether a folder, or a run in it that had not ended, differs from the last scan.

        Reads the state of the folder and of each run that had not ended.
        """
        if self._scanned.get(root) != _time_of(root):
            return True
        open_runs = [kept for kept in self._kept.get(root, {}).values() if kept.writer is not None]
        return any(
            _place_of(root / kept.place.name) != kept.place or not _still(root, kept)
            for kept in open_runs
        )

    def scan(self, root: Path) -> Iterator[Found]:
        """Yield what is new, changed or gone, newest first, in batches; the first time all.

        Raises: UnreadableError where the folder exists and cannot be read.
        """
        first = root not in self._kept
        before = self._kept.setdefault(root, self._cache.load(root) if first else {})
        scanned, places = _time_of(root), _places(root)
        read: list[_Kept] = []
        batch, began, limit = Found(), time.monotonic(), _FIRST_BATCH
        for place in places:
            known = before.get(place.name)
            if known is None or known.place != place or not _still(root, known):
                kept = before[place.name] = self._take(root, place, known, batch)
                read.append(kept)
            elif first and known.entry is not None:
                batch.entries.append(known.entry)
            late = time.monotonic() - began > _BATCH_SECONDS
            if len(batch.entries) >= limit or (late and batch):
                yield batch
                batch, began, limit = Found(), time.monotonic(), _BATCH
            if len(read) >= _SAVE_EVERY:
                self._cache.save(root, read)
                read = []
        gone = list(before.keys() - {place.name for place in places})
        lost = [before.pop(name).entry for name in gone]
        batch.gone += [entry.id for entry in lost if entry is not None and not first]
        self._cache.save(root, read)
        self._cache.forget(root, gone)
        self._scanned[root] = scanned
        if batch:
            yield batch

    def _take(self, root: Path, place: _Place, known: _Kept | None, batch: Found) -> _Kept:
        """Read a run into a batch."""
        try:
            return _take(root, place, known, batch)
        except Exception as error:  # the window tells it, and shows the others
            if self._unexpected is None:
                raise
            self._unexpected(error)
            return _Kept(place, None)


class _Cache:
    """The file behind an index. Whatever is wrong with it costs time only."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None

    def load(self, root: Path) -> dict[str, _Kept]:
        """Return the rows of a folder of runs that make sense."""
        for attempt in (1, 2):
            try:
                rows = self._open().execute(
                    "SELECT name, stamp, body, crc FROM runs WHERE root = ?", (str(root),)
                )
                return {
                    name: kept
                    for name, stamp, body, crc in rows.fetchall()
                    if (kept := _unpacked(root, name, stamp, body, crc)) is not None
                }
            except (OSError, ForeignError) as error:
                self._give_up(error, rebuild=attempt == 1)
        return {}

    def save(self, root: Path, kept: list[_Kept]) -> None:
        """Keep rows; unreadable folders are not kept."""
        rows = [_packed(root, one, one.entry) for one in kept if one.entry is not None]
        self._write("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", rows)

    def forget(self, root: Path, names: list[str]) -> None:
        """Drop the rows of folders that are gone."""
        self._write("DELETE FROM runs WHERE root = ? AND name = ?", [(str(root), n) for n in names])

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _write(self, statement: str, rows: list[Any]) -> None:
        if not rows or self._path is None:
            return
        try:
            database = self._open()
            with database:
                database.executemany(statement, rows)
        except (OSError, ForeignError) as error:
            self._give_up(error, rebuild=True)

    def _open(self) -> sqlite3.Connection:
        if self._database is not None:
            return self._database
        if self._path is None:
            raise OSError("no cache")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = open_to_write(self._path, timeout=2.0, check_same_thread=False)
        self._database = database
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=OFF")
        if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            with database:
                database.execute("DROP TABLE IF EXISTS runs")
                database.execute(_SCHEMA)
                database.execute(f"PRAGMA user_version={VERSION}")
        return database

    def _give_up(self, error: Exception, *, rebuild: bool) -> None:
        """Close the file; one that is damaged is removed, one that is busy or read-only is not."""
        self.close()
        if rebuild and not isinstance(error, UnavailableError | OSError) and self._path is not None:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with suppress(OSError):
                    self._path.with_name(self._path.name + suffix).unlink()


def _places(root: Path) -> list[_Place]:
    """Return the place of every run's folder, newest first; none where the folder is absent."""
    try:
        with accessed(), os.scandir(root) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
    except UnreadableError as error:
        if error.is_missing or error.errno == errno.ENOTDIR:
            return []
        raise
    found = [place for name in names if (place := _place_of(root / name)) is not None]
    return sorted(found, key=lambda place: (place.made, place.name), reverse=True)


def _place_of(folder: Path) -> _Place | None:
    """Return the stamps of a run's folder, or None where it holds no run.

    A folder that may not be looked into has a place, so that it is told.
    """
    base = os.fspath(folder)
    try:
        about = os.stat(f"{base}/{ABOUT}")  # noqa: PTH116 - pathlib takes a third of a scan
    except PermissionError:
        return _Place(folder.name, 0.0, "unreadable", "")
    except OSError:
        return None
    data = f"{about.st_mtime_ns}:{about.st_size}/{_stamp(f'{base}/{DATABASE}')}"
    # A reader leaves an empty write-ahead log for a moment.
    wal = _stamp(f"{base}/{DATABASE}-wal")
    if not wal.endswith(":0"):
        data += f"/{wal}"
    return _Place(folder.name, about.st_mtime, data, _stamp(f"{base}/{MARKS}"))


def _stamp(path: str) -> str:
    try:
        found = os.stat(path)  # noqa: PTH116 - see above
    except OSError:
        return ":0"
    return f"{found.st_mtime_ns}:{found.st_size}"


def _time_of(root: Path) -> int:
    try:
        return root.stat().st_mtime_ns
    except OSError:
        return 0


def _still(root: Path, kept: _Kept) -> bool:
    """Return whether a run that had not ended is still written to, or still not."""
    if kept.writer is None or kept.entry is None:
        return True
    try:
        alive = is_written(root / kept.place.name, kept.writer)
    except OSError:
        return False
    return alive == (kept.entry.summary.state != _INTERRUPTED)


def _take(root: Path, place: _Place, known: _Kept | None, batch: Found) -> _Kept:
    """Read a run into a batch."""
    kept, warnings = _read(root, place, known)
    batch.warnings += warnings
    if kept.entry is not None:
        batch.entries.append(kept.entry)
    elif known is not None and known.entry is not None:
        batch.gone.append(known.entry.id)
    return kept


def _read(root: Path, place: _Place, known: _Kept | None) -> tuple[_Kept, list[str]]:
    """Read a run, or its marks alone where nothing else changed."""
    folder = root / place.name
    warnings = []
    try:
        marks = read_marks(folder)
    except MarksError as error:
        warnings.append(str(error))
        marks = marks_of({})
    same = known is not None and known.place.data == place.data and _still(root, known)
    if known is not None and known.entry is not None and same:
        return replace(known, place=place, entry=replace(known.entry, marks=marks)), warnings
    try:
        record, writer = open_last(folder)
        entry = _entry(record, folder, place)
    except StoreError as error:
        return _Kept(place, None), [str(error)]
    entry.marks = marks
    return _Kept(place, entry, writer), warnings


def _entry(record: Record, folder: Path, place: _Place) -> Entry:
    entry = entry_of(record, folder, place.made)
    entry.stamp = place.data
    return entry


def _packed(root: Path, kept: _Kept, entry: Entry) -> tuple[str, str, str, str, int]:
    body = json.dumps(
        [
            entry.id,
            entry.config,
            list(astuple(entry.summary)),
            asdict(entry.marks),
            None if kept.writer is None else astuple(kept.writer),
            kept.place.made,
        ]
    )
    stamp = f"{kept.place.data}|{kept.place.marks}"
    return str(root), kept.place.name, stamp, body, zlib.crc32(body.encode())


def _unpacked(root: Path, name: Any, stamp: Any, body: Any, crc: Any) -> _Kept | None:
    """Return a row, or None where it does not make sense."""
    try:
        row_of((name, stamp, body, crc), "runs", str, str, str, int)
        if zlib.crc32(body.encode("utf-8", "surrogatepass")) != crc:
            return None
        run, config, numbers, marks, writer, made = row_of(
            of_kind(parsed_json(body), list, "body"),
            *("body", str, dict, list, dict, object, float),
        )
        if not math.isfinite(made):
            return None
        check_config(config)
        data, _, marked = stamp.partition("|")
        place = _Place(name, made, data, marked)
        entry = Entry(run, root / name, config, _summary(numbers), marks_of(marks), data)
        return _Kept(place, entry, None if writer is None else _writer(writer))
    except ForeignError:
        return None


def _summary(values: list[Any]) -> Summary:
    """Return a summary out of its stored fields. Raises: ForeignError."""
    *numbers, own = row_of(values, "summary", *_SUMMARY, list)
    pairs = [row_of(of_kind(one, list, "own"), "own", list, float) for one in own]
    found = [(_quantity(about), value) for about, value in pairs]
    return Summary(*[*numbers, tuple(found)])


def _quantity(about: list[Any]) -> Quantity:
    *known, rounding, primary = row_of(about, "own", str, str, str, str, str, bool, int)
    return replace(quantity_out_of(known), rounding=rounding, primary=primary)


def _writer(value: Any) -> Writer:
    pid, host = row_of(of_kind(value, list, "writer"), "writer", int, str)
    return Writer(pid, host)
