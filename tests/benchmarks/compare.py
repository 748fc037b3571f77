"""How long the Compare tab takes: a frame of 200 long curves, grouping 200 runs, ticking 200 runs.

Run with `python -m tests.benchmarks.compare`.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import scipy.signal
import scipy.special  # noqa: F401 - the first interval would pay for it
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from metaviz import app, paths
from metaviz.gui.pages.compare_page import CompareTab
from metaviz.gui.widgets.theme import LIGHT, use_theme
from metaviz.runs.model.events import STEP_COLUMNS
from metaviz.runs.model.record import Record
from tests.benchmarks.many_runs import close, make_runs, make_window, spin, wait_until

RUNS, LONG, SHORT, TIMES = 200, 100_000, 2000, 5


def main() -> None:
    """Print the medians."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["METAVIZ_HOME"] = home
        application = app.create_application(["metaviz"])
        use_theme(application, LIGHT)
        print(f"Compare tab, 900 x 520 pixels; medians of {TIMES}")
        frames(application)
        grouping(application)
        ticking(application)


def frames(application: QApplication) -> None:
    """Measure what the window's thread does for 200 curves of 100 000 points."""
    tab = shown_tab([record(number, LONG) for number in range(RUNS)], ("id",))
    painted, drawn, thinned = [], [], []
    for _ in range(TIMES):
        began = time.perf_counter()
        tab.plot.getPlotItem().getViewBox().setXRange(0, LONG * (0.9 + 0.01 * len(thinned)))
        wait_until(lambda: not tab.busy)
        thinned.append(time.perf_counter() - began)
        drawn.append(timed(lambda: tab._show(tab.shown, again=True)))
        painted.append(timed(tab.grab))
    print(f"{len(tab.shown.curves)} curves x {LONG} points")
    report("  given to the plot", drawn)
    report("  painted", painted)
    report("  from zooming to new curves, on another thread", thinned)
    tab.deleteLater()


def grouping(application: QApplication) -> None:
    """Measure choosing other groups for 200 runs of 2000 points, until they are painted."""
    tab = shown_tab([record(number, SHORT) for number in range(RUNS)], None)
    seconds, late = [], []
    for number in range(2 * TIMES):
        keys = (("algorithm", "inner_lr"), None)[number % 2]
        with Lateness() as clock:
            began = time.perf_counter()
            tab.controls.use_keys(keys)
            wait_until(lambda: not tab.busy)
            tab.grab()
            seconds.append(time.perf_counter() - began)
        late.append(clock.longest)
    print(f"{RUNS} runs x {SHORT} points in {len(tab.shown.curves)} groups")
    report("  grouped and painted", seconds)
    tab.deleteLater()


def ticking(application: QApplication) -> None:
    """Measure ticking 200 stored runs of 2000 points in a window."""
    make_runs(paths.runs_dir(), RUNS)
    seconds, late = [], []
    for _ in range(TIMES):
        window = make_window()
        window.tabs.begin(LIGHT)
        window.tabs.open_page("comparison")
        window.reader.scan(paths.runs_dir())
        wait_until(lambda w=window: len(w.runs.rows) == RUNS)
        spin(600)
        with Lateness() as clock:
            began = time.perf_counter()
            window.runs.show([row.id for row in window.runs.rows], visible=True)
            wait_until(lambda w=window: len(w.runs.visible_records()) == RUNS)
            seconds.append(time.perf_counter() - began)
            wait_until(lambda w=window: not w.tabs.compare.busy)
        late.append(clock.longest)
        close(window)
    print(f"{RUNS} stored runs x {SHORT} points ticked")
    report("  until all are shown", seconds)
    report("  longest block of the window", late)


def record(number: int, points: int) -> Record:
    """Return a noisy run."""
    random = np.random.default_rng(number)
    settings = {"inner_lr": (0.1, 0.01)[number // 5 % 2], "inner_steps": 5}
    about = {"algorithm": ("maml", "reptile", "imaml", "fomaml", "metasgd")[number % 5]}
    about |= {"problem": "sinusoid", "seed": number // 10, "steps": points}
    made = Record(f"r{number}", {**about, "shared": settings})
    made._rows = points
    made._table = np.empty((len(STEP_COLUMNS) + 1, points), dtype=float)
    made._table[0] = np.arange(1, points + 1)
    made._table[1:] = random.random(points) + 3 * np.exp(-np.arange(points) * 5 / points)
    made.state = "done"
    return made


def shown_tab(records: list[Record], keys: tuple[str, ...] | None) -> CompareTab:
    """Return a tab that shows runs."""
    tab = CompareTab()
    tab.resize(900, 520)
    tab.apply_theme(LIGHT)
    tab.show()
    tab.controls.use_keys(keys)
    tab.show_records(records)
    wait_until(lambda: tab.shown is not None and len(tab.shown.curves) > 0 and not tab.busy)
    tab.grab()
    return tab


class Lateness:
    """Notes how late a timer of the window is at worst, in seconds."""

    def __enter__(self) -> "Lateness":
        """Begin."""
        self.longest, self._last = 0.0, time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._tick)
        self._timer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """End."""
        self._tick()
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, now - self._last), now


def timed(act: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def report(what: str, seconds: list[float]) -> None:
    """Print a median."""
    shown = ", ".join(f"{1000 * one:.0f}" for one in seconds)
    print(f"{what}: {1000 * statistics.median(seconds):.1f} ms ({shown})")


if __name__ == "__main__":
    main()
