"""How long a window takes to list thousands of stored runs, to search them, and to group some.

Run with `python -m tests.benchmarks.many_runs`; a number after it is the number of runs.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import scipy.special  # noqa: F401 - the first interval would pay for it
from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication

from metaviz import app, paths
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.widgets.theme import LIGHT, use_theme
from metaviz.gui.window.main_window import MainWindow
from metaviz.runs.model.events import STEP_COLUMNS, Ended, Evaluated, Stepped
from metaviz.runs.model.record import Record
from metaviz.runs.storage.database import DATABASE
from metaviz.runs.storage.manifest import write_about
from metaviz.runs.storage.store import ABOUT, create_run
from metaviz.runs.table.index import INDEX

RUNS, STEPS, TIMES, GROUPED = 2000, 2000, 5, 200
METHODS = ("maml", "fomaml", "reptile", "imaml", "metasgd")
SEARCH = "algo:maml alpha<0.05 -state:failed seed:0-199"


def main() -> None:
    """Print the medians."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as home:
        os.environ["METAVIZ_HOME"] = home
        make_runs(paths.runs_dir(), runs)
        application = app.create_application(["metaviz"])
        use_theme(application, LIGHT)
        print(f"{runs} runs x {STEPS} points; medians of {TIMES}")
        report("cold open, no index", [opened(application, runs, cold=True) for _ in range(TIMES)])
        report("warm open", [opened(application, runs, cold=False) for _ in range(TIMES)])
        with_filled_window(application, runs)


def make_runs(root: Path, runs: int) -> None:
    """Write one run, and copies of its database with other settings."""
    random = np.random.default_rng(0)
    writer = create_run(root, config(0), {"device": "cpu", "metaviz": "0.1.0"})
    for step in range(1, STEPS + 1):
        values: dict[str, float | None] = dict.fromkeys(STEP_COLUMNS, float(random.random()))
        writer.append(Stepped(step, values, np.ones(6), np.ones(6)))
    curves = {name: np.ones(11) for name in ("support_loss", "query_loss", "gradient_norm")}
    curves |= {f"{name}_ci95": np.ones(11) for name in list(curves)}
    writer.append(Evaluated(STEPS, 600, 5, curves, {"query_loss": np.ones(600)}))
    writer.append(Ended(STEPS, "done", ""))
    writer.close()
    database = (writer.folder / DATABASE).read_bytes()
    for number in range(1, runs):
        asked = config(number)
        folder = root / f"{asked['algorithm']}-s{asked['seed']}-{number:08x}"
        folder.mkdir()
        (folder / DATABASE).write_bytes(database)
        about = write_about(Record(folder.name, asked, {"device": "cpu", "metaviz": "0.1.0"}))
        (folder / ABOUT).write_text(about, encoding="utf-8")


def config(number: int) -> dict[str, object]:
    """Return settings that differ in method, step size and seed."""
    shared = {"inner_lr": (0.1, 0.01)[number // 5 % 2], "inner_steps": 5, "outer_lr": 0.001}
    shared |= {"meta_batch": 25, "shots": 10, "query_shots": 10, "eval_tasks": 600}
    method = METHODS[number % len(METHODS)]
    options = {"prox": 2.0} if method == "imaml" else {}
    about = {"algorithm": method, "problem": "sinusoid", "seed": number // 10, "steps": STEPS}
    return {**about, "shared": shared, "options": options, "problem_options": {"noise": 0.1}}


def opened(application: QApplication, runs: int, *, cold: bool) -> float:
    """Return the seconds from scanning to a filled, painted table; also the worst block."""
    if cold:
        for path in paths.data_dir().glob(f"{INDEX}*"):
            path.unlink()
    window = make_window()
    began = time.perf_counter()
    window.reader.scan(paths.runs_dir())
    wait_until(lambda: window.table.tree_model.rowCount() == runs)
    window.table.grab()
    seconds = time.perf_counter() - began
    close(window)
    return seconds


def with_filled_window(application: QApplication, runs: int) -> None:
    """Measure in a window that lists all runs: late ticks while it fills, search, groups."""
    window = make_window()
    late, last = [], [time.perf_counter()]
    clock = QTimer()
    clock.setInterval(1)

    def tick() -> None:
        now = time.perf_counter()
        late.append(now - last[0])
        last[0] = now

    clock.timeout.connect(tick)
    clock.start()
    window.reader.scan(paths.runs_dir())
    wait_until(lambda: window.table.tree_model.rowCount() == runs)
    clock.stop()
    low, high = np.quantile(late, (0.99, 1.0)) * 1000
    print(f"window blocked while filling: p99 {low:.0f} ms, longest {high:.0f} ms")
    searched, sorted_, grouped = [], [], []
    for _ in range(TIMES):
        searched.append(timed(window, lambda: window.table.bar.search.set_text(SEARCH)))
        window.table.bar.search.set_text("")
        sorted_.append(timed(window, lambda: window.table.tree_model.sort(4)))
        window.table.tree_model.sort(-1)
    found = f"seed:0-{GROUPED // 10 - 1}"
    window.table.bar.search.set_text(found)
    listed = window.table.tree_model.rowCount()
    for _ in range(TIMES):
        grouped.append(timed(window, lambda: window.table.group_by(None)))
        window.table.group_by(())
    report(f"search of {runs} runs", searched)
    report(f"sorting of {runs} runs", sorted_)
    report(f"grouping of {listed} runs", grouped)
    close(window)


def timed(window: MainWindow, act: Callable[[], object]) -> float:
    """Return the seconds until the table is painted after an action."""
    began = time.perf_counter()
    act()
    window.table.grab()
    return time.perf_counter() - began


def report(what: str, seconds: list[float]) -> None:
    """Print a median."""
    shown = ", ".join(f"{1000 * one:.0f}" for one in seconds)
    print(f"{what}: {1000 * statistics.median(seconds):.0f} ms ({shown})")


def make_window() -> MainWindow:
    """Return a window without an engine."""
    from metaviz.config.catalogue import Catalogue

    text = paths.resource("catalogue.json").read_text(encoding="utf-8")
    window = MainWindow(Catalogue.model_validate_json(text), app.load_engine, Settings(None))
    window.show()
    spin(50)
    return window


def close(window: MainWindow) -> None:
    """Close a window and wait for its threads."""
    window.shutdown.begin()
    wait_until(lambda: window.shutdown.may_close)
    window.deleteLater()
    spin(10)


def wait_until(done: Callable[[], bool]) -> None:
    """Run the event loop until something is so."""
    loop, timer = QEventLoop(), QTimer()
    timer.setInterval(2)
    timer.timeout.connect(lambda: done() and loop.quit())
    timer.start()
    loop.exec()


def spin(milliseconds: int) -> None:
    """Run the event loop for some time."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


if __name__ == "__main__":
    main()
