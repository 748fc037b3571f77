"""What the commands do. Progress goes to standard error, results to standard output."""

import itertools
import sys
from pathlib import Path
from typing import Any

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
    for part in ("shared", "options", "problem_options"):
        if not isinstance(values.get(part, {}), dict):
            raise OptionError(part, f"{part} must be a TOML table, like [{part}].")
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
        write_text(out / "comparison.toml", to_toml(comparison))
        interrupted = _train_all(sessions)
    finally:
        for session in sessions:
            session.end("aborted")
    records = [open_run(session.folder) for session in sessions]
    write_tables(records, out)
    _write_figures(records, out, ("png",), Page(), with_fans=False)
    failed = any(record.state in _FAILED for record in records)
    return records, 130 if interrupted else int(failed)


def _train_all(sessions: list[Session]) -> bool:
    """Train in turn; return whether a person interrupted."""
    console = Console(stderr=True)
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
            progress.console.print(f"{name}, step {event.step}: {event.message}", markup=False)
        elif isinstance(event, Ended) and event.message:
            progress.console.print(f"{name} {event.state}: {event.message}", markup=False)


def _write_figures(
    records: list[Record], out: Path, formats: tuple[str, ...], page: Page, *, with_fans: bool
) -> list[Path]:
    accuracy = any("query_accuracy" in e.curves for r in records for e in r.evaluations[-1:])
    view = TrainingView(quantity="query_accuracy" if accuracy else "query_loss")
    figures = {
        "training": training_figure(records, view, page),
        "inner": inner_figure(records),
    }
    if with_fans:
        for record in records:
            drawn = fan(record)
            if drawn is not None:
                figures[f"fan-{record.id}"] = fan_figure(drawn, drawn.landmarks(), page)
    paths = [out / f"{name}.{kind}" for name, kind in itertools.product(figures, formats)]
    for path in paths:
        save_figure(figures[path.stem], path)
    return paths


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
    Console().print(table)


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
    Console().print(_gradients_table(result))


def _gradients_table(result: GradientComparison) -> Table:
    table = Table(title="Meta-gradients on one batch at one point")
    names = [row.algorithm for row in result.rows]
    for column in ("algorithm", "length", "inner residual", "solver residual", "HVPs"):
        table.add_column(column, justify="left" if column == "algorithm" else "right")
    for name in names:
        table.add_column(f"cos {name}", justify="right")
    for row, cosines in zip(result.rows, result.cosine(), strict=True):
        residuals = [
            "" if value is None else f"{value:.2e}"
            for value in (row.inner_residual, row.solver_residual)
        ]
        table.add_row(
            row.algorithm,
            f"{row.norm:.6g}",
            *residuals,
            str(row.hessian_vector_products),
            *("–" if value != value else f"{value:.4f}" for value in cosines),  # noqa: PLR0124
        )
    return table


def list_command(runs: Path | None) -> None:
    """Print algorithms and problems, or the runs of a folder."""
    console = Console()
    if runs is not None:
        table = Table("run", "algorithm", "problem", "seed", "state", "step")
        for folder in _run_folders([runs]):
            r = open_run(folder)
            table.add_row(r.id, r.algorithm, r.problem, str(r.seed), r.state, str(r.step))
        console.print(table)
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
    table = Table("--set", "default", "values", "what it is")
    for spec in options:
        default = "" if spec.default is None else str(spec.default)
        table.add_row(f"{prefix}{spec.name}", default, spec.range_text, spec.description)
    presets = getattr(entry, "presets", {})
    if presets:
        what = "fills in: " + "; ".join(
            f"{preset}: {', '.join(f'{k}={v}' for k, v in values.items())}"
            for preset, values in presets.items()
        )
        table.add_row(f"{prefix}preset", "", "one of " + ", ".join(presets), what)
    Console().print(table)


def export_command(
    runs: list[Path], out: Path, formats: str, width_cm: float, height_cm: float, dpi: int
) -> None:
    """Write tables and figures of stored runs."""
    kinds = tuple(part.strip().lower() for part in formats.split(",") if part.strip())
    wrong = [kind for kind in kinds if kind not in FORMATS]
    if wrong or not kinds:
        shown = wrong[0] if wrong else "nothing"
        raise OptionError("formats", f"Format {shown!r} is not known: use png, pdf or svg.")
    records = [open_run(folder) for folder in _run_folders(runs)]
    paths = write_tables(records, out)
    page = Page(width_cm, height_cm, dpi)
    paths += _write_figures(records, out, kinds, page, with_fans=True)
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
    console = Console(stderr=True)
    folder = LocalEngine().download(problem, lambda line: console.print(line, markup=False))
    sys.stdout.write(f"{folder}\n")
