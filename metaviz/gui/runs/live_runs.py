"""The runs that are training now: events become records, rows and lines of the log."""

from PySide6.QtCore import QObject, Signal, Slot

from metaviz.gui.background.training_worker import StartedRun, TrainingWorker
from metaviz.gui.runs.row import row_of
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.runs.time_left import TimeLeft
from metaviz.gui.widgets.log_dock import LogDock
from metaviz.gui.widgets.notifier import Notifier
from metaviz.runs.model.events import Evaluated, Event, Noted, State, Waiting
from metaviz.runs.model.record import Record

_BAD = {"failed", "diverged"}
_SENTENCES = {
    "done": "Done.",
    "stopped": "Stopped; everything until here is kept.",
    "aborted": "Aborted.",
}


class LiveRuns(QObject):
    """Feeds the worker's events to records. `diverged` carries a sentence and a run's id."""

    diverged = Signal(str, str)
    run_ended = Signal(str, str)
    """A run's label, and how it ended."""

    def __init__(
        self, worker: TrainingWorker, model: RunListModel, log: LogDock, notifier: Notifier
    ) -> None:
        """Listen to the worker."""
        super().__init__(model)
        self.records: dict[str, Record] = {}
        self._model, self._log, self._notifier = model, log, notifier
        self._worker = worker
        self._reading = ""
        self._time_left = TimeLeft()
        worker.read.connect(self._on_read)
        worker.started.connect(self._on_started)
        worker.joined.connect(self._on_joined)
        worker.progressed.connect(self._on_progressed)
        worker.ended.connect(self._on_ended)
        worker.paused_changed.connect(self._on_paused)

    def progress(self) -> tuple[int, int]:
        """Return the meta-steps done and asked for; an ended run counts as done."""
        totals = {name: record.total_steps for name, record in self.records.items()}
        done = sum(
            totals[name] if record.ended else record.step for name, record in self.records.items()
        )
        return done, sum(totals.values())

    @property
    def doing(self) -> str:
        """What a run does besides taking meta-steps, empty where all of them go on."""
        if self._reading:
            return self._reading
        running = (record for record in self.records.values() if not record.ended)
        busy = next((record for record in running if record.doing), None)
        if busy is None or not busy.doing_tasks:
            return "" if busy is None else busy.doing
        return f"evaluating, {self._worker.tasks_done(busy.id)} of {busy.doing_tasks} tasks"

    def seconds_left(self) -> float | None:
        """Return how long all runs will take, evaluations included; None where nobody knows yet.

        While a meta-step is being compiled nobody does.
        """
        records = self.records.values()
        self._time_left.note(records)
        if any(record.is_stalled for record in records if not record.ended):
            return None
        return self._time_left.seconds(records)

    @Slot(object)
    def _on_started(self, started: list[StartedRun]) -> None:
        self.records = {}
        self._reading = ""
        self._time_left.begin()
        self._add(started)
        if any(run.resumed for run in started):  # resumed: the others stay in sight
            self._model.show(list(self.records), visible=True)
        else:
            self._show_alone()
        root = started[0].folder.parent
        self._log.add("info", f"Training {len(started)} runs; they are stored in {root}.")

    def _show_alone(self) -> None:
        """Show what trains; the others can be shown again by one undo, which is told."""
        others = self._model.shown() - set(self.records)
        self._model.show(list(self.records), visible=True)
        if others:
            self._model.tick_only(list(self.records))
            runs = "1 earlier run is" if len(others) == 1 else f"{len(others)} earlier runs are"
            self._notifier.inform(f"{runs} no longer shown; Undo (Ctrl+Z) shows them again")

    @Slot(object)
    def _on_joined(self, started: list[StartedRun]) -> None:
        self._add(started)
        self._model.show([run.record.id for run in started], visible=True)

    def _add(self, started: list[StartedRun]) -> None:
        """Put runs on top of the table, instead of what it knew of them."""
        for run in started:
            run.record.environment["folder"] = str(run.folder)
            self.records[run.record.id] = run.record
        rows = [row_of(run.record, run.folder, keep=True) for run in started]
        self._model.forget([run.record.id for run in started])
        self._model.add(rows[::-1], first=True)

    @Slot(str)
    def _on_read(self, line: str) -> None:
        self._reading = line

    @Slot(object)
    def _on_progressed(self, events: list[tuple[str, Event]]) -> None:
        self._reading = ""
        for name, event in events:
            record = self.records.get(name)
            if record is None:
                continue
            record.apply(event)
            if isinstance(event, Waiting) and event.tasks:
                self._time_left.evaluation_began(name)
            elif isinstance(event, Evaluated):
                self._time_left.evaluation_ended(name)
            if isinstance(event, Noted):
                self._log.add(
                    event.level, f"Step {event.step}: {event.message}", record.label, name
                )

    @Slot(str, str, str)
    def _on_ended(self, name: str, state: str, message: str) -> None:
        record = self.records[name]
        sentence = message or _SENTENCES.get(state, f"Ended as {state}.")
        self._log.add("error" if state in _BAD else "info", sentence, record.label, name)
        self.run_ended.emit(record.label, state)
        if record.divergence is not None:
            self.diverged.emit(f"{record.label} diverged: {sentence}", name)
        elif state in _BAD:
            self._notifier.fail(f"{record.label} {state}: {sentence}", f"run {name}")

    @Slot(bool)
    def _on_paused(self, paused: bool) -> None:
        state: State = "paused" if paused else "running"
        for record in self.records.values():
            if not record.ended:
                record.state = state
                record.revision += 1
