"""One run under way: training joined to its folder on disk."""

import re
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from metaviz.algorithms.registry import ALGORITHMS, find_algorithm
from metaviz.config.quantities import primary_of
from metaviz.config.run_config import RunConfig
from metaviz.files.platform import signals_held
from metaviz.plugin_loader import plugin_folder
from metaviz.problems.base import Problem
from metaviz.problems.registry import PROBLEMS
from metaviz.runs.analysis.reproduction import first_difference, repeat_sentence
from metaviz.runs.model.events import Ended, Evaluated, Event, Noted, State, Stepped
from metaviz.runs.model.record import Record
from metaviz.runs.model.speed import Gauge
from metaviz.runs.storage.lock import SharedLock
from metaviz.runs.storage.store import RunWriter, StoreError, create_run, open_run, sweep_runs
from metaviz.training.band import Band, bands_of
from metaviz.training.checkpoints import Checkpoints, Found
from metaviz.training.machine import limit
from metaviz.training.operations import abreast, operations_per_step
from metaviz.training.setting import Setting, changed_since, environment_of, settle
from metaviz.training.start import keep_start, restarted, source_parent, starting_from
from metaviz.training.trainer import Progress, begin, train


@dataclass(frozen=True)
class Resumption:
    """Where a stored run goes on: its state, the checkpoint that holds it, and what to note."""

    progress: Progress
    found: Found | None
    note: str


class Session:
    """Trains one run and stores every event before handing it on."""

    def __init__(
        self,
        setting: Setting,
        writer: RunWriter,
        resumption: Resumption | None = None,
        band: Band | None = None,
    ) -> None:
        """Train into a run's folder, from the start unless the run is resumed.

        In a band it shares batches with other seeds, if their sessions are advanced in turn.
        Raises: StoreError where the folder cannot be written.
        """
        self.config: dict[str, Any] = setting.config.model_dump(mode="json")
        self.environment = _environment(setting, band)
        self.folder = writer.folder
        self.id = writer.id
        self._setting = setting
        self._progress = resumption.progress if resumption else None
        self._member = None
        if band is not None:
            self._progress = self._progress or begin(setting)
            self._member = band.enter(setting, self._progress)
        self.band = band
        """Sessions of one band are to be advanced in turn, the one that is behind first."""
        self._checkpoints = Checkpoints(writer, resumption.found if resumption else None)
        self._writer: RunWriter | None = writer
        self._repeats: Path | None = None
        """The folder of the run that this one repeats."""
        self._events = self._train(resumption.note if resumption else "")

    def repeat(self, folder: Path) -> None:
        """Compare with the run in a folder once this one is done, and note what was found."""
        self._repeats = folder

    def rest(self, shared: SharedLock) -> None:
        """Hold no file open until the run's turn comes. Raises: StoreError."""
        if self._writer is not None:
            self._writer.rest(shared)

    def discard(self) -> None:
        """Delete a new run that has not begun."""
        self._events.close()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.discard()

    def advance(self) -> Event | None:
        """Compute, store and return the next event; None once the run has ended.

        Raises: StoreError where the store cannot be written; the run has then ended as failed.
        """
        if self._writer is None:
            return None
        try:
            event = next(self._events)
        except (RuntimeError, ValueError, ArithmeticError, MemoryError) as error:
            event = Ended(self.step, "failed", _sentence(error))
        self._store(event)
        return event

    def end(self, state: State) -> Event:
        """End the run early, keeping what it has."""
        self._events.close()
        event = Ended(self.step, state)
        if self._progress is not None and self._progress.unstored is not None:
            self._store(self._progress.unstored)
        if self._writer is not None:
            self._store(event)
        return event

    @property
    def step(self) -> int:
        """How many meta-steps the run has taken."""
        return self._progress.step if self._progress else 0

    @property
    def tasks_done(self) -> int:
        """How many tasks of an evaluation under way are done; from any thread."""
        return self._setting.evaluated.count

    def cut_short(self) -> None:
        """Cut an evaluation short, because `end` is about to be called; from any thread."""
        self._setting.cut_short.set()

    def set_state(self, state: State) -> None:
        """Record that the run is paused or running."""
        if self._writer is not None:
            self._writer.set_state(state)

    def gauge(self) -> Gauge:
        """Count the operations of a meta-step, and measure what the machine can do at most.

        It takes about three tasks' share of a meta-step, and once in a process 0.2 s.
        """
        setting = self._setting
        rate = limit(setting.device, setting.dtype, abreast(setting))
        engine = self._progress.engine if self._progress else ""
        return Gauge(operations_per_step(setting), rate, engine)

    def _train(self, note: str) -> Generator[Event, None, None]:
        if note:
            yield Noted(self.step, "info", note)
        if self._progress is None:
            self._progress = begin(self._setting)
        for event in train(self._setting, self._progress, self._member):
            if isinstance(event, Ended) and self._repeats is not None:
                yield self._compared(self._repeats)
            yield event

    def _compared(self, folder: Path) -> Noted:
        if self._writer is not None:
            self._writer.commit()
        try:
            original, mine = open_run(folder), open_run(self.folder)
        except StoreError as error:
            return Noted(self.step, "warning", f"Cannot be compared: {error}")
        sentence = repeat_sentence(original, mine)
        if first_difference(original, mine) is None:
            return Noted(self.step, "info", sentence)
        changed = changed_since(self._setting, original.environment)
        return Noted(self.step, "warning", f"{sentence} {changed}".rstrip())

    def _store(self, event: Event) -> None:
        writer = self._writer
        if writer is None:
            return
        try:
            with signals_held():
                writer.append(event)
                if self._progress is not None and isinstance(event, Stepped):
                    self._progress.unstored = None
            if self._progress is not None and _is_good(event, self._progress):
                self._checkpoints.save(self._progress, _score(event))
            if isinstance(event, Ended):
                self._leave()
                writer.close()
        except (OSError, RuntimeError) as error:
            self._leave()
            reason = str(error) if isinstance(error, StoreError) else f"Cannot save: {error}."
            kept = "What was stored until now is kept."
            sentence = f"{reason} {kept if self.folder.exists() else 'Its folder is gone.'}"
            writer.give_up(sentence)
            raise StoreError(sentence) from error

    def _leave(self) -> None:
        self._writer = None
        if self._member is not None:
            self._member.leave()


def _environment(setting: Setting, band: Band | None) -> dict[str, Any]:
    described = environment_of(setting)
    return described if band is None else {**described, "band": band.description}


def _is_good(event: Event, progress: Progress) -> bool:
    """Return whether the meta-parameters of now are worth keeping.

    A run that diverged keeps those of its last evaluation: it is the newest ones that broke it.
    """
    if isinstance(event, Evaluated):
        return progress.monitor.is_good(event)
    return isinstance(event, Ended) and event.state not in {"diverged", "failed"}


def _score(event: Event) -> float | None:
    """Return how good an evaluation is by what the run is judged by, larger for better."""
    judged = primary_of(event.per_task) if isinstance(event, Evaluated) else None
    if judged is None or not isinstance(event, Evaluated):
        return None
    score = event.per_task[judged.id].mean() * (-1 if judged.better == "smaller" else 1)
    return float(score) if np.isfinite(score) else None


def new_session(
    setting: Setting,
    root: Path,
    parent: dict[str, Any] | None = None,
    band: Band | None = None,
) -> Session:
    """Make a run under `root`; `parent` says which run it came from.

    Raises: StoreError where that is not possible.
    """
    config = setting.config.model_dump(mode="json")
    writer = create_run(
        root,
        config,
        _environment(setting, band),
        parent=parent or setting.problem.parent,
        network=setting.problem.net_spec().values(),
        traits=setting.traits,
        resolved=setting.resolved,
    )
    try:
        keep_start(writer.folder, setting)
    except StoreError:
        writer.discard()
        raise
    return Session(setting, writer, band=band)


def stored_config(record: Record, folder: Path) -> RunConfig:
    """Return a stored run's configuration. Raises: StoreError where this version cannot read it."""
    try:
        config = RunConfig.model_validate(record.config)
    except ValidationError as error:
        raise StoreError(f"{folder} has a configuration that this version cannot read.") from error
    _check_plugins(record, config)
    options = find_algorithm(config.algorithm).entry.as_stored(config.options)
    return config.model_copy(update={"options": options})


def _check_plugins(record: Record, config: RunConfig) -> None:
    """Refuse a run whose plugin is not here. Raises: StoreError naming it."""
    stored = str(record.environment.get("plugins", ""))
    if stored and (config.algorithm not in ALGORITHMS or config.problem not in PROBLEMS):
        names = " and ".join(part.partition(" sha256:")[0] for part in stored.split(", "))
        raise StoreError(
            f"{record.id} was trained with the plugin {names}, which is not loaded here: put its "
            f"file into {plugin_folder()} or name it by --plugin."
        )


def repeat_session(folder: Path, root: Path) -> Session:
    """Make a new run under `root` with the settings of a stored one, to be compared with it.

    Raises: StoreError, OptionError or ValueError with one sentence.
    """
    record = open_run(folder)
    setting = restarted(settle(stored_config(record, folder)), folder)
    session = new_session(setting, root, {"run": record.id, "kind": "repeat"})
    session.repeat(folder)
    return session


def open_sessions(
    configs: list[RunConfig], root: Path, source: Path | None = None
) -> list[Session]:
    """Check all runs of a comparison, then make their folders.

    Runs with the same seed share one problem, so that data are read once; on a GPU those that
    differ in their seed alone are a band. `source` is the folder of a run, or a file, whose weights
    all of them start from.
    Raises: OptionError, ValueError (data) or StoreError, before any run has started.
    """
    problems: dict[int, Problem] = {}
    settings = []
    parent = None if source is None else source_parent(source)
    for config in configs:
        setting = settle(config, problems.get(config.seed))
        problems[config.seed] = setting.problem
        settings.append(setting if source is None else starting_from(setting, source))
    sweep_runs(root)
    shared = SharedLock()
    with ExitStack() as made:
        sessions = []
        for setting, band in zip(settings, bands_of(settings), strict=True):
            session = new_session(setting, root, parent, band)
            made.callback(session.discard)
            session.rest(shared)
            sessions.append(session)
        made.pop_all()
    return sessions


def _sentence(error: BaseException) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "The GPU's memory is full: use a smaller meta-batch or fewer query examples."
    if match := re.search(r"allocate (\d+) bytes", str(error)):
        wanted = int(match[1]) / 2**20
        return (
            f"Memory ran out: {wanted:.1f} MiB more were needed. Use a smaller network, meta-batch "
            "or number of inner steps."
        )
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{text.rstrip('.')}."
