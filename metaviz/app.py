"""Puts window and engine together: the only module that knows both."""

import faulthandler
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import NoReturn

from PySide6.QtCore import QCoreApplication, QEventLoop, QSocketNotifier, QTimer
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

from metaviz import __version__, paths
from metaviz.config.catalogue import shipped_catalogue
from metaviz.gui.background.engine_protocol import Engine
from metaviz.gui.background.excepthook import ExceptionHook
from metaviz.gui.background.garbage_collector import GarbageCollector
from metaviz.gui.widgets.log_dock import LogHandler
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.window.main_window import MainWindow
from metaviz.runs.model.record import Record
from metaviz.runs.storage.lock import RunLock, lock_store

TIMING = "METAVIZ_TIMING"
SETTLE_MS = 300
_log = logging.getLogger("metaviz")

_SWITCH_SECONDS = 0.0005
_FORCED = 3


def load_engine() -> Engine:
    """Import torch and make the engine; called on the worker's thread."""
    from metaviz.training.engine import LocalEngine

    return LocalEngine()


def create_application(argv: Sequence[str]) -> QApplication:
    """Return the application, with its names set before any settings are read."""
    # The worker hands Python's lock over ten times sooner than by default: the window waits less.
    sys.setswitchinterval(_SWITCH_SECONDS)
    QCoreApplication.setOrganizationName("metaviz")
    QCoreApplication.setApplicationName("MetaViz")
    QCoreApplication.setApplicationVersion(__version__)
    QGuiApplication.setDesktopFileName("org.metaviz.MetaViz")
    running = QApplication.instance()
    application = running if isinstance(running, QApplication) else QApplication(list(argv))
    application.setWindowIcon(QIcon(str(paths.resource("icons/metaviz.svg"))))
    application.setQuitOnLastWindowClosed(False)
    return application


def open_window() -> NoReturn:
    """Show the window until it is closed, and end."""
    sys.exit(run_window(sys.argv))


def create_window(settings: Settings) -> MainWindow:
    """Make the window for the shipped catalogue and the engine of this machine."""
    return MainWindow(shipped_catalogue(), load_engine, settings)


def run_window(argv: Sequence[str]) -> int:
    """Open the window and return the exit code once it is closed."""
    # One OpenMP thread per worker: spinning threads would fight with the window for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    application = create_application(argv)
    garbage = GarbageCollector(application)
    failures = ExceptionHook()
    failures.install()
    handler = LogHandler()
    note = start_logging(handler)
    window = create_window(Settings(paths.settings_file()))
    store, shared = claim_store()
    handler.bridge.logged.connect(window.log.add_logged)
    failures.raised.connect(window.messages.show_error)
    window.closed.connect(application.quit)
    window.shutdown.forced.connect(_quit_at_once)
    _end_on_signals(window)
    if note:
        window.log.add("warning", note)
    if shared:
        window.log.add("warning", shared)
    window.show()
    QTimer.singleShot(0, window, lambda: _after_first_paint(window, shared))
    code = application.exec()
    signal.set_wakeup_fd(-1)
    stop_logging(handler)
    garbage.stop()
    store.release()
    return code


def claim_store() -> tuple[RunLock, str]:
    """Take the folder of runs for this window; return a sentence where another one has it.

    Nothing keeps two windows from sharing it, as every run has a lock of its own.
    """
    home = paths.data_dir()
    try:
        lock = lock_store(home)
    except OSError:  # reported where something is to be written
        return RunLock(None), ""
    if lock is None:
        sentence = (
            f"Another MetaViz window uses {home}: what it trains is shown here, and can be paused, "
            "stopped or resumed only there."
        )
        return RunLock(None), sentence
    return lock, ""


def render_window(path: Path, records: list[Record]) -> None:
    """Draw the window with these runs into a PNG, without a display where there is none."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application = create_application(["metaviz"])
    window = create_window(Settings(None))
    window.show()
    window.show_records(records)
    _run_for(SETTLE_MS)
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = window.grab().save(str(path), "PNG")
    window.closed.connect(application.quit)
    QTimer.singleShot(0, window.close)
    application.exec()
    window.deleteLater()
    if not saved:
        raise OSError(f"Cannot write {path}.")


def start_logging(handler: logging.Handler) -> str:
    """Log to the window and to a file; return a sentence where the file cannot be written."""
    _log.setLevel(logging.INFO)
    _log.addHandler(handler)
    path = paths.log_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(path, maxBytes=1_000_000, backupCount=2, encoding="utf-8")
        crashes = path.with_name("crash.log").open("a", encoding="utf-8")
    except OSError as error:
        return f"No log file: {path} cannot be written ({error.strerror})."
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    _log.addHandler(file)
    faulthandler.enable(crashes)
    return ""


def stop_logging(handler: logging.Handler) -> None:
    """Undo `start_logging`."""
    faulthandler.disable()
    for known in [handler, *(h for h in _log.handlers if isinstance(h, RotatingFileHandler))]:
        _log.removeHandler(known)
        known.close()


def _after_first_paint(window: MainWindow, warning: str) -> None:
    if os.environ.get(TIMING):
        _print_age("first paint")
    window.begin()
    if warning:  # beside the message of the queue or the last session
        shown = window.messages.text.text() if window.messages.isVisible() else ""
        window.messages.show_warning(f"{warning} {shown}".rstrip())
    if os.environ.get(TIMING):
        _print_age("plots loaded")


def _print_age(what: str) -> None:
    """Write how old the process is; Linux counts from its start, before any import."""
    text = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2]
    started = int(text.split()[19]) / os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    sys.stderr.write(f"{what}: {age:.2f} s, torch loaded: {'torch' in sys.modules}\n")


def _quit_at_once() -> None:
    """End without the worker, which computes something that cannot be broken off.

    Qt would abort if it met a running thread on its way out. Runs are interrupted, and resumable.
    """
    logging.shutdown()
    os._exit(_FORCED)


def _end_on_signals(window: MainWindow) -> None:
    """Let Ctrl+C in the terminal, and a session's end, stop and save.

    Python runs signal handlers between two of its own instructions, which do not come while Qt
    waits; so the signal also writes to a socket that Qt watches.
    """
    read_end, write_end = socket.socketpair()
    for end in (read_end, write_end):
        end.setblocking(False)
    signal.set_wakeup_fd(write_end.fileno())
    notifier = QSocketNotifier(read_end.fileno(), QSocketNotifier.Type.Read, window)
    # The notifier holds both ends for as long as the window lives.
    notifier.activated.connect(lambda: (read_end.recv(64), write_end.fileno()))
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, lambda _number, _frame: window.shutdown.begin())


def _run_for(milliseconds: int) -> None:
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()
