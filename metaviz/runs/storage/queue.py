"""The queue of runs: one SQLite file that several processes share and that outlives them all."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from metaviz.config.backbones import training_key
from metaviz.files.foreign import (
    ForeignError,
    UnavailableError,
    UnreadableError,
    accessed,
    open_copy,
    open_to_write,
)
from metaviz.files.values import of_kind, parsed_json, row_of
from metaviz.runs.storage.backbones import planned
from metaviz.runs.storage.database import (
    DATABASE,
    has_table,
    message_of,
    open_to_read,
    read_facts,
    state_of,
)
from metaviz.runs.storage.interrupted import Writer, is_written
from metaviz.runs.storage.manifest import check_config
from metaviz.runs.storage.store import StoreError
from metaviz.runs.storage.worker_process import ENDED, WORKERS, forget_worker, host_of

QUEUE, RUNS = "queue.db", "runs"
VERSION = 1
EntryState = Literal[
    "waiting", "running", "done", "failed", "diverged", "stopped", "aborted", "interrupted"
]
STATES: tuple[EntryState, ...] = get_args(EntryState)
OVER: frozenset[str] = frozenset({"done", "failed", "diverged", "stopped", "aborted"})
"""States of entries that nothing more will come of by itself."""
RESUMABLE: frozenset[str] = frozenset({"interrupted", "stopped", "aborted"})

_USUAL = {"algorithm": "", "problem": "", "seed": 0, "steps": 1}
"""What a configuration may lack here: its training says so."""
DAMAGED_ENTRY = "What was stored of this entry is damaged."

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, config TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting', run TEXT NOT NULL DEFAULT '',
    folder TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',
    sweep TEXT NOT NULL DEFAULT '', worker TEXT NOT NULL DEFAULT '',
    pid INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS by_position ON entries (position);
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT);
"""
_NEEDS = """
CREATE TABLE IF NOT EXISTS needs (entry INTEGER NOT NULL, parent INTEGER NOT NULL,
    PRIMARY KEY (entry, parent));
"""
"""A table that earlier versions do not know, beside theirs."""
_LOST = ("failed", "diverged", "aborted")
"""States of entries that those who need them wait for in vain."""
_COLUMNS = "id, config, state, run, folder, message, sweep, worker"
_ADDED = {
    **{
        f"column {name}": f"ALTER TABLE entries ADD COLUMN {name} TEXT NOT NULL DEFAULT ''"
        for name in ("run", "folder", "message", "sweep", "worker")
    },
    **{
        f"column {name}": f"ALTER TABLE entries ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0"
        for name in ("position", "pid")
    },
    # What has been trained is not known, so that a person decides.
    "column state": (
        "ALTER TABLE entries ADD COLUMN state TEXT NOT NULL DEFAULT 'waiting';"
        f"UPDATE entries SET state = 'interrupted', message = '{DAMAGED_ENTRY}'"
    ),
}
"""What makes the parts of a queue that it can do without."""
_ELSEWHERE = (
    "To have a queue elsewhere, set METAVIZ_HOME to a folder that you may write to; to begin a new "
    "one there, rename the file."
)


@dataclass(frozen=True)
class Entry:
    """One run of the queue. `folder` is None until the run has begun; `id` counts what was added.

    `config` is the plain form of a RunConfig; empty where the stored text cannot be read.
    """

    id: int
    config: dict[str, Any]
    state: EntryState
    run: str
    folder: Path | None
    message: str
    sweep: str
    worker: str


class Queue:
    """Entries in the order of their position; clocks play no part in it.

    Its methods raise StoreError with one sentence where the file cannot be read or written. One
    object belongs to one thread. `note` says what was put aside or mended when it was opened, or
    that it can only be read; it is empty otherwise.
    """

    def __init__(self, home: Path) -> None:
        """Open, or make, the queue in a data folder; a damaged one is renamed, never deleted.

        One that cannot be written is read as it is now.
        """
        self.path = home / QUEUE
        self.note = ""
        self._home = home
        self._refusal = ""
        with self._store_errors():
            self._database = self._opened()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be changed."""
        return bool(self._refusal)

    @property
    def version(self) -> tuple[int, int]:
        """A value that changes whenever anybody changes the queue."""
        with self._store_errors():
            (others,) = self._database.execute("PRAGMA data_version").fetchone()
            return int(others), self._database.total_changes

    @property
    def paused(self) -> bool:
        """Whether no further entry is to be begun."""
        with self._store_errors():
            found = self._database.execute("SELECT value FROM about WHERE key = 'paused'")
            return bool(found.fetchone() == ("1",))

    def set_paused(self, *, paused: bool) -> None:
        """Begin no further entry, or go on."""
        with self._changing() as database:
            row = ("paused", str(int(paused)))
            database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", row)

    def entries(self) -> list[Entry]:
        """Return all entries in order."""
        with self._store_errors():
            rows = self._database.execute(f"SELECT {_COLUMNS} FROM entries ORDER BY position, id")
            return [_entry(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Return how many entries are in each state."""
        with self._store_errors():
            rows = self._database.execute("SELECT state, count(*) FROM entries GROUP BY state")
            found = {_state_of(state): int(count) for state, count in rows}
            return {state: found.get(state, 0) for state in STATES}

    def add(
        self, configs: Sequence[Mapping[str, Any]], sweep: str = "", after: int | None = None
    ) -> list[int]:
        """Append runs, all or none; return the ids of their entries.

        The trainings that they need and that are not done come before them, each once. With
        `after` they are added only while so many entries belong to the sweep: another process may
        have added them.
        Raises: OptionError where one cannot be told.
        """
        runs = planned(configs, self._home / RUNS)
        with self._changing() as database:
            count = "SELECT count(*) FROM entries WHERE sweep = ?"
            if after is not None and database.execute(count, (sweep,)).fetchone() != (after,):
                return []

            def insert(config: Mapping[str, Any]) -> int:
                cursor = database.execute(
                    "INSERT INTO entries (position, config, sweep) SELECT "
                    "coalesce(max(position), 0) + 1, ?, ? FROM entries",
                    (json.dumps(config), sweep),
                )
                return int(cursor.lastrowid or 0)

            coming = self._coming(database) if any(run.needs for run in runs) else {}
            added = []
            for run in runs:
                parents = []
                for need in run.needs:
                    config = need.model_dump(mode="json")
                    key = training_key(config)
                    coming[key] = coming.get(key) or insert(config)
                    parents.append(coming[key])
                added.append(insert(run.config))
                rows = [(added[-1], parent) for parent in parents]
                database.executemany("INSERT INTO needs VALUES (?, ?)", rows)
            return added

    def _coming(self, database: sqlite3.Connection) -> dict[str, int]:
        """Return the entries that wait or run, by what their training depends on."""
        query = f"SELECT {_COLUMNS} FROM entries WHERE state IN ('waiting', 'running')"
        entries = [_entry(row) for row in database.execute(query).fetchall()]
        return {training_key(entry.config): entry.id for entry in entries}

    def move(self, ids: Sequence[int], place: int) -> None:
        """Put entries, in the order they have, before what is now at `place`, counted from 0."""
        self._reorder(lambda order: _moved(order, set(ids), place))

    def shift(self, ids: Sequence[int], by: int) -> None:
        """Move entries up (-1) or down (1) by one place; those at the edge stay."""
        self._reorder(lambda order: _shifted(order, set(ids), by))

    def run_next(self, ids: Sequence[int]) -> None:
        """Put entries before everything else that waits."""
        with self._store_errors():
            rows = self._database.execute("SELECT id, state FROM entries ORDER BY position, id")
            states = [row_of(row, "entries", int, str) for row in rows]
        chosen = set(ids)
        first = (p for p, (name, s) in enumerate(states) if s == "waiting" and name not in chosen)
        place = next(first, None)
        if place is not None:
            self.move(ids, place)

    def remove(self, ids: Sequence[int]) -> int:
        """Forget entries that are not running; return how many. Runs on disk stay."""
        with self._changing() as database:
            statement = "DELETE FROM entries WHERE id = ? AND state != 'running'"
            return sum(database.execute(statement, (name,)).rowcount for name in ids)

    def clear(self) -> int:
        """Forget the entries that are over; those that can be resumed after a crash stay."""
        with self._changing() as database:
            marks = ", ".join("?" * len(OVER))
            statement = f"DELETE FROM entries WHERE state IN ({marks})"
            return database.execute(statement, tuple(OVER)).rowcount

    def retry(self, ids: Sequence[int]) -> int:
        """Let entries wait again, to be trained from the start as new runs; return how many."""
        return self._requeue(ids, (*OVER, "interrupted"), "run = '', folder = '',")

    def resume(self, ids: Sequence[int]) -> int:
        """Let broken-off entries wait again, to go on from their checkpoints; return how many."""
        return self._requeue(ids, tuple(RESUMABLE), "")

    def claim(self, worker: str) -> Entry | None:
        """Take the first waiting entry for a worker; None where none waits or all is paused.

        Entries wait for those that they need, and fail where these have failed.
        """
        with self._changing() as database:
            self._fail_orphans(database)
            row = database.execute(
                f"SELECT {_COLUMNS} FROM entries WHERE state = 'waiting' AND NOT EXISTS "
                "(SELECT 1 FROM about WHERE key = 'paused' AND value = '1') AND NOT EXISTS "
                "(SELECT 1 FROM needs JOIN entries AS parent ON parent.id = needs.parent "
                "WHERE needs.entry = entries.id AND parent.state != 'done') "
                "ORDER BY position, id LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            database.execute(
                "UPDATE entries SET state = 'running', message = '', worker = ?, pid = ? "
                "WHERE id = ?",
                (worker, os.getpid(), row[0]),
            )
            return _entry(row)

    def _fail_orphans(self, database: sqlite3.Connection) -> None:
        """Mark waiting entries as failed whose parents are lost, with the parents' sentences."""
        marks = ", ".join("?" * len(_LOST))
        rows = database.execute(
            "SELECT entries.id, parent.id, parent.state, parent.message FROM entries "
            "JOIN needs ON needs.entry = entries.id JOIN entries AS parent "
            f"ON parent.id = needs.parent WHERE entries.state = 'waiting' AND parent.state IN "
            f"({marks})",
            _LOST,
        ).fetchall()
        for row in rows:
            name, parent, state, message = row_of(row, "entries", int, int, str, str)
            sentence = f"The training of its backbone, entry {parent}, has {state}"
            sentence = sentence.replace("has aborted", "was aborted")
            text = f"{sentence}: {message}" if message else f"{sentence}."
            database.execute(
                "UPDATE entries SET state = 'failed', message = ? WHERE id = ?", (text, name)
            )

    def begun(self, name: int, run: str, folder: Path) -> None:
        """Remember the run that an entry became."""
        with self._changing() as database:
            row = (run, str(folder), name)
            database.execute("UPDATE entries SET run = ?, folder = ? WHERE id = ?", row)
            # A resumed run has the same folder as before, which others would not notice.
            database.execute(
                "INSERT INTO about VALUES ('begun', 1) "
                "ON CONFLICT (key) DO UPDATE SET value = value + 1"
            )

    def mark(self, name: int, state: EntryState, message: str = "") -> None:
        """Remember how an entry ended, and why."""
        with self._changing() as database:
            row = (state, message, name)
            database.execute(
                "UPDATE entries SET state = ?, message = ?, worker = '' WHERE id = ?", row
            )

    def recover(self, message: str = ENDED) -> list[int]:
        """Mark running entries whose worker is gone as interrupted, or as their run ended.

        A queue that can only be read stays as it is.
        """
        if self.is_read_only:
            return []
        with self._store_errors():
            rows = self._database.execute(
                "SELECT id, worker, pid, folder FROM entries WHERE state = 'running'"
            ).fetchall()
        gone = []
        for row in rows:
            with self._store_errors():
                name, worker, pid, folder = row_of(row, "entries", int, str, int, str)
            if is_written(self._home / WORKERS / worker, Writer(pid, host_of(worker))):
                continue
            state, reason = _ended(Path(folder)) if folder else ("", "")
            with self._changing() as database:
                values = (state or "interrupted", reason if state else message, name, worker)
                changed = database.execute(
                    "UPDATE entries SET state = ?, message = ?, worker = '' "
                    "WHERE id = ? AND worker = ? AND state = 'running'",
                    values,
                )
                gone += [name] if changed.rowcount else []
            forget_worker(self._home / WORKERS / worker)
        return gone

    def _requeue(self, ids: Sequence[int], states: tuple[str, ...], also: str) -> int:
        with self._changing() as database:
            marks = ", ".join("?" * len(states))
            statement = (
                f"UPDATE entries SET {also} state = 'waiting', message = '' "
                f"WHERE id = ? AND state IN ({marks})"
            )
            return sum(database.execute(statement, (name, *states)).rowcount for name in ids)

    def _reorder(self, change: Callable[[list[int]], list[int]]) -> None:
        with self._changing() as database:
            rows = database.execute("SELECT id, position FROM entries ORDER BY position, id")
            positions: dict[int, int] = dict(
                row_of(row, "entries", int, int) for row in rows.fetchall()
            )
            order = change(list(positions))
            database.executemany(
                "UPDATE entries SET position = ? WHERE id = ?",
                [(p, name) for p, name in enumerate(order, 1) if positions[name] != p],
            )

    def _opened(self) -> sqlite3.Connection:
        try:
            with accessed():
                self._home.mkdir(parents=True, exist_ok=True)
            database, self.note = _connected(self.path)
        except (UnavailableError, UnreadableError) as error:
            return self._read_alone(error)
        except _LaterError:
            raise
        except ForeignError as error:
            aside = _put_aside(self.path, error)
            self.note = (
                f"The queue could not be read ({error}); it was put aside as {aside.name}, and a "
                "new one was begun. Add what is to be trained again."
            )
            return _connected(self.path)[0]
        return database

    def _read_alone(self, error: ForeignError) -> sqlite3.Connection:
        """Return a copy of a queue that cannot be written. Raises: the error without a queue."""
        with accessed():
            if not self.path.is_file():
                raise error
        database = open_copy(self.path, isolation_level=None)
        try:
            self.note = _mended(database)
        except BaseException:
            database.close()
            raise
        self._refusal = str(error).rstrip(".")
        told = f"The queue in {self.path} can only be read ({self._refusal})."
        self.note = f"{told} {_ELSEWHERE}"
        return database

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Change the queue whole or not at all, while no other process does."""
        with self._store_errors():
            if self._refusal:
                raise UnavailableError(self._refusal)
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except ForeignError as error:
            reason = str(error).rstrip(".")
            told = f"The queue in {self.path} cannot be used: {reason}."
            advice = "" if "full" in reason else f" {_ELSEWHERE}"
            raise StoreError(f"{told}{advice}") from error


class _LaterError(ForeignError):
    """A later version of this program wrote the queue."""


def _connected(path: Path) -> tuple[sqlite3.Connection, str]:
    """Return the open queue, and what was mended in it. Raises: ForeignError."""
    database = open_to_write(path, isolation_level=None)
    try:
        database.execute("PRAGMA busy_timeout=10000")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        note = _mended(database)
        # SQLite begins to write only later. Opening the file here would take its locks away.
        if not os.access(path, os.W_OK):
            raise UnavailableError("it may not be written")  # noqa: TRY301 - closes the database
        if not has_table(database, "needs"):
            database.executescript(f"BEGIN IMMEDIATE;{_NEEDS}COMMIT")
    except BaseException:
        database.close()
        raise
    return database, note


def _mended(database: sqlite3.Connection) -> str:
    """Make what a queue lacks; return what that was in sentences. Raises: ForeignError."""
    version = _checked_version(database)
    lost = _lost(database) if version else []
    if version < VERSION or lost:
        parts = ["BEGIN IMMEDIATE;", *(f"{_ADDED[name]};" for name in lost if name in _ADDED)]
        database.executescript(f"{''.join(parts)}{_SCHEMA}PRAGMA user_version={VERSION};COMMIT")
    sentences = []
    if lost:
        sentences.append(f"The queue had lost its {' and '.join(lost)}, which was made anew.")
    if damaged := _failed(database):
        sentences.append(
            f"{damaged} {'entry' if damaged == 1 else 'entries'} of the queue held values of a "
            "wrong kind and will not be trained: remove them."
        )
    return " ".join(sentences)


def _lost(database: sqlite3.Connection) -> list[str]:
    """Return the columns and tables that a queue lacks and can do without.

    Raises: ForeignError where it lacks others.
    """
    there = {
        table: {name for _, name, *_ in database.execute(f"PRAGMA table_info({table})").fetchall()}
        for table in ("entries", "about")
    }
    wanted = ("id", "position", "pid", *_COLUMNS.split(", ")[1:])
    lost = [name for name in wanted if name not in there["entries"]]
    if {"id", "config"} & set(lost):
        raise ForeignError(f"it lacks the column {lost[0]}")
    if there["about"] and not {"key", "value"} <= there["about"]:
        raise ForeignError("it lacks a column of the table about")
    return [f"column {name}" for name in lost] + ([] if there["about"] else ["table about"])


def _failed(database: sqlite3.Connection) -> int:
    """Let entries with values of a wrong kind be failed ones; return their number."""
    kinds = {"position": "integer", "pid": "integer", "id": "integer"}
    kinds |= dict.fromkeys(_COLUMNS.split(", ")[1:], "text")
    wrong = " OR ".join(f"typeof({name}) != '{kind}'" for name, kind in kinds.items())
    states = ", ".join(f"'{state}'" for state in STATES)
    rows = database.execute(
        f"SELECT id FROM entries WHERE {wrong} OR state NOT IN ({states})"
    ).fetchall()
    for (number,) in rows:
        database.execute(
            "UPDATE entries SET config = '{}', state = 'failed', run = '', folder = '', "
            "message = ?, sweep = '', worker = '', pid = 0, "
            "position = (SELECT coalesce(max(position), 0) + 1 FROM entries "
            "WHERE typeof(position) = 'integer') WHERE id IS ?",
            (DAMAGED_ENTRY, number),
        )
    return len(rows)


def _checked_version(database: sqlite3.Connection) -> int:
    (sound,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise ForeignError(str(sound))
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise _LaterError("a later version of MetaViz wrote it")
    return int(version)


def _put_aside(path: Path, reason: ForeignError) -> Path:
    """Rename a damaged queue. Raises: ForeignError, with the reason, where that is refused."""
    try:
        with accessed():
            return _renamed(path)
    except UnreadableError as error:
        raise ForeignError(f"{reason}, and it cannot be renamed: {error}") from error


def _renamed(path: Path) -> Path:
    aside = next(
        place
        for number in range(1, 10_000)
        if not (place := path.with_name(f"{path.name}.damaged-{number}")).exists()
    )
    path.replace(aside)
    for end in ("-wal", "-shm", "-journal"):
        log = path.with_name(path.name + end)
        if log.exists():
            log.replace(aside.with_name(aside.name + end))
    return aside


def _entry(row: tuple[Any, ...]) -> Entry:
    """Return an entry, with an empty configuration where none can be read. Raises: ForeignError."""
    kinds = (int, str, str, str, str, str, str, str)
    name, text, state, run, folder, message, sweep, worker = row_of(row, "entries", *kinds)
    place, config = Path(folder) if folder else None, _config_of(text)
    told = message or ("" if config or place else DAMAGED_ENTRY)
    return Entry(name, config, _state_of(state), run, place, told, sweep, worker)


def _config_of(text: str) -> dict[str, Any]:
    """Return a stored configuration, empty where it is not one that a run can have."""
    return dict(json.loads(text)) if _is_config(text) else {}


@lru_cache(maxsize=20_000)
def _is_config(text: str) -> bool:
    """Return whether a text is a configuration; a window asks again and again."""
    try:
        check_config(_USUAL | of_kind(parsed_json(text), dict, "config"))
    except ForeignError:
        return False
    return True


def _state_of(text: Any) -> EntryState:
    """Return the state of an entry. Raises: ForeignError where it is none."""
    for state in STATES:
        if state == text:
            return state
    raise ForeignError(f"an entry has the unknown state {text!r:.40}")


def _moved(order: list[int], chosen: set[int], place: int) -> list[int]:
    place = min(max(place, 0), len(order))
    before = [name for name in order[:place] if name not in chosen]
    after = [name for name in order[place:] if name not in chosen]
    return [*before, *(name for name in order if name in chosen), *after]


def _shifted(order: list[int], chosen: set[int], by: int) -> list[int]:
    order = order if by < 0 else order[::-1]
    for place in range(1, len(order)):
        if order[place] in chosen and order[place - 1] not in chosen:
            order[place - 1], order[place] = order[place], order[place - 1]
    return order if by < 0 else order[::-1]


def _ended(folder: Path) -> tuple[str, str]:
    """Return how a run ended by its own account; nothing where it was broken off."""
    try:
        with closing(open_to_read(folder / DATABASE)) as database:
            about = read_facts(database)
            state, message = state_of(about), message_of(about)
    except ForeignError:
        return "", ""
    return (state, message) if state in OVER else ("", "")
