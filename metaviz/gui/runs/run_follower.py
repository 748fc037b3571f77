"""Runs that other processes train, as they appear in the table and in the plots."""

from pathlib import Path

from PySide6.QtCore import QObject, QThread, QTimer, Signal, Slot

from metaviz.gui.background.task import WorkerThread
from metaviz.gui.runs.row import row_of
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.widgets.log_dock import LogDock
from metaviz.runs.model.events import Noted
from metaviz.runs.model.record import MOST_PICTURES, Record
from metaviz.runs.storage.store import StoreError, open_run
from metaviz.runs.storage.tail import Follower, News

POLL_MS = 250
MOST_SHOWN = 12
"""A run that begins is ticked by itself while fewer than so many are."""


class RunFollowerWorker(QObject):
    """Lives in its own thread and polls the followed runs, four times a second while there are."""

    started = Signal(object, object)
    found = Signal(object)
    failed = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self._followers: dict[str, Follower] = {}
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._poll)

    def follow(self, folder: Path) -> None:
        """Read a run whole, and go on reading what is added to it."""
        try:
            record = open_run(folder, most_pictures=MOST_PICTURES)
            record.environment["folder"] = str(folder)
            follower = None if record.ended else Follower(folder, record)
        except StoreError as error:
            self.failed.emit(folder.name, str(error))
            return
        self._drop(record.id)
        if follower is not None:
            self._followers[record.id] = follower
            self._timer.start()
        self.started.emit(record, folder)

    def close(self) -> None:
        """Stop following every run."""
        for name in list(self._followers):
            self._drop(name)

    @Slot()
    def _poll(self) -> None:
        is_new: list[tuple[str, News]] = []
        for name, follower in list(self._followers.items()):
            try:
                found = follower.poll()
            except StoreError as error:
                self._drop(name)
                self.failed.emit(name, str(error))
                continue
            if found.fresh is not None:
                found.fresh.environment["folder"] = str(follower.folder)
            if found.over:
                self._drop(name)
            is_new.append((name, found))
        if is_new:
            self.found.emit(is_new)

    def _drop(self, name: str) -> None:
        follower = self._followers.pop(name, None)
        if follower is not None:
            follower.close()
        if not self._followers:
            self._timer.stop()


class RunFollower(QObject):
    """Feeds what is read to records on the window's thread.

    `changed` follows each begin and end of following a run.
    """

    changed = Signal()

    def __init__(self, model: RunListModel, log: LogDock, parent: QObject) -> None:
        """Start the thread, which has nothing to do yet."""
        super().__init__(parent)
        self._model, self._log = model, log
        self.records: dict[str, Record] = {}
        """The runs that are followed now."""
        self.ended: dict[str, Record] = {}
        """Those that were."""
        self._asked: set[Path] = set()
        self._worker = RunFollowerWorker()
        self._worker.started.connect(self._on_started)
        self._worker.found.connect(self._on_found)
        self._worker.failed.connect(self._on_failed)
        self.thread_ = WorkerThread(self._worker, "following", self, QThread.Priority.LowPriority)
        self.closed = self.thread_.finished

    def follow(self, folder: Path, *, again: bool = True) -> None:
        """Show a run that another process trains; unless `again`, only one not known yet."""
        known = folder.name in self.records or (not again and folder.name in self.ended)
        if folder not in self._asked and not known:
            self._asked.add(folder)
            self.thread_.post(self._worker.follow, folder)

    def record(self, name: str) -> Record | None:
        """Return the record of a run that is or was followed."""
        return self.records.get(name, self.ended.get(name))

    def close(self) -> None:
        """End the thread; emits `closed`."""
        self.thread_.close(self._worker.close)

    @Slot(object, object)
    def _on_started(self, record: Record, folder: Path) -> None:
        self._asked.discard(folder)
        known = self._model.find(record.id)
        # A scan of the folder may have listed the run before the queue reported it.
        begins = known is None or known.is_new
        if known is None:
            self._model.add([row_of(record, folder, keep=True)], first=True)
        else:
            known.is_new = False
        shown = len(self._model.visible_records())
        self._place(record)
        if begins and shown < MOST_SHOWN:
            self._model.show([record.id], visible=True)
        self.changed.emit()

    @Slot(object)
    def _on_found(self, is_new: list[tuple[str, News]]) -> None:
        over = False
        for name, found in is_new:
            record = self.records.get(name)
            if record is None:
                continue
            if found.fresh is not None:
                self._place(found.fresh)
            else:
                self._apply(record, found)
            over = over or found.over
        if over:
            self.changed.emit()

    def _apply(self, record: Record, found: News) -> None:
        for event in found.events:
            record.apply(event)
            if isinstance(event, Noted):
                sentence = f"Step {event.step}: {event.message}"
                self._log.add(event.level, sentence, record.label, record.id)
        if record.ended:
            self.ended[record.id] = self.records.pop(record.id)
        elif record.state != found.state:
            record.state = found.state
            record.revision += 1

    def _place(self, record: Record) -> None:
        """Replace what was known of a run by a record."""
        for known in (self.records, self.ended):
            known.pop(record.id, None)
        (self.ended if record.ended else self.records)[record.id] = record
        row = self._model.find(record.id)
        if row is not None:
            row.record, row.seen = record, -1
            row.stored = row.stale = False  # it grows here now
            self._model.refresh()
            if row.visible:
                self._model.restyle()
                self._model.visibility_changed.emit()

    @Slot(str, str)
    def _on_failed(self, name: str, sentence: str) -> None:
        self._asked = {folder for folder in self._asked if folder.name != name}
        if name in self.records:
            self.ended[name] = self.records.pop(name)
        record = self.record(name)
        self._log.add("warning", sentence, name if record is None else record.label, name)
        self.changed.emit()
