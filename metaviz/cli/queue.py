"""The command line of sweeps and of the queue."""

from pathlib import Path
from typing import Annotated

import typer

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

_MOST_WORKERS = 64
queue_app = typer.Typer(help="The queue of runs, which outlives every window and command.")
Places = Annotated[list[int], typer.Argument(help="Places, as `metaviz queue list` counts them.")]
Workers = Annotated[
    int,
    typer.Option(
        metavar="N",
        parser=number_within(int, 1, _MOST_WORKERS),
        help="Runs that train at once, each in a process of its own.",
    ),
]


def sweep(
    problem: Annotated[str | None, typer.Option(help="Task family; see `metaviz list`.")] = None,
    algorithms: Annotated[str | None, typer.Option(help="Ids with commas between, or all.")] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=RANGE",
            help="inner_lr=log(0.001,0.1,5), imaml.prox=1,2,4, outer_optimizer=adam,sgd; "
            "uniform(low,high,count) and loguniform draw at random; several multiply.",
        ),
    ] = None,
    steps: Annotated[str | None, typer.Option(metavar="N", help="Meta-steps of every run.")] = None,
    seeds: Annotated[str | None, typer.Option(help="0,1,2 or 0-4.")] = None,
    settings: Settings = None,
    config: Annotated[Path | None, typer.Option(help="A comparison as TOML.")] = None,
    preset: Annotated[str | None, typer.Option(help="Settings of a published experiment.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    engine: Engine = None,
    memory: Memory = None,
    tf32: Tf32 = None,
    random_seed: Annotated[
        int,
        typer.Option(
            metavar="N", parser=number_within(int, 0, 2**31 - 1), help="Draws random ranges."
        ),
    ] = 0,
    workers: Workers = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the runs and how long they will take.")
    ] = False,
) -> None:
    """Queue runs over ranges of hyperparameters, and say how long they will take."""
    from metaviz.cli.queue_commands import sweep_command
    from metaviz.config.overrides import parse_value
    from metaviz.config.run_config import find_preset

    if preset is not None:
        if config is not None:
            raise typer.BadParameter("--config and --preset exclude each other.")
        config = find_preset(preset)
    asked = {
        "problem": problem,
        "algorithms": algorithms,
        "steps": None if steps is None else parse_value(steps),
        "seeds": seeds,
        **machine_asked(device, dtype, engine, memory, tf32),
    }
    sweep_command(asked, settings or [], config, over or [], random_seed, workers, dry_run=dry_run)


@queue_app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Print the queue in order."""
    from metaviz.cli.queue_commands import list_command

    list_command(as_json=as_json)


@queue_app.command()
def add(
    configs: Annotated[list[Path], typer.Argument(help="Comparisons as TOML.")],
) -> None:
    """Queue every run of comparisons."""
    from metaviz.cli.queue_commands import add_command

    add_command(configs)


@queue_app.command()
def move(
    places: Places,
    to: Annotated[int, typer.Option(metavar="PLACE", help="Before what is at this place.")],
) -> None:
    """Move entries to another place."""
    from metaviz.cli.queue_commands import move_command

    move_command(places, to)


@queue_app.command("next")
def next_(places: Places) -> None:
    """Let entries run before all others that wait."""
    from metaviz.cli.queue_commands import next_command

    next_command(places)


@queue_app.command()
def remove(places: Places) -> None:
    """Take entries out of the queue; runs on disk stay."""
    from metaviz.cli.queue_commands import remove_command

    remove_command(places)


@queue_app.command()
def retry(places: Places) -> None:
    """Train ended entries again, as new runs."""
    from metaviz.cli.queue_commands import retry_command

    retry_command(places)


@queue_app.command()
def resume(
    places: Annotated[
        list[int] | None, typer.Argument(help="Places; all interrupted ones unless given.")
    ] = None,
) -> None:
    """Let interrupted entries go on from their checkpoints."""
    from metaviz.cli.queue_commands import resume_command

    resume_command(places or [])


@queue_app.command()
def pause() -> None:
    """Begin no further run."""
    from metaviz.cli.queue_commands import pause_command

    pause_command(paused=True)


@queue_app.command()
def go() -> None:
    """Let a paused queue go on."""
    from metaviz.cli.queue_commands import pause_command

    pause_command(paused=False)


@queue_app.command()
def clear() -> None:
    """Take entries that are over out of the queue; their runs stay."""
    from metaviz.cli.queue_commands import clear_command

    clear_command()


@queue_app.command()
def run(workers: Workers = 1) -> None:
    """Work the queue off without a window; exit code 1 if a run failed."""
    from metaviz.cli.queue_commands import run_command

    raise typer.Exit(run_command(workers))
