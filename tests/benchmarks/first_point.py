"""How long from pressing Run to the first painted point of a live curve.

Once in a window at rest; once with Run pressed as soon as it can be, from the start of the process,
which contains loading PyTorch. The form is as it is at first: MAML on sinusoids. The first start is
not counted: it writes the bytecode that a user has.
Run with `python -m tests.benchmarks.first_point [times]`.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication

from metaviz import app
from metaviz.gui.background.garbage_collector import GarbageCollector
from metaviz.gui.widgets.settings_file import Settings
from tests.benchmarks.as_installed import environment
from tests.benchmarks.wanted import FIRST_POINT_SECONDS

REST_MS = 2000


class FirstPoint(QObject):
    """Presses Run and prints how long it took until a curve had a point on screen."""

    def __init__(self, window: app.MainWindow, *, at_rest: bool) -> None:
        super().__init__(window)
        self.window, self.at_rest = window, at_rest
        self.idle_since = self.pressed = 0.0
        self.drawn = False
        self.timer = QTimer(self)
        self.timer.timeout.connect(self.look)
        self.timer.start(2)

    def look(self) -> None:
        """Press as soon as it may be."""
        if not self.window.commands["run"].isEnabled():
            return
        now = time.perf_counter()
        self.idle_since = self.idle_since or now
        if self.at_rest and now - self.idle_since < REST_MS / 1000:
            return
        self.timer.stop()
        self.pressed = time.perf_counter()
        self.window.tabs.training.plot.viewport().installEventFilter(self)
        self.window.commands["run"].trigger()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Note the painting of a plot that holds a step."""
        records = self.window.live.records.values()
        plot = self.window.tabs.training.plot
        holds = any(len(record) for record in records) and plot._message.isHidden()
        if event.type() == QEvent.Type.Paint and holds and not self.drawn:
            self.drawn = True
            QTimer.singleShot(0, self.tell)  # after the painting
        return False

    def tell(self) -> None:
        """Print and end at once."""
        took = time.perf_counter() - self.pressed
        print(f"{took} {age()}", flush=True)
        os._exit(0)


def age() -> float:
    """Return how old the process is in seconds; Linux counts from before any import."""
    text = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2]
    started = int(text.split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def watch(*, at_rest: bool) -> None:
    """Be the window that is measured."""
    application: QApplication = app.create_application(["benchmark"])
    garbage = GarbageCollector(application)
    window = app.create_window(Settings(None))
    window.show()
    QTimer.singleShot(0, window, window.begin)
    watcher = FirstPoint(window, at_rest=at_rest)
    application.exec()
    watcher.timer.stop()
    garbage.stop()


def measure(mode: str) -> float:
    """Start the program, and return how long the first point took."""
    command = [sys.executable, "-m", "tests.benchmarks.first_point", mode]
    with environment() as given:
        done = subprocess.run(
            command, env=given, capture_output=True, text=True, check=True, timeout=300
        )
    since_run, since_start = map(float, done.stdout.split())
    return since_run if mode == "rest" else since_start


def main() -> None:
    """Print the medians."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(f"load {os.getloadavg()[0]:.1f}")
    for mode, what in (("rest", "Run to first point"), ("start", "process start to first point")):
        seconds = sorted([measure(mode) for _ in range(1 + times)][1:])
        wanted = f", wanted {FIRST_POINT_SECONDS:g} s" if mode == "start" else ""
        shown = ", ".join(f"{one:.2f}" for one in seconds)
        print(f"{what}: {statistics.median(seconds):.2f} s ({shown}){wanted}")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in {"rest", "start"}:
        watch(at_rest=sys.argv[1] == "rest")
    else:
        main()
