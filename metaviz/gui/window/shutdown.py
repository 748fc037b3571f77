"""The window's shutdown: ask while training, wait for the threads, lose nothing."""

from PySide6.QtCore import QObject, QTimer, Signal, Slot
from PySide6.QtWidgets import QMessageBox, QWidget

from metaviz.gui.background.training_controller import TrainingController
from metaviz.gui.queue.queue_controller import QueueController
from metaviz.gui.runs.run_follower import RunFollower
from metaviz.gui.runs.run_reader import RunReader
from metaviz.gui.widgets.message_boxes import ask

PATIENCE_MS = 10_000


class Shutdown(QObject):
    """Decides when the window may close. `started` and `finished` mark the shutdown's ends.

    `forced` is emitted when a person will not wait for a worker that does not stop.
    """

    started = Signal()
    finished = Signal()
    forced = Signal()

    def __init__(
        self,
        controller: TrainingController,
        reader: RunReader,
        follower: RunFollower,
        queue: QueueController,
        window: QWidget,
    ) -> None:
        """Watch the threads, and the workers of the queue."""
        super().__init__(window)
        self._controller, self._reader, self._window = controller, reader, window
        self._follower, self._queue = follower, queue
        self._open = 4  # threads and worker processes
        self._when_done = False
        self.has_started = False
        self.asks = True
        """Whether a person is asked while runs are training."""
        self.question: QMessageBox | None = None
        self._wait_timer = QTimer(self)
        self._wait_timer.setSingleShot(True)
        self._wait_timer.setInterval(PATIENCE_MS)
        self._wait_timer.timeout.connect(self._ask_again)
        controller.closed.connect(self._on_closed)
        for part in (reader, follower, queue.pool):
            part.closed.connect(self._on_closed)
        controller.worker.finished.connect(self._on_finished)
        queue.changed.connect(self._on_finished)

    def set_asks(self, asks: bool) -> None:
        """Ask while runs are training, or stop and save them."""
        self.asks = asks

    @property
    def may_close(self) -> bool:
        """Whether the threads and the workers have ended."""
        return self._open == 0

    @property
    def busy(self) -> bool:
        """Whether runs are training, in this process or in those of the queue."""
        return self._controller.busy or self._queue.pool.busy

    def ask(self) -> None:
        """Begin to close, after asking where runs are training."""
        if self.has_started:
            return
        if not (self.busy and self.asks):
            self.begin()
        elif self.question is None:
            self._ask()

    def begin(self) -> None:
        """Stop, save, and end the threads."""
        if not self.has_started:
            self.has_started = True
            self.started.emit()
            self._controller.close()
            self._reader.close()
            self._follower.close()
            self._queue.close()
            self._wait_timer.start()

    @Slot()
    def _ask_again(self) -> None:
        """Ask whether to go on waiting for a meta-step or an evaluation that takes long."""
        self._window.show()
        box = ask(
            self._window,
            "wait_question",
            "Still stopping",
            "What is being computed has not come to its end yet.",
            "“Quit now” ends the program at once: what is stored until here is kept, and the runs "
            "can be resumed from their last checkpoints.",
            ("&Quit now", self.forced.emit),
            "&Keep waiting",
            destroys=True,
        )
        box.escapeButton().clicked.connect(self._wait_timer.start)
        self._keep(box)

    def _ask(self) -> None:
        box = ask(
            self._window,
            "close_question",
            "Runs are training",
            "Runs are still training.",
            "“Stop and save” ends them now and keeps everything until here; runs of the queue can "
            "then be resumed, and those that wait go on waiting. "
            "“Finish first” minimises the window and closes it when all runs are done.",
            ("&Stop and save", self.begin),
            usually_yes=True,
        )
        later = box.addButton("&Finish first", QMessageBox.ButtonRole.ActionRole)
        later.clicked.connect(self._finish_first)
        self._keep(box)

    def _keep(self, box: QMessageBox) -> None:
        """Remember the open question until it is answered."""
        self.question = box
        box.finished.connect(self._on_answered)

    @Slot()
    def _finish_first(self) -> None:
        self._when_done = True
        self._controller.pause(paused=False)
        if self._queue.pool.busy:
            self._queue.start()
        self._window.showMinimized()

    @Slot()
    def _on_answered(self) -> None:
        self.question = None

    @Slot()
    def _on_finished(self) -> None:
        if self.busy or self.has_started:
            return
        if self.question is not None:
            self.question.reject()
            self.begin()
        elif self._when_done:
            self.begin()

    @Slot()
    def _on_closed(self) -> None:
        self._open -= 1
        if self._open == 0:
            self._wait_timer.stop()
            if self.question is not None:
                self.question.reject()
            self.finished.emit()
