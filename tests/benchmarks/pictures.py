"""What the stored pictures of learned geometries cost, against the training between them.

Run with `python -m tests.benchmarks.pictures`.
"""

import time

import torch
from rich.console import Console
from rich.table import Table

from metaviz.algorithms.registry import ALGORITHMS
from metaviz.config.run_config import RunConfig, Shared
from metaviz.runs.model.events import Stepped
from metaviz.training.evaluation import pictures
from metaviz.training.setting import settle
from metaviz.training.trainer import begin, train

STEPS = 20


def main() -> None:
    """Print milliseconds per picture, per meta-step, and the share at the default rate."""
    table = Table("method", "ms per picture", "kB", "ms per meta-step", "share of training")
    for name, known in ALGORITHMS.items():
        if not known.entry.traits.has_inner_loop:
            continue
        shared = Shared(eval_every=100, eval_tasks=2)
        config = RunConfig(problem="sinusoid", algorithm=name, seed=0, steps=STEPS, shared=shared)
        setting = settle(config)
        progress = begin(setting)
        for event in train(setting, progress):
            if isinstance(event, Stepped) and event.step == STEPS:
                break
        step = progress.seconds / STEPS
        meta = {group: value.detach() for group, value in progress.meta.items()}
        taken, size = [], 0
        for _ in range(4):
            began = time.perf_counter()
            drawn = list(pictures(setting, meta))
            taken.append(time.perf_counter() - began)
            size = sum(array.nbytes for arrays in drawn for array in arrays.values())
        one = min(taken)
        share = one / (shared.eval_every * step)
        cells = (f"{1e3 * one:.0f}", f"{size / 1e3:.0f}", f"{1e3 * step:.1f}", f"{share:.1%}")
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
