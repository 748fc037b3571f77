"""Training in a background thread: the only place in the window that calls the engine."""

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError
from metaviz.config.run_config import Comparison
from metaviz.files.progress import reading_reported_to
from metaviz.gui.background.engine_protocol import Engine, EngineLoader, Session
from metaviz.gui.background.task import Task, sentence_of
from metaviz.runs.model.events import Ended, Event, State, Stepped, Waiting
from metaviz.runs.model.record import MOST_PICTURES, Record
from metaviz.runs.storage.store import open_run

SLICE_SECONDS = 0.03
FLUSH_SECONDS = 0.1
GAUGE_SECONDS = 2.0
"""The machine's limit is measured after so long a time of training."""

_log = logging.getLogger("metaviz.worker")


@dataclass(frozen=True)
class EngineInfo:
    """The engine is there."""

    device_text: str
    catalogue: Catalogue


@dataclass(frozen=True)
class StartedRun:
    """A run was made and is about to train."""

    record: Record
    """What is stored of it: of a new run all but numbers."""
    folder: Path
    resumed: bool = False


class TrainingWorker(QObject):
    """Lives in its own thread, where the controller calls its methods.

    Training is a zero timer of this thread: each turn gives one session, or its band, a slice of
    time and returns to the thread's event loop, so that pausing, stepping, stopping and comparing
    gradients are ordinary calls, and the window gets Python's lock between two turns.
    """

    loaded = Signal(object)
    started = Signal(object)
    joined = Signal(object)
    progressed = Signal(object)
    ended = Signal(str, str, str)
    finished = Signal()
    paused_changed = Signal(bool)
    failed = Signal(str, str)
    refused = Signal(str, str)
    gauged = Signal(str, object)
    read = Signal(str)
    """What is read before training can go on, like `reading images, 40 of 600`."""

    def __init__(self, loader: EngineLoader) -> None:
        """Take the function that imports and makes the engine."""
        super().__init__()
        self._loader = loader
        self._engine: Engine | None = None
        self._live: list[Session] = []
        self._turn = 0
        self._paused = False
        self._active = False
        self._batch: list[tuple[str, Event]] = []
        self._flushed = 0.0
        self._gauged: set[str] = set()
        self._gauge_from = self._told_reading = 0.0
        self._interrupted = Flag()
        self._cancelled = Flag()
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._take_turn)

    def interrupt(self) -> None:
        """Cut the current slice, an evaluation or a request short; for use from any thread."""
        self._interrupted.set()
        for session in list(self._live):
            session.cut_short()

    def tasks_done(self, name: str) -> int:
        """Return how many tasks of a run's evaluation are done; for use from any thread."""
        return next((one.tasks_done for one in list(self._live) if one.id == name), 0)

    def cancel_request(self) -> None:
        """Cancel the request that is under way; for use from any thread."""
        self._cancelled.set()

    def load(self) -> None:
        """Import the engine; emits `loaded`."""
        try:
            self._engine = self._loader()
            info = EngineInfo(self._engine.device_text, self._engine.catalogue)
        except Exception as error:  # noqa: BLE001 - one of the two doors
            self._fail("The engine cannot be loaded", error)
            return
        self.loaded.emit(info)

    def start(self, comparison: Comparison, root: Path, paused: bool) -> None:
        """Make a comparison's runs and train them in turn; emits `started`, later `finished`."""
        self._begin(lambda engine: engine.start(comparison, root), paused=paused)

    def resume(self, folders: list[Path], steps: int | None) -> None:
        """Train stored runs further; emits `started`, later `finished`."""
        self._begin(lambda engine: engine.resume(folders, steps), stored=True)

    def repeat(self, folder: Path, root: Path) -> None:
        """Train again from the settings of a stored run; emits `started`, later `finished`."""
        self._begin(lambda engine: engine.repeat(folder, root))

    def fine_tune(self, comparison: Comparison, root: Path, source: Path) -> None:
        """Train a comparison from a stored run's weights; emits `started`, later `finished`."""
        self._begin(lambda engine: engine.start(comparison, root, source))

    def mend(self, folder: Path, remedy: str) -> None:
        """Resume a run that diverged with a change; emits `joined` where others are training."""

        def make(engine: Engine) -> Sequence[Session]:
            return engine.resume([folder], None, remedy)

        if not self._live:
            self._begin(make, stored=True)
        elif begun := self._open(make, stored=True):
            self.joined.emit(begun)
            if self._paused:
                self._mark("paused")

    def _begin(
        self,
        make: Callable[[Engine], Sequence[Session]],
        *,
        paused: bool = False,
        stored: bool = False,
    ) -> None:
        if self._engine is None or self._live:
            return
        begun = self._open(make, stored=stored)
        self._active = True
        if not begun:
            self._finish_if_none_trains()
            return
        self._interrupted.clear()
        self._turn = 0
        self._gauged.clear()
        self._gauge_from = time.monotonic() + GAUGE_SECONDS
        self.started.emit(begun)
        self.set_paused(paused)

    def _open(
        self, make: Callable[[Engine], Sequence[Session]], *, stored: bool
    ) -> list[StartedRun]:
        """Put new sessions among those that train; empty where the engine refuses."""
        if self._engine is None:
            return []
        try:
            with reading_reported_to(self._on_read):
                sessions = list(make(self._engine))
            runs = [
                StartedRun(open_run(s.folder, most_pictures=MOST_PICTURES), s.folder, stored)
                for s in sessions
            ]
        except OptionError as error:
            self.refused.emit(error.field, str(error))
        except (OSError, ValueError) as error:
            self.refused.emit("", sentence_of(error))
        except Exception as error:  # noqa: BLE001 - one of the two doors
            self._fail("The runs cannot start", error)
        else:
            self._live += sessions
            return runs
        return []

    def set_paused(self, paused: bool) -> None:
        """Stop taking turns, or go on."""
        if not self._live:
            return
        self._paused = paused
        self._mark("paused" if paused else "running")
        if paused:
            self._timer.stop()
            self._flush()
        else:
            self._timer.start()
        self.paused_changed.emit(paused)

    def step(self) -> None:
        """Pause, and take one meta-step of every run."""
        if not self._paused:
            self.set_paused(True)
        for session in sorted(self._live, key=lambda live: live.step):
            while not self._interrupted.is_set():
                event = self._advance(session)
                if event is None or isinstance(event, Stepped):
                    break
                if isinstance(event, Waiting) and not event.is_usual:
                    self._flush()
        self._flush()
        self._finish_if_none_trains()

    def end(self, state: State) -> None:
        """End every run as `stopped` or `aborted`, keeping what it has."""
        for session in list(self._live):
            try:
                self._take(session, session.end(state))
            except Exception as error:  # noqa: BLE001 - one of the two doors
                self._drop(session, error)
        self._interrupted.clear()
        self._finish_if_none_trains()

    def answer(self, request: Task) -> None:
        """Run a request with the engine; it fails when it is cancelled or training must end."""
        self._cancelled.clear()

        def report(line: str) -> None:
            if self._interrupted.is_set() or self._cancelled.is_set():
                raise InterruptedError("Cancelled.")
            request.send(request.progressed, line)

        if self._engine is None:
            request.send(request.failed, "PyTorch is still loading: try again in a moment.")
        else:
            request.run(self._engine, report)

    def close(self) -> None:
        """End the runs that are left, and release the engine."""
        self.end("stopped")
        self._engine = None

    @Slot()
    def _take_turn(self) -> None:
        session = self._live[self._turn % len(self._live)]
        until = time.monotonic() + SLICE_SECONDS
        event: Event | None = None
        while time.monotonic() < until and not self._interrupted.is_set():
            with reading_reported_to(self._on_read):
                event = self._advance(self._behind(session))
            if event is None:
                break
            if isinstance(event, Waiting):
                self._flush()
            # Hands Python's lock to the window between two meta-steps.
            time.sleep(0)
        if session in self._live:
            self._turn += 1
            if isinstance(event, Stepped):
                self._gauge(session)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush()
        self._finish_if_none_trains()

    def _on_read(self, done: int, count: int) -> None:
        """Tell how far the reading of images is, but not for each of them."""
        now = time.monotonic()
        if now - self._told_reading >= FLUSH_SECONDS or done >= count:
            self._told_reading = now
            self.read.emit(f"reading images, {done} of {count}")

    def _behind(self, session: Session) -> Session:
        """Return which session advances: of its band, the one that has taken fewest steps."""
        if session.band is None:
            return session
        return min((s for s in self._live if s.band is session.band), key=lambda s: s.step)

    def _gauge(self, session: Session) -> None:
        """Once in a run, find out what its speed is judged by."""
        if session.id in self._gauged or time.monotonic() < self._gauge_from:
            return
        self._gauged.add(session.id)
        try:
            self.gauged.emit(session.id, session.gauge())
        except Exception:  # noqa: BLE001 - one of the two doors
            _log.exception("The speed of %s cannot be measured", session.id, extra=_about(session))

    def _advance(self, session: Session) -> Event | None:
        try:
            event = session.advance()
        except Exception as error:  # noqa: BLE001 - one of the two doors
            self._drop(session, error)
            return None
        if event is None:
            self._live.remove(session)
            return None
        self._take(session, event)
        return event if session in self._live else None

    def _take(self, session: Session, event: Event) -> None:
        self._batch.append((session.id, event))
        if isinstance(event, Ended):
            self._live.remove(session)
            self._flush()
            self.ended.emit(session.id, event.state, event.message)

    def _drop(self, session: Session, error: Exception) -> None:
        """End a run whose session broke: the others go on."""
        _log.error("Run %s failed", session.id, exc_info=error, extra=_about(session))
        steps = [e.step for name, e in self._batch if name == session.id]
        ended = Ended(steps[-1] if steps else 0, "failed", sentence_of(error))
        try:
            session.end("failed")
        except Exception:  # noqa: BLE001 - one of the two doors
            _log.exception("The end of %s cannot be stored", session.id, extra=_about(session))
        self._take(session, ended)

    def _finish_if_none_trains(self) -> None:
        if self._live or not self._active:
            return
        self._timer.stop()
        self._active = self._paused = False
        self._flush()
        self.finished.emit()

    def _mark(self, state: State) -> None:
        for session in list(self._live):
            try:
                session.set_state(state)
            except Exception as error:  # noqa: BLE001 - one of the two doors
                self._drop(session, error)

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        if self._batch:
            self.progressed.emit(self._batch)
            self._batch = []

    def _fail(self, what: str, error: Exception) -> None:
        _log.error(what, exc_info=error)
        self.failed.emit(
            f"{what}: {sentence_of(error)}", "".join(traceback.format_exception(error))
        )


def _about(session: Session) -> dict[str, str]:
    """Name the run that a line of the log is about."""
    return {"run": session.id}
