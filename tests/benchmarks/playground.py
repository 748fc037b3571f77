"""How long the Playground takes to open, and to take and paint each event of a drag.

Run with `python -m tests.benchmarks.playground`.
"""

import os
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMainWindow

from metaviz.gui.pages.playground_page import PlaygroundTab
from metaviz.gui.widgets.theme import LIGHT, use_theme

EVENTS, OPENINGS = 300, 7
HANDLES = ("start", "minimiser", "axis 1", "ball")


def main() -> None:
    """Print the time on the wall and of this process, which others cannot lengthen."""
    application = QApplication([])
    use_theme(application, LIGHT)
    window = QMainWindow()
    window.resize(1280, 800)
    window.show()
    opened = []
    for _ in range(OPENINGS):
        began = time.perf_counter(), time.process_time()
        page = PlaygroundTab()
        page.apply_theme(LIGHT)
        window.setCentralWidget(page)
        application.processEvents()
        opened.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    tell("opening", np.array(opened[1:]))
    for handle in HANDLES:
        tell(f"dragging {handle}", dragged(application, page, handle))


def dragged(application: QApplication, page: PlaygroundTab, handle: str) -> np.ndarray:
    """Return seconds on the wall and of the process for each event of a drag, painting included."""
    view = page.plane
    left, place = Qt.MouseButton.LeftButton, view.pixels(view.handles()[handle]).toPoint()
    QTest.mousePress(view.viewport(), left, Qt.KeyboardModifier.NoModifier, place)
    seconds = []
    for event in range(EVENTS):
        to = place + QPoint(int(40 * np.sin(event / 7)), int(40 * np.cos(event / 9)) - 40)
        began = time.perf_counter(), time.process_time()
        QTest.mouseMove(view.viewport(), to)
        application.processEvents()
        seconds.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    QTest.mouseRelease(view.viewport(), left, Qt.KeyboardModifier.NoModifier, place)
    return np.array(seconds)


def tell(what: str, seconds: np.ndarray) -> None:
    """Print median and 95 % quantile in milliseconds."""
    (wall, own), (late, own_late) = np.quantile(seconds, (0.5, 0.95), axis=0) * 1000
    print(
        f"{what}: p50 {wall:.1f} ms, p95 {late:.1f} ms; "
        f"of this process p50 {own:.1f} ms, p95 {own_late:.1f} ms"
    )


if __name__ == "__main__":
    main()
