"""Reading and marking stored runs in the background, so that the window never waits for a disk."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event as Flag
from typing import Any

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from metaviz import paths
from metaviz.gui.background.task import WorkerThread
from metaviz.gui.runs.row import row_of, row_of_entry
from metaviz.runs.model.marks import MarksError, change_marks
from metaviz.runs.model.record import MOST_PICTURES
from metaviz.runs.storage.deletion import delete_run
from metaviz.runs.storage.store import ABOUT, StoreError, open_run
from metaviz.runs.table.index import INDEX, Found, Index

RESCAN_MS = 3000


class RunReaderWorker(QObject):
    """Lives in its own thread, reads run folders and looks for changes every few seconds."""

    found = Signal(object)
    changed = Signal(object, object)
    opened = Signal(object)
    unreadable = Signal(str)
    marked = Signal(str, str)
    deleted = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self.closing = Flag()
        self._index: Index | None = None
        self._roots: list[Path] = []
        self._places: dict[str, Path] = {}
        """Where the runs of the table lie, by id: of two folders of one name it shows the first."""
        self._told: set[Path] = set()
        self._timer = QTimer(self)
        self._timer.setInterval(RESCAN_MS)
        self._timer.timeout.connect(self.rescan)

    def scan(self, root: Path) -> None:
        """Read what the table needs of every run in a folder, newest first, and watch it."""
        if (root / ABOUT).exists():
            self._read_one(root)
            return
        if root in self._roots:
            self.rescan()
            return
        try:
            for batch in self._scanned(root):
                self.found.emit([row_of_entry(entry) for entry in batch.entries])
        except OSError as error:
            self.unreadable.emit(f"{root} cannot be read: {error.strerror}.")
            return
        self._roots.append(root)
        self._timer.start()

    @Slot()
    def rescan(self) -> None:
        """Emit what changed in the watched folders."""
        for root in self._roots:
            try:
                if self.closing.is_set() or not self.index.changed(root):
                    continue
                for batch in self._scanned(root):
                    rows = [row_of_entry(entry) for entry in batch.entries]
                    self.changed.emit(rows, batch.gone)
            except OSError:  # a folder that cannot be looked at now may be there again later
                continue

    def read(self, folder: Path) -> None:
        """Read one run whole."""
        if self.closing.is_set():
            return
        try:
            record = open_run(folder, most_pictures=MOST_PICTURES)
        except StoreError as error:
            self.unreadable.emit(str(error))
            return
        record.environment["folder"] = str(folder)
        self.opened.emit(record)

    def mark(self, name: str, folder: Path, changes: Mapping[str, Any]) -> None:
        """Save marks of a run; emits an empty sentence on success."""
        try:
            change_marks(folder, changes)
        except MarksError as error:
            self.marked.emit(name, str(error))
        else:
            self.marked.emit(name, "")

    def delete(self, folders: Mapping[str, Path]) -> None:
        """Delete runs of the trash; emits whose folders are deleted, and why others are not."""
        gone, sentences = [], []
        for name, folder in folders.items():
            try:
                if folder.parent in self._roots:
                    delete_run(folder.parent, folder)
                    gone.append(name)
                else:
                    sentences.append(f"{folder} lies outside the folder of runs and is kept.")
            except StoreError as error:
                sentences.append(str(error))
        self.deleted.emit(gone, sentences)

    def close(self) -> None:
        """Watch nothing any more."""
        self._timer.stop()
        if self._index is not None:
            self._index.close()

    @property
    def index(self) -> Index:
        """The cache of what tables need, opened when first needed."""
        if self._index is None:
            self._index = Index(paths.data_dir() / INDEX, _report)
        return self._index

    def _scanned(self, root: Path) -> Iterator[Found]:
        """Yield what a scan finds, until the program ends, and emit what is wrong."""
        for batch in self.index.scan(root):
            if self.closing.is_set():
                return
            for sentence in batch.warnings:
                self.unreadable.emit(sentence)
            gone = [name for name in batch.gone if self._lies_in(name, root)]
            for name in gone:
                self._places.pop(name, None)
            entries = [entry for entry in batch.entries if self._is_listed(entry.id, entry.folder)]
            yield replace(batch, entries=entries, gone=gone)

    def _lies_in(self, name: str, root: Path) -> bool:
        return self._places.get(name, root / name).parent == root

    def _is_listed(self, name: str, folder: Path | None) -> bool:
        """Return whether the table shows this folder; say so where one of its name is shown."""
        if folder is None:
            return True
        known = self._places.setdefault(name, folder)
        try:
            same = known == folder or known.samefile(folder)
        except OSError:  # it was moved here, or is gone
            self._places[name], same = folder, True
        if not same and folder not in self._told:
            self._told.add(folder)
            self.unreadable.emit(
                f"{folder} is left out, because {known} has the same name and is listed: rename "
                "one of them to see both."
            )
        return same

    def _read_one(self, folder: Path) -> None:
        try:
            row = row_of(open_run(folder), folder, keep=False)
        except StoreError as error:
            self.unreadable.emit(str(error))
            return
        if not self._is_listed(row.id, folder):
            return
        row.stored = True
        self.found.emit([row])


def _report(error: Exception) -> None:
    """Let a mistake be logged and shown as one that nobody caught."""
    sys.excepthook(type(error), error, error.__traceback__)


class RunReader(QObject):
    """Reads and marks stored runs by a worker on a thread of its own."""

    def __init__(self, parent: QObject | None = None) -> None:
        """Start the thread."""
        super().__init__(parent)
        self._worker = worker = RunReaderWorker()
        self.found, self.changed, self.opened = worker.found, worker.changed, worker.opened
        self.unreadable = worker.unreadable
        self.marked, self.deleted = worker.marked, worker.deleted
        self.thread_ = WorkerThread(worker, "reading", self, QThread.Priority.LowPriority)
        self.closed = self.thread_.finished

    def scan(self, root: Path) -> None:
        """List the runs of a folder, and emit `changed` for changes in it from then on."""
        self.thread_.post(self._worker.scan, root)

    def rescan(self) -> None:
        """Look for changes now."""
        self.thread_.post(self._worker.rescan)

    def read(self, folder: Path) -> None:
        """Read one run whole."""
        self.thread_.post(self._worker.read, folder)

    def mark(self, name: str, folder: Path, changes: Mapping[str, Any]) -> None:
        """Save marks; emits `marked` with the id and what went wrong, empty for nothing."""
        self.thread_.post(self._worker.mark, name, folder, dict(changes))

    def delete(self, folders: Mapping[str, Path]) -> None:
        """Delete runs of the trash; emits `deleted` with ids and sentences."""
        self.thread_.post(self._worker.delete, dict(folders))

    def close(self) -> None:
        """End the thread once marks are saved; emits `closed`."""
        self._worker.closing.set()
        self.thread_.close(self._worker.close)
