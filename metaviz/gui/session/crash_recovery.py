"""After an unexpected end: shows which runs were interrupted, and resumes them."""

from collections.abc import Mapping
from pathlib import Path

from PySide6.QtCore import QObject, Slot

from metaviz.gui.background.training_controller import TrainingController
from metaviz.gui.queue.queue_controller import QueueController
from metaviz.gui.runs.row import Row
from metaviz.gui.runs.run_reader import RunReader
from metaviz.gui.widgets.message_bar import MessageBar
from metaviz.gui.widgets.notifier import Notifier

_ENDED = "MetaViz ended unexpectedly."
_BACK = "What was on screen is back, and everything that was stored is kept."


class CrashRecovery(QObject):
    """Listens to what is found in the folder of runs and in the queue."""

    def __init__(
        self,
        messages: MessageBar,
        controller: TrainingController,
        queue: QueueController,
        reader: RunReader,
        notifier: Notifier,
        last: Mapping[str, object],
        *,
        was_cut_off: bool,
    ) -> None:
        """Take the last session, and whether the program ended unexpectedly."""
        super().__init__(messages)
        self._messages, self._controller, self._queue = messages, controller, queue
        self._notifier = notifier
        self._was_cut_off, self._is_resuming = was_cut_off, False
        runs, begun = last.get("runs"), last.get("begun")
        training = runs.get("training", ()) if isinstance(runs, Mapping) else ()
        self._training = frozenset(map(str, training))
        self._begun = begun if isinstance(begun, int | float) else float("inf")
        self._folders: dict[str, Path] = {}
        self._left_in_queue = ""
        queue.left_unfinished.connect(self._on_left_unfinished)
        reader.found.connect(self._on_found)
        messages.resume_requested.connect(self._resume)
        controller.phase_changed.connect(self._resume_when_idle)

    def begin(self) -> None:
        """Show that the program ended unexpectedly, if it did."""
        if self._was_cut_off:
            self._show()
            self._notifier.warn(f"{_ENDED} {_BACK}")

    @Slot(str)
    def _on_left_unfinished(self, sentence: str) -> None:
        self._left_in_queue = sentence
        if self._was_cut_off:
            self._show()
        else:
            self._messages.show_warning(sentence)

    @Slot(object)
    def _on_found(self, rows: list[Row]) -> None:
        if not self._was_cut_off:
            return
        queued = {entry.folder for entry in self._queue.model.entries}
        found = {
            row.id: row.folder
            for row in rows
            if row.summary.state == "interrupted"
            and (row.id in self._training or row.summary.started >= self._begun)
            and row.folder is not None
            and row.folder not in queued
        }
        if found and not self._is_resuming:
            self._folders |= found
            self._show()

    def _show(self) -> None:
        count = len(self._folders)
        if count:
            what = "1 run was interrupted." if count == 1 else f"{count} runs were interrupted."
        else:
            what = "" if self._left_in_queue else _BACK
        sentence = " ".join(part for part in (_ENDED, what, self._left_in_queue) if part)
        self._messages.show_interrupted(sentence, can_resume=count > 0)

    @Slot()
    def _resume(self) -> None:
        self._is_resuming = True
        self._resume_when_idle()

    @Slot()
    def _resume_when_idle(self) -> None:
        """Resume as soon as the engine is there and nothing else trains."""
        if not (self._is_resuming and self._folders) or self._controller.phase != "idle":
            return
        folders, self._folders = list(self._folders.values()), {}
        self._is_resuming = False
        self._messages.hide()
        self._controller.resume(folders, None)
        self._queue.resume_interrupted()
