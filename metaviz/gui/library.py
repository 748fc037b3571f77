"""Reading stored runs in the background, so that the window never waits for a disk."""

from pathlib import Path
from threading import Event as Flag

from PySide6.QtCore import QObject, QThread, Signal, Slot

from metaviz.gui.rows import Row, row_of
from metaviz.runs.store import StoreError, list_runs, open_run

_AT_ONCE = 20


class Reader(QObject):
    """Lives in its own thread and reads run folders."""

    found = Signal(object)
    opened = Signal(object)
    unreadable = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.leaving = Flag()

    @Slot(object)
    def scan(self, root: Path) -> None:
        """Read what the table needs of every run in a folder, newest first."""
        try:
            folders = [root] if (root / "run.toml").exists() else list_runs(root)
        except OSError as error:
            self.unreadable.emit(f"{root} cannot be read: {error.strerror}.")
            return
        rows: list[Row] = []
        for folder in reversed(folders):
            if self.leaving.is_set():
                return
            try:
                rows.append(row_of(open_run(folder), folder, keep=False))
            except StoreError as error:
                self.unreadable.emit(str(error))
            if len(rows) >= _AT_ONCE:
                self.found.emit(rows)
                rows = []
        self.found.emit(rows)

    @Slot(object)
    def read(self, folder: Path) -> None:
        """Read one run whole."""
        if self.leaving.is_set():
            return
        try:
            record = open_run(folder)
        except StoreError as error:
            self.unreadable.emit(str(error))
            return
        record.environment["folder"] = str(folder)
        self.opened.emit(record)


class Library(QObject):
    """The window's end of reading."""

    found = Signal(object)
    opened = Signal(object)
    unreadable = Signal(str)
    closed = Signal()
    _scan = Signal(object)
    _read = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        """Start the thread."""
        super().__init__(parent)
        self._reader = Reader()
        self.thread_ = QThread(self)
        self.thread_.setObjectName("library")
        self._reader.moveToThread(self.thread_)
        self._scan.connect(self._reader.scan)
        self._read.connect(self._reader.read)
        self._reader.found.connect(self.found)
        self._reader.opened.connect(self.opened)
        self._reader.unreadable.connect(self.unreadable)
        self.thread_.finished.connect(self.closed)
        self.thread_.start(QThread.Priority.LowPriority)

    def scan(self, root: Path) -> None:
        """Have the runs of a folder listed."""
        self._scan.emit(root)

    def read(self, folder: Path) -> None:
        """Have one run read whole."""
        self._read.emit(folder)

    def close(self) -> None:
        """Have the thread end; emits `closed`."""
        self._reader.leaving.set()
        self.thread_.quit()
