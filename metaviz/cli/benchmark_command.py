"""What `metaviz benchmark` does. Progress goes to standard error, the table to standard output."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from metaviz.benchmarking.measuring import Measurement
from metaviz.benchmarking.peers import PEERS
from metaviz.charts.matplotlib import Page, figure_of
from metaviz.cli.commands import build_comparison, hearing
from metaviz.cli.speed_tables import print_speeds
from metaviz.cli.tables import console
from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig
from metaviz.files.atomic import write_text
from metaviz.runs.analysis.result_charts import speed_charts
from metaviz.runs.export.figures import save_figure
from metaviz.runs.model.speed import Speed, speed_csv
from metaviz.runs.storage.store import StoreError
from metaviz.training.engine import LocalEngine, planned_runs

_INTERRUPTED = 130
_SAME = "maml"


def benchmark_command(
    problems: str,
    asked: dict[str, Any],
    settings: list[str],
    rounds: int,
    out: Path,
    *,
    memory: bool,
    peers: bool,
) -> int:
    """Measure, write table and figure; return 130 where Ctrl+C broke it off, else 0.

    What was measured until then is written.
    """
    engine = LocalEngine()
    chosen = _chosen(problems, asked, settings, engine.catalogue)
    if peers and not any(run.algorithm == _SAME for runs in chosen for run in runs):
        raise OptionError("peers", "--peers has MAML beside it: add maml to --algorithms.")
    _make_folder(out)
    names = tuple(PEERS) if peers else ()
    speeds, interrupted = _measure(chosen, rounds, names, memory=memory)
    if speeds:
        print_speeds(speeds)
        _write(speeds, out)
    if interrupted:
        sys.stderr.write("Stopped; what was measured until now is kept.\n")
    return _INTERRUPTED if interrupted else 0


def _chosen(
    problems: str, asked: dict[str, Any], settings: list[str], catalogue: Catalogue
) -> list[list[RunConfig]]:
    """Return the runs of each problem; a problem's settings are for it alone.

    Raises: OptionError with one sentence.
    """
    names = list(dict.fromkeys(part.strip() for part in problems.split(",") if part.strip()))
    if not names:
        raise OptionError("problems", f"problems = {problems!r} is not valid: name at least one.")
    chosen = []
    for name in names:
        others = tuple(f"{other}." for other in names if other != name)
        own = [text for text in settings if not text.strip().startswith(others)]
        comparison = build_comparison({**asked, "problem": name}, own, None, catalogue)
        chosen.append(planned_runs(comparison))
    return chosen


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"Cannot write {out}: {error.strerror}.") from error


def _measure(
    chosen: Sequence[Sequence[RunConfig]], rounds: int, peers: Sequence[str], *, memory: bool
) -> tuple[list[Speed], bool]:
    """Measure one problem after another; return what is known, and whether a person ended it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[doing]}"),
        TimeRemainingColumn(),
    )
    speeds: list[Speed] = []
    with ExitStack() as opened, hearing():
        tests = [opened.enter_context(Measurement(configs, peers)) for configs in chosen]
        progress = opened.enter_context(Progress(*columns, console=console(stderr=True)))
        try:
            for configs, test in zip(chosen, tests, strict=True):
                name = configs[0].problem
                bar = progress.add_task(name, total=test.parts(rounds, memory=memory), doing="")
                for doing in test.work(rounds, memory=memory):
                    progress.update(bar, doing=doing)
                    progress.advance(bar)
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
        for test in tests:
            speeds += test.speeds()
    return speeds, interrupted


def _write(speeds: Sequence[Speed], out: Path) -> None:
    path = out / "benchmark.csv"
    try:
        write_text(path, speed_csv(speeds))
    except OSError as error:
        raise StoreError(f"Cannot write {path}: {error.strerror}.") from error
    sys.stdout.write(f"{path}\n")
    if any(found.seconds for found in speeds):
        path = out / "benchmark.png"
        save_figure(figure_of(speed_charts(speeds), Page()), path)
        sys.stdout.write(f"{path}\n")
