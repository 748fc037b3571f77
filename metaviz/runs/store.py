"""Runs on disk: one folder each, with `run.toml` and `metrics.db` (SQLite, write-ahead log)."""

import io
import math
import os
import sqlite3
import time
import tomllib
import uuid
import zipfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from metaviz.runs.events import STEP_COLUMNS, Ended, Evaluated, Event, Noted, Pictured, Stepped
from metaviz.runs.files import write_text
from metaviz.runs.record import Record

COMMIT_ROWS = 100
COMMIT_SECONDS = 0.5
SCHEMA_VERSION = 1
# What damaged files raise when they are read, besides KeyError.
_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    OverflowError,
    IndexError,
    sqlite3.Error,
    zipfile.BadZipFile,
)

_SCHEMA = f"""
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE steps (step INTEGER PRIMARY KEY, {", ".join(f"{c} REAL" for c in STEP_COLUMNS)},
                    inner_support_loss BLOB, inner_gradient_norm BLOB);
CREATE TABLE evaluations (step INTEGER PRIMARY KEY, tasks INTEGER, trained_steps INTEGER,
                          curves BLOB, per_task BLOB);
CREATE TABLE pictures (step INTEGER PRIMARY KEY, arrays BLOB);
CREATE TABLE notes (step INTEGER, level TEXT, message TEXT);
"""


class StoreError(OSError):
    """A run cannot be stored or read; the message is one sentence."""


class RunWriter:
    """Appends the events of one run to its folder, committing every half second or 100 rows."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        """Take over an open database; use `create_run`."""
        self.folder = folder
        self._database = database
        self._pending = 0
        self._committed = time.monotonic()

    @property
    def id(self) -> str:
        """Name of the run's folder."""
        return self.folder.name

    def append(self, event: Event) -> None:
        """Store one event; it is on disk after the next commit.

        Raises: StoreError where the disk refuses.
        """
        try:
            self._insert(event)
            self._pending += 1
            late = time.monotonic() - self._committed > COMMIT_SECONDS
            if late or self._pending >= COMMIT_ROWS or isinstance(event, Ended):
                self.commit()
        except sqlite3.Error as error:
            raise StoreError(f"Cannot write to {self.folder}: {error}.") from error

    def commit(self) -> None:
        """Put everything so far on disk."""
        self._database.commit()
        self._pending, self._committed = 0, time.monotonic()

    def set_state(self, state: str) -> None:
        """Record that the run is paused or running again."""
        self._about(state=state)

    def close(self) -> None:
        """Commit and let go of the database."""
        self.commit()
        self._database.close()

    def _about(self, **values: str) -> None:
        rows = list(values.items())
        self._database.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", rows)
        self.commit()

    def _insert(self, event: Event) -> None:
        execute = self._database.execute
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
            self._about(state=event.state, message=event.message)


def create_run(root: Path, config: dict[str, Any], environment: dict[str, Any]) -> RunWriter:
    """Make the folder of a new run.

    The folder's name is made from the ids of algorithm and seed and a random part; names that a
    person gives are data only, so that none can lead elsewhere.
    Raises: StoreError with one sentence where the folder cannot be written.
    """
    name = f"{config['algorithm']}-s{config['seed']}-{uuid.uuid4().hex[:8]}"
    folder = root / name
    about = {
        "run": {"id": name, **_plain(config)},
        "empty": _empty(config),
        "environment": _plain(environment),
    }
    try:
        folder.mkdir(parents=True)
        write_text(folder / "run.toml", tomli_w.dumps(about))
        database = sqlite3.connect(folder / "metrics.db", check_same_thread=False)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute("PRAGMA busy_timeout=5000")
        database.executescript(_SCHEMA)
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(
            f"Cannot write runs to {root}: {reason}. Choose a folder that you may write to."
        ) from error
    writer = RunWriter(folder, database)
    writer._about(state="running", pid=str(os.getpid()), schema=str(SCHEMA_VERSION))
    return writer


def open_run(folder: Path) -> Record:
    """Read a run from its folder, also while another program writes to it.

    Raises: StoreError with one sentence where this is not a readable run.
    """
    try:
        record = _described(tomllib.loads((folder / "run.toml").read_text(encoding="utf-8")))
        with closing(_open_to_read(folder / "metrics.db")) as database:
            _read(database, record)
    except KeyError as error:
        raise StoreError(f"{folder} is not a readable run: {error} is missing.") from error
    except _UNREADABLE as error:
        reason = str(getattr(error, "strerror", None) or error or "it is damaged").rstrip(".")
        raise StoreError(f"{folder} is not a readable run: {reason}.") from error
    return record


def _described(about: dict[str, Any]) -> Record:
    """Return a record without numbers from the contents of `run.toml`."""
    config = dict(about["run"])
    record = Record(str(config.pop("id")), config, dict(about.get("environment", {})))
    record.algorithm, record.problem, record.seed, record.total_steps  # noqa: B018 - must exist
    for part, names in dict(about.get("empty", {})).items():
        target = config if part == "run" else config[part]
        target.update(dict.fromkeys(names))
    for part in ("shared", "options", "problem_options"):
        values = dict(config.get(part, {})).values()
        if not all(isinstance(value, bool | int | float | str | None) for value in values):
            raise TypeError(f"run.toml has a list or table in {part}")
    return record


def list_runs(root: Path) -> list[Path]:
    """Return the folders under `root` that hold a run, oldest first; empty where root is absent."""
    if not root.is_dir():
        return []
    return sorted((path.parent for path in root.glob("*/run.toml")), key=_made)


def _made(folder: Path) -> tuple[float, str]:
    return (folder / "run.toml").stat().st_mtime, folder.name


def _open_to_read(path: Path) -> sqlite3.Connection:
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


def _read(database: sqlite3.Connection, record: Record) -> None:
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
    if not record.ended and not _alive(int(about.get("pid", 0))):
        record.state = "interrupted"
        record.message = "The program ended while this run was training."


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


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


def _empty(config: dict[str, Any]) -> dict[str, list[str]]:
    """Return the keys without a value by table, since TOML cannot hold them."""
    tables = {key: value for key, value in config.items() if isinstance(value, dict)}
    found = {
        part: [key for key, value in values.items() if value is None]
        for part, values in {"run": config, **tables}.items()
    }
    return {part: names for part, names in found.items() if names}


def _plain(value: Any) -> Any:
    """Drop None, which TOML cannot hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value
