"""How long one redraw of the Training page takes: twelve runs of 2000 steps that grow.

Run with `python -m tests.benchmarks.redraw`; a number after it is the number of redraws.
"""

import os
import sys
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtWidgets import QApplication

from metaviz.gui.pages.training_page import TrainingTab
from metaviz.gui.widgets.theme import LIGHT, use_theme
from tests.benchmarks.replot import NAMES, add_step, grown, spin

RUNS, FRAMES = 12, 60


def main() -> None:
    """Print the quantiles of refreshing, of painting and of both, while training and after."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES
    application = QApplication([])
    use_theme(application, LIGHT)
    random = np.random.default_rng(0)
    records = [grown(NAMES[place % len(NAMES)], random) for place in range(RUNS)]
    for place, record in enumerate(records):
        record.id = f"{record.id}-{place}"
    tab = TrainingTab()
    tab.resize(900, 520)
    tab.apply_theme(LIGHT)
    tab.show_records(records)
    tab.show()
    spin(300)
    for state in ("running", "done"):
        for record in records:
            record.state = state
        refreshed, painted = [], []
        for _ in range(frames):
            for record in records:
                add_step(record, random)
                record.revision += 1
            began = time.perf_counter()
            tab.refresh()
            refreshed.append(time.perf_counter() - began)
            began = time.perf_counter()
            tab.grab()
            painted.append(time.perf_counter() - began)
        for what, seconds in (
            ("refresh", refreshed),
            ("paint", painted),
            ("both", [one + other for one, other in zip(refreshed, painted, strict=True)]),
        ):
            p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1000
            print(f"{state} {what} of {RUNS} runs: p50 {p50:.2f} ms, p99 {p99:.1f} ms")


if __name__ == "__main__":
    main()
