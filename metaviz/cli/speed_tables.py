"""The benchmark's table on the terminal."""

import os
from collections.abc import Sequence

from rich.table import Table

from metaviz.cli.tables import console
from metaviz.runs.model.speed import Speed, place_text

_COLUMNS = ("", "steps/s", "quartiles", "GFLOP", "limit", "products", "MB")


def print_speeds(speeds: Sequence[Speed]) -> None:
    """Print one table per problem, then what the columns mean and what there is to note."""
    paper = console()
    for problem in dict.fromkeys(found.problem for found in speeds):
        group = [found for found in speeds if found.problem == problem]
        paper.print(_table(problem, group))
    paper.print(
        "steps/s: meta-steps per second, median. GFLOP: counted operations of one meta-step. "
        "limit: operations per second as a share of those of large matrix products with as many "
        "threads, the fastest between two rounds. products: the time that the step's own matrix "
        "products and convolutions take alone, as a share of the step's. MB: peak memory over "
        "that before the first step."
    )
    for found in speeds:
        if found.slower is not None:
            ratio = f"MetaViz is {found.slower:.2f} times as fast as {found.library}"
            apart = f"(float64 meta-gradients differ by {found.apart:.0e})"
            paper.print(f"{found.problem}, {found.algorithm}: {ratio} {apart}.")
        if found.note:
            paper.print(f"{found.problem}, {found.name}: {found.note}")


def _table(problem: str, group: Sequence[Speed]) -> Table:
    ours = next((found for found in group if found.ours), group[0])
    limits = [found.limit for found in group if found.ours and found.limit]
    limit = f", limit {limits[0] / 1e9:.0f} GFLOP/s" if limits else ""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    title = f"{problem}: {place_text(ours.environment)}, {ours.dtype}{limit}{load}"
    table = Table(*_COLUMNS, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for found in group:
        table.add_row(*_cells(found))
    return table


def _cells(found: Speed) -> list[str]:
    quartiles, count = found.quartiles(), found.operations
    return [
        found.name,
        _figure(found.rate),
        "" if quartiles is None else f"{quartiles[0]:.3g}–{quartiles[1]:.3g}",
        "" if count is None else f"{count / 1e9:.3g}",
        _percent(found.share_of_limit),
        _percent(found.share_of_products),
        _figure(found.peak_mb),
    ]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2g} %"
