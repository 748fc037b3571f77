"""Runs whose process ended while it trained them: how that is seen, and what they become."""

from dataclasses import dataclass
from pathlib import Path

from metaviz.files.platform import process_runs
from metaviz.runs.model.record import Record
from metaviz.runs.storage.lock import host_name, is_locked


@dataclass(frozen=True)
class Writer:
    """The process that wrote to a folder last, and the name of its computer; 0 for none known."""

    pid: int
    host: str = ""


def is_written(folder: Path, writer: Writer) -> bool:
    """Return whether a process writes to a folder, whose last writer is known.

    The lock decides, as process ids are used again. Without one the process decides, but only on
    its own computer: what another one does cannot be known here, so its run is left to it.
    """
    locked = is_locked(folder)
    if locked is not None or writer.pid <= 0:
        return bool(locked)
    return writer.host not in {"", host_name()} or process_runs(writer.pid)


def mark_interrupted(record: Record) -> None:
    """Give a run that nobody trains any more its state and message."""
    record.state = "interrupted"
    record.message = "The program ended while this run was training."
