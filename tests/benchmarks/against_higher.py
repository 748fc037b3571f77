"""Meta-steps per second, side by side with second-order MAML by the library `higher`.

Both get the same weights and tasks; their float64 meta-gradients are compared first. Ours is the
step that a run takes: meta-gradient, all recorded readings, and Adam. Theirs is the plain loop of
their examples, meta-gradient and Adam. Each works in a process of its own, because a run changes
how a process keeps memory; rounds are interleaved, so that a busy machine slows both, five times
as many of them where steps are short. A ratio is that of the medians, with the quartiles of the
rounds' own ratios beside it. Steps of more than a second are timed one by one.

Each library is tried with one and with all OpenMP threads, ours also with one worker thread per
core, and the best setting of each counts. Peak memory is that of `higher` with one thread and of
ours with one worker per core, each in a process of its own. First-order MAML and Reptile stand
against second-order `higher`, too. Reptile adapts to support and query examples unless told
otherwise, 16 times the images of an inner step of MAML.

Run as `python -m tests.benchmarks.against_higher [--rounds 7] [--only 28x28]`.
"""

import argparse
import os
import statistics
from contextlib import ExitStack

import torch
from rich.console import Console
from rich.table import Table

from metaviz.benchmarking.contestants import distance
from metaviz.benchmarking.laps import CORES
from metaviz.benchmarking.peers import TOLERANCE
from tests.benchmarks.apart import Apart
from tests.benchmarks.wanted import MEMORY, SPEED
from tests.benchmarks.workloads import (
    PEER,
    WORKLOADS,
    Workload,
    laps,
    median_ms,
    number_of_rounds,
    peak_mb,
)

COLUMNS = ("workload", "method", "higher ms", "MetaViz ms", "ratio", "rounds", "wanted")
MORE_COLUMNS = ("memory MB", "of higher's", "wanted", "gradients differ by")
_MORE_OF_SHORT = 5
Times = dict[tuple[str, str], Apart]


def measure(workload: Workload, rounds: int) -> Times:
    """Time `higher` and every method of which something is wanted, in all settings."""
    with ExitStack() as stack:
        contestants = {
            (PEER, "1 thread"): Apart(workload, PEER),
            (PEER, f"{CORES} OpenMP threads"): Apart(workload, PEER, threads=CORES),
        }
        for name, method in SPEED:
            if name == workload.name:
                for shards, setting in ((1, "1 thread"), (CORES, f"{CORES} worker threads")):
                    contestants[method, setting] = Apart(workload, method, shards)
        for contestant in contestants.values():
            stack.enter_context(contestant)
        laps(contestants.values(), rounds)
    return contestants


def best(times: Times, side: str) -> tuple[Apart, str]:
    """Return the faster setting of a side, with its name."""
    settings = [(made, setting) for (name, setting), made in times.items() if name == side]
    return min(settings, key=lambda found: median_ms(found[0]))


def quartiles(theirs: Apart, ours: Apart) -> str:
    """Write how many times as fast we are in the middle half of the rounds."""
    ratios = [their / our for their, our in zip(theirs.seconds, ours.seconds, strict=True)]
    if len(ratios) == 1:
        return ""
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{low:.2f} to {high:.2f}x"


def add_rows(table: Table, workload: Workload, rounds: int) -> None:
    """Measure a workload; one row for each method."""
    apart = distance(PEER, workload.config("maml"), workload.prepared(1, torch.float64))
    if apart > TOLERANCE:
        raise SystemExit(f"{workload.name}: the meta-gradients differ by {apart:.1e}")
    imaged = workload.name[0].isdigit()
    times = measure(workload, rounds if imaged else _MORE_OF_SHORT * rounds)
    their_best, their_setting = best(times, PEER)
    theirs = peak_mb(workload.name, PEER) if imaged else None
    for method in dict.fromkeys(side for side, _ in times if side != PEER):
        our_best, our_setting = best(times, method)
        ours = peak_mb(workload.name, method) if imaged else None
        known = ours is not None and theirs is not None
        table.add_row(
            workload.name,
            method,
            f"{median_ms(their_best):.4g} ({their_setting})",
            f"{median_ms(our_best):.4g} ({our_setting})",
            f"{median_ms(their_best) / median_ms(our_best):.2f}x",
            quartiles(their_best, our_best),
            f"{SPEED[workload.name, method]:g}x",
            f"{ours:.0f} and {theirs:.0f}" if known else "",
            f"{ours / theirs:.2f}x" if known else "",
            f"at most {MEMORY[workload.name]:g}x" if workload.name in MEMORY else "",
            f"{apart:.0e}" if method == "maml" else "",
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=number_of_rounds, default=7)
    parser.add_argument("--only", default="", help="part of a workload's name, like 84x84")
    arguments = parser.parse_args()
    if not any(arguments.only in name for name in WORKLOADS):
        parser.error(f"no workload has {arguments.only!r} in its name: {', '.join(WORKLOADS)}.")
    torch.set_num_threads(1)
    console = Console(width=190)
    console.print(f"torch {torch.__version__}, {CORES} cores, load {os.getloadavg()[0]:.1f}")
    table = Table(*COLUMNS, *MORE_COLUMNS)
    for name, workload in WORKLOADS.items():
        if arguments.only in name:
            add_rows(table, workload, arguments.rounds)
    console.print(table)
    console.print(f"load now {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
