"""How a search goes on: whoever trained the last run of a generation queues the next one."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metaviz.config.options import OptionError
from metaviz.config.search import SWEEP
from metaviz.nets.spec import build, read_spec
from metaviz.runs.storage.queue import Queue
from metaviz.runs.storage.searches import Progress, advance, list_searches, read_search
from metaviz.runs.storage.store import StoreError
from metaviz.training.search.surrogate import rank

_log = logging.getLogger("metaviz.queue")


def next_step(queue: Queue, home: Path, runs: Path, name: str) -> Progress:
    """Queue what a search wants next. Raises: StoreError or OptionError with one sentence."""
    from metaviz.training.engine import build_catalogue

    catalogue = build_catalogue()
    plan = read_search(home, name, catalogue)
    return advance(queue, home, runs, plan, catalogue, rank, parameter_count)


def after_run(queue: Queue, home: Path, runs: Path, sweep: str) -> None:
    """Let the search go on to which a run of the queue belonged; a damaged one loses no run."""
    name = sweep.removeprefix(SWEEP)
    if not sweep.startswith(SWEEP) or name not in list_searches(home):
        return
    try:
        next_step(queue, home, runs, name)
    except (StoreError, OptionError) as error:
        _log.error("The search %s cannot go on: %s", name, error)


def parameter_count(network: Mapping[str, Any]) -> int:
    """Return how many parameters a described network has; 0 where it is not known here."""
    try:
        return build(read_spec(dict(network))).layout.size
    except ValueError:
        return 0
