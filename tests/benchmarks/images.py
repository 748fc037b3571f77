"""How long miniImageNet takes to decode, to open again, and to be cut into meta-batches.

Run with `python -m tests.benchmarks.images FOLDER`, the folder of miniImageNet in any layout.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from metaviz.config.run_config import Shared
from metaviz.problems.image_options import ImageOptions
from metaviz.problems.images import FewShotImages

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "miniimagenet"
BATCHES = 200


def main() -> None:
    """Print seconds, milliseconds and this process's memory."""
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else REAL
    if not place.exists():
        Console().print(f"There are no images at {place}: name a folder of miniImageNet.")
        return
    with tempfile.TemporaryDirectory() as home:
        os.environ["METAVIZ_HOME"] = home
        options = ImageOptions(path=str(place))
        shared = Shared(ways=5, shots=1, query_shots=15, meta_batch=4)
        rows = []
        for what in ("first opening: recognised and decoded", "second opening"):
            began = time.perf_counter()
            problem = FewShotImages(options, shared, 0)
            rows.append((what, f"{time.perf_counter() - began:.3g} s"))
            rows.append(("most memory until then", f"{_peak_mb():.0f} MB"))
        taken = []
        for number in range(BATCHES):
            began = time.perf_counter()
            tasks = problem.tasks("train", 4 * number, 4)
            taken.append(time.perf_counter() - began)
        rows.append(("a meta-batch of 320 images, median", f"{1e3 * np.median(taken):.2f} ms"))
        began = time.perf_counter()
        tasks.to("cpu", torch.float32)
        rows.append(("its levels as float32", f"{1e3 * (time.perf_counter() - began):.2f} ms"))
        rows.append(("most memory, pages of the cache file among it", f"{_peak_mb():.0f} MB"))
    table = Table("miniImageNet", "")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _peak_mb() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
