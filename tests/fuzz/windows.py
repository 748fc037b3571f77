"""Start the window on each of some data folders, show every page of every run, and close it.

`python -m tests.fuzz.windows FOLDER...` writes a folder's name once its window is closed; what
nobody expected ends the program with its traceback.
"""

import os
import sys
from pathlib import Path
from types import TracebackType

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from PySide6.QtCore import QEventLoop, QTimer

from metaviz import app, paths
from metaviz.gui.widgets.settings_file import Settings

LOOKED_AT_MS, MOST_MS = 40, 8000


def main() -> None:
    """Start and close one window after another."""
    sys.excepthook = end
    application = app.create_application(["fuzz"])
    for folder in sys.argv[1:]:
        os.environ["METAVIZ_HOME"] = folder
        look(Path(folder))
        application.processEvents()
        sys.stdout.write(f"{Path(folder).name}\n")
        sys.stdout.flush()


def look(folder: Path) -> None:
    """Open a window on a folder, look at everything that it offers, and close it."""
    window = app.create_window(Settings(paths.settings_file()))
    window.show()
    window.begin()
    spin(10 * LOOKED_AT_MS)
    window.runs.show_only([row.id for row in window.runs.rows])
    spin(5 * LOOKED_AT_MS)
    for place in range(window.tabs.count()):
        window.tabs.setCurrentIndex(place)
        spin(LOOKED_AT_MS)
    closed = QEventLoop()
    window.closed.connect(closed.quit)
    late = QTimer(singleShot=True, interval=MOST_MS)
    late.timeout.connect(lambda: closed.exit(1))
    late.start()
    window.shutdown.begin()
    if closed.exec():
        sys.stderr.write(f"{folder.name} does not close\n")
        os._exit(4)
    late.stop()
    window.deleteLater()


def spin(milliseconds: int) -> None:
    """Run the event loop for some time."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what nobody expected, and end at once."""
    sys.__excepthook__(kind, error, trace)
    sys.stderr.flush()
    os._exit(3)


if __name__ == "__main__":
    main()
