"""The queue and the runs of a sweep as tables on the terminal."""

from collections.abc import Sequence

from rich.table import Table

from metaviz.cli.tables import console
from metaviz.config.run_config import RunConfig
from metaviz.runs.storage.queue import Entry
from metaviz.runs.table.differences import told_apart

_MOST_ROWS = 60


def print_sweep(configs: Sequence[RunConfig], keys: Sequence[str]) -> None:
    """Print the runs with what is varied, the first ones only where there are many."""
    table = Table("", "algorithm", "seed", "what is varied", title=f"{len(configs)} runs")
    told = told_apart([config.model_dump(mode="json") for config in configs])
    for place, (config, text) in enumerate(zip(configs, told, strict=True), 1):
        if place > _MOST_ROWS:
            table.add_row("", f"… and {len(configs) - _MOST_ROWS} more", "", "")
            break
        table.add_row(str(place), config.algorithm, str(config.seed), text or ", ".join(keys))
    console().print(table)


def print_entries(entries: Sequence[Entry]) -> None:
    """Print the queue in order."""
    table = Table("", "algorithm", "problem", "seed", "what differs", "state", "run or reason")
    for column in table.columns[4:]:
        column.overflow = "fold"
    told = told_apart([entry.config for entry in entries])
    for place, (entry, text) in enumerate(zip(entries, told, strict=True), 1):
        names = (str(entry.config.get(key, "?")) for key in ("algorithm", "problem", "seed"))
        table.add_row(str(place), *names, text, entry.state, entry.message or entry.run)
    console().print(table)
