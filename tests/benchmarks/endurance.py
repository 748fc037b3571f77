"""What a long training costs the window: memory per meta-step, and runs of a million steps.

Run with `python -m tests.benchmarks.endurance [--seconds 300] [--steps 1000000]`. Two methods train
on sinusoids with an evaluation at every 50th meta-step; memory is the process's resident set,
per meta-step of both runs together, from when as many pictures are kept as ever will be. Then
a run of so many steps is written, read back whole, and drawn.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["METAVIZ_HOME"] = tempfile.mkdtemp()

import numpy as np

from metaviz import app
from metaviz.gui.pages.training_page import TrainingTab
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.widgets.theme import LIGHT
from metaviz.runs.model.events import STEP_COLUMNS, Ended, Stepped
from metaviz.runs.model.record import MOST_PICTURES
from metaviz.runs.storage.store import create_run, open_run
from tests.benchmarks.window_lateness import spin, wait_for

METHODS = ("maml", "reptile")
EVERY = 50


def main() -> None:
    """Print both tables."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--seconds", type=float, default=300.0)
    asked.add_argument("--steps", type=int, default=1_000_000)
    wish = asked.parse_args()
    application = app.create_application(["benchmark"])
    long_run(wish.steps)
    train(wish.seconds)
    application.quit()
    sys.stdout.flush()
    os._exit(0)  # the runs still train


def train(seconds: float) -> None:
    """Train with a window and print how its memory grows."""
    window = app.create_window(Settings(None))
    window.show()
    window.begin()
    wait_for(window, "idle")
    window.form.algorithms.tick(METHODS)
    window.form.field("eval_tasks").set_value(20)
    window.form.field("eval_every").set_value(EVERY)
    window.form.field("steps").set_value(1_000_000)
    window.commands["run"].trigger()
    wait_for(window, "training")
    until, settled = time.monotonic() + seconds, None
    while time.monotonic() < until:
        spin(10.0)
        records = list(window.live.records.values())
        steps, memory = sum(record.step for record in records), resident()
        line = f"{steps} meta-steps, {memory / 1e6:.1f} MB"
        if settled is None:
            if all(record.pictured > 2 * MOST_PICTURES for record in records):
                settled = steps, memory
        else:
            per_step = (memory - settled[1]) / max(1, steps - settled[0])
            line += f", {per_step / 1000:.2f} KB per meta-step since {settled[0]}"
        print(line, flush=True)


def long_run(steps: int) -> None:
    """Write, read and draw a run of many steps; print how long each takes."""
    random = np.random.default_rng(0)
    root = Path(tempfile.mkdtemp())
    shared = {"reading_every": 1}
    config = {"algorithm": "maml", "problem": "sinusoid", "seed": 0, "steps": steps}
    writer = create_run(root, {**config, "shared": shared}, {})
    nothing = np.empty(0, np.float32)
    for first in range(0, steps, 10_000):
        block = random.random((min(10_000, steps - first), len(STEP_COLUMNS)))
        for place, row in enumerate(block.tolist()):
            values: dict[str, float | None] = dict(zip(STEP_COLUMNS, row, strict=True))
            writer.append(Stepped(first + place + 1, values, nothing, nothing))
    writer.append(Ended(steps, "done"))
    writer.close()
    size = sum(path.stat().st_size for path in writer.folder.iterdir())
    before, began = resident(), time.perf_counter()
    record = open_run(writer.folder)
    took, grown = time.perf_counter() - began, resident() - before
    print(f"{steps} steps: {size / steps:.0f} B each on disk, read in {took:.1f} s", end=", ")
    print(f"{grown / steps:.0f} B each in memory")
    tab = TrainingTab()
    tab.resize(900, 520)
    tab.apply_theme(LIGHT)
    began = time.perf_counter()
    tab.show_records([record])
    tab.show()
    tab.grab()
    print(f"first drawn in {1000 * (time.perf_counter() - began):.0f} ms", end=", ")
    record.state = "running"
    took_each = []
    for _ in range(10):
        record.append_row(record.step + 1, random.random(len(STEP_COLUMNS)).tolist())
        record.revision += 1
        began = time.perf_counter()
        tab.refresh()
        tab.grab()
        took_each.append(time.perf_counter() - began)
    print(f"redrawn in {1000 * np.median(took_each):.0f} ms")
    tab.close()


def resident() -> int:
    """Return the bytes of memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
