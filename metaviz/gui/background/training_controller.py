"""Controls training: it owns the worker's thread and knows what is going on there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, Signal, Slot

from metaviz.config.run_config import Comparison
from metaviz.gui.background.engine_protocol import EngineCall, EngineLoader
from metaviz.gui.background.task import Task, WorkerThread
from metaviz.gui.background.training_worker import TrainingWorker

Phase = Literal["loading", "broken", "idle", "starting", "training", "paused", "stopping", "closed"]
BUSY: frozenset[Phase] = frozenset({"starting", "training", "paused", "stopping"})


class TrainingController(QObject):
    """Calls the worker's methods on its thread, and keeps the phase that training is in."""

    phase_changed = Signal(str)
    closed = Signal()

    def __init__(self, loader: EngineLoader, parent: QObject | None = None) -> None:
        """Start the thread; the engine is loaded by `load`."""
        super().__init__(parent)
        self.phase: Phase = "loading"
        self._blocking: list[str] = []
        """For each request that is not answered yet, why it keeps training from starting."""
        self.worker = worker = TrainingWorker(loader)
        self.thread_ = WorkerThread(worker, "training", self)
        worker.loaded.connect(self._on_loaded)
        worker.failed.connect(self._on_failed)
        worker.started.connect(self._on_started)
        worker.paused_changed.connect(self._on_paused)
        worker.finished.connect(self._on_finished)
        self.thread_.finished.connect(self._on_thread_finished)

    @property
    def busy(self) -> bool:
        """Whether runs are training or paused."""
        return self.phase in BUSY

    @property
    def has_requests(self) -> bool:
        """Whether the engine has requests that are not answered yet."""
        return bool(self._blocking)

    @property
    def blocked(self) -> str:
        """Why a request keeps training from starting; empty where none does."""
        return next((reason for reason in self._blocking if reason), "")

    def load(self) -> None:
        """Load the engine."""
        self.thread_.post(self.worker.load)

    def start(self, comparison: Comparison, root: Path, *, paused: bool = False) -> None:
        """Train a comparison."""
        self._start(self.worker.start, comparison, root, paused)

    def resume(self, folders: Sequence[Path], steps: int | None) -> None:
        """Train stored runs further, to `steps` where given."""
        self._start(self.worker.resume, list(folders), steps)

    def mend(self, folder: Path, remedy: str) -> None:
        """Resume a run that diverged with a change, beside those that are training."""
        if self.phase in {"starting", "training", "paused"}:
            self.thread_.post(self.worker.mend, folder, remedy)
        else:
            self._start(self.worker.mend, folder, remedy)

    def repeat(self, folder: Path, root: Path) -> None:
        """Train the settings of a stored run again, and compare with it."""
        self._start(self.worker.repeat, folder, root)

    def fine_tune(self, comparison: Comparison, root: Path, source: Path) -> None:
        """Train a comparison from a stored run's weights."""
        self._start(self.worker.fine_tune, comparison, root, source)

    def pause(self, *, paused: bool) -> None:
        """Pause or go on."""
        self.thread_.post(self.worker.set_paused, paused)

    def step(self) -> None:
        """Take one meta-step of every run, then wait."""
        self.thread_.post(self.worker.step)

    def stop(self) -> None:
        """End all runs and keep them."""
        self._end("stopped")

    def abort(self) -> None:
        """End all runs as aborted."""
        self._end("aborted")

    def ask(
        self,
        call: EngineCall,
        finished: Callable[..., object],
        failed: Callable[[str], object],
        progressed: Callable[[str], object] | None = None,
        *,
        blocks: str = "",
    ) -> None:
        """Call the engine besides training; bound slots get the result, a failure and progress.

        `blocks` says why nothing can be trained meanwhile; it is empty for what is over soon.
        """
        request = Task(call, finished, failed, self, self._on_request_over)
        if progressed is not None:
            request.progressed.connect(progressed)
        self._blocking.append(blocks)
        self.thread_.post(self.worker.answer, request)
        self.phase_changed.emit(self.phase)

    def cancel_request(self) -> None:
        """Cancel the request that is under way."""
        if self.has_requests:
            self.worker.cancel_request()

    def close(self) -> None:
        """Stop the worker, which saves; emits `closed` once its thread has ended."""
        self.worker.interrupt()
        self.thread_.close(self.worker.close)

    def _start(self, method: Callable[..., None], *arguments: object) -> None:
        if self.phase == "idle":
            self._enter("starting")
            self.thread_.post(method, *arguments)

    def _end(self, state: str) -> None:
        if self.busy:
            self._enter("stopping")
            self.worker.interrupt()
            self.thread_.post(self.worker.end, state)

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
    def _on_request_over(self) -> None:
        del self._blocking[0]  # requests are answered in the order in which they are made
        self.phase_changed.emit(self.phase)

    @Slot()
    def _on_thread_finished(self) -> None:
        self._enter("closed")
        self.closed.emit()
