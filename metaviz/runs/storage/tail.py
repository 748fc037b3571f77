"""Following a run that another process trains: what is new, a bounded part a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from metaviz.files.foreign import ForeignError
from metaviz.runs.model.events import Ended, Event, State
from metaviz.runs.model.record import Record
from metaviz.runs.storage.database import (
    DATABASE,
    Seen,
    message_of,
    open_to_read,
    read_facts,
    read_since,
    state_of,
    still_holds,
    writer_of,
)
from metaviz.runs.storage.interrupted import is_written
from metaviz.runs.storage.store import StoreError, open_run

MOST_STEPS = 1000
"""So many meta-steps one poll returns at most; a run that is far ahead is caught up with."""


@dataclass(frozen=True)
class News:
    """What one poll found.

    `fresh` is the whole record where the run was rolled back, as resuming does, or broken off; it
    then replaces the one that was followed, and `events` is empty.
    """

    events: list[Event] = field(default_factory=list)
    state: State = "running"
    fresh: Record | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        if self.fresh is not None:
            return self.fresh.ended
        return bool(self.events) and isinstance(self.events[-1], Ended)


class Follower:
    """Reads what a writer adds to a run; it holds no lock for longer than it reads new rows.

    One object belongs to one thread.
    """

    def __init__(self, folder: Path, record: Record) -> None:
        """Go on from what a record of the run holds. Raises: StoreError where it is unreadable."""
        self.folder, self.id = folder, record.id
        self._seen, self._most = _seen(record), record.most_pictures
        with _telling(folder):
            self._database = open_to_read(folder / DATABASE, live=True)

    def close(self) -> None:
        """Close the run's files."""
        self._database.close()

    def poll(self) -> News:
        """Return what is new since the last poll.

        Raises: StoreError with one sentence where the run can no longer be read.
        """
        with _telling(self.folder):
            # One snapshot, so that rows and state belong together.
            self._database.execute("BEGIN")
            try:
                facts = read_facts(self._database)
                same = still_holds(self._database, self._seen)
                if same:
                    found, self._seen, complete = read_since(self._database, self._seen, MOST_STEPS)
            finally:
                self._database.execute("COMMIT")
            return self._told(found, facts, complete=complete) if same else self._again()

    def _told(self, events: list[Event], facts: dict[str, str], *, complete: bool) -> News:
        state = state_of(facts)
        if state not in {"running", "paused"}:
            if complete:
                events = [*events, Ended(self._seen.step, state, message_of(facts))]
        elif not events and not is_written(self.folder, writer_of(facts)):
            return self._again()
        return News(events, state)

    def _again(self) -> News:
        """Read the run whole."""
        record = open_run(self.folder, most_pictures=self._most)
        self._seen = _seen(record)
        return News(state=record.state, fresh=record)


def _seen(record: Record) -> Seen:
    seconds = float(record.column("seconds")[-1]) if len(record) else None
    return Seen(
        record.step,
        seconds,
        record.evaluations[-1].step if record.evaluations else -1,
        record.pictures[-1].step if record.pictures else -1,
        len(record.notes),
    )


@contextmanager
def _telling(folder: Path) -> Iterator[None]:
    try:
        yield
    except ForeignError as error:
        raise StoreError(f"{folder} cannot be followed: {str(error).rstrip('.')}.") from error
