"""How long one redraw of the training plot takes: eight runs of 2000 steps that grow.

Run with `python -m tests.benchmarks.replot`.
"""

import os
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import scipy.signal  # noqa: F401 - the first smoothing would pay for it
from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication

from metaviz.gui.pages.training_page import TrainingTab
from metaviz.gui.widgets.theme import LIGHT, use_theme
from metaviz.runs.model.events import STEP_COLUMNS
from metaviz.runs.model.record import Record

NAMES = ("maml", "fomaml", "reptile", "imaml", "neumann", "penalty", "scratch", "joint")
STEPS, FRAMES = 2000, 60


def main() -> None:
    """Print the quantiles of refreshing and of painting."""
    application = QApplication([])
    use_theme(application, LIGHT)
    random = np.random.default_rng(0)
    records = [grown(name, random) for name in NAMES]
    tab = TrainingTab()
    tab.resize(900, 520)
    tab.apply_theme(LIGHT)
    tab.show_records(records)
    tab.show()
    spin(300)
    refreshed, painted = [], []
    for _ in range(FRAMES):
        for record in records:
            add_step(record, random)
            record.revision += 1
        began = time.perf_counter()
        tab.refresh()
        refreshed.append(time.perf_counter() - began)
        began = time.perf_counter()
        tab.grab()
        painted.append(time.perf_counter() - began)
    for what, seconds in (("refresh", refreshed), ("paint", painted)):
        p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1000
        print(f"{what} of {len(NAMES)} runs x {STEPS} steps: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def grown(name: str, random: np.random.Generator) -> Record:
    """Return a record of STEPS noisy steps."""
    record = Record(
        name, {"algorithm": name, "problem": "sinusoid", "seed": 0, "steps": 10 * STEPS}
    )
    for _ in range(STEPS):
        add_step(record, random)
    return record


def add_step(record: Record, random: np.random.Generator) -> None:
    """Append one step of noise."""
    values: list[float | None] = list(random.random(len(STEP_COLUMNS)) + 1)
    record.append_row(record.step + 1, values)


def spin(milliseconds: int) -> None:
    """Run the event loop for some time."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


if __name__ == "__main__":
    main()
