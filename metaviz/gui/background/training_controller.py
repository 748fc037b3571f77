"""The window's end of training: it owns the worker's thread and knows what is going on there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, QThread, Signal, Slot

from metaviz.config.run_config import Comparison
from metaviz.gui.background.engine_protocol import EngineLoader, Errand
from metaviz.gui.background.training_worker import Worker

Phase = Literal["loading", "broken", "idle", "starting", "training", "paused", "stopping", "closed"]
BUSY: frozenset[Phase] = frozenset({"starting", "training", "paused", "stopping"})


class Conductor(QObject):
    """Asks the worker for things by queued signals and keeps the phase that training is in."""

    phase_changed = Signal(str)
    closed = Signal()

    _load = Signal()
    _start = Signal(object, object, bool)
    _resume = Signal(object, object)
    _mend = Signal(object, str)
    _repeat = Signal(object, object)
    _fine_tune = Signal(object, object, object)
    _pause = Signal(bool)
    _step = Signal()
    _end = Signal(str)
    _errand = Signal(object)
    _leave = Signal()

    def __init__(self, loader: EngineLoader, parent: QObject | None = None) -> None:
        """Start the thread; the engine is loaded by `load`."""
        super().__init__(parent)
        self.phase: Phase = "loading"
        self.errands: list[Errand] = []
        """Asked and not yet answered, in order."""
        self.worker = Worker(loader)
        self.thread_ = QThread(self)
        self.thread_.setObjectName("training")
        self.worker.moveToThread(self.thread_)
        self._connect()
        self.thread_.start()

    def _connect(self) -> None:
        worker = self.worker
        self._load.connect(worker.load)
        self._start.connect(worker.start)
        self._resume.connect(worker.resume)
        self._mend.connect(worker.mend)
        self._repeat.connect(worker.repeat)
        self._fine_tune.connect(worker.fine_tune)
        self._pause.connect(worker.set_paused)
        self._step.connect(worker.step)
        self._end.connect(worker.end)
        self._errand.connect(worker.run_errand)
        self._leave.connect(worker.leave)
        worker.loaded.connect(self._on_loaded)
        worker.failed.connect(self._on_failed)
        worker.started.connect(self._on_started)
        worker.paused_changed.connect(self._on_paused)
        worker.finished.connect(self._on_finished)
        worker.answered.connect(self._on_errand_over)
        worker.unanswered.connect(self._on_errand_over)
        self.thread_.finished.connect(self._on_thread_finished)

    @property
    def busy(self) -> bool:
        """Whether runs are training or paused."""
        return self.phase in BUSY

    def load(self) -> None:
        """Have the engine loaded."""
        self._load.emit()

    def start(self, comparison: Comparison, root: Path, *, paused: bool = False) -> None:
        """Have a comparison trained."""
        if self.phase == "idle":
            self._enter("starting")
            self._start.emit(comparison, root, paused)

    def resume(self, folders: Sequence[Path], steps: int | None) -> None:
        """Have stored runs trained further, to `steps` where given."""
        if self.phase == "idle":
            self._enter("starting")
            self._resume.emit(list(folders), steps)

    def mend(self, folder: Path, remedy: str) -> None:
        """Have a run that diverged go on with a change, beside those that are training."""
        if self.phase == "idle":
            self._enter("starting")
        if self.phase in {"starting", "training", "paused"}:
            self._mend.emit(folder, remedy)

    def repeat(self, folder: Path, root: Path) -> None:
        """Have the settings of a stored run trained again, and compared with it."""
        if self.phase == "idle":
            self._enter("starting")
            self._repeat.emit(folder, root)

    def fine_tune(self, comparison: Comparison, root: Path, source: Path) -> None:
        """Have a comparison trained from a stored run's weights."""
        if self.phase == "idle":
            self._enter("starting")
            self._fine_tune.emit(comparison, root, source)

    def pause(self, *, paused: bool) -> None:
        """Pause or go on."""
        self._pause.emit(paused)

    def step(self) -> None:
        """Have every run take one meta-step, then wait."""
        self._step.emit()

    def stop(self) -> None:
        """End all runs and keep them."""
        self._finish("stopped")

    def abort(self) -> None:
        """End all runs as aborted."""
        self._finish("aborted")

    def ask(self, errand: Errand) -> None:
        """Have the engine asked besides training."""
        self.errands.append(errand)
        self._errand.emit(errand)
        self.phase_changed.emit(self.phase)

    def recall(self) -> None:
        """Break the errand off that is under way."""
        if self.errands:
            self.worker.recall()

    @property
    def blocked(self) -> str:
        """Why an errand keeps training from starting; empty where none does."""
        return next((errand.blocks for errand in self.errands if errand.blocks), "")

    def close(self) -> None:
        """Have the worker stop, save and leave; emits `closed` once its thread has ended."""
        self.worker.hurry()
        self._leave.emit()

    def _finish(self, state: str) -> None:
        if self.busy:
            self._enter("stopping")
            self.worker.hurry()
            self._end.emit(state)

    def _enter(self, phase: Phase) -> None:
        if phase != self.phase:
            self.phase = phase
            self.phase_changed.emit(phase)

    @Slot(object)
    def _on_loaded(self, _info: object) -> None:
        self._enter("idle")

    @Slot(str, str)
    def _on_failed(self, _sentence: str, _details: str) -> None:
        if self.phase == "loading":
            self._enter("broken")

    @Slot(object)
    def _on_started(self, _runs: object) -> None:
        # The last run may have ended just before another one was mended.
        if self.phase in {"starting", "idle"}:
            self._enter("training")

    @Slot(bool)
    def _on_paused(self, paused: bool) -> None:
        if self.phase in {"training", "paused"}:
            self._enter("paused" if paused else "training")

    @Slot()
    def _on_finished(self) -> None:
        if self.busy:
            self._enter("idle")

    @Slot()
    def _on_errand_over(self) -> None:
        del self.errands[0]
        self.phase_changed.emit(self.phase)

    @Slot()
    def _on_thread_finished(self) -> None:
        self._enter("closed")
        self.closed.emit()
