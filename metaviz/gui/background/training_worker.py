"""Training in a background thread: the only place in the window that calls the engine."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag
from typing import Any

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError
from metaviz.config.run_config import Comparison
from metaviz.gui.background.engine_protocol import Engine, EngineLoader, Errand, Session
from metaviz.runs.model.events import Ended, Event, State, Stepped, Waiting
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run

SLICE_SECONDS = 0.03
FLUSH_SECONDS = 0.1
GAUGE_SECONDS = 2.0
"""Training goes on for so long before what it is told by is measured."""

_log = logging.getLogger("metaviz.worker")


@dataclass(frozen=True)
class Loaded:
    """The engine is there."""

    device_text: str
    catalogue: Catalogue


@dataclass(frozen=True)
class Begun:
    """A run was made and is about to train."""

    id: str
    config: dict[str, Any]
    environment: dict[str, Any]
    folder: Path
    record: Record | None = None
    """What a resumed run holds already."""


class Worker(QObject):
    """Lives in its own thread. Its slots are called through queued signals only.

    Training is a zero timer of this thread: each turn gives one session, or its band, a slice of
    time and returns to the thread's event loop, so that pausing, stepping, stopping and comparing
    gradients are ordinary slots, and the window gets Python's lock between two turns.
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
    answered = Signal(str, object)
    unanswered = Signal(str, str)
    reported = Signal(str, str)
    gauged = Signal(str, object)

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
        self._gauge_from = 0.0
        self._hurry = Flag()
        self._recalled = Flag()
        self._timer = QTimer(self)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._take_turn)

    def hurry(self) -> None:
        """Cut the current slice, an evaluation or an errand short; for use from any thread."""
        self._hurry.set()
        for session in list(self._live):
            session.hurry()

    def recall(self) -> None:
        """Break the errand off that is under way; for use from any thread."""
        self._recalled.set()

    @Slot()
    def load(self) -> None:
        """Import the engine; emits `loaded`."""
        try:
            self._engine = self._loader()
            info = Loaded(self._engine.device_text, self._engine.catalogue)
        except Exception as error:  # noqa: BLE001 - one of the two doors
            self._fail("The engine cannot be loaded", error)
            return
        self.loaded.emit(info)

    @Slot(object, object, bool)
    def start(self, comparison: Comparison, root: Path, paused: bool) -> None:
        """Make a comparison's runs and train them in turn; emits `started`, later `finished`."""
        self._begin(lambda engine: engine.start(comparison, root), paused=paused)

    @Slot(object, object)
    def resume(self, folders: list[Path], steps: int | None) -> None:
        """Train stored runs further; emits `started`, later `finished`."""
        self._begin(lambda engine: engine.resume(folders, steps), stored=True)

    @Slot(object, object)
    def repeat(self, folder: Path, root: Path) -> None:
        """Train again from the settings of a stored run; emits `started`, later `finished`."""
        self._begin(lambda engine: engine.repeat(folder, root))

    @Slot(object, object, object)
    def fine_tune(self, comparison: Comparison, root: Path, source: Path) -> None:
        """Train a comparison from a stored run's weights; emits `started`, later `finished`."""
        self._begin(lambda engine: engine.start(comparison, root, source))

    @Slot(object, str)
    def mend(self, folder: Path, remedy: str) -> None:
        """Let a run that diverged go on with a change; emits `joined` where others are training."""

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
            self._settle()
            return
        self._hurry.clear()
        self._turn = 0
        self._gauged.clear()
        self._gauge_from = time.monotonic() + GAUGE_SECONDS
        self.started.emit(begun)
        self.set_paused(paused)

    def _open(self, make: Callable[[Engine], Sequence[Session]], *, stored: bool) -> list[Begun]:
        """Put new sessions among those that train; empty where the engine refuses."""
        if self._engine is None:
            return []
        try:
            sessions = list(make(self._engine))
            held = {s.id: open_run(s.folder) for s in sessions if stored}
        except OptionError as error:
            self.refused.emit(error.field, str(error))
        except (OSError, ValueError) as error:
            self.refused.emit("", _sentence(error))
        except Exception as error:  # noqa: BLE001 - one of the two doors
            self._fail("The runs cannot start", error)
        else:
            self._live += sessions
            return [
                Begun(s.id, s.config, s.environment, s.folder, held.get(s.id)) for s in sessions
            ]
        return []

    @Slot(bool)
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

    @Slot()
    def step(self) -> None:
        """Pause, and let every run take one meta-step."""
        if not self._paused:
            self.set_paused(True)
        for session in sorted(self._live, key=lambda live: live.step):
            while not self._hurry.is_set():
                event = self._advance(session)
                if event is None or isinstance(event, Stepped):
                    break
                if isinstance(event, Waiting):
                    self._flush()
        self._flush()
        self._settle()

    @Slot(str)
    def end(self, state: State) -> None:
        """End every run as `stopped` or `aborted`, keeping what it has."""
        for session in list(self._live):
            try:
                self._take(session, session.end(state))
            except Exception as error:  # noqa: BLE001 - one of the two doors
                self._drop(session, error)
        self._hurry.clear()
        self._settle()

    @Slot(object)
    def run_errand(self, errand: Errand) -> None:
        """Ask the engine; emits `answered` or `unanswered`, and `reported` meanwhile."""
        self._recalled.clear()
        if self._engine is None:
            self.unanswered.emit(errand.kind, "PyTorch is still loading: try again in a moment.")
            return

        def report(line: str) -> None:
            if self._hurry.is_set() or self._recalled.is_set():
                raise InterruptedError("Cancelled.")
            self.reported.emit(errand.kind, line)

        try:
            answer = errand.call(self._engine, report)
        except Exception as error:  # noqa: BLE001 - one of the two doors
            if not isinstance(error, (OptionError, ValueError, OSError)):
                _log.exception("The errand %s failed", errand.kind)
            self.unanswered.emit(errand.kind, _sentence(error))
            return
        self.answered.emit(errand.kind, answer)

    @Slot()
    def leave(self) -> None:
        """End what is left and let the thread end."""
        self.end("stopped")
        self._engine = None
        QThread.currentThread().quit()

    @Slot()
    def _take_turn(self) -> None:
        session = self._live[self._turn % len(self._live)]
        until = time.monotonic() + SLICE_SECONDS
        event: Event | None = None
        while time.monotonic() < until and not self._hurry.is_set():
            event = self._advance(self._behind(session))
            if event is None:
                break
            # Hands Python's lock to the window between two meta-steps.
            time.sleep(0)
        if session in self._live:
            self._turn += 1
            if isinstance(event, Stepped):
                self._gauge(session)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._flush()
        self._settle()

    def _behind(self, session: Session) -> Session:
        """Return who goes in a session's turn: of its band, whoever has taken fewest steps."""
        if session.band is None:
            return session
        return min((s for s in self._live if s.band is session.band), key=lambda s: s.step)

    def _gauge(self, session: Session) -> None:
        """Once in a run, find out what its pace is told by."""
        if session.id in self._gauged or time.monotonic() < self._gauge_from:
            return
        self._gauged.add(session.id)
        try:
            self.gauged.emit(session.id, session.gauge())
        except Exception:  # noqa: BLE001 - one of the two doors
            _log.exception("The pace of %s cannot be gauged", session.id, extra=_about(session))

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
        ended = Ended(steps[-1] if steps else 0, "failed", _sentence(error))
        try:
            session.end("failed")
        except Exception:  # noqa: BLE001 - one of the two doors
            _log.exception("The end of %s cannot be stored", session.id, extra=_about(session))
        self._take(session, ended)

    def _settle(self) -> None:
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
        self.failed.emit(f"{what}: {_sentence(error)}", "".join(_traceback(error)))


def _traceback(error: BaseException) -> list[str]:
    import traceback

    return traceback.format_exception(error)


def _about(session: Session) -> dict[str, str]:
    """Name the run that a line of the log is about."""
    return {"run": session.id}


def _sentence(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    first = text.splitlines()[0]
    return first if first.endswith((".", "!", "?")) else f"{first}."
