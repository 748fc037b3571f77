"""How late a 5 ms timer of the window is while four algorithms train.

Run with `python -m tests.benchmarks.window_lateness [seconds] [training|geometry|mirror]`; the last
says which page is in front, over four methods that fill it.
"""

import os
import sys
import tempfile
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["METAVIZ_HOME"] = tempfile.mkdtemp()

import numpy as np
from PySide6.QtCore import QEventLoop, Qt, QTimer

from metaviz import app
from metaviz.gui.preferences import Preferences

ALGORITHMS = {
    "training": ("maml", "fomaml", "reptile", "joint"),
    "geometry": ("maml", "metasgd", "metacurvature", "mtnet"),
    "mirror": ("maml", "metasgd", "metacurvature", "mirror"),
}
PERIOD = 0.005


def main() -> None:
    """Train for some seconds and print the quantiles of the lateness."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    front = sys.argv[2] if len(sys.argv) > 2 else "training"
    application = app.create_application(["benchmark"])
    window = app.create_window(Preferences(None))
    window.show()
    window.begin()
    wait_for(window, "idle")
    window.form.algorithms.tick(ALGORITHMS[front])
    window.form.field("eval_tasks").set_value(20)
    window.form.field("eval_every").set_value(50)
    window.form.field("steps").set_value(1_000_000)
    window.commands["run"].trigger()
    wait_for(window, "training")
    place = next(i for i, page in enumerate(window.tabs.pages) if page.export_name == front)
    while not window.tabs.isTabEnabled(place):
        spin(0.1)
    window.tabs.setCurrentIndex(place)
    spin(2.0)
    frames = timed_refreshes(window)
    before, began = window.live.progress()[0], time.perf_counter()
    late = lateness(seconds)
    steps = window.live.progress()[0] - before
    rate = steps / (time.perf_counter() - began)
    p50, p99 = np.quantile(late, (0.5, 0.99)) * 1000
    print(f"timer late by p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {late.max() * 1000:.1f} ms")
    drawn = np.array(frames) * 1000
    print(f"refresh p50 {np.median(drawn):.1f} ms, max {drawn.max():.1f} ms, {len(drawn)} frames")
    print(f"{rate:.0f} meta-steps per second over {len(ALGORITHMS[front])} runs, {len(late)} ticks")
    window.gone.connect(application.quit)
    window.closing.begin()
    application.exec()


def timed_refreshes(window: app.MainWindow) -> list[float]:
    """Have the tab in front note how long each of its redraws takes."""
    page = window.tabs.current_page()
    refresh, seconds = page.refresh, []

    def timed() -> None:
        began = time.perf_counter()
        refresh()
        seconds.append(time.perf_counter() - began)

    page.refresh = timed
    return seconds


def lateness(seconds: float) -> np.ndarray:
    """Return by how much each tick came later than 5 ms after the one before."""
    ticks: list[float] = []
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(round(PERIOD * 1000))
    spin(seconds)
    timer.stop()
    return np.maximum(np.diff(ticks) - PERIOD, 0.0)


def spin(seconds: float) -> None:
    """Run the event loop for some time."""
    loop = QEventLoop()
    QTimer.singleShot(round(seconds * 1000), loop.quit)
    loop.exec()


def wait_for(window: app.MainWindow, phase: str) -> None:
    """Run the event loop until training is in a phase."""
    while window.conductor.phase != phase:
        spin(0.05)


if __name__ == "__main__":
    main()
