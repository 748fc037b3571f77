"""Trains runs and shows how far each is; progress goes to standard error."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.progress import Progress, TaskID

from metaviz.charts.matplotlib import Page
from metaviz.cli.errors import INTERRUPTED
from metaviz.cli.export import write_figures
from metaviz.cli.output import Said, say, write_file
from metaviz.cli.tables import progress_bars
from metaviz.config.run_config import Comparison, to_toml
from metaviz.files.text import shell_line
from metaviz.runs.export.tables import write_tables
from metaviz.runs.model.events import Ended, Event, Noted, State, Stepped, Waiting
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import StoreError, open_run
from metaviz.training.engine import LocalEngine
from metaviz.training.session import Session

_FAILED = {"failed", "diverged"}
_Shown = tuple[Session, TaskID]


@dataclass(frozen=True)
class Trained:
    """What came of runs: why storage ended them, if it did, and whether a person did."""

    records: list[Record]
    broken: str
    interrupted: bool

    def exit_code(self) -> int:
        """Return 1 where a run failed, 130 where Ctrl+C ended them; say why storage ended them."""
        if self.broken:
            say(self.broken)
        failed = bool(self.broken) or any(record.state in _FAILED for record in self.records)
        return INTERRUPTED if self.interrupted else int(failed)


def run_comparison(
    engine: LocalEngine,
    comparison: Comparison,
    out: Path,
    source: Path | None = None,
    remarks: Sequence[str] = (),
) -> tuple[list[Record], int]:
    """Train every run of a comparison, one after another, and write what came of it.

    `source` is the folder of a run whose weights all start from; `remarks` are said once nothing
    is refused. Returns the exit code, too.
    """
    with logged_data():
        backbones = engine.backbones(comparison)
    if backbones:
        say(f"Training {len(backbones)} backbone(s) first, in {backbones[0].folder.parent}.")
        trained = train(backbones)
        if code := trained.exit_code():
            return trained.records, code
    with logged_data():
        sessions = engine.start(comparison, out / "runs", source)
    say(*remarks)
    if (out / "summary.csv").exists():
        say(f"{out} holds an earlier comparison: its runs stay, tables are replaced.")
    try:
        write_file(out / "comparison.toml", to_toml(comparison))
    except StoreError:
        _end(sessions, "aborted")
        raise
    trained = train(sessions)
    try:
        write_tables(trained.records, out)
        write_figures(trained.records, out, ("png",), Page, each_run=False)
    except StoreError:
        if not trained.broken:
            raise
    return trained.records, trained.exit_code()


def train(sessions: list[Session]) -> Trained:
    """Train runs to their ends; Ctrl+C stops them, and storage that fails ends all."""
    broken, interrupted = "", False
    try:
        _train_all(sessions)
    except StoreError as error:
        broken = str(error)
    except KeyboardInterrupt:
        interrupted = True
        broken = _end(sessions, "stopped")
        say("Stopped; what was trained until now is kept.")
    finally:
        late = _end(sessions, "aborted")
    records, unreadable = _read(sessions)
    stopped = [folder for folder, record in records.items() if record.state == "stopped"]
    if interrupted and stopped:
        say(f"To go on: {_resume_line(stopped)}")
    return Trained(list(records.values()), broken or late or unreadable, interrupted)


def _resume_line(folders: Sequence[Path]) -> str:
    """Return the command that lets runs go on; where there are several, by their folder."""
    places = folders if len(folders) == 1 else dict.fromkeys(folder.parent for folder in folders)
    return shell_line(["metaviz", "resume", *map(str, places)])


def _read(sessions: Sequence[Session]) -> tuple[dict[Path, Record], str]:
    """Return what runs hold, and why the first of those cannot be read that cannot."""
    records, broken = {}, ""
    for session in sessions:
        try:
            records[session.folder] = open_run(session.folder)
        except StoreError as error:
            broken = broken or str(error)
    return records, broken


@contextmanager
def logged_data() -> Iterator[None]:
    """Say meanwhile what the engine logs about its data; what is a warning is said anyway."""
    log, handler = logging.getLogger("metaviz.images"), Said()
    handler.addFilter(lambda record: record.levelno < logging.WARNING)
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _end(sessions: Sequence[Session], state: State) -> str:
    """End runs that have not; return why the first of those was not stored that was not."""
    broken = ""
    for session in sessions:
        try:
            session.end(state)
        except StoreError as error:
            broken = broken or str(error)
    return broken


def _train_all(sessions: Sequence[Session]) -> None:
    """Train one run after another; runs of a band are trained side by side."""
    texts = ("{task.completed:.0f}/{task.total:.0f}", "{task.fields[loss]}")
    with progress_bars(*texts) as progress:
        bands: dict[int, list[_Shown]] = {}
        for session in sessions:
            total = session.config["steps"]
            bar = progress.add_task(_name(session), total=total, loss="", start=False)
            bands.setdefault(id(session.band or session), []).append((session, bar))
        for runs in bands.values():
            _train_together(runs, progress)


def _train_together(runs: list[_Shown], progress: Progress) -> None:
    """Train runs to their ends, always the one that is furthest behind."""
    for _, bar in runs:
        progress.start_task(bar)
    while runs:
        session, bar = min(runs, key=lambda run: run[0].step)
        event = session.advance()
        if event is None:
            runs.remove((session, bar))
        else:
            _show(_name(session), event, progress, bar)


def _show(name: str, event: Event, progress: Progress, bar: TaskID) -> None:
    show = partial(progress.console.print, soft_wrap=True)
    if isinstance(event, Stepped):
        loss = event.values.get("post_query_loss")  # not read at every step
        progress.update(bar, completed=event.step)
        if loss is not None:
            progress.update(bar, loss=f"query loss {loss:.4g}")
    elif isinstance(event, Waiting):
        progress.update(bar, loss=event.message)
    elif isinstance(event, Noted):
        show(f"{name}, step {event.step}: {event.message}")
    elif isinstance(event, Ended) and event.message:
        show(f"{name} {event.state}: {event.message}")


def _name(session: Session) -> str:
    return f"{session.config['algorithm']} seed {session.config['seed']}"
