"""Working the queue off without a window: worker processes, and how far each run is."""

import queue as mailbox
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from metaviz.cli.tables import progress_bars
from metaviz.runs.storage.database import DATABASE, open_to_read
from metaviz.runs.storage.queue import Entry, Queue
from metaviz.runs.storage.worker_process import (
    PATIENCE_SECONDS,
    heard,
    how_it_ended,
    wordless,
    worker_command,
    worker_environment,
    worker_log,
)

_LOOK_SECONDS = 0.5
_GOOD = {"done"}


class _Hand:
    """One worker process; what it says goes into a box that all share, and None at its end."""

    def __init__(self, home: Path, box: "mailbox.SimpleQueue[Any]") -> None:
        self.claimed = False
        with worker_log(home).open("ab") as log:
            self.process = subprocess.Popen(
                worker_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=worker_environment(),
                start_new_session=True,  # Ctrl+C comes to this process alone, which tells them
            )
        self._box = box
        threading.Thread(target=self._hear, daemon=True).start()

    def tell(self, order: str) -> None:
        """Send an order; one that is gone hears nothing."""
        stream = self.process.stdin
        if stream is not None:
            with suppress(OSError):
                stream.write(f"{order}\n".encode())
                stream.flush()

    def leave(self) -> None:
        """Wait until it has saved and left, or end it."""
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._let_go()

    def _let_go(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _hear(self) -> None:
        stream = self.process.stdout
        if stream is not None:
            with suppress(ValueError):  # closed meanwhile
                for line in stream:
                    self._box.put((self, heard(line)))
        self._box.put((self, None))


class _Board:
    """Shows all runs of the queue, and each that trains."""

    def __init__(self, queue: Queue, progress: Progress) -> None:
        self._queue, self._progress = queue, progress
        self._all = progress.add_task("Queue", total=None)
        self._bars: dict[int, TaskID] = {}

    def look(self, ids: set[int]) -> None:
        """Renew the bars for the entries that were taken until now."""
        entries = self._queue.entries()
        over = [e for e in entries if e.id in ids and e.state not in {"running", "waiting"}]
        waiting = sum(entry.state == "waiting" for entry in entries)
        running = [entry for entry in entries if entry.state == "running" and entry.id in ids]
        total = len(over) + waiting + len(running)
        self._progress.update(self._all, completed=len(over), total=total)
        for entry in running:
            if entry.id not in self._bars:
                steps = entry.config.get("steps")
                self._bars[entry.id] = self._progress.add_task(_name(entry), total=steps)
            self._progress.update(self._bars[entry.id], completed=_step(entry))

    def ended(self, entry: Entry) -> None:
        """Say how a run ended."""
        bar = self._bars.pop(entry.id, None)
        if bar is not None:
            self._progress.remove_task(bar)
        said = f"{_name(entry)} {entry.state}{f': {entry.message}' if entry.message else '.'}"
        self._progress.console.print(said, soft_wrap=True)


def work_off(queue: Queue, home: Path, workers: int) -> int:
    """Train what waits; return 1 where a run did not end well, 130 where Ctrl+C broke it off."""
    waiting = queue.counts()["waiting"]
    if not waiting:
        sys.stderr.write("Nothing waits in the queue.\n")
        return 0
    box: mailbox.SimpleQueue[Any] = mailbox.SimpleQueue()
    hands = [_Hand(home, box) for _ in range(min(workers, waiting))]
    taken: set[int] = set()
    try:
        with progress_bars("{task.completed:.0f}/{task.total}") as progress:
            _oversee(queue, home, hands, box, _Board(queue, progress), taken)
    except KeyboardInterrupt:
        _dismiss(hands)
        queue.recover()
        sys.stderr.write(
            "Stopped: what was trained until now is kept. `metaviz queue resume` lets interrupted "
            "runs go on.\n"
        )
        return 130
    finally:
        _dismiss(hands)
    ends = [entry.state for entry in queue.entries() if entry.id in taken]
    return int(any(state not in _GOOD for state in ends))


def _oversee(
    queue: Queue,
    home: Path,
    hands: list[_Hand],
    box: "mailbox.SimpleQueue[Any]",
    board: _Board,
    taken: set[int],
) -> None:
    while hands:
        try:
            hand, happening = box.get(timeout=_LOOK_SECONDS)
        except mailbox.Empty:
            board.look(taken)
            continue
        if happening is None:
            hands.remove(hand)
            hand.leave()
            for name in _mourned(queue, hand):
                _tell(queue, board, name)
            if hand.process.returncode and hand.claimed and queue.counts()["waiting"]:
                hands.append(_Hand(home, box))
        elif happening.get("event") == "claimed":
            hand.claimed = True
            taken.add(int(happening["entry"]))
        elif happening.get("event") == "ended":
            _tell(queue, board, int(happening["entry"]))
        board.look(taken)


def _mourned(queue: Queue, hand: _Hand) -> Sequence[int]:
    code = hand.process.returncode
    if not code:
        return []
    if not hand.claimed:
        sys.stderr.write(
            f"A worker process could not begin ({how_it_ended(code)}); see the worker log.\n"
        )
    return queue.recover(wordless(how_it_ended(code)))


def _tell(queue: Queue, board: _Board, name: int) -> None:
    for entry in queue.entries():
        if entry.id == name:
            board.ended(entry)


def _dismiss(hands: list[_Hand]) -> None:
    for hand in hands:
        hand.tell("quit")
    for hand in hands:
        hand.leave()
    hands.clear()


def _name(entry: Entry) -> str:
    return f"{entry.config.get('algorithm', '?')} seed {entry.config.get('seed', '?')}"


def _step(entry: Entry) -> int:
    if entry.folder is None:
        return 0
    try:
        with closing(open_to_read(entry.folder / DATABASE)) as database:
            (step,) = database.execute("SELECT coalesce(max(step), 0) FROM steps").fetchone()
    except (OSError, sqlite3.Error):
        return 0
    return int(step)
