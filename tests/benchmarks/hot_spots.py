"""Where the time of a meta-step goes, for `higher` and for a run, on one thread.

Run as `python -m tests.benchmarks.hot_spots [WORKLOAD ...]`, names as in `workloads.py`.
"""

import sys
from collections import Counter
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from metaviz.benchmarking.contestants import counted_operations
from tests.benchmarks.workloads import WORKLOADS

KINDS = {
    "convolution": ("mkldnn_convolution", "slow_conv", "thnn_conv"),
    "its gradients": ("convolution_backward",),
    "matrix products": ("mm", "bmm", "addmm", "addmm_", "baddbmm"),
    "patches": ("im2col", "col2im", "unfold_backward"),
    "pooling": ("max_pool2d_with_indices", "max_pool2d_with_indices_backward", "gather"),
    "statistics": ("native_batch_norm", "native_batch_norm_backward", "batch_norm_update_stats"),
    "copies": ("copy_", "cat", "fill_", "zero_", "clone"),
}


def spent(step: Callable[[], object], repeats: int) -> tuple[Counter[str], float]:
    """Return milliseconds of a step by kind of operation, and all of them together."""
    step()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(repeats):
            step()
    found: Counter[str] = Counter()
    for event in profiler.key_averages():
        if not event.key.startswith("aten::"):
            kind = "Python and bookkeeping"
        else:
            name = event.key.removeprefix("aten::")
            kind = next((k for k, names in KINDS.items() if name in names), "element by element")
        found[kind] += event.self_cpu_time_total / 1e3 / repeats
    return found, sum(found.values())


def main() -> None:
    """Print a table for each workload."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ("sinusoid, K = 1", "sinusoid, K = 5", "28x28"):
        workload = WORKLOADS[name]
        sides = {"higher": workload.peer(), "MetaViz": workload.run("maml", shards=1)}
        repeats = 20 if name.startswith("sinusoid") else 1
        times = {side: spent(step, repeats) for side, step in sides.items()}
        table = Table("", *sides, title=f"{name}: milliseconds under the profiler")
        kinds = sorted(times["higher"][0], key=lambda kind: -times["higher"][0][kind])
        for kind in kinds:
            shares = (
                f"{found[kind]:.3g} ({found[kind] / whole:.0%})" for found, whole in times.values()
            )
            table.add_row(kind, *shares)
        table.add_row("together", *(f"{whole:.4g}" for _, whole in times.values()))
        table.add_row(
            "GFLOP in products",
            *(f"{counted_operations(step) / 1e9:.3g}" for step in sides.values()),
        )
        Console().print(table)


if __name__ == "__main__":
    main()
