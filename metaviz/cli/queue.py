"""`metaviz sweep` and `metaviz queue`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metaviz.cli import options as opt
from metaviz.cli.output import put, say

if TYPE_CHECKING:
    from metaviz.config.run_config import RunConfig
    from metaviz.runs.storage.queue import Queue

queue_app = typer.Typer(help="The queue of runs, which outlives every window and command.")
Places = Annotated[list[int], typer.Argument(help="Places, as `metaviz queue list` counts them.")]
Workers = Annotated[
    int, opt.number(int, 1, 64, "Runs that train at once, each in a process of its own.")
]


def sweep(
    problem: opt.Problem = None,
    algorithms: opt.Algorithms = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=RANGE",
            help="inner_lr=log(0.001,0.1,5), imaml.prox=1,2,4, outer_optimizer=adam,sgd; "
            "uniform(low,high,count) and loguniform draw at random; several multiply.",
        ),
    ] = None,
    steps: opt.Steps = None,
    seeds: opt.Seeds = None,
    settings: opt.Settings = None,
    config: opt.Config = None,
    preset: Annotated[str | None, typer.Option(help="Settings of a published experiment.")] = None,
    device: opt.Device = None,
    dtype: opt.Dtype = None,
    engine: opt.Engine = None,
    memory: opt.Memory = None,
    tf32: opt.Tf32 = None,
    random_seed: Annotated[int, opt.number(int, 0, 2**31 - 1, "Draws random ranges.")] = 0,
    workers: Workers = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the runs and how long they will take.")
    ] = False,
) -> None:
    """Queue runs over ranges of hyperparameters, and say how long they will take."""
    asked = {"problem": problem, "algorithms": algorithms, "steps": steps, "seeds": seeds}
    machine = {"device": device, "dtype": dtype, "engine": engine, "memory_gib": memory}
    file = opt.toml_file(config, preset)
    comparison = opt.read_asked({**asked, **machine, "tf32": tf32}, settings, file)
    from metaviz.config.sweep import parse_axis, plan_sweep

    axes = [parse_axis(text, random_seed) for text in over or []]
    configs = plan_sweep(comparison, axes, opt.known_catalogue()).propose(()) or []
    from metaviz.cli.tables import print_sweep
    from metaviz.cli.training import logged_data
    from metaviz.training.engine import LocalEngine

    _check_runs(configs)
    say(*opt.unused(comparison, algorithms, settings))
    print_sweep(configs, [axis.key for axis in axes])
    with logged_data():
        estimate = LocalEngine().estimate(configs, say)
    put(f"{estimate.text(workers)}.")
    if dry_run:
        return
    with opened_queue() as queue:
        queue.add([found.model_dump(mode="json") for found in configs], ", ".join(over or []))
    say("Queued. `metaviz queue run` works the queue off; the window shows it, too.")


@queue_app.command("list")
def list_(as_json: opt.AsJson = False) -> None:
    """Print the queue in order."""
    import json

    from metaviz.cli.tables import print_entries

    with opened_queue() as queue:
        entries, paused = queue.entries(), queue.paused
    if as_json:
        names = ("state", "run", "folder", "message", "sweep", "config")
        plain = [{name: getattr(entry, name) for name in names} for entry in entries]
        put(json.dumps([{**row, "folder": str(row["folder"] or "")} for row in plain], indent=1))
    elif not entries:
        put("The queue is empty: `metaviz sweep` or `metaviz queue add` fill it.")
    else:
        print_entries(entries)
        damaged = [place for place, entry in enumerate(entries, 1) if not entry.config]
        say(*(f"What was stored of entry {place} is damaged: remove it." for place in damaged))
        if paused:
            put("The queue is paused: `metaviz queue go` lets it go on.")


@queue_app.command()
def add(configs: Annotated[list[Path], typer.Argument(help="Comparisons as TOML.")]) -> None:
    """Queue every run of comparisons."""
    from metaviz.config.run_config import read_comparison

    comparisons = [read_comparison(file) for file in configs]
    from metaviz.training.engine import planned_runs

    runs = [run for comparison in comparisons for run in planned_runs(comparison)]
    _check_runs(runs)
    with opened_queue() as queue:
        queue.add([run.model_dump(mode="json") for run in runs])
    put(f"Queued {len(runs)} {'run' if len(runs) == 1 else 'runs'}.")


@queue_app.command()
def move(
    places: Places,
    to: Annotated[int, typer.Option(metavar="PLACE", help="Before what is at this place.")],
) -> None:
    """Move entries to another place."""
    with opened_queue() as queue:
        queue.move(_ids(queue, places), to - 1)


@queue_app.command("next")
def next_(places: Places) -> None:
    """Let entries run before all others that wait."""
    with opened_queue() as queue:
        queue.run_next(_ids(queue, places))


@queue_app.command()
def remove(places: Places) -> None:
    """Take entries out of the queue; runs on disk stay."""
    with opened_queue() as queue:
        count = queue.remove(_ids(queue, places))
    _put_count(count, len(places), "removed", "a run that trains stays")


@queue_app.command()
def retry(places: Places) -> None:
    """Train ended entries again, as new runs."""
    with opened_queue() as queue:
        count = queue.retry(_ids(queue, places))
    _put_count(count, len(places), "queued again", "it must have ended")


@queue_app.command()
def resume(
    places: Annotated[
        list[int] | None, typer.Argument(help="Places; all interrupted ones unless given.")
    ] = None,
) -> None:
    """Let interrupted entries go on from their checkpoints."""
    with opened_queue() as queue:
        chosen = _ids(queue, places or [])
        if not places:
            chosen = [entry.id for entry in queue.entries() if entry.state == "interrupted"]
        count = queue.resume(chosen)
    _put_count(count, len(chosen), "will go on", "it must have been broken off")


@queue_app.command()
def pause() -> None:
    """Begin no further run."""
    with opened_queue() as queue:
        queue.set_paused(paused=True)
    put("Paused: no further run is begun; one that trains goes on to its end.")


@queue_app.command()
def go() -> None:
    """Let a paused queue go on."""
    with opened_queue() as queue:
        queue.set_paused(paused=False)
    put("The queue goes on as soon as a window or `metaviz queue run` works it off.")


@queue_app.command()
def clear() -> None:
    """Take entries that are over out of the queue; their runs stay."""
    with opened_queue() as queue:
        put(f"Cleared {queue.clear()}; the runs themselves stay.")


@queue_app.command()
def run(workers: Workers = 1) -> int:
    """Work the queue off without a window; exit code 1 if a run failed."""
    from metaviz.cli.queue_runner import work_off
    from metaviz.paths import data_dir

    with opened_queue() as queue:
        if queue.paused:
            say("The queue is paused: `metaviz queue go` lets it go on.")
            return 1
        return work_off(queue, data_dir(), workers)


def queue_worker() -> None:
    """Train the queue's entries; orders come on standard input. Started by MetaViz itself."""
    import faulthandler
    import os

    faulthandler.enable(sys.stderr)
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not be taken for answers
    from metaviz.paths import data_dir, runs_dir
    from metaviz.training.queue_worker import run_worker

    run_worker(data_dir(), runs_dir(), 0, answers)


def _check_runs(configs: "list[RunConfig]") -> None:
    """Check every run's options by their models. Raises: OptionError with one sentence."""
    from metaviz.algorithms.registry import find_algorithm
    from metaviz.problems.registry import find_problem

    for config in configs:
        method = find_algorithm(config.algorithm)
        method.checked({**method.entry.defaults.get(config.problem, {}), **config.options})
        find_problem(config.problem).checked(dict(config.problem_options))


@contextmanager
def opened_queue() -> "Iterator[Queue]":
    """Open the queue, and mark entries whose worker is gone."""
    from metaviz.paths import data_dir
    from metaviz.runs.storage.queue import Queue

    queue = Queue(data_dir())
    if queue.note:
        say(queue.note)
    queue.recover()
    try:
        yield queue
    finally:
        queue.close()


def _ids(queue: "Queue", places: list[int]) -> list[int]:
    from metaviz.config.options import OptionError

    entries = queue.entries()
    for place in places:
        if not 1 <= place <= len(entries):
            raise OptionError(
                "place", f"There is no entry {place}: the queue has {len(entries)} of them."
            )
    return [entries[place - 1].id for place in places]


def _put_count(count: int, asked: int, what: str, why: str) -> None:
    put(f"{count} {what}.")
    if count < asked:
        say(f"{asked - count} left as it was: {why}.")
