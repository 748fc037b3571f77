"""What learned geometries cost: whole meta-steps against MAML's, interleaved in one run.

Run with `python -m tests.benchmarks.geometries [rounds]`.
"""

import sys
from contextlib import ExitStack

import torch
from rich.console import Console
from rich.table import Table

from metaviz.benchmarking.laps import CORES, Contestant
from tests.benchmarks.wanted import GEOMETRY
from tests.benchmarks.workloads import WORKLOADS, laps, median_ms

RATE = 0.01  # a larger one is too much for some of them
METHODS = {
    "maml": {},
    "metasgd": {},
    "metacurvature": {},
    "mirror": {"form": "fixed"},
    "metakfo": {},
    "mtnet": {},
    "warpgrad": {},
}


def main() -> None:
    """Print the median milliseconds of every method and their ratio to MAML's."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    torch.set_num_threads(1)
    for workload, shards in ((WORKLOADS["sinusoid, K = 5"], 1), (WORKLOADS["28x28"], CORES)):
        with ExitStack() as stack:
            contestants = {
                name: Contestant(
                    stack.enter_context(workload.run(name, shards, inner_lr=RATE, **options)),
                    lap_seconds=workload.lap_seconds,
                )
                for name, options in METHODS.items()
            }
            laps(contestants.values(), rounds)
        table = Table("method", "ms per meta-step", "against MAML", "wanted", title=workload.name)
        base = median_ms(contestants["maml"])
        for name, contestant in contestants.items():
            middle = median_ms(contestant)
            asked = name in GEOMETRY and workload.name == "28x28"
            wanted = f"at most {GEOMETRY[name]}" if asked else ""
            table.add_row(name, f"{middle:.1f}", f"{middle / base:.2f}", wanted)
        Console().print(table)


if __name__ == "__main__":
    main()
