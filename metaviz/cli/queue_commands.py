"""What `metaviz sweep` and `metaviz queue` do. Results go to standard output."""

import faulthandler
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metaviz.algorithms.registry import find_algorithm
from metaviz.cli.commands import build_comparison, hearing
from metaviz.cli.queue_tables import print_entries, print_sweep
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, read_comparison
from metaviz.config.sweep import parse_axis, plan_sweep
from metaviz.paths import data_dir, runs_dir
from metaviz.problems.registry import find_problem
from metaviz.runs.storage.queue import Entry, Queue
from metaviz.training.engine import LocalEngine, planned_runs
from metaviz.training.queue_worker import run_worker


def worker_command() -> None:
    """Be a worker process of the queue."""
    faulthandler.enable(sys.stderr)
    told = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not be taken for happenings
    run_worker(data_dir(), runs_dir(), 0, told)


def sweep_command(
    asked: dict[str, Any],
    settings: list[str],
    config: Path | None,
    over: list[str],
    seed: int,
    workers: int,
    *,
    dry_run: bool,
) -> None:
    """Queue every run of a sweep, or only print them; say first how long they will take."""
    engine = LocalEngine()
    comparison = build_comparison(asked, settings, config, engine.catalogue)
    axes = [parse_axis(text, seed) for text in over]
    sweep = plan_sweep(comparison, axes, engine.catalogue)
    configs = sweep.runs()
    check_runs(configs)
    print_sweep(configs, [axis.key for axis in axes])
    with hearing():
        told = engine.estimate(configs, lambda line: _say(f"{line}\n"))
    sys.stdout.write(f"{told.text(workers)}.\n")
    if dry_run:
        return
    name = ", ".join(over)
    with _queue() as queue:
        queue.add([found.model_dump(mode="json") for found in configs], name)
    _say("Queued. `metaviz queue run` works the queue off; the window shows it, too.\n")


def check_runs(configs: list[RunConfig]) -> None:
    """Check every run's options. Raises: OptionError with one sentence."""
    for config in configs:
        entry = find_problem(config.problem)
        suited = entry.entry.algorithm_defaults.get(config.algorithm, {})
        find_algorithm(config.algorithm).checked({**suited, **config.options})
        entry.checked(dict(config.problem_options))


def list_command(*, as_json: bool) -> None:
    """Print the queue."""
    with _queue() as queue:
        entries, paused = queue.entries(), queue.paused
    if as_json:
        sys.stdout.write(json.dumps([_plain(entry) for entry in entries], indent=1) + "\n")
        return
    if not entries:
        sys.stdout.write("The queue is empty: `metaviz sweep` or `metaviz queue add` fill it.\n")
        return
    print_entries(entries)
    if paused:
        sys.stdout.write("The queue is paused: `metaviz queue go` lets it go on.\n")


def add_command(files: list[Path]) -> None:
    """Queue the runs of comparisons written as TOML, all or none."""
    configs = [config for file in files for config in planned_runs(read_comparison(file))]
    check_runs(configs)
    with _queue() as queue:
        queue.add([config.model_dump(mode="json") for config in configs])
    sys.stdout.write(f"Queued {len(configs)} {'run' if len(configs) == 1 else 'runs'}.\n")


def move_command(places: list[int], to: int) -> None:
    """Move entries, named by their places, to before the entry that is at another place."""
    with _queue() as queue:
        queue.move(_ids(queue, places), to - 1)


def next_command(places: list[int]) -> None:
    """Put entries before everything else that waits."""
    with _queue() as queue:
        queue.run_next(_ids(queue, places))


def remove_command(places: list[int]) -> None:
    """Forget entries that are not running."""
    with _queue() as queue:
        _tell(queue.remove(_ids(queue, places)), len(places), "removed", "a run that trains stays")


def retry_command(places: list[int]) -> None:
    """Let entries wait again: as new runs."""
    with _queue() as queue:
        count = queue.retry(_ids(queue, places))
        _tell(count, len(places), "queued again", "it must have ended")


def resume_command(places: list[int]) -> None:
    """Let interrupted, stopped or aborted entries go on; without places all interrupted ones."""
    with _queue() as queue:
        chosen = _ids(queue, places)
        if not places:
            chosen = [entry.id for entry in queue.entries() if entry.state == "interrupted"]
        _tell(queue.resume(chosen), len(chosen), "will go on", "it must have been broken off")


def pause_command(*, paused: bool) -> None:
    """Begin no further run, or go on."""
    with _queue() as queue:
        queue.set_paused(paused=paused)
    sys.stdout.write(
        "Paused: no further run is begun; one that trains goes on to its end.\n"
        if paused
        else "The queue goes on as soon as a window or `metaviz queue run` works it off.\n"
    )


def clear_command() -> None:
    """Forget entries that are over; their runs stay."""
    with _queue() as queue:
        sys.stdout.write(f"Cleared {queue.clear()}; the runs themselves stay.\n")


def run_command(workers: int) -> int:
    """Work the queue off; return 1 where a run failed, 130 where Ctrl+C broke it off."""
    from metaviz.cli.queue_runner import work_off

    with _queue() as queue:
        if queue.paused:
            _say("The queue is paused: `metaviz queue go` lets it go on.\n")
            return 1
        return work_off(queue, data_dir(), workers)


@contextmanager
def _queue() -> Iterator[Queue]:
    queue = Queue(data_dir())
    if queue.note:
        _say(f"{queue.note}\n")
    queue.recover()
    try:
        yield queue
    finally:
        queue.close()


def _ids(queue: Queue, places: list[int]) -> list[int]:
    entries = queue.entries()
    for place in places:
        if not 1 <= place <= len(entries):
            raise OptionError(
                "place", f"There is no entry {place}: the queue has {len(entries)} of them."
            )
    return [entries[place - 1].id for place in places]


def _tell(count: int, asked: int, what: str, why: str) -> None:
    sys.stdout.write(f"{count} {what}.\n")
    if count < asked:
        _say(f"{asked - count} left as it was: {why}.\n")


def _plain(entry: Entry) -> dict[str, Any]:
    return {
        "state": entry.state,
        "run": entry.run,
        "folder": str(entry.folder or ""),
        "message": entry.message,
        "sweep": entry.sweep,
        "config": entry.config,
    }


def _say(text: str) -> None:
    sys.stderr.write(text)
