"""What the runs table knows of each run: its numbers, and the whole record once it is shown."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import ABOUT
from metaviz.runs.table.search import Query
from metaviz.runs.table.summary import Entry, Summary, summarise

__all__ = ["Row", "Summary", "row_of", "row_of_entry", "summarise"]


@dataclass(eq=False)
class Row(Entry):
    """One run of the table. `record` is None until a stored run is shown."""

    record: Record | None = None
    visible: bool = False
    seen: int = -1
    """Revision of the record when the summary was made."""
    stored: bool = False
    """Whether the row was read from disk, so that what changes there is newer."""
    stale: bool = False
    """Whether the record is older than what is on disk."""
    is_new: bool = False
    """Whether the run appeared while the window was open and was not ticked or unticked since."""

    def found_by(self, query: Query) -> bool:
        """Return whether a search finds the run; the answer is kept until the run changes."""
        known = self.__dict__.get("_found")
        asked = (query, self.marks, self.summary)
        if known is None or any(a is not b for a, b in zip(known[0], asked, strict=True)):
            known = self.__dict__["_found"] = (asked, query.matches(self))
        found: bool = known[1]
        return found

    def renew(self) -> None:
        """Summarise the record again."""
        if self.record is not None:
            self.seen = self.record.revision
            self.summary = summarise(self.record, self.summary.started)
            self.__dict__.pop("values", None)


def row_of(record: Record, folder: Path | None, *, keep: bool) -> Row:
    """Return the row of a record; without `keep` it remembers the summary only."""
    return Row(
        record.id,
        folder,
        record.applied,
        summarise(record, _started(folder)),
        record.marks,
        record=record if keep else None,
        seen=record.revision,
    )


def row_of_entry(entry: Entry) -> Row:
    """Return the row of a run on disk."""
    row = Row(entry.id, entry.folder, entry.config, entry.summary, entry.marks, entry.stamp)
    row.stored = True
    row.values  # noqa: B018 - found here, so that the window need not wait for it
    return row


def _started(folder: Path | None) -> float:
    try:
        return (folder / ABOUT).stat().st_mtime if folder is not None else np.nan
    except OSError:
        return np.nan
