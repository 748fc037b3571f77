"""What the commands do. Progress goes to standard error, results to standard output."""

import itertools
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from metaviz.catalogue import Catalogue
from metaviz.config import Comparison, parse_seeds, read_toml, to_toml
from metaviz.options import OptionError, OptionSpec, checked
from metaviz.runs.curves import TrainingView, fan
from metaviz.runs.events import Ended, Noted, Stepped
from metaviz.runs.export import write_tables
from metaviz.runs.figures import (
    FORMATS,
    Page,
    default_inner_views,
    fan_figure,
    gradients_figure,
    inner_figure,
    save_figure,
    training_figure,
)
from metaviz.runs.files import write_text
from metaviz.runs.gradients import GradientComparison
from metaviz.runs.record import Record
from metaviz.runs.store import StoreError, list_runs, open_run
from metaviz.settings import place_settings
from metaviz.training.engine import LocalEngine, build_catalogue
from metaviz.training.session import Session

_FAILED = {"failed", "diverged"}


def build_comparison(
    asked: dict[str, Any], settings: list[str], config: Path | None, catalogue: Catalogue
) -> Comparison:
    """Join a TOML file, command-line options and settings into a checked comparison.

    Raises: OptionError with one sentence.
    """
    values = read_toml(config) if config is not None else {}
    given = {name: value for name, value in asked.items() if value is not None}
    if "seeds" in given:
        given["seeds"] = parse_seeds(given["seeds"])
    if "algorithms" in given:
        given["algorithms"] = _algorithm_ids(given["algorithms"], catalogue)
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


def _algorithm_ids(text: str, catalogue: Catalogue) -> tuple[str, ...]:
    if text.strip() == "all":
        return tuple(entry.id for entry in catalogue.algorithms)
    return tuple(part.strip() for part in text.split(",") if part.strip())


def compare_command(
    asked: dict[str, Any], settings: list[str], config: Path | None, out: Path
) -> int:
    """Train, then write runs, tables and figures; return the exit code."""
    engine = LocalEngine()
    comparison = build_comparison(asked, settings, config, engine.catalogue)
    records, code = run_comparison(engine, comparison, out)
    _print_results(records)
    return code


def run_comparison(
    engine: LocalEngine, comparison: Comparison, out: Path
) -> tuple[list[Record], int]:
    """Train every run of a comparison, one after another, and write what came of it."""
    sessions = engine.start(comparison, out / "runs")
    try:
        _write_comparison(out / "comparison.toml", comparison)
        interrupted = _train_all(sessions)
    finally:
        for session in sessions:
            session.end("aborted")
    records = [open_run(session.folder) for session in sessions]
    write_tables(records, out)
    _write_figures(records, out, ("png",), _Paper(), with_fans=False)
    failed = any(record.state in _FAILED for record in records)
    return records, 130 if interrupted else int(failed)


def _write_comparison(path: Path, comparison: Comparison) -> None:
    try:
        write_text(path, to_toml(comparison))
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror}.") from error


def _train_all(sessions: list[Session]) -> bool:
    """Train in turn; return whether a person interrupted."""
    console = _console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
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
            for session, bar in zip(sessions, bars, strict=True):
                _train_one(session, progress, bar)
        except KeyboardInterrupt:
            for session in sessions:
                session.end("stopped")
            console.print("Stopped; what was trained until now is kept.")
            return True
    return False


def _train_one(session: Session, progress: Progress, bar: TaskID) -> None:
    name = f"{session.config['algorithm']} seed {session.config['seed']}"
    progress.start_task(bar)
    while (event := session.advance()) is not None:
        if isinstance(event, Stepped):
            loss = event.values["post_query_loss"]
            progress.update(bar, completed=event.step, loss=f"query loss {loss:.4g}")
        elif isinstance(event, Noted):
            progress.console.print(f"{name}, step {event.step}: {event.message}")
        elif isinstance(event, Ended) and event.message:
            progress.console.print(f"{name} {event.state}: {event.message}")


@dataclass(frozen=True)
class _Paper:
    """The size that a person asks for; each figure has its own where none is given."""

    width_cm: float | None = None
    height_cm: float | None = None
    dpi: int = 150

    def page(self, width_cm: float = 16.0, height_cm: float = 10.0) -> Page:
        return Page(self.width_cm or width_cm, self.height_cm or height_cm, self.dpi)


def _write_figures(
    records: list[Record], out: Path, formats: tuple[str, ...], paper: _Paper, *, with_fans: bool
) -> list[Path]:
    accuracy = any("query_accuracy" in e.curves for r in records for e in r.evaluations[-1:])
    view = TrainingView(quantity="query_accuracy" if accuracy else "query_loss")
    panels = default_inner_views(records)
    figures = {
        "training": training_figure(records, view, paper.page()),
        "inner": inner_figure(records, panels, paper.page(11.0 * len(panels), 9.0)),
    }
    if with_fans:
        for record in records:
            drawn = fan(record)
            if drawn is not None:
                name = re.sub(r"[^\w-]", "_", f"fan-{record.id}")
                figures[name] = fan_figure(drawn, drawn.landmarks(), paper.page())
    paths = []
    for (name, figure), kind in itertools.product(figures.items(), formats):
        paths.append(out / f"{name}.{kind}")
        save_figure(figure, paths[-1])
    return paths


def _console(*, stderr: bool = False) -> Console:
    """Return a console that takes brackets in names as they are."""
    return Console(stderr=stderr, markup=False)


def _print_results(records: list[Record]) -> None:
    table = Table(title="After adaptation to the evaluation tasks (mean ± 95 % interval)")
    for column in ("run", "seed", "state", "K", "query loss", "accuracy", "seconds"):
        table.add_column(column, justify="left" if column in {"run", "state"} else "right")
    for record in records:
        row = [record.algorithm, str(record.seed), record.state]
        if record.evaluations:
            last = record.evaluations[-1]
            k = last.trained_steps
            row.append(str(k))
            for name in ("query_loss", "query_accuracy"):
                row.append(_interval(last.curves, name, k))
        else:
            row += ["", "", ""]
        row.append(f"{record.column('seconds')[-1]:.1f}" if len(record) else "")
        table.add_row(*row)
    _console().print(table)


def _interval(curves: dict[str, Any], name: str, k: int) -> str:
    if name not in curves:
        return ""
    return f"{curves[name][k]:.4g} ± {curves[f'{name}_ci95'][k]:.2g}"


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
    _print_gradients(result)


def _print_gradients(result: GradientComparison) -> None:
    console = _console()
    numbers = Table(
        *("algorithm", "length", "inner res.", "solver res.", "gradients", "HVPs"),
        title="Meta-gradients on one batch at one point",
    )
    cosines = Table(title="Cosines between them", box=None, padding=(0, 1, 0, 0))
    cosines.add_column("")
    for column in numbers.columns[1:]:
        column.justify = "right"
    for row, line in zip(result.rows, result.cosine(), strict=True):
        residuals = [
            "" if value is None else f"{value:.2e}"
            for value in (row.inner_residual, row.solver_residual)
        ]
        counts = str(row.gradient_evaluations), str(row.hessian_vector_products)
        numbers.add_row(row.algorithm, f"{row.norm:.6g}", *residuals, *counts)
        cosines.add_column(row.algorithm, justify="right", no_wrap=True)
        cosines.add_row(row.algorithm, *("–" if np.isnan(c) else f"{c:.4f}" for c in line))
    console.print(numbers)
    console.print("res. = residual, HVPs = Hessian-vector products; counts are over all tasks.")
    console.print()
    console.print(cosines)
    for row in result.rows:
        for note in row.notes:
            console.print(f"{row.algorithm}: {note}")


def list_command(runs: Path | None) -> None:
    """Print algorithms and problems, or the runs of a folder."""
    console = _console()
    if runs is not None:
        _list_runs(runs, console)
        return
    catalogue = build_catalogue()
    table = Table("id", "algorithm", "group", "what it does", title="Algorithms")
    for entry in catalogue.algorithms:
        table.add_row(entry.id, entry.title, entry.group, entry.summary)
    console.print(table)
    table = Table("id", "problem", "what it is", title="Problems")
    for family in catalogue.problems:
        table.add_row(family.id, family.title, family.summary)
    console.print(table)


def _list_runs(place: Path, console: Console) -> None:
    """Print the readable runs of a folder, and to standard error what is wrong with the others."""
    table = Table("run", "algorithm", "problem", "seed", "state", "step")
    unreadable = []
    for folder in _run_folders([place]):
        try:
            r = open_run(folder)
        except StoreError as error:
            unreadable.append(str(error))
            continue
        table.add_row(r.id, r.algorithm, r.problem, str(r.seed), r.state, str(r.step))
    console.print(table)
    for sentence in unreadable:
        _console(stderr=True).print(sentence)


def options_command(name: str) -> None:
    """Print the options of an algorithm, a problem, or those that all share."""
    catalogue = build_catalogue()
    entry = catalogue.algorithm(name) or catalogue.problem(name)
    if entry is None and name != "shared":
        known = [method.id for method in catalogue.algorithms]
        known += [family.id for family in catalogue.problems]
        raise OptionError("id", f"There is no {name!r}; known: shared, {', '.join(known)}.")
    options: tuple[OptionSpec, ...] = entry.options if entry else catalogue.shared
    prefix = f"{name}." if entry else ""
    table = Table("--set", "default", "what it is")
    for column in table.columns:
        column.overflow = "fold"
    for spec in options:
        default = "" if spec.default is None else str(spec.default)
        what = f"{spec.description} Use {spec.range_text}."
        table.add_row(f"{prefix}{spec.name}", default, what)
    for preset, values in getattr(entry, "presets", {}).items():
        what = "Fills in " + ", ".join(f"{key}={value}" for key, value in values.items()) + "."
        table.add_row(f"{prefix}preset", "", f"{preset}: {what}")
    _console().print(table)


def export_command(
    runs: list[Path],
    out: Path,
    formats: str,
    width_cm: float | None,
    height_cm: float | None,
    dpi: int,
) -> None:
    """Write tables and figures of stored runs."""
    kinds = tuple(part.strip().lower() for part in formats.split(",") if part.strip())
    wrong = [kind for kind in kinds if kind not in FORMATS]
    if wrong or not kinds:
        raise OptionError("formats", f"formats = {formats!r} is not valid: use png, pdf or svg.")
    records = [open_run(folder) for folder in _run_folders(runs)]
    paths = write_tables(records, out)
    paper = _Paper(width_cm, height_cm, dpi)
    paths += _write_figures(records, out, kinds, paper, with_fans=True)
    for path in paths:
        sys.stdout.write(f"{path}\n")


def _run_folders(places: list[Path]) -> list[Path]:
    folders: list[Path] = []
    for place in places:
        if (place / "run.toml").exists():
            found = [place]
        else:
            found = list_runs(place) or list_runs(place / "runs")
        if not found:
            raise StoreError(f"{place} holds no runs: name a run folder or a folder of runs.")
        folders += found
    return folders


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
    save_figure(gradients_figure(engine.gradients(comparison, None, 0)), out / "gradients.png")
    from metaviz.app import render_window

    render_window(out / "window.png", records)
    _print_results(records)
    sys.stderr.write(f"The demo's pictures and tables are in {out}.\n")
    return code


def download_command(problem: str) -> None:
    """Download a data set because a person asked."""
    console = _console(stderr=True)
    folder = LocalEngine().download(problem, console.print)
    sys.stdout.write(f"{folder}\n")
