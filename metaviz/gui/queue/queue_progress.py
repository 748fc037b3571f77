"""How far the queue is and how long it will take, from the runs that have trained."""

from collections import Counter
from collections.abc import Callable, Sequence

from metaviz.config.sweep import duration
from metaviz.gui.widgets.durations import clock
from metaviz.runs.model.record import Record
from metaviz.runs.storage.queue import Entry, EntryState

_OTHER_ENDS: tuple[EntryState, ...] = ("stopped", "aborted", "interrupted", "failed", "diverged")
_FEW_STEPS = 3


class QueueProgress:
    """Learns seconds per meta-step by algorithm and problem."""

    def __init__(self, find: Callable[[str], Record | None]) -> None:
        """Take what finds the record of a run."""
        self._find = find
        self._seconds: dict[tuple[str, str], float] = {}

    def learn(self, entries: Sequence[Entry]) -> None:
        """Learn how fast the runs are that train or have trained."""
        for entry in entries:
            record = self._find(entry.run) if entry.run else None
            if record is not None and len(record) >= _FEW_STEPS:
                self._seconds[_kind(entry)] = float(record.column("seconds")[-1]) / record.step

    def text(self, entry: Entry) -> str:
        """Say how far one entry is."""
        total = _steps(entry)
        record = self._find(entry.run) if entry.run else None
        step = record.step if record is not None else 0
        if entry.state != "running":
            return f"{step} / {total}" if record is not None else f"{total} steps"
        left = self._left(entry, step)
        return f"{step} / {total}" + (f", {clock(left)} left" if left is not None else "")

    def summary(self, entries: Sequence[Entry], workers: int, *, paused: bool) -> str:
        """Say how the whole queue is doing."""
        if not entries:
            return ""
        states = Counter(entry.state for entry in entries)
        parts = [f"Queue: {states['done']} of {len(entries)} done"]
        parts += [f"{states[state]} {state}" for state in _OTHER_ENDS if states[state]]
        text = ", ".join(parts)
        if not (states["running"] or states["waiting"]):
            return text
        if paused:
            return f"{text}, paused"
        seconds = self._together(entries, workers)
        return text if seconds is None else f"{text}, about {duration(seconds)}"

    def _together(self, entries: Sequence[Entry], workers: int) -> float | None:
        """Return the seconds until all is done; None before anything has trained."""
        seconds_left = []
        for entry in entries:
            if entry.state in {"running", "waiting"}:
                record = self._find(entry.run) if entry.run else None
                left = self._left(entry, record.step if record is not None else 0)
                if left is None:
                    return None
                seconds_left.append(left)
        return max(sum(seconds_left) / max(workers, 1), max(seconds_left, default=0.0))

    def _left(self, entry: Entry, step: int) -> float | None:
        if not self._seconds:
            return None
        mean = sum(self._seconds.values()) / len(self._seconds)
        return max(_steps(entry) - step, 0) * self._seconds.get(_kind(entry), mean)


def _kind(entry: Entry) -> tuple[str, str]:
    return str(entry.config.get("algorithm")), str(entry.config.get("problem"))


def _steps(entry: Entry) -> int:
    steps = entry.config.get("steps", 0)
    return steps if isinstance(steps, int) else 0
