"""Working the queue off without a window: worker processes, and how far each run is."""

import queue as mailbox
import subprocess
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any, cast

from rich.progress import Progress, TaskID

from metaviz.cli.output import say
from metaviz.cli.tables import progress_bars
from metaviz.files.foreign import ForeignError
from metaviz.runs.storage.database import DATABASE, open_to_read
from metaviz.runs.storage.queue import Entry, Queue
from metaviz.runs.storage.worker_process import (
    PATIENCE_SECONDS,
    ended_message,
    how_it_ended,
    parsed_event,
    worker_command,
    worker_environment,
    worker_log,
)

_REFRESH_SECONDS = 0.5


def work_off(queue: Queue, home: Path, workers: int) -> int:
    """Train what waits; return 1 where a run did not end well, 130 where Ctrl+C broke it off."""
    waiting = queue.counts()["waiting"]
    if not waiting:
        say("Nothing waits in the queue.")
        return 0
    runner = _Runner(queue, home)
    try:
        with progress_bars("{task.completed:.0f}/{task.total}") as progress:
            runner.run(progress, min(workers, waiting))
    except KeyboardInterrupt:
        runner.quit()
        queue.recover()
        say(
            "Stopped: what was trained until now is kept. `metaviz queue resume` lets interrupted "
            "runs go on."
        )
        return 130
    finally:
        runner.quit()
    return int(any(e.state != "done" for e in queue.entries() if e.id in runner.taken))


class _Worker:
    """One worker process; its events go into a box that all share, and None at its end."""

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
        threading.Thread(target=self._read, daemon=True).start()

    def quit(self) -> None:
        """Ask it to save and end; one that has ended is not reached."""
        with suppress(OSError):
            stream = cast(IO[bytes], self.process.stdin)
            stream.write(b"quit\n")
            stream.flush()

    def close(self) -> None:
        """Wait until it has saved and ended, or end it."""
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        with suppress(OSError), self.process:  # closes the pipes, and waits
            pass

    def _read(self) -> None:
        with suppress(ValueError):  # closed meanwhile
            for line in cast(IO[bytes], self.process.stdout):
                self._box.put((self, parsed_event(line)))
        self._box.put((self, None))


class _Runner:
    """Keeps workers running while entries wait, and shows the queue and each run that trains."""

    def __init__(self, queue: Queue, home: Path) -> None:
        self.taken: set[int] = set()
        self._queue, self._home = queue, home
        self._box: mailbox.SimpleQueue[Any] = mailbox.SimpleQueue()
        self._workers: list[_Worker] = []
        self._bars: dict[int, TaskID] = {}
        self._seen: set[int] = set()

    def run(self, progress: Progress, workers: int) -> None:
        """Start workers, and return when all have ended.

        Where the end of a run queues others, like in a search, so many work on these, too.
        """
        every = progress.add_task("Queue", total=None)
        self._seen = {entry.id for entry in self._queue.entries()}
        for _ in range(workers):
            self._workers.append(_Worker(self._home, self._box))
        while self._workers:
            with suppress(mailbox.Empty):
                worker, event = self._box.get(timeout=_REFRESH_SECONDS)
                if event is None:
                    self._close(worker, progress)
                elif event.get("event") == "claimed":
                    worker.claimed = True
                    self.taken.add(int(event["entry"]))
                elif event.get("event") == "ended":
                    self._show_end(int(event["entry"]), progress)
            self._refresh(every, progress)
            self._grow(workers)

    def _grow(self, workers: int) -> None:
        """Start workers for entries that were added meanwhile."""
        entries = self._queue.entries()
        fresh = [e for e in entries if e.id not in self._seen and e.state == "waiting"]
        self._seen |= {entry.id for entry in entries}
        for _ in range(min(workers - len(self._workers), len(fresh) if self._workers else 0)):
            self._workers.append(_Worker(self._home, self._box))

    def quit(self) -> None:
        """End all workers; what they train is saved."""
        for worker in self._workers:
            worker.quit()
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _close(self, worker: _Worker, progress: Progress) -> None:
        """Let a worker go; one that crashed while it trained is replaced while entries wait."""
        self._workers.remove(worker)
        worker.close()
        code = worker.process.returncode
        if not code:
            return
        if not worker.claimed:
            say(f"A worker process could not begin ({how_it_ended(code)}); see the worker log.")
        for entry in self._queue.recover(ended_message(how_it_ended(code))):
            self._show_end(entry, progress)
        if worker.claimed and self._queue.counts()["waiting"]:
            self._workers.append(_Worker(self._home, self._box))

    def _refresh(self, every: TaskID, progress: Progress) -> None:
        """Renew the bars for the entries that were taken until now."""
        entries = self._queue.entries()
        taken = [entry for entry in entries if entry.id in self.taken]
        running = [entry for entry in taken if entry.state == "running"]
        over = sum(entry.state not in {"running", "waiting"} for entry in taken)
        waiting = sum(entry.state == "waiting" for entry in entries)
        progress.update(every, completed=over, total=over + waiting + len(running))
        for entry in running:
            if entry.id not in self._bars:
                steps = entry.config.get("steps")
                self._bars[entry.id] = progress.add_task(_name(entry), total=steps)
            progress.update(self._bars[entry.id], completed=_step(entry))

    def _show_end(self, number: int, progress: Progress) -> None:
        """Say how a run ended."""
        for entry in self._queue.entries():
            if entry.id != number:
                continue
            if number in self._bars:
                progress.remove_task(self._bars.pop(number))
            ended = f"{_name(entry)} {entry.state}"
            reason = f": {entry.message}" if entry.message else "."
            progress.console.print(f"{ended}{reason}", soft_wrap=True)


def _name(entry: Entry) -> str:
    if not entry.config:
        return f"Entry {entry.id}"
    return f"{entry.config.get('algorithm', '?')} seed {entry.config.get('seed', '?')}"


def _step(entry: Entry) -> int:
    if entry.folder is None:
        return 0
    try:
        with closing(open_to_read(entry.folder / DATABASE)) as database:
            (step,) = database.execute("SELECT coalesce(max(step), 0) FROM steps").fetchone()
    except ForeignError:
        return 0
    return step if isinstance(step, int) else 0
