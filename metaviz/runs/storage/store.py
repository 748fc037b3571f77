"""Runs on disk: one folder each, with `run.toml` and `metrics.db` (SQLite, write-ahead log)."""

import os
import sqlite3
import time
import uuid
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from metaviz.files.atomic import sweep, write_text
from metaviz.files.foreign import DAMAGED, ForeignError, read_text
from metaviz.runs.model.events import Divergence, Ended, Event
from metaviz.runs.model.marks import MarksError, read_marks
from metaviz.runs.model.record import Record
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
from metaviz.runs.storage.lock import RunLock, Writer, host_name, is_written, lock_run
from metaviz.runs.storage.manifest import read_about, write_about

COMMIT_ROWS = 100
COMMIT_SECONDS = 0.5
ABOUT = "run.toml"
# What damaged files raise when they are read, besides KeyError.
_UNREADABLE = (*DAMAGED, IndexError, sqlite3.Error, zipfile.BadZipFile, RecursionError)


class StoreError(OSError):
    """A run cannot be stored or read; the message is one sentence."""


@contextmanager
def _written(folder: Path, lock: RunLock | None = None) -> Iterator[None]:
    """Raise StoreError where a run's folder cannot be written, and release its lock."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, ForeignError, sqlite3.Error) as error:
        if lock is not None:
            lock.release()
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"Cannot write to {folder}: {reason}.") from error


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Raise StoreError where a run's folder cannot be read."""
    try:
        yield
    except KeyError as error:
        raise StoreError(f"{folder} is not a readable run: {error} is missing.") from error
    except _UNREADABLE as error:
        reason = str(getattr(error, "strerror", None) or error or "it is damaged").rstrip(".")
        raise StoreError(f"{folder} is not a readable run: {reason}.") from error


class RunWriter:
    """Appends the events of one run to its folder, committing every half second or 100 rows.

    Its methods raise StoreError, with one sentence, where the disk refuses.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection, lock: RunLock) -> None:
        """Take over an open database and the run's lock; use `create_run` or `reopen_run`."""
        self.folder = folder
        self._database = database
        self._lock = lock
        self._pending = 0
        self._committed = time.monotonic()

    @property
    def id(self) -> str:
        """Name of the run's folder."""
        return self.folder.name

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
        with _written(self.folder):
            self._database.commit()
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
        for last in (self.commit, self._database.rollback):
            with suppress(StoreError, sqlite3.Error):
                last()
        with suppress(sqlite3.Error):
            write_facts(self._database, state="failed", message=message)
        self._release()

    def _release(self) -> None:
        with suppress(sqlite3.Error):
            self._database.close()
        self._lock.release()


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
    lock = None
    try:
        folder.mkdir(parents=True)
        lock = lock_run(folder)
        database = open_to_write(folder)
        database.executescript(SCHEMA)
        writer = RunWriter(folder, database, lock or RunLock(None))
        write_facts(database, state="running", schema=str(SCHEMA_VERSION), **_this_process())
        record = Record(name, config, environment, **about)
        write_text(folder / ABOUT, write_about(record))
    except (OSError, ForeignError, sqlite3.Error) as error:
        if lock is not None:
            lock.release()
        reason = getattr(error, "strerror", None) or error
        raise StoreError(
            f"Cannot write runs to {root}: {reason}. Choose a folder that you may write to."
        ) from error
    return writer


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
        return dict(database.execute("SELECT sha256, score FROM checkpoints"))


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
        record = read_about(read_text(folder / ABOUT))
        with suppress(MarksError):
            record.marks = read_marks(folder)
        with closing(open_to_read(folder / DATABASE)) as database:
            database.execute("BEGIN")  # one snapshot, so that rows of all tables belong together
            reads(database, record)
            last = writer_of(read_facts(database))
        writer = None if record.ended else last
        if writer is not None and not is_written(folder, writer):
            record.state = "interrupted"
            record.message = "The program ended while this run was training."
        return record, writer


def read_divergence(folder: Path) -> Divergence | None:
    """Return why a stored run diverged and what may be done; None for one that did not.

    Raises: StoreError with one sentence where this is not a readable run.
    """
    with _readable(folder), closing(open_to_read(folder / DATABASE)) as database:
        return divergence_of(database)


def list_runs(root: Path) -> list[Path]:
    """Return the folders under `root` that hold a run, oldest first; empty where root is absent."""
    if not root.is_dir():
        return []
    found = (path.parent for path in root.glob(f"*/{ABOUT}"))
    made = ((_made(path), path) for path in found if not path.name.startswith("."))
    return [path for _, path in sorted((when, path) for when, path in made if when is not None)]


def _made(folder: Path) -> tuple[float, str] | None:
    """Return what runs are sorted by; None for one that was deleted meanwhile."""
    try:
        return (folder / ABOUT).stat().st_mtime, folder.name
    except OSError:
        return None


def _this_process() -> dict[str, str]:
    return {"pid": str(os.getpid()), "host": host_name()}
