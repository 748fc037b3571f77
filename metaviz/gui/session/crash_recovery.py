"""After an unexpected end: says which runs were interrupted, and lets them go on."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from metaviz.gui.runs.row import Row

if TYPE_CHECKING:
    from metaviz.gui.window.main_window import MainWindow

_ENDED = "MetaViz ended unexpectedly."
_BACK = "What was on screen is back, and everything that was stored is kept."


class Recovery(QObject):
    """Listens to what is found in the folder of runs and in the queue."""

    def __init__(self, window: "MainWindow", last: Mapping[str, object], *, cut_off: bool) -> None:
        """Take the last session, and whether it ended unexpectedly."""
        super().__init__(window)
        self._window, self._cut_off = window, cut_off
        runs = last.get("runs")
        training = runs.get("training", ()) if isinstance(runs, Mapping) else ()
        self._training = frozenset(map(str, training))
        begun = last.get("begun")
        self._begun = begun if isinstance(begun, int | float) else float("inf")
        self._folders: dict[str, Path] = {}
        self._queue = ""
        self._resuming = False
        window.queueing.warned.connect(self._on_queue)
        window.messages.resume_wanted.connect(self._resume)
        window.conductor.phase_changed.connect(self._go_on)
        if cut_off:
            window.library.found.connect(self._on_found)

    def tell(self) -> None:
        """Say that the program ended unexpectedly, if it did."""
        if self._cut_off:
            self._show()
            self._window.log.add("warning", f"{_ENDED} {_BACK}")

    @Slot(str)
    def _on_queue(self, sentence: str) -> None:
        self._queue = sentence
        if self._cut_off:
            self._show()
        else:
            self._window.messages.show_warning(sentence)

    @Slot(object)
    def _on_found(self, rows: list[Row]) -> None:
        queued = {entry.folder for entry in self._window.queueing.model.entries}
        found = {
            row.id: row.folder
            for row in rows
            if row.summary.state == "interrupted"
            and (row.id in self._training or row.summary.started >= self._begun)
            and row.folder is not None
            and row.folder not in queued
        }
        if found and not self._resuming:
            self._folders |= found
            self._show()

    def _show(self) -> None:
        count = len(self._folders)
        if count:
            told = "1 run was interrupted." if count == 1 else f"{count} runs were interrupted."
        else:
            told = "" if self._queue else _BACK
        sentence = " ".join(part for part in (_ENDED, told, self._queue) if part)
        self._window.messages.show_interrupted(sentence, can_resume=count > 0)

    @Slot()
    def _resume(self) -> None:
        self._resuming = True
        self._go_on()

    @Slot()
    def _go_on(self) -> None:
        """Resume as soon as the engine is there and nothing else trains."""
        if not (self._resuming and self._folders) or self._window.conductor.phase != "idle":
            return
        folders, self._folders = list(self._folders.values()), {}
        self._resuming = False
        self._window.messages.hide()
        self._window.conductor.resume(folders, None)
        if self._window.commands["queue_resume"].isEnabled():
            self._window.commands["queue_resume"].trigger()
