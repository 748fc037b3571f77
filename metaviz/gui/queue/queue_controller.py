"""The window's end of the queue: the stored queue, its workers, its dock and its commands."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig
from metaviz.gui.background.worker_processes import WorkerPool
from metaviz.gui.queue.queue_dock import QueueDock
from metaviz.gui.queue.queue_model import QueueModel
from metaviz.gui.queue.queue_progress import QueueProgress
from metaviz.gui.runs.run_follower import RunFollower
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.log_dock import LogDock
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.widgets.preferences import KEYS, read_preferences
from metaviz.gui.widgets.settings_file import Settings
from metaviz.runs.model.labels import algorithm_title
from metaviz.runs.storage.queue import OVER, RESUMABLE, Entry, Queue
from metaviz.runs.storage.store import StoreError
from metaviz.runs.storage.worker_process import ended_message

POLL_MS = 500
_BAD = {"failed", "diverged", "interrupted"}

_log = logging.getLogger("metaviz.queue")


class QueueController(QObject):
    """Keeps dock and workers in step with the stored queue, which other processes may change.

    `changed` follows each start and end of a worker, `emptied` the end of the last run.
    """

    left_unfinished = Signal(str)
    """A sentence on what an earlier window left in the queue."""
    changed = Signal()
    progressed = Signal(str)
    emptied = Signal()

    def __init__(
        self,
        follower: RunFollower,
        log: LogDock,
        commands: Actions,
        settings: Settings,
        notifier: Notifier,
        home: Path,
        window: QWidget,
    ) -> None:
        """Make the dock's contents; `open` reads the queue."""
        super().__init__(window)
        self._follower, self._log, self._commands = follower, log, commands
        self._settings, self._notifier, self._home = settings, notifier, home
        self.queue: Queue | None = None
        self.is_started = False
        """Whether a person has started the queue in this window."""
        self._version: tuple[int, int] | None = None
        self._most_workers = 1
        self.progress = QueueProgress(follower.record)
        self.model = QueueModel(follower.record, self.progress.text, self)
        self.dock = QueueDock(self.model, commands, window)
        self.pool = WorkerPool(home, self)
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._connect()
        self.update_actions()

    def open(self) -> None:
        """Show the queue as it was left. What waits starts when a person presses Go."""
        try:
            self.queue = Queue(self._home)
            lost = self.queue.recover()
            counts = self.queue.counts()
            others = counts["running"]
            if counts["waiting"] and not others and not self.queue.is_read_only:
                self.queue.set_paused(paused=True)
            if self.queue.note:
                self.left_unfinished.emit(self.queue.note)
            elif counts["waiting"] or lost:
                self.left_unfinished.emit(_left(counts["waiting"], counts["interrupted"], others))
        except StoreError as error:
            self._fail(error)
            return
        self.poll()
        self._timer.start()

    def allow_workers(self, most: int) -> None:
        """Take how many workers the machine bears: its cores, or one on a GPU."""
        self._most_workers = most
        wanted = read_preferences(self._settings).workers
        self.dock.workers.setRange(1, most)
        self.dock.workers.setValue(min(max(wanted, 1), most))
        self.dock.workers.setEnabled(most > 1)

    def add(self, configs: Sequence[RunConfig], sweep: str = "") -> bool:
        """Queue runs, and begin unless the queue is paused with others waiting."""
        if self.queue is None:
            self._notifier.fail("The queue cannot be used; the log says why.")
            return False
        try:
            idle = not self.queue.counts()["waiting"] and not self.pool.busy
            self.queue.add([config.model_dump(mode="json") for config in configs], sweep)
            if idle:
                self.queue.set_paused(paused=False)
            if not self.queue.paused:
                self.is_started = True
        except OptionError as error:  # the settings of a backbone
            self._notifier.fail(str(error))
            return False
        except StoreError as error:
            self._fail(error)
            return False
        runs = _number(len(configs), "run")
        self._notifier.inform(
            f"Queued {runs}" if self.is_started else f"Queued {runs}; the queue is paused: press Go"
        )
        self.poll()
        return True

    @Slot()
    def poll(self) -> None:
        """Show what has changed, and keep as many workers as there is work for."""
        if self.queue is None:
            return
        try:
            if self.queue.version != self._version:
                entries = self.queue.entries()
                self._version = self.queue.version
                self._show(entries)
            self._start_workers()
        except StoreError as error:
            self._fail(error)
            return
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Say how far everything is."""
        entries = self.model.entries
        self.progress.learn(entries)
        running = any(entry.state == "running" for entry in entries)
        if running:
            self.model.renew()
        text = self.progress.summary(entries, self._worker_count(), paused=self.is_paused)
        self.dock.show_summary(text.removeprefix("Queue: "))
        self.progressed.emit(text if running or self.pool.busy else "")

    def resume_interrupted(self) -> None:
        """Resume the interrupted runs, where the command is enabled."""
        if self._commands["queue_resume"].isEnabled():
            self._resume()

    def start(self) -> None:
        """Work the queue off."""
        self._set_started(started=True)

    def _set_started(self, *, started: bool) -> None:
        self.is_started = started
        self.pool.send("resume" if started else "pause")
        self._change(lambda queue: queue.set_paused(paused=not started))
        self.update_actions()

    @property
    def is_paused(self) -> bool:
        """Whether no further run is begun."""
        try:
            return self.queue is not None and self.queue.paused
        except StoreError:
            return True

    def close(self) -> None:
        """End the workers, which save; the queue stays as it is."""
        self.is_started = False
        self._timer.stop()
        self.pool.close()

    @Slot()
    def update_actions(self) -> None:
        """Enable what the selected entries allow."""
        entries, chosen = self.model.entries, self.dock.selected()
        waiting = any(entry.state == "waiting" for entry in entries)
        working = self.pool.busy
        going = (working or self.is_started) and not self.is_paused
        pause = self._commands["queue_pause"]
        pause.setEnabled(self.queue is not None and (waiting or working))
        pause.setText("Pause &queue" if going else "&Go")
        tip = (
            "Pause the runs of the queue that train, and begin no further one."
            if going
            else "Train what waits in the queue, one run after another."
        )
        pause.setToolTip(plain_tip(tip))
        pause.setStatusTip(tip)
        states = _states(chosen)
        allowed = {
            "queue_next": "waiting" in states,
            "queue_up": bool(chosen),
            "queue_down": bool(chosen),
            "queue_remove": bool(states - {"running"}),
            "queue_retry": bool(states & (OVER | {"interrupted"})),
            "queue_resume": bool(states & RESUMABLE)
            or (not chosen and "interrupted" in _states(entries)),
            "queue_clear": bool(_states(entries) & OVER),
        }
        for name, enabled in allowed.items():
            self._commands[name].setEnabled(enabled)

    def _connect(self) -> None:
        self._timer.timeout.connect(self.poll)
        self.pool.event_received.connect(self._on_event)
        self.pool.crashed.connect(self._on_crashed)
        self.pool.changed.connect(self._on_pool_changed)
        self.model.moved.connect(self._on_moved)
        self.dock.selection_changed.connect(self.update_actions)
        self.dock.workers_changed.connect(self._on_workers)
        slots: dict[str, Callable[[], object]] = {
            "queue_pause": self._pause_or_start,
            "queue_next": partial(self._change_chosen, Queue.run_next),
            "queue_up": partial(self._change_chosen, partial(Queue.shift, by=-1)),
            "queue_down": partial(self._change_chosen, partial(Queue.shift, by=1)),
            "queue_remove": partial(self._change_chosen, Queue.remove),
            "queue_retry": self._retry,
            "queue_resume": self._resume,
            "queue_clear": partial(self._change, Queue.clear),
        }
        self._commands.connect(slots)

    def _show(self, entries: list[Entry]) -> None:
        before = {entry.id: entry.state for entry in self.model.entries}
        self.model.show(entries)
        changed = [entry for entry in entries if before.get(entry.id, entry.state) != entry.state]
        if changed:
            self.dock.show_running()
        for entry in entries:
            # A short run may have ended between two looks.
            news = entry.state == "running" or (entry in changed and entry.state != "waiting")
            if news and entry.folder is not None:
                self._follower.follow(entry.folder, again=entry.state == "running")
        self.update_actions()

    def _worker_count(self) -> int:
        return max(len(self.pool.workers), min(self.dock.workers.value(), self._most_workers))

    def _start_workers(self) -> None:
        """Start as many workers as there are runs for, where a person has started the queue."""
        if self.queue is None or not self.is_started or self.queue.paused:
            return
        waiting = sum(entry.state == "waiting" for entry in self.model.entries)
        if waiting:
            busy = sum(worker.claimed for worker in self.pool.workers)
            self.pool.start_workers(min(self.dock.workers.value(), busy + waiting))
        elif not self.pool.busy:
            self.is_started = False
            self.update_actions()
            self.emptied.emit()

    def _change(self, change: Callable[[Queue], object]) -> None:
        if self.queue is not None:
            try:
                change(self.queue)
            except StoreError as error:
                self._fail(error)
            self.poll()

    def _chosen(self) -> list[int]:
        return [entry.id for entry in self.dock.selected()]

    @Slot()
    def _pause_or_start(self) -> None:
        self._set_started(started=self.is_paused or not (self.pool.busy or self.is_started))

    def _change_chosen(self, change: Callable[[Queue, list[int]], object]) -> None:
        self._change(lambda queue: change(queue, self._chosen()))

    @Slot()
    def _retry(self) -> None:
        self._requeue(lambda queue: queue.retry(self._chosen()))

    @Slot()
    def _resume(self) -> None:
        chosen = self._chosen() or [e.id for e in self.model.entries if e.state == "interrupted"]
        self._requeue(lambda queue: queue.resume(chosen))

    def _requeue(self, change: Callable[[Queue], object]) -> None:
        """Put entries back into the queue, and start it where nothing else waits."""
        idle = not any(e.state == "waiting" for e in self.model.entries) and not self.pool.busy
        if idle:
            self._change(lambda queue: queue.set_paused(paused=False))
        self.is_started = self.is_started or idle
        self._change(change)

    @Slot(object, int)
    def _on_moved(self, ids: list[int], place: int) -> None:
        self._change(lambda queue: queue.move(ids, place))

    @Slot(int)
    def _on_workers(self, count: int) -> None:
        self._settings.write(KEYS["workers"], count)
        self.poll()

    @Slot(object)
    def _on_event(self, event: dict[str, Any]) -> None:
        if event["event"] == "ended":
            state, message = str(event.get("state")), str(event.get("message") or "")
            level = "error" if state in _BAD else "info"
            sentence = message or f"The run of the queue ended as {state}."
            self._log_end(level, sentence, event.get("entry"))
        self.poll()

    def _log_end(self, level: str, sentence: str, entry: object) -> None:
        """Log how an entry ended, under its run, which may have started since the last poll."""
        try:
            entries = self.queue.entries() if self.queue is not None else []
        except StoreError:
            entries = self.model.entries
        found = next((e for e in entries if e.id == entry), None)
        if found is None:
            self._log.add(level, sentence)
            return
        algorithm = algorithm_title(str(found.config.get("algorithm", "?")))
        label = f"{algorithm} · seed {found.config.get('seed', '?')}"
        record = self._follower.record(found.run)
        self._log.add(level, sentence, label if record is None else record.label, found.run)

    @Slot(str, bool)
    def _on_crashed(self, how: str, had_started: bool) -> None:
        """Mark the entries of a worker that crashed; one that cannot begin pauses the queue."""
        if self.queue is None:
            return
        try:
            for entry in self.queue.recover(ended_message(how)):
                self._log_end("error", ended_message(how), entry)
            if not had_started:
                self.is_started = False
                self.queue.set_paused(paused=True)
                self._notifier.fail(
                    f"A worker process of the queue could not begin ({how}); the queue is paused.",
                    "See queue-worker.log in the data folder.",
                )
        except StoreError as error:
            self._fail(error)

    @Slot()
    def _on_pool_changed(self) -> None:
        self.poll()
        self.update_actions()
        self.changed.emit()

    def _fail(self, error: StoreError) -> None:
        self._timer.stop()
        self.is_started = False
        _log.error("%s", error)
        self._notifier.fail(str(error))


def _states(entries: Sequence[Entry]) -> set[str]:
    return {entry.state for entry in entries}


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _left(waiting: int, interrupted: int, others: int) -> str:
    """Return a sentence on what was left in the queue."""
    parts = []
    if waiting:
        parts.append(f"{_number(waiting, 'run')} {'waits' if waiting == 1 else 'wait'}")
    if interrupted:
        parts.append(f"{interrupted} can be resumed")
    left = ", ".join(parts)
    if others:
        return f"The queue is being worked off by another window or command: {left}."
    return f"The queue was left unfinished: {left}. Press Go in the Queue dock to go on."
