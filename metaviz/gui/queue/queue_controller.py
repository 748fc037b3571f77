"""The window's end of the queue: the stored queue, its workers, its dock and its commands."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.config.run_config import RunConfig
from metaviz.gui.background.worker_processes import Crew
from metaviz.gui.queue.queue_dock import QueuePanel
from metaviz.gui.queue.queue_model import QueueModel
from metaviz.gui.queue.queue_progress import QueuePace
from metaviz.gui.runs.run_follower import Following
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.log_dock import LogPanel
from metaviz.gui.widgets.settings import Preferences
from metaviz.runs.storage.queue import OVER, RESUMABLE, Entry, Queue
from metaviz.runs.storage.store import StoreError
from metaviz.runs.storage.worker_process import wordless

LOOK_MS = 500
_BAD = {"failed", "diverged", "interrupted"}
_WORKERS = "queue/workers"

_log = logging.getLogger("metaviz.queue")


class Queueing(QObject):
    """Keeps the dock and the workers as the stored queue says; other processes may change it.

    `said` is a passing remark, `troubled` a sentence that must not be missed, `warned` one that
    should not be. `changed` tells that workers began or ended, `emptied` that all is worked off.
    """

    said = Signal(str)
    troubled = Signal(str, str)
    warned = Signal(str)
    changed = Signal()
    progressed = Signal(str)
    emptied = Signal()

    def __init__(
        self,
        following: Following,
        log: LogPanel,
        commands: Actions,
        preferences: Preferences,
        home: Path,
        window: QWidget,
    ) -> None:
        """Make the dock's contents; `open` reads the queue."""
        super().__init__(window)
        self._following, self._log, self._commands = following, log, commands
        self._preferences, self._home = preferences, home
        self.queue: Queue | None = None
        self.going = False
        """Whether a person has let this window work the queue off."""
        self._version: tuple[int, int] | None = None
        self._most_workers = 1
        self.pace = QueuePace(following.record)
        self.model = QueueModel(following.record, self.pace.text, self)
        self.panel = QueuePanel(self.model, commands, window)
        self.crew = Crew(home, self)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._connect()
        self.update_actions()

    def open(self) -> None:
        """Show the queue as it was left. What waits is not begun before a person says so."""
        try:
            self.queue = Queue(self._home)
            lost = self.queue.recover()
            counts = self.queue.counts()
            others = counts["running"]
            if counts["waiting"] and not others:
                self.queue.set_paused(paused=True)
            if self.queue.note:
                self.warned.emit(self.queue.note)
            elif counts["waiting"] or lost:
                self.warned.emit(_left(counts["waiting"], counts["interrupted"], others))
        except StoreError as error:
            self._refuse(error)
            return
        self.look()
        self._timer.start()

    def allow_workers(self, most: int) -> None:
        """Take how many workers the machine bears: its cores, or one on a GPU."""
        self._most_workers = most
        wanted = self._preferences.read(_WORKERS, 1)
        self.panel.workers.setRange(1, most)
        self.panel.workers.setValue(min(max(wanted, 1), most))
        self.panel.workers.setEnabled(most > 1)

    def add(self, configs: Sequence[RunConfig], sweep: str = "") -> bool:
        """Queue runs, and begin unless the queue is paused with others waiting."""
        if self.queue is None:
            self.troubled.emit("The queue cannot be used; the log says why.", "")
            return False
        try:
            idle = not self.queue.counts()["waiting"] and not self.crew.busy
            self.queue.add([config.model_dump(mode="json") for config in configs], sweep)
            if idle:
                self.queue.set_paused(paused=False)
            if not self.queue.paused:
                self.going = True
        except StoreError as error:
            self._refuse(error)
            return False
        runs = _number(len(configs), "run")
        self.said.emit(
            f"Queued {runs}" if self.going else f"Queued {runs}; the queue is paused: press Go"
        )
        self.look()
        return True

    @Slot()
    def look(self) -> None:
        """Show what has changed, and keep as many workers as there is work for."""
        if self.queue is None:
            return
        try:
            if self.queue.version != self._version:
                entries = self.queue.entries()
                self._version = self.queue.version
                self._show(entries)
            self._staff()
        except StoreError as error:
            self._refuse(error)
            return
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Say how far everything is."""
        entries = self.model.entries
        self.pace.learn(entries)
        running = any(entry.state == "running" for entry in entries)
        if running:
            self.model.renew()
        text = self.pace.summary(entries, self._hands(), paused=self.is_paused)
        self.panel.show_summary(text.removeprefix("Queue: "))
        self.progressed.emit(text if running or self.crew.busy else "")

    def go(self) -> None:
        """Work the queue off."""
        self._let(going=True)

    def _let(self, *, going: bool) -> None:
        self.going = going
        self.crew.tell("resume" if going else "pause")
        self._change(lambda queue: queue.set_paused(paused=not going))
        self.update_actions()

    @property
    def is_paused(self) -> bool:
        """Whether no further run is begun."""
        try:
            return self.queue is not None and self.queue.paused
        except StoreError:
            return True

    def close(self) -> None:
        """Have the workers save and leave; the queue stays as it is."""
        self.going = False
        self._timer.stop()
        self.crew.close()

    @Slot()
    def update_actions(self) -> None:
        """Enable what the selected entries allow."""
        entries, chosen = self.model.entries, self.panel.selected()
        waiting = any(entry.state == "waiting" for entry in entries)
        working = self.crew.busy
        going = (working or self.going) and not self.is_paused
        pause = self._commands["queue_pause"]
        pause.setEnabled(self.queue is not None and (waiting or working))
        pause.setText("Pause &queue" if going else "&Go")
        tip = (
            "Pause the runs of the queue that train, and begin no further one."
            if going
            else "Train what waits in the queue, one run after another."
        )
        pause.setToolTip(tip)
        pause.setStatusTip(tip)
        states = {entry.state for entry in chosen}
        movable = bool(chosen)
        allowed = {
            "queue_next": "waiting" in states,
            "queue_up": movable,
            "queue_down": movable,
            "queue_remove": bool(states - {"running"}),
            "queue_retry": bool(states & (OVER | {"interrupted"})),
            "queue_resume": bool(states & RESUMABLE) or self._offers_resuming(),
            "queue_clear": bool(_states(entries) & OVER),
        }
        for name, enabled in allowed.items():
            self._commands[name].setEnabled(enabled)

    def _offers_resuming(self) -> bool:
        """Return whether, with nothing selected, interrupted runs can go on."""
        return not self.panel.selected() and "interrupted" in _states(self.model.entries)

    def _connect(self) -> None:
        self._timer.timeout.connect(self.look)
        self.crew.happened.connect(self._on_happened)
        self.crew.lost.connect(self._on_lost)
        self.crew.changed.connect(self._on_crew)
        self.model.moved.connect(self._on_moved)
        self.panel.selection_changed.connect(self.update_actions)
        self.panel.workers_changed.connect(self._on_workers)
        slots: dict[str, Callable[[], None]] = {
            "queue_pause": self._pause_or_go,
            "queue_next": self._run_next,
            "queue_up": self._up,
            "queue_down": self._down,
            "queue_remove": self._remove,
            "queue_retry": self._retry,
            "queue_resume": self._resume,
            "queue_clear": self._clear,
        }
        for name, slot in slots.items():
            self._commands[name].triggered.connect(slot)

    def _show(self, entries: list[Entry]) -> None:
        before = {entry.id: entry.state for entry in self.model.entries}
        self.model.show(entries)
        changed = [entry for entry in entries if before.get(entry.id, entry.state) != entry.state]
        if changed:
            self.panel.show_running()
        for entry in entries:
            # A short run may have ended between two looks.
            news = entry.state == "running" or (entry in changed and entry.state != "waiting")
            if news and entry.folder is not None:
                self._following.follow(entry.folder, again=entry.state == "running")
        self.update_actions()

    def _hands(self) -> int:
        return max(len(self.crew.hands), min(self.panel.workers.value(), self._most_workers))

    def _staff(self) -> None:
        """Begin as many workers as there are runs for, where a person has let the queue go."""
        if self.queue is None or not self.going or self.queue.paused:
            return
        waiting = sum(entry.state == "waiting" for entry in self.model.entries)
        if waiting:
            busy = sum(hand.claimed for hand in self.crew.hands)
            self.crew.staff(min(self.panel.workers.value(), busy + waiting))
        elif not self.crew.busy:
            self.going = False
            self.update_actions()
            self.emptied.emit()

    def _change(self, change: Callable[[Queue], object]) -> None:
        if self.queue is not None:
            try:
                change(self.queue)
            except StoreError as error:
                self._refuse(error)
            self.look()

    def _chosen(self) -> list[int]:
        return [entry.id for entry in self.panel.selected()]

    @Slot()
    def _pause_or_go(self) -> None:
        self._let(going=self.is_paused or not (self.crew.busy or self.going))

    @Slot()
    def _run_next(self) -> None:
        self._change(lambda queue: queue.run_next(self._chosen()))

    @Slot()
    def _up(self) -> None:
        self._change(lambda queue: queue.shift(self._chosen(), -1))

    @Slot()
    def _down(self) -> None:
        self._change(lambda queue: queue.shift(self._chosen(), 1))

    @Slot()
    def _remove(self) -> None:
        self._change(lambda queue: queue.remove(self._chosen()))

    @Slot()
    def _retry(self) -> None:
        self._again(lambda queue: queue.retry(self._chosen()))

    @Slot()
    def _resume(self) -> None:
        chosen = self._chosen() or [e.id for e in self.model.entries if e.state == "interrupted"]
        self._again(lambda queue: queue.resume(chosen))

    def _again(self, change: Callable[[Queue], object]) -> None:
        """Let entries wait again; a queue that nothing else waits in goes on with them."""
        idle = not any(e.state == "waiting" for e in self.model.entries) and not self.crew.busy
        if idle:
            self._change(lambda queue: queue.set_paused(paused=False))
        self.going = self.going or idle
        self._change(change)

    @Slot()
    def _clear(self) -> None:
        self._change(lambda queue: queue.clear())

    @Slot(object, int)
    def _on_moved(self, ids: list[int], place: int) -> None:
        self._change(lambda queue: queue.move(ids, place))

    @Slot(int)
    def _on_workers(self, count: int) -> None:
        self._preferences.write(_WORKERS, count)
        self.look()

    @Slot(object)
    def _on_happened(self, happening: dict[str, Any]) -> None:
        if happening["event"] == "ended":
            state, message = str(happening.get("state")), str(happening.get("message") or "")
            level = "error" if state in _BAD else "info"
            sentence = message or f"The run of the queue ended as {state}."
            self._tell_end(level, sentence, happening.get("entry"))
        self.look()

    def _tell_end(self, level: str, sentence: str, entry: object) -> None:
        """Log how an entry ended, under its run, which may have begun since the last look."""
        try:
            entries = self.queue.entries() if self.queue is not None else []
        except StoreError:
            entries = self.model.entries
        found = next((e for e in entries if e.id == entry), None)
        if found is None:
            self._log.add(level, sentence)
            return
        label = f"{found.config.get('algorithm', '?')} · seed {found.config.get('seed', '?')}"
        record = self._following.record(found.run)
        self._log.add(level, sentence, label if record is None else record.label, found.run)

    @Slot(str, bool)
    def _on_lost(self, how: str, had_begun: bool) -> None:
        """Mark what a worker left behind; the others go on, but not after one that cannot begin."""
        if self.queue is None:
            return
        try:
            for entry in self.queue.recover(wordless(how)):
                self._tell_end("error", wordless(how), entry)
            if not had_begun:
                self.going = False
                self.queue.set_paused(paused=True)
                self.troubled.emit(
                    f"A worker process of the queue could not begin ({how}); the queue is paused.",
                    "See queue-worker.log in the data folder.",
                )
        except StoreError as error:
            self._refuse(error)

    @Slot()
    def _on_crew(self) -> None:
        self.look()
        self.update_actions()
        self.changed.emit()

    def _refuse(self, error: StoreError) -> None:
        self._timer.stop()
        self.going = False
        _log.error("%s", error)
        self.troubled.emit(str(error), "")


def _states(entries: Sequence[Entry]) -> set[str]:
    return {entry.state for entry in entries}


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _left(waiting: int, interrupted: int, others: int) -> str:
    """Say what was left in the queue."""
    parts = []
    if waiting:
        parts.append(f"{_number(waiting, 'run')} {'waits' if waiting == 1 else 'wait'}")
    if interrupted:
        parts.append(f"{interrupted} can be resumed")
    told = ", ".join(parts)
    if others:
        return f"The queue is being worked off by another window or command: {told}."
    return f"The queue was left unfinished: {told}. Press Go in the Queue dock to go on."
