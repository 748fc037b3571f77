"""The database of a run: its tables, and events as their rows."""

import io
import math
import sqlite3
from pathlib import Path

import numpy as np

from metaviz.runs.events import STEP_COLUMNS, Evaluated, Event, Noted, Pictured, Stepped
from metaviz.runs.record import Record

DATABASE = "metrics.db"
SCHEMA_VERSION = 2
BY_STEP = ("steps", "evaluations", "pictures", "notes")
"""Tables whose rows belong to a meta-step."""

CHECKPOINTS = """
CREATE TABLE IF NOT EXISTS checkpoints (sha256 TEXT PRIMARY KEY, step INTEGER, score REAL)
"""
"""Hashes of checkpoints; databases of version 1 lack them."""

SCHEMA = f"""
BEGIN;
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE steps (step INTEGER PRIMARY KEY, {", ".join(f"{c} REAL" for c in STEP_COLUMNS)},
                    inner_support_loss BLOB, inner_gradient_norm BLOB);
CREATE TABLE evaluations (step INTEGER PRIMARY KEY, tasks INTEGER, trained_steps INTEGER,
                          curves BLOB, per_task BLOB);
CREATE TABLE pictures (step INTEGER PRIMARY KEY, arrays BLOB);
CREATE TABLE notes (step INTEGER, level TEXT, message TEXT);
{CHECKPOINTS};
COMMIT;
"""


def open_to_write(folder: Path) -> sqlite3.Connection:
    """Open, or make, the database of a run's folder. Raises: sqlite3.Error."""
    database = sqlite3.connect(folder / DATABASE, check_same_thread=False)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("PRAGMA busy_timeout=5000")
    return database


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a database for reading.

    The last connection to close folds the write-ahead log into the file, which one without write
    access cannot; so write access is asked for first, though nothing is written.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is missing")
    address = path.resolve().as_uri()
    try:
        database = sqlite3.connect(f"{address}?mode=rw", uri=True)
    except sqlite3.OperationalError:
        return sqlite3.connect(f"{address}?mode=ro", uri=True)
    try:
        database.execute("PRAGMA query_only=ON")
        database.execute("SELECT count(*) FROM about")
    except sqlite3.Error as error:
        database.close()
        if not isinstance(error, sqlite3.OperationalError):
            raise
        database = sqlite3.connect(f"{address}?mode=ro", uri=True)
    return database


def read(database: sqlite3.Connection, record: Record) -> None:
    """Read all rows into a record. Raises: whatever damaged rows raise."""
    columns = ", ".join(("step", *STEP_COLUMNS))
    for step, *values in database.execute(f"SELECT {columns} FROM steps ORDER BY step"):
        record.append_row(step, values)
    last = "SELECT inner_support_loss, inner_gradient_norm FROM steps ORDER BY step DESC LIMIT 1"
    for losses, norms in database.execute(last):
        record.last_inner = np.frombuffer(losses, np.float32), np.frombuffer(norms, np.float32)
    query = "SELECT step, tasks, trained_steps, curves, per_task FROM evaluations ORDER BY step"
    for step, tasks, trained, curves, per_task in database.execute(query):
        record.apply(Evaluated(step, tasks, trained, _curves(curves, trained), _unpack(per_task)))
    for step, arrays in database.execute("SELECT step, arrays FROM pictures ORDER BY step"):
        record.apply(Pictured(step, _unpack(arrays)))
    for step, level, message in database.execute("SELECT step, level, message FROM notes"):
        record.apply(Noted(step, level, message))
    about = dict(database.execute("SELECT key, value FROM about"))
    record.state, record.message = about.get("state", "interrupted"), about.get("message", "")


def read_last(database: sqlite3.Connection, record: Record) -> None:
    """Read what a table shows: the last step, the last evaluation, the state.

    Raises: whatever damaged rows raise.
    """
    columns = ", ".join(("step", *STEP_COLUMNS))
    newest = "ORDER BY step DESC LIMIT 1"
    for step, *values in database.execute(f"SELECT {columns} FROM steps {newest}"):
        record.append_row(step, values)
    query = f"SELECT step, tasks, trained_steps, curves FROM evaluations {newest}"
    for step, tasks, trained, curves in database.execute(query):
        record.apply(Evaluated(step, tasks, trained, _curves(curves, trained), {}))
    about = dict(database.execute("SELECT key, value FROM about"))
    record.state, record.message = about.get("state", "interrupted"), about.get("message", "")


def write_facts(database: sqlite3.Connection, **values: str) -> None:
    """Store what is known of a run as a whole, and commit."""
    rows = list(values.items())
    database.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", rows)
    database.commit()


def insert(database: sqlite3.Connection, event: Event) -> None:
    """Store one event; it is on disk after the next commit."""
    execute = database.execute
    if isinstance(event, Stepped):
        numbers = [_finite(event.values.get(name)) for name in STEP_COLUMNS]
        inner = [_small(event.inner_support_loss), _small(event.inner_gradient_norm)]
        marks = ", ".join("?" * (len(numbers) + 3))
        execute(f"INSERT INTO steps VALUES ({marks})", [event.step, *numbers, *inner])
    elif isinstance(event, Evaluated):
        about = [event.step, event.tasks, event.trained_steps]
        blobs = [_pack(event.curves), _pack(event.per_task)]
        execute("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?, ?)", [*about, *blobs])
    elif isinstance(event, Pictured):
        row = (event.step, _pack(event.arrays))
        execute("INSERT OR REPLACE INTO pictures VALUES (?, ?)", row)
    elif isinstance(event, Noted):
        execute("INSERT INTO notes VALUES (?, ?, ?)", (event.step, event.level, event.message))
    else:
        write_facts(database, state=event.state, message=event.message)


def pid_of(database: sqlite3.Connection) -> int:
    """Return the process that wrote to the run last; 0 where none is named."""
    row = database.execute("SELECT value FROM about WHERE key = 'pid'").fetchone()
    return int(row[0]) if row else 0


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _small(array: np.ndarray) -> bytes:
    return np.asarray(array, np.float32).tobytes()


def _pack(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def _unpack(blob: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(blob), allow_pickle=False) as archive:
        return dict(archive)


def _curves(blob: bytes, trained: int) -> dict[str, np.ndarray]:
    """Read the curves of an evaluation; all go beyond the trained number of steps."""
    curves = _unpack(blob)
    if "support_loss" not in curves or any(c.shape[0] <= trained for c in curves.values()):
        raise ValueError("an evaluation lacks its curves")
    return curves
