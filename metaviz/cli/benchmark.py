"""`metaviz benchmark`: how fast this machine is. The table goes to standard output."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put, say, write_file

if TYPE_CHECKING:
    from metaviz.config.run_config import Comparison
    from metaviz.runs.model.speed import Speed


def benchmark(
    problems: Annotated[
        str, typer.Option(help="Task families with commas between; see `metaviz list`.")
    ] = "sinusoid,strokes",
    algorithms: Annotated[str, typer.Option(help="Ids with commas between, or all.")] = "all",
    rounds: Annotated[
        int, opt.number(int, 1, 1000, "Times that each is timed, all of them in turn.")
    ] = 5,
    settings: opt.Settings = None,
    device: opt.Device = None,
    dtype: opt.Dtype = None,
    engine: opt.Engine = None,
    memory: opt.Memory = None,
    tf32: opt.Tf32 = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="MAML by higher, learn2learn and torchopt beside it.")
    ] = False,
    weigh: Annotated[
        bool, typer.Option("--weigh/--no-weigh", help="Measure peak memory, too.")
    ] = True,
    out: Annotated[Path, typer.Option(help="Where benchmark.csv and benchmark.png go.")] = Path(
        "metaviz-benchmark"
    ),
) -> int:
    """Measure this machine: meta-steps per second, memory, and how near the limit they are."""
    from metaviz.config.options import OptionError

    names = tuple(dict.fromkeys(opt.split_names(problems)))
    if not names:
        raise OptionError("problems", f"problems = {problems!r} is not valid: name at least one.")
    asked: dict[str, Any] = {"algorithms": algorithms, "memory_gib": memory, "tf32": tf32}
    asked |= {"device": device, "dtype": dtype, "engine": engine}
    comparisons = []
    for name in names:
        others = tuple(f"{other}." for other in names if other != name)
        own = [text for text in settings or [] if not text.strip().startswith(others)]
        comparisons.append(opt.read_asked({**asked, "problem": name}, own))
    shared = {entry.id: entry.title for entry in opt.known_catalogue().algorithms if entry.in_peers}
    if peers and not any(shared.keys() & comparison.algorithms for comparison in comparisons):
        name, title = next(iter(shared.items()))
        raise OptionError("peers", f"--peers has {title} beside it: add {name} to --algorithms.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        from metaviz.runs.storage.store import StoreError

        raise StoreError(f"Cannot write {out}: {error.strerror}.") from error
    told = (opt.unused(comparison, algorithms, settings) for comparison in comparisons)
    say(*dict.fromkeys(sentence for sentences in told for sentence in sentences))
    speeds, interrupted = _measure(comparisons, rounds, memory=weigh, peers=peers)
    if speeds:
        _write(speeds, out)
    if interrupted:
        say("Stopped; what was measured until now is kept.")
    return 130 if interrupted else 0


def benchmark_memory() -> None:
    """Take a few steps and say how much memory they took. Started by MetaViz itself."""
    from metaviz.benchmarking.memory import measure_memory

    measure_memory()


def _measure(
    comparisons: "list[Comparison]", rounds: int, *, memory: bool, peers: bool
) -> "tuple[list[Speed], bool]":
    """Measure one problem after another; return what is known, and whether a person ended it."""
    from metaviz.benchmarking.measuring import Measurement
    from metaviz.benchmarking.peers import PEERS
    from metaviz.cli.tables import progress_bars
    from metaviz.cli.training import logged_data
    from metaviz.training.engine import LocalEngine, planned_runs

    LocalEngine()  # settles how torch computes
    chosen = [planned_runs(comparison) for comparison in comparisons]
    names = tuple(PEERS) if peers else ()
    interrupted = False
    with ExitStack() as opened, logged_data():
        tests = [opened.enter_context(Measurement(configs, names)) for configs in chosen]
        progress = opened.enter_context(progress_bars("{task.fields[doing]}"))
        try:
            for configs, test in zip(chosen, tests, strict=True):
                total = test.parts(rounds, memory=memory)
                bar = progress.add_task(configs[0].problem, total=total, doing="")
                for doing in test.work(rounds, memory=memory):
                    progress.update(bar, doing=doing)
                    progress.advance(bar)
        except KeyboardInterrupt:
            interrupted = True
        return [speed for test in tests for speed in test.speeds()], interrupted


def _write(speeds: "list[Speed]", out: Path) -> None:
    from metaviz.charts.matplotlib import Page, figure_of
    from metaviz.cli.tables import print_speeds
    from metaviz.runs.analysis.result_charts import speed_charts
    from metaviz.runs.export.figures import save_figure
    from metaviz.runs.model.speed import speed_csv

    print_speeds(speeds)
    write_file(out / "benchmark.csv", speed_csv(speeds))
    put(out / "benchmark.csv")
    if any(found.seconds for found in speeds):
        save_figure(figure_of(speed_charts(speeds), Page()), out / "benchmark.png")
        put(out / "benchmark.png")
