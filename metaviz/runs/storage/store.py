"""Runs on disk: one folder each, with `run.toml` and `metrics.db` (SQLite, write-ahead log)."""

import os
import re
import sqlite3
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from metaviz.files.atomic import sweep, write_text
from metaviz.files.foreign import (
    MOST_DATABASE_BYTES,
    ForeignError,
    check_regular,
    part_of,
    read_text,
)
from metaviz.files.platform import advice_on, has_no_handle, reason_of
from metaviz.files.values import row_of
from metaviz.runs.model.events import Divergence, Ended, Event
from metaviz.runs.model.marks import MarksError, read_marks
from metaviz.runs.model.record import Record, run_id
from metaviz.runs.storage.database import (
    ADDED,
    BY_STEP,
    DATABASE,
    SCHEMA,
    SCHEMA_VERSION,
    divergence_of,
    has_table,
    insert,
    open_to_read,
    open_to_write,
    read,
    read_facts,
    read_last,
    write_facts,
    writer_of,
)
from metaviz.runs.storage.interrupted import Writer, is_written, mark_interrupted
from metaviz.runs.storage.lock import LOCK, RunLock, SharedLock, host_name, is_locked, lock_run
from metaviz.runs.storage.manifest import read_about, write_about

COMMIT_ROWS = 100
COMMIT_SECONDS = 0.5
ABOUT = "run.toml"
START = "start.pt"
"""The weights that a run starts from, unless its seed says so."""
_RUN_NAME = re.compile(r"[\w-]+-s\d+-[0-9a-f]{8}")
_LONG_SECONDS = 60.0


class StoreError(OSError):
    """A run cannot be stored or read; the message is one sentence."""


@contextmanager
def _written(folder: Path, lock: RunLock | None = None) -> Iterator[None]:
    """Raise StoreError where a run's folder cannot be written, and release its lock."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, ForeignError) as error:
        if getattr(error, "errno", 0) is None:  # no system said so
            raise
        if lock is not None:
            lock.release()
        raise StoreError(f"Cannot write to {folder}: {_reason(error)}.") from error


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Raise StoreError where a run's folder cannot be read."""
    try:
        yield
    except ForeignError as error:
        raise StoreError(f"{folder} is not a readable run: {_reason(error)}.") from error


class RunWriter:
    """Appends the events of one run to its folder, committing every half second or 100 rows.

    Its methods raise StoreError, with one sentence, where the disk refuses.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection, lock: RunLock) -> None:
        """Take over an open database and the run's lock; use `create_run` or `reopen_run`."""
        self.folder = folder
        self._connection: sqlite3.Connection | None = database
        self._file = _identity(folder)
        self._lock = lock
        self._pending = 0
        self._committed = time.monotonic()

    @property
    def id(self) -> str:
        """Name of the run's folder."""
        return self.folder.name

    def rest(self, shared: SharedLock) -> None:
        """Close all files until the next write; the run stays this writer's by a shared lock."""
        self.commit()
        with _written(self.folder):
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._lock = shared.hold(self.folder, self._lock)

    def discard(self) -> None:
        """Delete a new run that has not begun."""
        self._release()
        _remove_begun(self.folder)

    @property
    def _database(self) -> sqlite3.Connection:
        """The open database. Raises: StoreError where it cannot be opened again."""
        if self._connection is None:
            with _written(self.folder):
                check_regular(self.folder / DATABASE, MOST_DATABASE_BYTES)
                self._lock = self._lock.own()
                self._connection = open_to_write(self.folder)
                self._file = _identity(self.folder)
        return self._connection

    def append(self, event: Event) -> None:
        """Store one event; it is on disk after the next commit."""
        with _written(self.folder):
            insert(self._database, event)
            self._pending += 1
            late = time.monotonic() - self._committed > COMMIT_SECONDS
            if late or self._pending >= COMMIT_ROWS or isinstance(event, Ended):
                self.commit()

    def commit(self) -> None:
        """Put everything so far on disk."""
        if self._connection is None:
            return
        with _written(self.folder):
            if _identity(self.folder) != self._file:
                raise StoreError(f"{self.folder / DATABASE} was removed while the run trained.")
            self._connection.commit()
            self._pending, self._committed = 0, time.monotonic()

    def set_state(self, state: str) -> None:
        """Record that the run is paused or running again."""
        with _written(self.folder):
            write_facts(self._database, state=state)

    def record_checkpoint(self, sha256: str, step: int, score: float | None) -> None:
        """Remember a checkpoint that is about to be written, so that power loss keeps all until it.

        `score` is what the evaluation behind it found, larger for better; None without one.
        """
        self.commit()
        with _written(self.folder):
            self._database.execute("PRAGMA synchronous=FULL")
            row = (sha256, step, score)
            self._database.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", row)
            self.commit()
            self._database.execute("PRAGMA synchronous=NORMAL")

    def forget_checkpoints(self, kept: Collection[str]) -> None:
        """Forget the hashes of all checkpoints but those that are kept."""
        with _written(self.folder):
            marks = ", ".join("?" * len(kept))
            self._database.execute(
                f"DELETE FROM checkpoints WHERE sha256 NOT IN ({marks})",
                tuple(kept),
            )

    def roll_back(self, step: int, *, whole: bool) -> None:
        """Delete what came after a step; -1 deletes everything.

        Unless `whole`, the evaluation at the step itself was not finished, and goes too.
        """
        with _written(self.folder):
            for table in BY_STEP:
                self._database.execute(f"DELETE FROM {table} WHERE step > ?", (step,))
            if not whole:
                for table in ("evaluations", "pictures"):
                    self._database.execute(f"DELETE FROM {table} WHERE step = ?", (step,))
            afresh = {"state": "running", "message": "", "divergence": ""}
            write_facts(self._database, **afresh, **_this_process())

    def close(self) -> None:
        """Commit and close the database."""
        try:
            self.commit()
        finally:
            self._release()

    def give_up(self, message: str) -> None:
        """Close after a write that failed, keeping what is on disk and what still fits."""
        with suppress(StoreError, ForeignError):
            self.commit()
        with suppress(StoreError, ForeignError):
            self._database.rollback()
            write_facts(self._database, state="failed", message=message)
        self._release()

    def _release(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._lock.release()


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return what tells a run's database from a file that was put in its place."""
    try:
        found = (folder / DATABASE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def create_run(
    root: Path,
    config: dict[str, Any],
    environment: dict[str, Any],
    **about: Any,
) -> RunWriter:
    """Make the folder of a new run.

    `about` are what else a record has that `run.toml` holds: parent, network, traits, resolved.

    The folder's name is made from the ids of algorithm and seed and a random part; names that a
    person gives are data only, so that none can lead elsewhere. `run.toml` comes last: a folder
    without it is no run yet.
    Raises: StoreError with one sentence where the folder cannot be written.
    """
    name = f"{config['algorithm']}-s{config['seed']}-{uuid.uuid4().hex[:8]}"
    folder = root / name
    try:
        folder.mkdir(parents=True)
        with ExitStack() as opened:
            opened.callback(_remove_begun, folder)
            lock = lock_run(folder) or RunLock(None)
            opened.callback(lock.release)
            database = opened.enter_context(closing(open_to_write(folder)))
            database.executescript(SCHEMA)
            write_facts(database, state="running", schema=str(SCHEMA_VERSION), **_this_process())
            record = Record(name, config, environment, **about)
            write_text(folder / ABOUT, write_about(record))
            opened.pop_all()
    except (OSError, ForeignError) as error:
        advice = "" if has_no_handle() else advice_on(error)
        raise StoreError(f"Cannot write runs to {root}: {_reason(error)}.{advice}") from error
    return RunWriter(folder, database, lock)


def _remove_begun(folder: Path) -> None:
    """Remove the folder of a run that has not begun, with the files that it was made with."""
    names = (ABOUT, *(f"{DATABASE}{end}" for end in ("", "-wal", "-shm", "-journal")), LOCK, START)
    with suppress(OSError):
        for name in names:
            (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        sweep(folder)
    with suppress(OSError):
        folder.rmdir()


def sweep_runs(root: Path) -> None:
    """Remove folders that programs left which were ended before a run of theirs had begun."""
    with suppress(OSError):
        for folder in list(root.iterdir()):
            old = time.time() - folder.lstat().st_mtime > _LONG_SECONDS
            if old and _RUN_NAME.fullmatch(folder.name) and not (folder / ABOUT).exists():
                if folder.is_symlink() or is_locked(folder):
                    continue
                _remove_begun(folder)


def _reason(error: Exception) -> str:
    """Return why a run's folder cannot be read or written."""
    return reason_of(error) if isinstance(error, OSError) else str(error).rstrip(".")


def reopen_run(folder: Path) -> tuple[Record, RunWriter]:
    """Open a run to be written to again, and sweep up what an interrupted write left.

    Returns what it holds and its writer. Raises: StoreError with one sentence where it is not
    readable, where another process or session trains it, or where it cannot be written.
    """
    record = open_run(folder)
    with _written(folder):
        lock = lock_run(folder) if record.ended else None
    if lock is None:
        raise StoreError(
            f"{record.id} is being trained by another window or command: stop it there first."
        )
    with _written(folder, lock):
        sweep(folder)
        database = open_to_write(folder)
        database.executescript(ADDED)
        write_facts(database, schema=str(SCHEMA_VERSION))
    return record, RunWriter(folder, database, lock)


def rewrite_about(folder: Path, record: Record) -> None:
    """Write a run's changed configuration; runs are listed by the time of the first.

    Raises: StoreError where the disk refuses.
    """
    with _written(folder):
        made = (folder / ABOUT).stat()
        write_text(folder / ABOUT, write_about(record))
        os.utime(folder / ABOUT, ns=(made.st_atime_ns, made.st_mtime_ns))


def checkpoint_hashes(folder: Path) -> dict[str, float | None]:
    """Return the scores of a run's checkpoints by SHA-256; empty for runs of earlier versions.

    Raises: StoreError where the database cannot be read.
    """
    with _readable(folder), closing(open_to_read(folder / DATABASE)) as database:
        if not has_table(database, "checkpoints"):
            return {}
        rows = database.execute("SELECT sha256, score FROM checkpoints")
        return dict(row_of(row, "checkpoints", str, None) for row in rows)


def open_run(folder: Path, *, most_pictures: int | None = None) -> Record:
    """Read a run from its folder, also while another program writes to it.

    With `most_pictures` only so many are kept, spread evenly over the run. Marks that cannot be
    read are none; `read_marks` says why.
    Raises: StoreError with one sentence where this is not a readable run.
    """

    def read_some(database: sqlite3.Connection, record: Record) -> None:
        record.most_pictures = most_pictures
        read(database, record)

    record, _ = _open(folder, read_some)
    return record


def open_last(folder: Path) -> tuple[Record, Writer | None]:
    """Read the last step and evaluation of a run only, which a table shows; also who writes to it.

    Returns the record and, for a run that did not end, the process that wrote to it last.
    Raises: StoreError with one sentence where this is not a readable run.
    """
    return _open(folder, read_last)


def _open(
    folder: Path, reads: Callable[[sqlite3.Connection, Record], None]
) -> tuple[Record, Writer | None]:
    with _readable(folder):
        record, writer = _read_once(folder, reads)
        if writer is None or is_written(folder, writer):
            return record, writer
        # It may have ended just then: all that it wrote is there once its lock is free.
        record, writer = _read_once(folder, reads)
        if writer is not None and not is_written(folder, writer):
            mark_interrupted(record)
        return record, writer


def _read_once(
    folder: Path, reads: Callable[[sqlite3.Connection, Record], None]
) -> tuple[Record, Writer | None]:
    """Read a run as it is stored; also who wrote to it last, unless it has ended."""
    record = read_about(read_text(part_of(folder, ABOUT)))
    record.stored_id, record.id = record.id, run_id(folder)
    with suppress(MarksError):
        record.marks = read_marks(folder)
    with closing(open_to_read(folder / DATABASE)) as database:
        database.execute("BEGIN")  # one snapshot, so that rows of all tables belong together
        reads(database, record)
        last = writer_of(read_facts(database))
    return record, None if record.ended else last


def read_divergence(folder: Path) -> Divergence | None:
    """Return why a stored run diverged and what may be done; None for one that did not.

    Raises: StoreError with one sentence where this is not a readable run.
    """
    with _readable(folder), closing(open_to_read(folder / DATABASE)) as database:
        return divergence_of(database)


def list_runs(root: Path) -> list[Path]:
    """Return the folders under `root` that hold a run, oldest first; empty where root is absent.

    Those that may not be looked into are among them: reading them says so.
    """
    if not root.is_dir():
        return []
    try:
        found = [path for path in root.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    made = [(_made(path), path) for path in found]
    return [path for _, path in sorted((when, path) for when, path in made if when is not None)]


def _made(folder: Path) -> tuple[float, str] | None:
    """Return what runs are sorted by; None for what holds no run, or was deleted meanwhile."""
    try:
        return (folder / ABOUT).stat().st_mtime, folder.name
    except PermissionError:
        return 0.0, folder.name
    except OSError:
        return None


def holds_run(folder: Path) -> bool:
    """Return whether a folder holds a run, or may not be looked into: reading it says so."""
    return _made(folder) is not None


def _this_process() -> dict[str, str]:
    return {"pid": str(os.getpid()), "host": host_name()}
