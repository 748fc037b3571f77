"""The worker processes that train the queue: started, given orders, and ended."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal, Slot

from metaviz.runs.storage.store import StoreError
from metaviz.runs.storage.worker_process import (
    PATIENCE_SECONDS,
    how_it_ended,
    parsed_event,
    worker_command,
    worker_environment,
    worker_log,
)


class WorkerProcess(QObject):
    """One worker process. `finished` carries how it ended, empty where that was in order."""

    event_received = Signal(object)
    finished = Signal(object, str)

    def __init__(self, home: Path, parent: QObject) -> None:
        """Start a fresh interpreter."""
        super().__init__(parent)
        self.claimed = False
        self.process = QProcess(self)
        program, *arguments = worker_command()
        self.process.setProgram(program)
        self.process.setArguments(arguments)
        environment = QProcessEnvironment()
        for key, value in worker_environment().items():
            environment.insert(key, value)
        self.process.setProcessEnvironment(environment)
        self.process.setStandardErrorFile(str(worker_log(home)), QProcess.OpenModeFlag.Append)
        self.process.readyReadStandardOutput.connect(self._on_output)
        self.process.finished.connect(self._on_finished)
        self.process.errorOccurred.connect(self._on_error)

    def start(self) -> None:
        """Start it; `finished` follows at once where that fails."""
        self.process.start()

    def send(self, order: str) -> None:
        """Send an order; one to a process that has ended is dropped."""
        if self.process.state() != QProcess.ProcessState.NotRunning:
            self.process.write(f"{order}\n".encode())

    @Slot()
    def _on_output(self) -> None:
        while self.process.canReadLine():
            event = parsed_event(bytes(self.process.readLine().data()))
            if event:
                self.claimed = self.claimed or event["event"] == "claimed"
                self.event_received.emit(event)

    @Slot(int, QProcess.ExitStatus)
    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._on_output()
        crashed = status == QProcess.ExitStatus.CrashExit
        how = how_it_ended(code, by_signal=crashed) if code or crashed else ""
        self.finished.emit(self, how)

    @Slot(QProcess.ProcessError)
    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self.finished.emit(self, self.process.errorString())


class WorkerPool(QObject):
    """All worker processes of this window."""

    event_received = Signal(object)
    crashed = Signal(str, bool)
    """How a worker ended that should not have, and whether it had begun to work."""
    changed = Signal()
    closed = Signal()

    def __init__(self, home: Path, parent: QObject) -> None:
        """Start no process yet."""
        super().__init__(parent)
        self._home = home
        self.workers: list[WorkerProcess] = []
        self._closing = False
        self._kill_timer = QTimer(self)
        self._kill_timer.setSingleShot(True)
        self._kill_timer.timeout.connect(self._end_all)

    @property
    def busy(self) -> bool:
        """Whether a worker is alive."""
        return bool(self.workers)

    def start_workers(self, wanted: int) -> None:
        """Start workers until there are so many. Raises: StoreError where the log is refused."""
        while len(self.workers) < wanted and not self._closing:
            try:
                worker = WorkerProcess(self._home, self)
            except OSError as error:
                raise StoreError(f"Cannot write to {self._home}: {error.strerror}.") from error
            worker.event_received.connect(self.event_received)
            worker.finished.connect(self._on_worker_finished)
            self.workers.append(worker)
            worker.start()
            self.changed.emit()

    def send(self, order: str) -> None:
        """Send every worker an order."""
        for worker in self.workers:
            worker.send(order)

    def close(self) -> None:
        """End every worker, which saves; those that do not end in time are killed by their id."""
        self._closing = True
        if not self.workers:
            self.closed.emit()
            return
        self.send("quit")
        self._kill_timer.start(round(PATIENCE_SECONDS * 1000))

    @Slot()
    def _end_all(self) -> None:
        for worker in self.workers:
            worker.process.kill()

    @Slot(object, str)
    def _on_worker_finished(self, worker: Any, how: str) -> None:
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        worker.deleteLater()
        if how:
            self.crashed.emit(how, worker.claimed)
        self.changed.emit()
        if self._closing and not self.workers:
            self._kill_timer.stop()
            self.closed.emit()
