"""The command line. Without a command it opens the window."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from metaviz import __version__
from metaviz.cli.benchmark import benchmark, benchmark_memory
from metaviz.cli.options import (
    Device,
    Dtype,
    Engine,
    Memory,
    Settings,
    Tf32,
    machine_asked,
    number_within,
)
from metaviz.cli.queue import queue_app, sweep
from metaviz.cli.terminal import escape_unknown_letters

app = typer.Typer(
    name="metaviz",
    help="Explore meta-learning: train, watch and compare few-shot adaptation.",
    pretty_exceptions_enable=False,
    add_completion=False,
    invoke_without_command=True,
    no_args_is_help=False,
)
data_app = typer.Typer(help="Data sets: nothing is downloaded unless you ask here.")
app.add_typer(data_app, name="data")
app.add_typer(queue_app, name="queue")

# The base of all mistakes on a command line; typer exports only this child of it.
_UsageError: Any = typer.BadParameter.__mro__[1]


def main() -> None:
    """Run the command line; bad input ends with one sentence and exit code 2."""
    # One OpenMP thread per worker: spinning threads would fight with the window for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    escape_unknown_letters()
    try:
        code = app(standalone_mode=False)
    except _UsageError as error:
        _refuse(error.format_message())
    except (ValueError, OSError) as error:
        refuse(error)
    else:
        sys.exit(code or 0)


def refuse(error: Exception) -> NoReturn:
    """Say what is wrong and end with exit code 2; raise what is no mistake of a person's."""
    if not _is_for_people(error):
        raise error
    _refuse(str(error))


def _refuse(sentence: str) -> NoReturn:
    typer.echo(f"metaviz: {sentence}", err=True)
    sys.exit(2)


def _is_for_people(error: BaseException) -> bool:
    from metaviz.config.options import OptionError
    from metaviz.runs.model.marks import MarksError
    from metaviz.runs.storage.store import StoreError

    return (
        isinstance(error, OptionError | StoreError | MarksError)
        or type(error).__name__ == "DataError"
    )


@app.callback()
def window(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    demo_without_display: Annotated[
        bool, typer.Option("--demo-without-display", help="Without a display run the demo.")
    ] = False,
) -> None:
    """Open the window."""
    if version:
        typer.echo(f"MetaViz {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    from metaviz.preflight import preflight

    problem = preflight(dict(os.environ))
    if problem is not None and problem.kind == "display" and demo_without_display:
        typer.echo(f"{problem.message}\nRunning the demo without a window instead.", err=True)
        demo(Path("metaviz-demo"))
        return
    if problem is not None:
        typer.echo(problem.message, err=True)
        raise typer.Exit(problem.exit_code)
    from metaviz.__main__ import open_window

    open_window()


@app.command()
def compare(
    problem: Annotated[str | None, typer.Option(help="Task family; see `metaviz list`.")] = None,
    algorithms: Annotated[str | None, typer.Option(help="Ids with commas between, or all.")] = None,
    steps: Annotated[str | None, typer.Option(metavar="N", help="Meta-steps of every run.")] = None,
    seeds: Annotated[str | None, typer.Option(help="0,1,2 or 0-4.")] = None,
    settings: Settings = None,
    config: Annotated[Path | None, typer.Option(help="A comparison as TOML.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings of a published experiment; `metaviz list --presets` names them."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A run whose weights to start from; its settings hold unless others do."
        ),
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    engine: Engine = None,
    memory: Memory = None,
    tf32: Tf32 = None,
    out: Annotated[Path, typer.Option(help="Where runs, tables and figures go.")] = Path(
        "metaviz-comparison"
    ),
) -> None:
    """Train several algorithms on the same tasks; write runs, tables and figures."""
    from metaviz.cli.commands import compare_command
    from metaviz.config.overrides import parse_value
    from metaviz.config.run_config import find_preset

    asked = {
        "problem": problem,
        "algorithms": algorithms,
        "steps": None if steps is None else parse_value(steps),
        "seeds": seeds,
        **machine_asked(device, dtype, engine, memory, tf32),
    }
    if preset is not None:
        if config is not None:
            raise typer.BadParameter("--config and --preset exclude each other.")
        config = find_preset(preset)
    raise typer.Exit(compare_command(asked, settings or [], config, out, source))


app.command()(sweep)
app.command()(benchmark)
app.command("benchmark-memory", hidden=True)(benchmark_memory)


@app.command()
def resume(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of runs.")],
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=number_within(int, 1, 10_000_000),
            help="Meta-steps in all; trains runs that are done further.",
        ),
    ] = None,
    remedy: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="For runs that diverged: half-inner, half-outer, clip or skip-task.",
        ),
    ] = "",
) -> None:
    """Train runs further that were interrupted or stopped, each from its newest checkpoint."""
    from metaviz.cli.commands import resume_command

    raise typer.Exit(resume_command(runs, steps, remedy))


@app.command()
def repeat(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the new run goes; beside the first unless given.")
    ] = None,
) -> None:
    """Train a run's settings again, and say where the numbers differ; exit code 1 where they do."""
    from metaviz.cli.commands import repeat_command

    raise typer.Exit(repeat_command(run, out))


@app.command()
def weights(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[Path, typer.Option(help="The file, ending in .safetensors.")],
) -> None:
    """Write a run's weights by name as safetensors, which other programs read."""
    from metaviz.cli.commands import weights_command

    weights_command(run, out)


@app.command()
def pack(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[Path, typer.Option(help="The file, ending in .zip.")],
) -> None:
    """Write a run with everything of it into one zip archive."""
    from metaviz.cli.commands import pack_command

    pack_command(run, out)


@app.command()
def unpack(
    archive: Annotated[Path, typer.Argument(help="What `metaviz pack` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of runs; the window's unless given.")
    ] = None,
) -> None:
    """Check a packed run and put it among the runs; nothing is overwritten."""
    from metaviz.cli.commands import unpack_command

    unpack_command(archive, out)


@app.command()
def gradients(
    problem: Annotated[str, typer.Option(help="Task family; see `metaviz list`.")] = "sinusoid",
    problem_file: Annotated[
        Path | None, typer.Option(help="Matrices of the quadratic problem, as TOML.")
    ] = None,
    algorithms: Annotated[str, typer.Option(help="Ids with commas between, or all.")] = "all",
    settings: Settings = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float64",
    device: Device = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=number_within(int, 0, 2**31 - 1),
            help="Seed of tasks and initial weights.",
        ),
    ] = 0,
    step: Annotated[
        int,
        typer.Option(
            metavar="N", parser=number_within(int, 0, 10**9), help="Which meta-batch, from 0."
        ),
    ] = 0,
    start: Annotated[Path | None, typer.Option(help="A run whose weights are the point.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Compare the meta-gradients of algorithms on one batch at one point."""
    from metaviz.cli.commands import gradients_command

    asked: dict[str, Any] = {
        "problem": problem,
        "algorithms": algorithms,
        "seeds": str(seed),
        "device": device,
        "dtype": dtype,
    }
    gradients_command(asked, settings or [], problem_file, start, step, as_json=as_json)


@app.command("list")
def list_(
    runs: Annotated[Path | None, typer.Option(help="List the runs in this folder instead.")] = None,
    presets: Annotated[
        bool, typer.Option("--presets", help="List published experiments instead.")
    ] = False,
) -> None:
    """List algorithms and problems, or runs, or presets."""
    from metaviz.cli.commands import list_command, list_presets_command

    list_presets_command() if presets else list_command(runs)


@app.command()
def runs(
    query: Annotated[
        str, typer.Argument(help="A search like `algo:maml alpha<0.1 tag:paper`.")
    ] = "",
    folder: Annotated[
        Path | None, typer.Option("--in", help="Folder of runs; the window's unless given.")
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="KEYS", help="Keys with commas between; all: everything but the seed."
        ),
    ] = None,
    interval: Annotated[str, typer.Option(help="Of groups: std, se or ci95.")] = "ci95",
    baseline: Annotated[
        str | None, typer.Option(metavar="RUN", help="Show how far all are from this run.")
    ] = None,
    result: Annotated[str, typer.Option(help="What is compared: loss or accuracy.")] = "loss",
    columns: Annotated[
        str | None, typer.Option(metavar="KEYS", help="Like run,loss,inner_lr,imaml.prox,tags.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--csv", help="Write raw numbers here.")] = None,
) -> None:
    """List stored runs as the window does: searched, grouped, compared with a baseline."""
    from metaviz.cli.runs import runs_command

    runs_command(query, folder, group_by, interval, baseline, result, columns, out)


@app.command()
def mark(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or ids in the folder of runs.")],
    folder: Annotated[
        Path | None, typer.Option("--in", help="Folder of runs; the window's unless given.")
    ] = None,
    star: Annotated[bool | None, typer.Option("--star/--no-star", help="Star or not.")] = None,
    tag: Annotated[str | None, typer.Option(help="Tags to add, with commas between.")] = None,
    untag: Annotated[str | None, typer.Option(help="Tags to remove.")] = None,
    note: Annotated[str | None, typer.Option(help="Notes; they replace those there are.")] = None,
    name: Annotated[str | None, typer.Option(help="A name; empty: automatic.")] = None,
    colour: Annotated[
        str | None, typer.Option(help="Of the curves, as #rrggbb; empty: automatic.")
    ] = None,
    trash: Annotated[
        bool | None, typer.Option("--trash/--restore", help="Into the trash, or out of it.")
    ] = None,
) -> None:
    """Star, tag, note, name or trash stored runs; their files stay as they are."""
    from metaviz.cli.runs import mark_command

    mark_command(
        runs,
        folder,
        star=star,
        tags=tag,
        untag=untag,
        note=note,
        name=name,
        color=colour,
        trash=trash,
    )


@app.command()
def options(
    name: Annotated[str, typer.Argument(help="An algorithm, a problem, or shared.")] = "shared",
) -> None:
    """Explain the options of an algorithm, a problem, or those that all share."""
    from metaviz.cli.commands import options_command

    options_command(name)


@app.command()
def export(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of runs.")],
    out: Annotated[Path, typer.Option(help="Where tables and figures go.")] = Path(
        "metaviz-export"
    ),
    formats: Annotated[str, typer.Option("--formats", help="Of png,pdf,svg.")] = "png",
    width_cm: Annotated[
        float | None,
        typer.Option(metavar="CM", parser=number_within(float, 2, 200), help="2 to 200."),
    ] = None,
    height_cm: Annotated[
        float | None,
        typer.Option(metavar="CM", parser=number_within(float, 2, 200), help="2 to 200."),
    ] = None,
    dpi: Annotated[
        int,
        typer.Option(metavar="N", parser=number_within(int, 30, 1200), help="30 to 1200."),
    ] = 150,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard event files, too.")
    ] = False,
) -> None:
    """Write tables and figures of stored runs."""
    from metaviz.cli.commands import export_command

    code = export_command(runs, out, formats, width_cm, height_cm, dpi, tensorboard=tensorboard)
    raise typer.Exit(code)


@app.command()
def evaluate(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of runs.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="tasks, split, seed, shots, query_shots, steps or together; as often as needed.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the values of every task here.")] = None,
) -> None:
    """Judge stored weights on held-out tasks, and compare the runs task by task."""
    from metaviz.cli.commands import evaluate_command

    raise typer.Exit(evaluate_command(runs, settings or [], out))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of runs.")],
    out: Annotated[Path, typer.Option(help="The HTML file; figures and tables go beside it.")],
    title: Annotated[str, typer.Option(help="Its heading.")] = "",
) -> None:
    """Write a report of stored runs: one HTML file, its figures, tables and configurations."""
    from metaviz.cli.commands import report_command

    raise typer.Exit(report_command(runs, out, title))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the demo's files go.")] = Path("metaviz-demo"),
) -> None:
    """Run a short sinusoid comparison and draw the window, without a display."""
    from metaviz.cli.commands import demo_command

    raise typer.Exit(demo_command(out))


@data_app.command("download")
def download(
    dataset: Annotated[str, typer.Argument(help="The data set: omniglot or cifar100.")],
) -> None:
    """Download a data set; an earlier try that was broken off is gone on with."""
    from metaviz.cli.commands import download_command

    download_command(dataset)


@app.command("queue-worker", hidden=True)
def queue_worker() -> None:
    """Train the queue's entries; orders come on standard input. Started by MetaViz itself."""
    from metaviz.cli.queue_commands import worker_command

    worker_command()


if __name__ == "__main__":
    main()
