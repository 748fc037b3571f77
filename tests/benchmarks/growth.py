"""What MAML costs as workloads grow: Conv4-64 on 28x28, more tasks, inner steps or ways.

For each growth the time and the peak memory against the first size, beside what would be linear:
the ratio of the counted operations. Run as `python -m tests.benchmarks.growth [--rounds 5]`.
"""

import argparse
import os

import torch
from rich.console import Console
from rich.table import Table

from metaviz.benchmarking.laps import CORES, Contestant
from metaviz.training.operations import operations_per_step
from tests.benchmarks.workloads import images, laps, median_ms, number_of_rounds, peak_mb

SIZES = {"tasks": (4, 8, 16, 32), "steps": (1, 5, 10), "ways": (5, 10, 20)}
COLUMNS = ("", "ms", "time", "linear", "time / linear", "MB", "memory")


def measure(what: str, sizes: tuple[int, ...], rounds: int) -> Table:
    """Return a table of one growth."""
    workloads = [images(28, 1, **{what: size}) for size in sizes]
    runs = [workload.run("maml") for workload in workloads]
    counts = [operations_per_step(run.setting) for run in runs]
    contestants = [
        Contestant(run, lap_seconds=workload.lap_seconds)
        for run, workload in zip(runs, workloads, strict=True)
    ]
    laps(contestants, rounds)
    for run in runs:
        run.setting.shards.close()
    table = Table(*COLUMNS)
    times = [median_ms(contestant) for contestant in contestants]
    peaks = [peak_mb("28x28", "maml", side=28, channels=1, **{what: size}) for size in sizes]
    for size, time, count, peak in zip(sizes, times, counts, peaks, strict=True):
        longer, linear = time / times[0], count / counts[0]
        known = peak is not None and peaks[0] is not None
        table.add_row(
            f"{size} {what}",
            f"{time:.0f}",
            f"{longer:.2f}x",
            f"{linear:.2f}x",
            f"{longer / linear:.2f}",
            f"{peak:.0f}" if known else "",
            f"{peak / peaks[0]:.2f}x" if known else "",
        )
    return table


def main() -> None:
    """Print one table for each growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=number_of_rounds, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    console.print(
        f"{CORES} cores, load {os.getloadavg()[0]:.1f}; otherwise 4 tasks, 5 steps, 5 ways"
    )
    for what, sizes in SIZES.items():
        console.print(measure(what, sizes, arguments.rounds))


if __name__ == "__main__":
    main()
