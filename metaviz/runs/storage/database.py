"""The database of a run: its tables, and events as their rows."""

import json
import math
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from metaviz.config.quantities import Quantity, is_name
from metaviz.config.run_config import MOST_STEPS
from metaviz.files import foreign
from metaviz.files.foreign import ForeignError, accessed, part_of
from metaviz.files.values import of_kind, parsed_json, plain_table, required, row_of, whole
from metaviz.runs.model.arrays import numbers, pack_arrays, possible, read_arrays
from metaviz.runs.model.events import (
    STEP_COLUMNS,
    Divergence,
    Ended,
    Evaluated,
    Event,
    Level,
    Noted,
    Pictured,
    Remedy,
    State,
    Stepped,
)
from metaviz.runs.model.record import Record
from metaviz.runs.storage.interrupted import Writer
from metaviz.runs.storage.lock import is_locked

DATABASE = "metrics.db"
SCHEMA_VERSION = 3
_NO_STEP = 2**62
_MOST_TASKS = 100_000_000
_NO_PROCESS = 2**31
_PROCESS = re.compile(r"[0-9]{1,12}")
BY_STEP = ("steps", "readings", "evaluations", "pictures", "notes")
"""Tables whose rows belong to a meta-step."""

ADDED = """
CREATE TABLE IF NOT EXISTS checkpoints (sha256 TEXT PRIMARY KEY, step INTEGER, score REAL);
CREATE TABLE IF NOT EXISTS quantities (id TEXT PRIMARY KEY, title TEXT, unit TEXT, better TEXT,
                                       per TEXT);
CREATE TABLE IF NOT EXISTS readings (step INTEGER, id TEXT, value REAL, PRIMARY KEY (step, id))
                                    WITHOUT ROWID;
"""
"""Hashes of checkpoints, which databases of version 1 lack, and numbers of meta-steps that have no
column in `steps`, which those of version 2 lack. Tables that are absent count as empty."""

SCHEMA = f"""
BEGIN;
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE steps (step INTEGER PRIMARY KEY, {", ".join(f"{c} REAL" for c in STEP_COLUMNS)},
                    inner_support_loss BLOB, inner_gradient_norm BLOB);
CREATE TABLE evaluations (step INTEGER PRIMARY KEY, tasks INTEGER, trained_steps INTEGER,
                          curves BLOB, per_task BLOB);
CREATE TABLE pictures (step INTEGER PRIMARY KEY, arrays BLOB);
CREATE TABLE notes (step INTEGER, level TEXT, message TEXT);
{ADDED}COMMIT;
"""


def open_to_write(folder: Path) -> sqlite3.Connection:
    """Open, or make, the database of a run's folder. Raises: ForeignError, as it does later."""
    database = foreign.open_to_write(folder / DATABASE, check_same_thread=False)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("PRAGMA busy_timeout=5000")
    return database


def open_to_read(path: Path, *, live: bool = False) -> sqlite3.Connection:
    """Open a run's database for reading, which changes nothing.

    `live` says that rows are to be seen that come later; the run's lock says so by itself.
    Raises: ForeignError, as its connection does.
    """
    path = part_of(path.parent, path.name)
    with accessed():
        is_there = path.exists()
    if not is_there:
        raise ForeignError(f"{path.name} is missing")
    return foreign.open_to_read(path, live=live or bool(is_locked(path.parent)))


def read(database: sqlite3.Connection, record: Record) -> None:
    """Read all rows into a record. Raises: ForeignError where they are damaged."""
    columns = ", ".join(("step", *STEP_COLUMNS))
    own = _own(database, record, 0)
    for row in database.execute(f"SELECT {columns} FROM steps ORDER BY step"):
        step, values = _numbers(row)
        record.append_row(step, values, own.get(step))
    _check_columns(record)
    last = "SELECT inner_support_loss, inner_gradient_norm FROM steps ORDER BY step DESC LIMIT 1"
    for losses, norms in database.execute(last):
        record.last_inner = _floats(losses), _floats(norms)
    for row in database.execute(f"SELECT {_EVALUATION} FROM evaluations ORDER BY step"):
        record.apply(_evaluated(row))
    for row in database.execute(f"SELECT {_PICTURE} FROM pictures ORDER BY step"):
        record.apply(_pictured(row))
    for row in database.execute(f"SELECT {_NOTE} FROM notes"):
        record.apply(_noted(row))
    _read_state(database, record)
    record.divergence = divergence_of(database)


_EVALUATION = "step, tasks, trained_steps, curves, per_task"
_PICTURE, _NOTE = "step, arrays", "step, level, message"
_LEVELS: tuple[Level, ...] = get_args(Level)
_STATES: tuple[State, ...] = get_args(State)
_NUMBERS = frozenset({int, float, type(None)})


def _numbers(row: tuple[Any, ...]) -> tuple[int, list[float | None]]:
    """Return a row of `steps` without its arrays. Raises: ForeignError."""
    step, *values = row
    if type(step) is not int or not _NUMBERS.issuperset(map(type, values)):
        raise ForeignError(f"step {step!r:.40} holds what is no number")
    return whole(step, "a step", 0, MOST_STEPS), values


def _check_columns(record: Record) -> None:
    """Refuse numbers that cannot be true. Raises: ForeignError."""
    for name in (*STEP_COLUMNS, *(own.id for own in record.quantities)):
        possible(name, record.column(name))


def _evaluated(row: tuple[Any, ...]) -> Evaluated:
    step, tasks, trained, curves, per_task = row_of(row, "evaluations", int, int, int, bytes, bytes)
    found = read_arrays(per_task)
    for name, values in found.items():
        possible(name, numbers(values, f"an evaluation's {name}", dimensions=1))
    return _evaluation(step, tasks, trained, curves, found)


def _evaluation(
    step: int, tasks: int, trained: int, curves: bytes, per_task: dict[str, np.ndarray]
) -> Evaluated:
    """Return an evaluation whose numbers can be true. Raises: ForeignError."""
    whole(step, "an evaluation's step", 0, MOST_STEPS)
    whole(tasks, "an evaluation's tasks", 0, _MOST_TASKS)
    return Evaluated(step, tasks, trained, _curves(curves, trained), per_task)


def _pictured(row: tuple[Any, ...]) -> Pictured:
    step, arrays = row_of(row, "pictures", int, bytes)
    return Pictured(whole(step, "a picture's step", 0, MOST_STEPS), read_arrays(arrays))


def _noted(row: tuple[Any, ...]) -> Noted:
    step, level, message = row_of(row, "notes", int, str, str)
    known = next((one for one in _LEVELS if one == level), None)
    if known is None:
        raise ForeignError(f"a note has the unknown level {level!r:.40}")
    return Noted(whole(step, "a note's step", 0, MOST_STEPS), known, message)


def _read_state(database: sqlite3.Connection, record: Record) -> None:
    about = read_facts(database)
    record.state, record.message = state_of(about), message_of(about)


def state_of(facts: Mapping[str, Any]) -> State:
    """Return the state of a run, out of its facts. Raises: ForeignError where it is none."""
    state = facts.get("state", "interrupted")
    known = next((one for one in _STATES if one == state), None)
    if known is None:
        raise ForeignError(f"its state is {state!r:.40}")
    return known


def message_of(facts: Mapping[str, Any]) -> str:
    """Return what is said of a run's state, out of its facts. Raises: ForeignError."""
    return of_kind(facts.get("message", ""), str, "its message")


def _floats(data: Any) -> np.ndarray:
    """Return numbers over k, as `_small` packed them. Raises: ForeignError."""
    if not isinstance(data, bytes) or len(data) % 4:
        raise ForeignError("a step's numbers over k are damaged")
    return np.frombuffer(data, np.float32)


_Readings = dict[int, dict[str, float | None]]


def _own(database: sqlite3.Connection, record: Record, first: int) -> _Readings:
    """Make room in a record for numbers without a column; return them by step, from a first one."""
    for quantity in _quantities(database):
        record.describe(quantity)
    return _readings(database, first, _NO_STEP)


def _quantities(database: sqlite3.Connection) -> tuple[Quantity, ...]:
    """Return what the numbers without a column in `steps` mean."""
    if not has_table(database, "quantities"):
        return ()
    query = "SELECT id, title, unit, better, per FROM quantities ORDER BY rowid"
    return tuple(quantity_out_of(row) for row in database.execute(query))


def quantity_out_of(row: Sequence[Any]) -> Quantity:
    """Return what a stored number means: id, title, unit, better, per. Raises: ForeignError."""
    name, title, unit, better, per = row_of(row, "quantities", str, str, str, str, str)
    if not is_name(name):
        raise ForeignError(f"a quantity has the id {name!r:.40}")
    return Quantity(name, title, unit, better, per)


def _readings(database: sqlite3.Connection, first: int, last: int) -> _Readings:
    """Return numbers without a column in `steps`, by step and id."""
    found: _Readings = {}
    if has_table(database, "readings"):
        query = "SELECT step, id, value FROM readings WHERE step BETWEEN ? AND ? ORDER BY step"
        for row in database.execute(query, (first, last)):
            step, name, value = row_of(row, "readings", int, str, None)
            found.setdefault(step, {})[name] = value
    return found


def _latest(database: sqlite3.Connection, quantities: tuple[Quantity, ...]) -> dict[str, float]:
    """Return the last numbers of quantities, which need not be those of the last step."""
    query = (
        "SELECT value FROM readings WHERE id = ? AND value IS NOT NULL ORDER BY step DESC LIMIT 1"
    )
    found = {own.id: database.execute(query, (own.id,)).fetchone() for own in quantities}
    return {name: of_kind(row[0], float, name) for name, row in found.items() if row is not None}


def has_table(database: sqlite3.Connection, table: str) -> bool:
    """Return whether a database has a table; those of earlier versions lack some."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return database.execute(query, (table,)).fetchone() is not None


def divergence_of(database: sqlite3.Connection) -> Divergence | None:
    """Return why a run diverged and what may be done. Raises: ForeignError."""
    row = database.execute("SELECT value FROM about WHERE key = 'divergence'").fetchone()
    if not (row and row[0]):
        return None
    stored = of_kind(parsed_json(of_kind(row[0], str, "divergence")), dict, "divergence")
    task = stored.get("task")
    return Divergence(
        required(stored, "quantity", str),
        whole(required(stored, "step", int), "step", 0, MOST_STEPS),
        None if task is None else of_kind(task, int, "task"),
        tuple(map(_remedy, required(stored, "remedies", list))),
    )


def _remedy(value: Any) -> Remedy:
    one = of_kind(value, dict, "remedies")
    amendment = required(one, "amendment", dict)
    return Remedy(required(one, "id", str), required(one, "label", str), amendment)


@dataclass(frozen=True)
class Seen:
    """How far a reader has come: last steps of three tables, number of notes, and a mark.

    `seconds` belongs to the last step: it differs where the step was taken again.
    """

    step: int = 0
    seconds: float | None = None
    evaluated: int = -1
    pictured: int = -1
    notes: int = 0


def still_holds(database: sqlite3.Connection, seen: Seen) -> bool:
    """Return whether what was seen is still so; a run that is resumed is rolled back first."""
    (notes,) = database.execute("SELECT count(*) FROM notes").fetchone()
    if notes < seen.notes:
        return False
    if seen.step == 0:
        return True
    row = database.execute("SELECT seconds FROM steps WHERE step = ?", (seen.step,)).fetchone()
    return bool(row == (seen.seconds,))


def read_since(
    database: sqlite3.Connection, seen: Seen, most: int
) -> tuple[list[Event], Seen, bool]:
    """Return what is new, in the order of steps, how far that is, and whether that is all.

    At most `most` meta-steps are read at a time. Raises: ForeignError.
    """
    found: list[Event] = []
    columns = ", ".join(("inner_support_loss", "inner_gradient_norm", "step", *STEP_COLUMNS))
    query = f"SELECT {columns} FROM steps WHERE step > ? ORDER BY step LIMIT ?"
    step, seconds = seen.step, seen.seconds
    rows = database.execute(query, (seen.step, most)).fetchall()
    own = _readings(database, rows[0][2], rows[-1][2]) if rows else {}
    quantities = _quantities(database) if own else ()
    for losses, norms, *others in rows:
        step, measured = _numbers(tuple(others))
        values = dict(zip(STEP_COLUMNS, measured, strict=True))
        for name, value in (*values.items(), *own.get(step, {}).items()):
            possible(name, np.array([np.nan if value is None else value], float))
        seconds = values["seconds"]
        inner = _floats(losses), _floats(norms)
        found.append(Stepped(step, {**values, **own.get(step, {})}, *inner, quantities))
    complete = len(found) < most
    until = _NO_STEP if complete else step
    notes = database.execute(
        f"SELECT {_NOTE} FROM notes ORDER BY rowid LIMIT -1 OFFSET ?", (seen.notes,)
    ).fetchall()
    found += map(_noted, notes)
    query = f"SELECT {_PICTURE} FROM pictures WHERE step > ? AND step <= ? ORDER BY step"
    pictured = [_pictured(row) for row in database.execute(query, (seen.pictured, until))]
    query = f"SELECT {_EVALUATION} FROM evaluations WHERE step > ? AND step <= ? ORDER BY step"
    rows = database.execute(query, (seen.evaluated, until)).fetchall()
    evaluated = [_evaluated(row) for row in rows]
    found = sorted([*found, *pictured, *evaluated], key=lambda event: event.step)
    now = Seen(
        step,
        seconds,
        evaluated[-1].step if evaluated else seen.evaluated,
        pictured[-1].step if pictured else seen.pictured,
        seen.notes + len(notes),
    )
    return found, now, complete


def read_facts(database: sqlite3.Connection) -> dict[str, Any]:
    """Return what is known of a run as a whole. Raises: ForeignError."""
    return plain_table(dict(database.execute("SELECT key, value FROM about")), "about")


def read_last(database: sqlite3.Connection, record: Record) -> None:
    """Read what a table shows: the last step, the last evaluation, the state.

    Raises: ForeignError where they are damaged.
    """
    columns = ", ".join(("step", *STEP_COLUMNS))
    newest = "ORDER BY step DESC LIMIT 1"
    for row in database.execute(f"SELECT {columns} FROM steps {newest}"):
        step, values = _numbers(row)
        record.append_row(step, values, _own(database, record, step).get(step))
        record.latest = _latest(database, record.quantities)
    _check_columns(record)
    query = f"SELECT step, tasks, trained_steps, curves FROM evaluations {newest}"
    for row in database.execute(query):
        step, tasks, trained, curves = row_of(row, "evaluations", int, int, int, bytes)
        record.apply(_evaluation(step, tasks, trained, curves, {}))
    _read_state(database, record)


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
        for own in event.quantities:
            about = (own.id, own.title, own.unit, own.better, own.per)
            execute("INSERT OR IGNORE INTO quantities VALUES (?, ?, ?, ?, ?)", about)
            value = _finite(event.values.get(own.id))
            execute("INSERT OR REPLACE INTO readings VALUES (?, ?, ?)", (event.step, own.id, value))
    elif isinstance(event, Evaluated):
        counts = [event.step, event.tasks, event.trained_steps]
        blobs = [pack_arrays(event.curves), pack_arrays(event.per_task)]
        execute("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?, ?)", [*counts, *blobs])
    elif isinstance(event, Pictured):
        row = (event.step, pack_arrays(event.arrays))
        execute("INSERT OR REPLACE INTO pictures VALUES (?, ?)", row)
    elif isinstance(event, Noted):
        execute("INSERT INTO notes VALUES (?, ?, ?)", (event.step, event.level, event.message))
    elif isinstance(event, Ended):
        known = "" if event.divergence is None else json.dumps(asdict(event.divergence))
        write_facts(database, state=event.state, message=event.message, divergence=known)


def writer_of(facts: Mapping[str, Any]) -> Writer:
    """Return the process that wrote to a run last, out of its facts. Raises: ForeignError."""
    stored = str(facts.get("pid", 0))
    pid = int(stored) if _PROCESS.fullmatch(stored) else _NO_PROCESS
    if pid >= _NO_PROCESS:
        raise ForeignError(f"{stored:.40} is no process")
    return Writer(pid, str(facts.get("host", "")))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _small(array: np.ndarray) -> bytes:
    return np.asarray(array, np.float32).tobytes()


def _curves(blob: bytes, trained: int) -> dict[str, np.ndarray]:
    """Read the curves of an evaluation; all go beyond the trained number of steps."""
    curves = read_arrays(blob)
    for name, curve in curves.items():
        if not is_name(name):
            raise ForeignError(f"an evaluation has a curve with the id {name!r:.40}")
        possible(name, numbers(curve, f"a curve's {name}", dimensions=1))
    if trained < 0 or not curves or any(len(curve) <= trained for curve in curves.values()):
        raise ForeignError("an evaluation lacks its curves")
    return curves
