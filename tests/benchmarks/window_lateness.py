"""How late a 5 ms timer of the window is while four algorithms train, and what held it up.

Run with `python -m tests.benchmarks.window_lateness [page ...] [--seconds 5] [--windows 3]`. Each
page is in front of a window of its own. Figures are medians over several windows of time, those
below "own" the processor time that the window's thread spent itself between two ticks: it does not
depend on what else the machine does. `--stacks` also prints where the thread was while late.
"""

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["METAVIZ_HOME"] = tempfile.mkdtemp()

import numpy as np
from PySide6.QtCore import QEventLoop, Qt, QTimer

from metaviz import app
from metaviz.gui.background.garbage_collector import GarbageCollector
from metaviz.gui.pages.page_tabs import NAMES
from metaviz.gui.widgets.settings_file import Settings

USUAL = ("maml", "fomaml", "reptile", "joint")
ALGORITHMS = {
    "training": USUAL,
    "inner": USUAL,
    "comparison": USUAL,
    "geometry": ("maml", "metasgd", "metacurvature", "mtnet"),
    "mirror": ("maml", "metasgd", "metacurvature", "mirror"),
}
PERIOD = 0.005
LATE = 0.016
DEPTH, MOST_STACKS = 6, 8
FIGURES = ("late p50", "p99", "max", "own p99", "max", "steps/s")


class Parts:
    """Wall and own milliseconds of each call of some parts of the window."""

    def __init__(self) -> None:
        self.spent: dict[str, list[tuple[float, float]]] = collections.defaultdict(list)

    def watch(self, owner: Any, name: str, label: str) -> None:
        """Note how long each call of a method takes."""
        setattr(owner, name, self.timed(getattr(owner, name), label))

    def watch_pieces(self, window: app.MainWindow) -> None:
        """Note how long each piece of a redraw takes."""
        pieces = window.tabs.pieces
        window.tabs.pieces = lambda: [self.timed(p, p.__name__.strip("_")) for p in pieces()]

    def timed(self, method: Callable[..., Any], label: str) -> Callable[..., Any]:
        """Return a method that notes how long it takes."""

        def call(*given: Any, **named: Any) -> Any:
            began, own = time.perf_counter(), time.thread_time()
            try:
                return method(*given, **named)
            finally:
                took = time.perf_counter() - began, time.thread_time() - own
                self.spent[label].append((took[0] * 1000, took[1] * 1000))

        return call

    def report(self) -> None:
        """Print a line for each part, the one that blocked longest first."""
        print(
            f"  {'part':22} {'calls':>6} {'p50':>6} {'p99':>6} {'max':>6} {'own p50':>8} {'max':>6}"
        )
        for label, calls in sorted(self.spent.items(), key=lambda item: -max(item[1])[0]):
            wall, own = np.array(calls).T
            p50, p99 = np.quantile(wall, (0.5, 0.99))
            print(
                f"  {label:22} {len(wall):6} {p50:6.1f} {p99:6.1f} {wall.max():6.1f} "
                f"{np.median(own):8.1f} {own.max():6.1f}"
            )


class Ticks:
    """A 5 ms timer that notes when it came, and how much its thread had worked by then."""

    def __init__(self) -> None:
        self.came: list[tuple[float, float]] = []
        self.stacks: collections.Counter[str] = collections.Counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._come)

    def take(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Return by how many ms each tick was late, and how long the thread worked before it."""
        self.came = []
        self._timer.start(round(PERIOD * 1000))
        spin(seconds)
        self._timer.stop()
        between = np.diff(np.array(self.came), axis=0)
        return np.maximum(between[:, 0] - PERIOD, 0.0) * 1000, between[:, 1] * 1000

    def sample(self, thread: int) -> None:
        """Count where a thread is whenever the timer is late; never returns."""
        while True:
            time.sleep(LATE / 4)
            if not self.came or time.perf_counter() - self.came[-1][0] < PERIOD + LATE:
                continue
            frame, lines = sys._current_frames().get(thread), []
            while frame is not None and len(lines) < DEPTH:
                name = Path(frame.f_code.co_filename).name
                lines.append(f"{name}:{frame.f_lineno} {frame.f_code.co_name}")
                frame = frame.f_back
            self.stacks[" < ".join(lines)] += 1

    def _come(self) -> None:
        self.came.append((time.perf_counter(), time.thread_time()))


def main() -> None:
    """Measure one page here, or several in processes of their own."""
    asked = argparse.ArgumentParser()
    asked.add_argument("pages", nargs="*", help=", ".join(ALGORITHMS))
    asked.add_argument("--seconds", type=float, default=5.0)
    asked.add_argument("--windows", type=int, default=3)
    asked.add_argument("--stacks", action="store_true")
    wish = asked.parse_args()
    if len(wish.pages) == 1:
        measure(wish.pages[0], wish)
        return
    for page in wish.pages or ALGORITHMS:
        options = ["--seconds", str(wish.seconds), "--windows", str(wish.windows)]
        options += ["--stacks"] * wish.stacks
        module = "tests.benchmarks.window_lateness"
        subprocess.run([sys.executable, "-m", module, page, *options], check=True)


def measure(page: str, wish: argparse.Namespace) -> None:
    """Train with a page in front and print its table."""
    application = app.create_application(["benchmark"])
    parts, ticks = Parts(), Ticks()
    parts.watch(GarbageCollector, "collect", "collector")
    garbage = GarbageCollector(application)
    window = training_window(page, parts)
    parts.spent.clear()
    if wish.stacks:
        here = threading.get_ident()
        threading.Thread(target=ticks.sample, args=(here,), daemon=True).start()
    rows = [window_of_time(window, ticks, wish.seconds) for _ in range(wish.windows)]
    sys.stdout.write(f"{page} in front, load {os.getloadavg()[0]:.1f}\n")
    print("  " + " ".join(f"{name:>8}" for name in FIGURES))
    for row in rows:
        print("  " + " ".join(f"{value:8.1f}" for value in row))
    print("  " + " ".join(f"{value:8.1f}" for value in np.median(rows, axis=0)) + "  median")
    parts.report()
    for stack, count in ticks.stacks.most_common(MOST_STACKS):
        print(f"  {count:4} {stack}")
    window.closed.connect(application.quit)
    window.shutdown.begin()
    application.exec()
    garbage.stop()


def window_of_time(window: app.MainWindow, ticks: Ticks, seconds: float) -> tuple[float, ...]:
    """Return the figures of some seconds."""
    before, began = window.live.progress()[0], time.perf_counter()
    late, own = ticks.take(seconds)
    rate = (window.live.progress()[0] - before) / (time.perf_counter() - began)
    p50, p99 = np.quantile(late, (0.5, 0.99))
    return p50, p99, late.max(), np.quantile(own, 0.99), own.max(), rate


def training_window(page: str, parts: Parts) -> app.MainWindow:
    """Return a window that trains with a page in front, its parts watched."""
    import pyqtgraph as pg

    parts.watch(pg.GraphicsView, "paintEvent", "paint of a plot")
    window = app.create_window(Settings(None))
    window.show()
    window.begin()
    wait_for(window, "idle")
    parts.watch(window.runs, "refresh", "rows of the table")
    window.form.algorithms.tick(ALGORITHMS[page])
    window.form.field("eval_tasks").set_value(20)
    window.form.field("eval_every").set_value(50)
    window.form.field("steps").set_value(1_000_000)
    window.commands["run"].trigger()
    wait_for(window, "training")
    place = NAMES.index(page)
    while not window.tabs.isTabEnabled(place):
        spin(0.1)
    window.tabs.setCurrentIndex(place)
    spin(2.0)
    parts.watch_pieces(window)
    return window


def spin(seconds: float) -> None:
    """Run the event loop for some time."""
    loop = QEventLoop()
    QTimer.singleShot(round(seconds * 1000), loop.quit)
    loop.exec()


def wait_for(window: app.MainWindow, phase: str) -> None:
    """Run the event loop until training is in a phase."""
    while window.controller.phase != phase:
        spin(0.05)


if __name__ == "__main__":
    main()
