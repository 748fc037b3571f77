"""The worker processes that train the queue: started, told what to do, and seen to their end."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal, Slot

from metaviz.runs.storage.store import StoreError
from metaviz.runs.storage.worker_process import (
    PATIENCE_SECONDS,
    heard,
    how_it_ended,
    worker_command,
    worker_environment,
    worker_log,
)


class Hand(QObject):
    """One worker process. `gone` carries how it ended, empty where that was in order."""

    happened = Signal(object)
    gone = Signal(object, str)

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
        """Start it; `gone` follows at once where that fails."""
        self.process.start()

    def tell(self, order: str) -> None:
        """Send an order; a process that is gone hears nothing."""
        if self.process.state() != QProcess.ProcessState.NotRunning:
            self.process.write(f"{order}\n".encode())

    @Slot()
    def _on_output(self) -> None:
        while self.process.canReadLine():
            happening = heard(bytes(self.process.readLine().data()))
            if happening:
                self.claimed = self.claimed or happening["event"] == "claimed"
                self.happened.emit(happening)

    @Slot(int, QProcess.ExitStatus)
    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._on_output()
        crashed = status == QProcess.ExitStatus.CrashExit
        how = how_it_ended(code, by_signal=crashed) if code or crashed else ""
        self.gone.emit(self, how)

    @Slot(QProcess.ProcessError)
    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self.gone.emit(self, self.process.errorString())


class Crew(QObject):
    """All worker processes of this window."""

    happened = Signal(object)
    lost = Signal(str, bool)
    """How a worker ended that should not have, and whether it had begun to work."""
    changed = Signal()
    closed = Signal()

    def __init__(self, home: Path, parent: QObject) -> None:
        """Start nobody yet."""
        super().__init__(parent)
        self._home = home
        self.hands: list[Hand] = []
        self._closing = False
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.timeout.connect(self._end_all)

    @property
    def busy(self) -> bool:
        """Whether a worker is alive."""
        return bool(self.hands)

    def staff(self, wanted: int) -> None:
        """Start workers until there are so many. Raises: StoreError where the log is refused."""
        while len(self.hands) < wanted and not self._closing:
            try:
                hand = Hand(self._home, self)
            except OSError as error:
                raise StoreError(f"Cannot write to {self._home}: {error.strerror}.") from error
            hand.happened.connect(self.happened)
            hand.gone.connect(self._on_gone)
            self.hands.append(hand)
            hand.start()
            self.changed.emit()

    def tell(self, order: str) -> None:
        """Send every worker an order."""
        for hand in self.hands:
            hand.tell(order)

    def close(self) -> None:
        """Have every worker save and leave; those that do not in time are ended by their id."""
        self._closing = True
        if not self.hands:
            self.closed.emit()
            return
        self.tell("quit")
        self._patience.start(round(PATIENCE_SECONDS * 1000))

    @Slot()
    def _end_all(self) -> None:
        for hand in self.hands:
            hand.process.kill()

    @Slot(object, str)
    def _on_gone(self, hand: Any, how: str) -> None:
        if hand not in self.hands:
            return
        self.hands.remove(hand)
        hand.deleteLater()
        if how:
            self.lost.emit(how, hand.claimed)
        self.changed.emit()
        if self._closing and not self.hands:
            self._patience.stop()
            self.closed.emit()
