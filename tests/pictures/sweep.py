"""Faults of a window over pages, sizes and themes."""

from collections import defaultdict
from collections.abc import Iterable

from PySide6.QtWidgets import QApplication

from metaviz.gui.window.main_window import MainWindow
from tests.pictures.examples import views
from tests.pictures.picture_checks import faults

SIZES = ((1024, 640), (1366, 768), (1600, 1000))
SCALED = ((1066, 666), (800, 500))
"""What a screen of 1600 x 1000 has room for at scale 1.5 and 2."""
Found = dict[str, list[str]]
"""Faults, each with the pictures that have it."""


def settle(window: MainWindow) -> None:
    """Let layouts and axes find their sizes, which axes do while they are painted."""
    for _ in range(2):
        QApplication.processEvents()
        window.grab()
    QApplication.processEvents()


def sweep(
    window: MainWindow,
    sizes: Iterable[tuple[int, int]],
    only: Iterable[str] | None = None,
    *,
    colors: bool = True,
) -> Found:
    """Return the faults of all views of all pages, or of some pages, in some sizes."""
    found: Found = defaultdict(list)
    wanted = None if only is None else set(only)
    for width, height in sizes:
        window.resize(width, height)
        for view in views(window, wanted):
            settle(window)
            for fault in faults(window, colors=colors):
                found[str(fault)].append(f"{view} at {width}x{height}")
    return dict(found)


def told(found: Found, most: int = 3) -> str:
    """Return faults as lines, each with the first pictures that have it."""
    lines = (
        f"{fault}\n    {len(places)} times: {'; '.join(places[:most])}"
        for fault, places in sorted(found.items())
    )
    return "\n".join(lines)
