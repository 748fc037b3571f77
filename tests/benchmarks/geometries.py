"""What learned geometries cost: whole meta-steps against MAML's, interleaved in one run.

Run with `python -m tests.benchmarks.geometries [rounds]`.
"""

import statistics
import sys
import time

import torch
from rich.console import Console
from rich.table import Table

from metaviz.algorithms.registry import find_algorithm
from metaviz.config import Shared
from metaviz.meta.sharding import Shards, sharded_meta_gradient
from tests.benchmarks.against_higher import CORES, Workload, images, sinusoids

METHODS = {
    "maml": {},
    "metasgd": {},
    "metacurvature": {},
    "mirror": {"form": "fixed"},
    "metakfo": {},
    "mtnet": {},
    "warpgrad": {},
}
WANTED = {"metasgd": 1.15, "metacurvature": 1.5, "mirror": 3.0}


def main() -> None:
    """Print the median milliseconds of every method and their ratio to MAML's."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    torch.set_num_threads(1)
    for workload, shards in ((sinusoids(5, 0), Shards(1)), (images(28, 1, 0), Shards(CORES))):
        steps = {
            name: step_of(workload, name, options, shards) for name, options in METHODS.items()
        }
        times: dict[str, list[float]] = {name: [] for name in METHODS}
        for lap in range(rounds + 1):
            for name, step in steps.items():
                began = time.perf_counter()
                step()
                if lap:
                    times[name].append((time.perf_counter() - began) * 1e3)
        table = Table("method", "ms per meta-step", "against MAML", "wanted", title=workload.name)
        base = statistics.median(times["maml"])
        for name, values in times.items():
            middle = statistics.median(values)
            asked = name in WANTED and workload.name.startswith("Conv4")
            wanted = f"at most {WANTED[name]}" if asked else ""
            table.add_row(name, f"{middle:.1f}", f"{middle / base:.2f}", wanted)
        Console().print(table)


def step_of(workload: Workload, name: str, options: dict[str, str], shards: Shards):
    """Return one meta-step: meta-gradients, readings and Adam."""
    shared = Shared(inner_lr=workload.rate, inner_steps=workload.steps)
    algorithm = find_algorithm(name).build(dict(options), shared)
    drawn = algorithm.init(workload.learner, torch.Generator().manual_seed(1))
    meta = {group: value.float().requires_grad_() for group, value in drawn.items()}
    tasks = workload.tasks.to("cpu", torch.float32)
    adam = torch.optim.Adam(list(meta.values()), lr=1e-4, fused=True)

    def step() -> None:
        now = {group: value.detach() for group, value in meta.items()}
        result = sharded_meta_gradient(algorithm, workload.learner, now, tasks, 0, shards)
        for group, gradient in result.gradients.items():
            meta[group].grad = gradient
        torch.stack(list(result.readings.values())).mean(1).tolist()
        adam.step()

    return step


if __name__ == "__main__":
    main()
