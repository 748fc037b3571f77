"""How the window closes: it asks while training, waits for both threads, and loses nothing."""

from PySide6.QtCore import QObject, QTimer, Signal, Slot
from PySide6.QtWidgets import QMessageBox, QWidget

from metaviz.gui.background.training_controller import Conductor
from metaviz.gui.queue.queue_controller import Queueing
from metaviz.gui.runs.run_follower import Following
from metaviz.gui.runs.run_reader import Library
from metaviz.gui.widgets.message_boxes import question

PATIENCE_MS = 10_000
_Role = QMessageBox.ButtonRole


class Closing(QObject):
    """Decides when the window may go. `ready` tells that it may; `leaving` that it has begun.

    `forced` tells that a person will not wait for a worker that does not stop.
    """

    ready = Signal()
    leaving = Signal()
    forced = Signal()

    def __init__(
        self,
        conductor: Conductor,
        library: Library,
        following: Following,
        queueing: Queueing,
        window: QWidget,
    ) -> None:
        """Watch the threads, and the workers of the queue."""
        super().__init__(window)
        self._conductor, self._library, self._window = conductor, library, window
        self._following, self._queueing = following, queueing
        self._open = 4
        self._when_done = False
        self.has_begun = False
        self.asks = True
        """Whether a person is asked while runs are training."""
        self.question: QMessageBox | None = None
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE_MS)
        self._patience.timeout.connect(self._ask_again)
        conductor.closed.connect(self._on_closed)
        for part in (library, following, queueing.crew):
            part.closed.connect(self._on_closed)
        conductor.worker.finished.connect(self._on_finished)
        queueing.changed.connect(self._on_finished)

    @property
    def may_close(self) -> bool:
        """Whether the threads and the workers have ended."""
        return self._open == 0

    @property
    def busy(self) -> bool:
        """Whether runs are training, in this process or in those of the queue."""
        return self._conductor.busy or self._queueing.crew.busy

    def ask(self) -> None:
        """Begin to close, after asking where runs are training."""
        if self.has_begun:
            return
        if not (self.busy and self.asks):
            self.begin()
        elif self.question is None:
            self._ask()

    def begin(self) -> None:
        """Let the worker stop, save and leave."""
        if not self.has_begun:
            self.has_begun = True
            self.leaving.emit()
            self._conductor.close()
            self._library.close()
            self._following.close()
            self._queueing.close()
            self._patience.start()

    @Slot()
    def _ask_again(self) -> None:
        """Ask whether to go on waiting for a meta-step or an evaluation that takes long."""
        box = question(
            "wait_question",
            "Still stopping",
            "What is being computed has not come to its end yet.",
            "“Quit now” ends the program at once: what is stored until here is kept, and the runs "
            "can be resumed from their last checkpoints.",
            self._window,
        )
        wait = box.addButton("&Keep waiting", _Role.RejectRole)
        now = box.addButton("&Quit now", _Role.DestructiveRole)
        box.setDefaultButton(wait)
        box.setEscapeButton(wait)
        wait.clicked.connect(self._patience.start)
        now.clicked.connect(self.forced)
        self.question = box
        box.finished.connect(self._on_answered)
        self._window.show()
        box.open()

    def _ask(self) -> None:
        box = question(
            "close_question",
            "Runs are training",
            "Runs are still training.",
            "“Stop and save” ends them now and keeps everything until here; runs of the queue can "
            "then be resumed, and those that wait go on waiting. "
            "“Finish first” minimises the window and closes it when all runs are done.",
            self._window,
        )
        save = box.addButton("&Stop and save", _Role.AcceptRole)
        later = box.addButton("&Finish first", _Role.ActionRole)
        cancel = box.addButton("&Cancel", _Role.RejectRole)
        box.setDefaultButton(save)
        box.setEscapeButton(cancel)
        save.clicked.connect(self.begin)
        later.clicked.connect(self._finish_first)
        box.finished.connect(self._on_answered)
        self.question = box
        box.open()

    @Slot()
    def _finish_first(self) -> None:
        self._when_done = True
        self._conductor.pause(paused=False)
        if self._queueing.crew.busy:
            self._queueing.go()
        self._window.showMinimized()

    @Slot()
    def _on_answered(self) -> None:
        self.question = None

    @Slot()
    def _on_finished(self) -> None:
        if self.busy or self.has_begun:
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
            self._patience.stop()
            if self.question is not None:
                self.question.reject()
            self.ready.emit()
