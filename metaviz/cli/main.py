"""The command line. Without a command it opens the window."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from metaviz import __version__
from metaviz.cli.benchmark import benchmark, benchmark_memory
from metaviz.cli.compare import compare, demo, repeat, resume
from metaviz.cli.errors import INTERRUPTED, NOBODY_READS, end, refuse
from metaviz.cli.evaluate import evaluate
from metaviz.cli.export import export, pack, report, unpack, weights
from metaviz.cli.inspect import gradients, inspect_data, list_, options
from metaviz.cli.output import escape_unknown_letters, put, said_warnings, say
from metaviz.cli.plugin import plugin_app
from metaviz.cli.predict import predict
from metaviz.cli.queue import queue_app, queue_worker, sweep
from metaviz.cli.relocate import relocate
from metaviz.cli.runs import mark, runs
from metaviz.cli.search import search_app
from metaviz.cli.signals import saving_on_signals
from metaviz.cli.theory import theory_app

app = typer.Typer(
    name="metaviz",
    help="Explore meta-learning: train, watch and compare few-shot adaptation.",
    pretty_exceptions_enable=False,
    add_completion=False,
    invoke_without_command=True,
    no_args_is_help=False,
)
data_app = typer.Typer(help="Data sets: nothing is downloaded unless you ask here.")
data_app.command("inspect")(inspect_data)
data_app.command("relocate")(relocate)
app.add_typer(data_app, name="data")
app.add_typer(queue_app, name="queue")
app.add_typer(theory_app, name="theory")
app.add_typer(plugin_app, name="plugin")
app.add_typer(search_app, name="search")
_COMMANDS: tuple[Callable[..., int | None], ...] = (
    *(compare, sweep, benchmark, resume, repeat, weights, pack, unpack, gradients, list_, runs),
    *(mark, options, export, evaluate, predict, report, demo),
)
for _command in _COMMANDS:
    app.command(_command.__name__.rstrip("_"))(_command)
app.command("benchmark-memory", hidden=True)(benchmark_memory)
app.command("queue-worker", hidden=True)(queue_worker)

# The base of all mistakes on a command line; typer exports only this child of it.
_UsageError: Any = typer.BadParameter.__mro__[1]


def main() -> None:
    """Run the command line.

    Bad input ends with one sentence and exit code 2, a mistake of MetaViz with 70.
    """
    # One OpenMP thread per worker: spinning threads would fight with the window for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    escape_unknown_letters()
    with said_warnings(), saving_on_signals() as exit_code:
        try:
            code = app(standalone_mode=False)
        except _UsageError as error:
            end(error.format_message())
        except (typer.Abort, KeyboardInterrupt) as error:
            if isinstance(error.__cause__, EOFError):  # which typer takes for the end of the input
                refuse(error.__cause__)
            code = INTERRUPTED
        except BrokenPipeError:  # whoever read the output has gone, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = NOBODY_READS
        except Exception as error:  # noqa: BLE001 - the command line's door
            refuse(error)
        sys.exit(exit_code(code or 0))


@app.callback()
def window(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(help="Load this plugin's .py file, too; as often as needed."),
    ] = None,
    demo_without_display: Annotated[
        bool, typer.Option("--demo-without-display", help="Without a display run the demo.")
    ] = False,
) -> None:
    """Open the window."""
    if version:
        put(f"MetaViz {__version__}")
        raise typer.Exit
    for path in plugin or []:
        from metaviz.plugin_loader import add_file

        add_file(path.expanduser())
    if context.invoked_subcommand is not None:
        return
    from metaviz.preflight import preflight

    problem = preflight(dict(os.environ))
    if problem is not None and problem.kind == "display" and demo_without_display:
        say(f"{problem.message}\nRunning the demo without a window instead.")
        demo(Path("metaviz-demo"))
        return
    if problem is not None:
        say(problem.message)
        raise typer.Exit(problem.exit_code)
    from metaviz.app import open_window

    open_window()


@data_app.command("download")
def download(
    dataset: Annotated[str, typer.Argument(help="The data set: omniglot or cifar100.")],
) -> None:
    """Download a data set; an earlier try that was broken off is gone on with."""
    from metaviz.cli.tables import console
    from metaviz.training.engine import LocalEngine

    with console(stderr=True).status("Downloading") as status:
        folder = LocalEngine().download(dataset, status.update)
    put(folder)


if __name__ == "__main__":
    main()
