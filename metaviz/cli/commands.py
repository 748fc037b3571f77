"""What the commands do. Progress goes to standard error, results to standard output."""

import io
import itertools
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from metaviz.charts.matplotlib import Page, figure_of
from metaviz.cli.tables import (
    console,
    print_catalogue,
    print_gradients,
    print_judgements,
    print_options,
    print_presets,
    print_results,
    print_runs,
)
from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError, checked
from metaviz.config.overrides import parse_value, place_settings
from metaviz.config.run_config import (
    Comparison,
    EvaluationProtocol,
    comparison_of,
    parse_seeds,
    presets,
    read_toml,
    to_toml,
)
from metaviz.files.atomic import write_text
from metaviz.paths import runs_dir
from metaviz.runs.analysis.reproduction import first_difference, told
from metaviz.runs.analysis.result_charts import gradients_chart
from metaviz.runs.export.figures import FORMATS, comparison_figures, run_figures, save_figure
from metaviz.runs.export.html_report import write_report
from metaviz.runs.export.tables import write_tables
from metaviz.runs.export.tensorboard import MISSING, has_tensorboard, write_event_files
from metaviz.runs.model.evaluation import judgement_csv
from metaviz.runs.model.events import Ended, Event, Noted, Stepped, Waiting
from metaviz.runs.model.record import Record
from metaviz.runs.storage.archive import pack_run, unpack_run
from metaviz.runs.storage.store import StoreError, list_runs, open_run
from metaviz.training.engine import LocalEngine, build_catalogue
from metaviz.training.protocol import judge
from metaviz.training.session import Session

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class _OnStandardError(logging.Handler):
    """Writes what the engine says about its data."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{record.getMessage()}\n")


@contextmanager
def hearing() -> Iterator[None]:
    """Write meanwhile what the engine says about its data."""
    log, handler = logging.getLogger("metaviz.images"), _OnStandardError()
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


_FAILED = {"failed", "diverged"}
_Shown = tuple[Session, TaskID]


def build_comparison(
    asked: dict[str, Any],
    settings: list[str],
    config: Path | None,
    catalogue: Catalogue,
    known: dict[str, Any] | None = None,
) -> Comparison:
    """Join a TOML file, command-line options and settings into a checked comparison.

    Without a file the values that are `known` already hold.
    Raises: OptionError with one sentence.
    """
    values = read_toml(config) if config is not None else dict(known or {})
    given = {name: value for name, value in asked.items() if value is not None}
    if "seeds" in given:
        given["seeds"] = parse_seeds(given["seeds"])
    if "algorithms" in given:
        problem_id = str(given.get("problem", values.get("problem", "sinusoid")))
        given["algorithms"] = _algorithm_ids(given["algorithms"], catalogue, problem_id)
    values = {**values, **given}
    problem = catalogue.problem(str(values.get("problem", "sinusoid")))
    if problem is not None:
        values.setdefault("steps", problem.steps)
    tables = {part: values.get(part, {}) for part in ("shared", "options", "problem_options")}
    if isinstance(tables["options"], dict):
        tables |= {f"options.{name}": table for name, table in tables["options"].items()}
    for part, table in tables.items():
        if not isinstance(table, dict):
            raise OptionError(
                part, f"{part} = {table!r} is not valid: it must be a TOML table, like [{part}]."
            )
    return checked(Comparison, place_settings(settings, values, catalogue))


def _algorithm_ids(text: str, catalogue: Catalogue, problem: str) -> tuple[str, ...]:
    """Read a list of ids; `all` is every method that can run on the problem."""
    if text.strip() == "all":
        entry = catalogue.problem(problem)
        unsuited = entry.unsuited if entry is not None else {}
        return tuple(known.id for known in catalogue.algorithms if known.id not in unsuited)
    return tuple(part.strip() for part in text.split(",") if part.strip())


def compare_command(
    asked: dict[str, Any],
    settings: list[str],
    config: Path | None,
    out: Path,
    source: Path | None = None,
) -> int:
    """Train, from a run's weights where one is given, then write all; return the exit code."""
    known = None
    if source is not None:
        (source,) = _one_run(source)
        known = comparison_of(open_run(source).config).model_dump(mode="json")
    engine = LocalEngine()
    comparison = build_comparison(asked, settings, config, engine.catalogue, known)
    records, code = run_comparison(engine, comparison, out, source)
    print_results(records)
    return code


def run_comparison(
    engine: LocalEngine, comparison: Comparison, out: Path, source: Path | None = None
) -> tuple[list[Record], int]:
    """Train every run of a comparison, one after another, and write what came of it."""
    with hearing():
        sessions = engine.start(comparison, out / "runs", source)
    if (out / "summary.csv").exists():
        sys.stderr.write(
            f"{out} holds an earlier comparison: its runs stay, tables are replaced.\n"
        )
    _write_comparison(out / "comparison.toml", comparison, sessions)
    broken, interrupted = _train_to_the_end(sessions)
    records = [open_run(session.folder) for session in sessions]
    try:
        write_tables(records, out)
        _write_figures(records, out, ("png",), _Paper(), each_run=False)
    except StoreError:
        if not broken:
            raise
    return records, _exit_code(records, broken, interrupted=interrupted)


def resume_command(runs: list[Path], steps: int | None, remedy: str) -> int:
    """Train stored runs further; return the exit code.

    Of a folder of runs, those that are done are left alone unless they get more steps.
    """
    folders = [
        folder
        for place in runs
        for folder in _run_folders([place])
        if folder == place or _unfinished(folder, steps)
    ]
    if not folders:
        raise StoreError(f"All runs in {runs[0]} are done: give --steps to train them further.")
    with hearing():
        sessions = LocalEngine().resume(folders, steps, remedy)
    broken, interrupted = _train_to_the_end(sessions)
    records = [open_run(session.folder) for session in sessions]
    print_results(records)
    return _exit_code(records, broken, interrupted=interrupted)


def repeat_command(run: Path, out: Path | None) -> int:
    """Train a run's settings again and compare; return 1 where a number differs."""
    (folder,) = _one_run(run)
    with hearing():
        sessions = LocalEngine().repeat(folder, out or folder.parent)
    broken, interrupted = _train_to_the_end(sessions)
    record = open_run(sessions[0].folder)
    code = _exit_code([record], broken, interrupted=interrupted)
    if code:
        return code
    original = open_run(folder)
    sys.stdout.write(f"{told(original, record)}\n{sessions[0].folder}\n")
    return int(first_difference(original, record) is not None)


def weights_command(run: Path, out: Path) -> None:
    """Write the weights of a run's newest checkpoint as safetensors."""
    if out.suffix.lower() != ".safetensors":
        raise OptionError(
            "out", f"out = {str(out)!r} is not valid: use a name ending in .safetensors."
        )
    from metaviz.training.weights import write_weights

    (folder,) = _one_run(run)
    write_weights(folder, out)
    sys.stdout.write(f"{out}\n")


def pack_command(run: Path, out: Path) -> None:
    """Write a run into a zip archive."""
    if out.suffix.lower() != ".zip":
        raise OptionError("out", f"out = {str(out)!r} is not valid: use a name ending in .zip.")
    (folder,) = _one_run(run)
    pack_run(folder, out)
    sys.stdout.write(f"{out}\n")


def unpack_command(archive: Path, out: Path | None) -> None:
    """Put a packed run into a folder of runs."""
    sys.stdout.write(f"{unpack_run(archive, out or runs_dir())}\n")


def _one_run(place: Path) -> list[Path]:
    found = _run_folders([place])
    if len(found) > 1:
        raise StoreError(f"{place} holds {len(found)} runs: name the folder of one.")
    return found


def _unfinished(folder: Path, steps: int | None) -> bool:
    record = open_run(folder)
    return record.state != "done" if steps is None else record.step < steps


def _exit_code(records: list[Record], broken: str, *, interrupted: bool) -> int:
    if broken:
        sys.stderr.write(f"{broken}\n")
    failed = bool(broken) or any(record.state in _FAILED for record in records)
    return 130 if interrupted else int(failed)


def _train_to_the_end(sessions: list[Session]) -> tuple[str, bool]:
    """Train all runs; return why storage ended them, if it did, and whether a person did."""
    try:
        return _train_all(sessions), False
    except KeyboardInterrupt:
        for session in sessions:
            session.end("stopped")
        sys.stderr.write("Stopped; what was trained until now is kept.\n")
        return "", True
    finally:
        for session in sessions:
            session.end("aborted")


def _write_comparison(path: Path, comparison: Comparison, sessions: list[Session]) -> None:
    try:
        write_text(path, to_toml(comparison))
    except OSError as error:
        for session in sessions:
            session.end("aborted")
        raise StoreError(f"Cannot write {path}: {error.strerror}.") from error


def _train_all(sessions: list[Session]) -> str:
    """Train one run after another, showing how far each is; return why it had to end, if it had.

    Runs of a band are trained side by side.
    Storage that fails, like a full disk, ends all runs.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True)) as progress:
        bars = [
            progress.add_task(
                f"{s.config['algorithm']} seed {s.config['seed']}",
                total=s.config["steps"],
                loss="",
                start=False,
            )
            for s in sessions
        ]
        try:
            for company in _companies(list(zip(sessions, bars, strict=True))):
                _train_together(company, progress)
        except StoreError as error:
            return str(error)
    return ""


def _companies(runs: list[_Shown]) -> list[list[_Shown]]:
    """Return which runs are trained at a time: those of a band, or one."""
    found: dict[int, list[_Shown]] = {}
    for session, bar in runs:
        found.setdefault(id(session.band or session), []).append((session, bar))
    return list(found.values())


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
            _show(session, event, progress, bar)


def _show(session: Session, event: Event, progress: Progress, bar: TaskID) -> None:
    name = f"{session.config['algorithm']} seed {session.config['seed']}"
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


@dataclass(frozen=True)
class _Paper:
    """The size that a person asks for; each figure has its own where none is given."""

    width_cm: float | None = None
    height_cm: float | None = None
    dpi: int = 150

    def page(self, width_cm: float = 16.0) -> Page:
        return Page(self.width_cm or width_cm, self.height_cm, self.dpi)


def _write_figures(
    records: list[Record], out: Path, formats: tuple[str, ...], paper: _Paper, *, each_run: bool
) -> list[Path]:
    paths = _saved(dict(comparison_figures(records, paper.page)), out, formats)
    for record in records if each_run else ():
        figures = {
            re.sub(r"[^\w-]", "_", f"{name}-{record.id}"): figure
            for name, figure in run_figures(record, paper.page)
        }
        paths += _saved(figures, out, formats)
    return paths


def _saved(figures: "dict[str, Figure]", out: Path, formats: tuple[str, ...]) -> list[Path]:
    paths = []
    for (name, figure), kind in itertools.product(figures.items(), formats):
        paths.append(out / f"{name}.{kind}")
        save_figure(figure, paths[-1])
    return paths


def gradients_command(
    asked: dict[str, Any],
    settings: list[str],
    problem_file: Path | None,
    start: Path | None,
    step: int,
    *,
    as_json: bool,
) -> None:
    """Print the meta-gradients of several algorithms as JSON or as a table."""
    engine = LocalEngine()
    if problem_file is not None:
        if asked["problem"] != "quadratic":
            raise OptionError(
                "problem_file", "--problem-file holds matrices, so it needs --problem quadratic."
            )
        settings = [*settings, f"quadratic.file={problem_file}"]
    comparison = build_comparison(asked, settings, None, engine.catalogue)
    result = engine.gradients(comparison, start, step)
    if as_json:
        sys.stdout.write(result.to_json() + "\n")
        return
    print_gradients(result)


def list_command(runs: Path | None) -> None:
    """Print algorithms and problems, or the runs of a folder and what is wrong with others."""
    if runs is None:
        print_catalogue(build_catalogue())
        return
    records, unreadable = _readable(_run_folders([runs]))
    print_runs(list(records.values()))
    for sentence in unreadable:
        sys.stderr.write(f"{sentence}\n")


def options_command(name: str) -> None:
    """Print the options of an algorithm, a problem, or those that all share."""
    catalogue = build_catalogue()
    method, family = catalogue.algorithm(name), catalogue.problem(name)
    if method:
        print_options(method.options, method.presets, f"{name}.")
    elif family:
        print_options(family.options, {}, f"{name}.")
    elif name == "shared":
        print_options(catalogue.shared, {}, "")
    else:
        known = [entry.id for entry in catalogue.algorithms]
        known += [entry.id for entry in catalogue.problems]
        raise OptionError("id", f"There is no {name!r}; known: shared, {', '.join(known)}.")


def list_presets_command() -> None:
    """Print the shipped presets with the number that each was published with."""
    print_presets(
        {
            name: [line.removeprefix("# ") for line in path.read_text("utf-8").splitlines()[:2]]
            for name, path in presets().items()
        }
    )


def export_command(
    runs: list[Path],
    out: Path,
    formats: str,
    width_cm: float | None,
    height_cm: float | None,
    dpi: int,
    *,
    tensorboard: bool,
) -> int:
    """Write tables and figures of stored runs; return 1 where some could not be read."""
    if tensorboard and not has_tensorboard():
        raise OptionError("tensorboard", MISSING)
    kinds = tuple(part.strip().lower() for part in formats.split(",") if part.strip())
    wrong = [kind for kind in kinds if kind not in FORMATS]
    if wrong or not kinds:
        raise OptionError("formats", f"formats = {formats!r} is not valid: use png, pdf or svg.")
    by_folder, unreadable = _readable(_run_folders(runs))
    if not by_folder:
        raise StoreError(unreadable[0])
    records = list(by_folder.values())
    paths = write_tables(records, out, by_folder)
    paper = _Paper(width_cm, height_cm, dpi)
    paths += _write_figures(records, out, kinds, paper, each_run=True)
    if tensorboard:
        paths += write_event_files(records, out / "tensorboard")
    for path in paths:
        sys.stdout.write(f"{path}\n")
    for sentence in unreadable:
        sys.stderr.write(f"Left out: {sentence}\n")
    return int(bool(unreadable))


def evaluate_command(runs: list[Path], settings: list[str], out: Path | None) -> int:
    """Judge runs on the same held-out tasks; print means, differences and published results.

    Returns 1 where a run could not be judged; the others are.
    """
    values: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise OptionError("--set", f"--set {text!r} is not KEY=VALUE.")
        values[key.strip()] = parse_value(value)
    if "ways" in values:
        raise OptionError(
            "ways",
            "ways cannot be chosen: a network tells as many classes apart as it was trained for.",
        )
    protocol = checked(EvaluationProtocol, values)
    folders = _run_folders(runs)
    judgements, troubles = [], []
    for number, folder in enumerate(folders, 1):
        sys.stderr.write(f"Evaluating {folder.name} ({number} of {len(folders)}).\n")
        try:
            with hearing():
                judgements.append(judge(folder, protocol))
        except (OptionError, StoreError) as error:
            if len(folders) == 1:
                raise
            troubles.append(f"Left out: {folder.name}. {error}\n")
    if judgements:
        print_judgements(judgements)
    sys.stderr.writelines(troubles)
    if out is not None:
        stream = io.StringIO()
        judgement_csv(judgements, stream)
        try:
            write_text(out, stream.getvalue())
        except OSError as error:
            raise StoreError(f"Cannot write {out}: {error.strerror}.") from error
        sys.stdout.write(f"{out}\n")
    return int(bool(troubles))


def report_command(runs: list[Path], out: Path, title: str) -> int:
    """Write a report of stored runs; return 1 where some could not be read."""
    if out.suffix.lower() not in {".html", ".htm"}:
        raise OptionError("out", f"out = {str(out)!r} is not valid: use a name ending in .html.")
    records, unreadable = _readable(_run_folders(runs))
    if not records:
        raise StoreError(unreadable[0])
    folders = {record.id: folder for folder, record in records.items()}
    paths = write_report(list(records.values()), folders, out, title)
    sys.stdout.writelines(f"{path}\n" for path in paths)
    for sentence in unreadable:
        sys.stderr.write(f"Left out: {sentence}\n")
    return int(bool(unreadable))


def _readable(folders: list[Path]) -> tuple[dict[Path, Record], list[str]]:
    """Open runs; return those that can be read by folder, and what is wrong with the others."""
    records: dict[Path, Record] = {}
    unreadable = []
    ids: dict[str, Path] = {}
    for folder in folders:
        try:
            record = open_run(folder)
        except StoreError as error:
            unreadable.append(str(error))
            continue
        if record.id in ids:
            unreadable.append(f"{folder} is a copy of the run in {ids[record.id]}.")
        else:
            records[folder] = record
            ids[record.id] = folder
    return records, unreadable


def _run_folders(places: list[Path]) -> list[Path]:
    folders: list[Path] = []
    for place in map(_meant, places):
        if (place / "run.toml").exists():
            found = [place]
        else:
            found = list_runs(place) or list_runs(place / "runs")
        if not found:
            raise StoreError(f"{place} holds no runs: name a run folder or a folder of runs.")
        folders += found
    return folders


def _meant(place: Path) -> Path:
    """Return the folder of a run that is named by its id alone."""
    stored = runs_dir() / place
    return stored if len(place.parts) == 1 and not place.exists() and stored.is_dir() else place


def demo_command(out: Path) -> int:
    """Run a short comparison, write its tables and figures, and draw the window."""
    engine = LocalEngine()
    comparison = Comparison(
        problem="sinusoid",
        algorithms=("maml", "fomaml", "reptile", "joint"),
        steps=300,
        shared={"eval_tasks": 200, "eval_every": 50},
    )
    records, code = run_comparison(engine, comparison, out)
    chart = gradients_chart(engine.gradients(comparison, None, 0))
    save_figure(figure_of(chart, Page(20.0)), out / "gradients.png")
    from metaviz.app import render_window

    render_window(out / "window.png", records)
    print_results(records)
    sys.stderr.write(f"The demo's pictures and tables are in {out}.\n")
    return code


def download_command(dataset: str) -> None:
    """Download a data set because a person asked."""
    with console(stderr=True).status("Downloading") as status:
        folder = LocalEngine().download(dataset, status.update)
    sys.stdout.write(f"{folder}\n")
