"""Commands that train the selected runs further, or again."""

from pathlib import Path

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QInputDialog, QWidget

from metaviz import paths
from metaviz.config.options import OptionError
from metaviz.config.run_config import MOST_STEPS, comparison_of
from metaviz.gui.background.training_controller import TrainingController
from metaviz.gui.runs.divergence_dialog import DivergenceDialog
from metaviz.gui.runs.row import Row
from metaviz.gui.runs.runs_dock import RunsDock
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.message_boxes import input_dialog
from metaviz.gui.widgets.notifier import Notifier
from metaviz.runs.storage.store import StoreError, read_divergence

_INCOMPLETE = {"interrupted", "stopped", "aborted", "failed", "diverged"}


class ResumeCommands(QObject):
    """Commands on the selected rows of the runs table."""

    def __init__(
        self,
        table: RunsDock,
        controller: TrainingController,
        commands: Actions,
        notifier: Notifier,
        window: QWidget,
    ) -> None:
        """Listen to the commands and add them to the table's context menu."""
        super().__init__(window)
        self._table, self._controller, self._window = table, controller, window
        self._commands, self._notifier = commands, notifier
        self._folders: list[Path] = []
        slots = {
            "resume": self._resume,
            "mend": self._mend,
            "repeat": self._repeat,
            "fine_tune": self._fine_tune,
        }
        table.add_commands([commands[name] for name in slots])
        commands.connect(slots)
        table.view.selectionModel().selectionChanged.connect(self.update_actions)
        self.update_actions()

    @Slot()
    def update_actions(self) -> None:
        """Enable what the selected runs allow; a tip says why where they do not."""
        for name, reason in (
            ("resume", self._why_not_now() or self._why_not_resume()),
            ("mend", self._why_not_mend()),
            ("repeat", self._why_not_now() or self._why_not_one()),
            ("fine_tune", self._why_not_now() or self._why_not_one()),
        ):
            self._commands.allow(name, reason)

    def _why_not_now(self) -> str:
        rows = self._table.selected()
        if self._controller.phase != "idle":
            return "Runs are training, or PyTorch is loading: wait for it or stop them first."
        if not rows:
            return self._controller.blocked or "Select runs in the table first."
        if any(row.folder is None for row in rows):
            return "A selected run is not stored."
        return self._controller.blocked

    def _why_not_one(self) -> str:
        return "" if len(self._table.selected()) == 1 else "Select one run only."

    def _why_not_mend(self) -> str:
        rows = self._table.selected()
        if len(rows) == 1 and rows[0].folder is not None and rows[0].summary.state == "diverged":
            return ""
        return "Select one run that diverged."

    def _why_not_resume(self) -> str:
        rows = self._table.selected()
        states = {row.summary.state for row in rows}
        if states <= _INCOMPLETE or states == {"done"}:
            return ""
        return "Select runs that are all done, or all interrupted, stopped, failed or diverged."

    @Slot()
    def _resume(self) -> None:
        rows = self._table.selected()
        self._folders = [row.folder for row in rows if row.folder is not None]
        if all(row.summary.state == "done" for row in rows):
            self._ask_steps(rows)
        else:
            self._controller.resume(self._folders, None)

    @Slot()
    def _mend(self) -> None:
        for row in self._table.selected()[:1]:
            self.mend(row.id)

    @Slot(str)
    def mend(self, run: str) -> None:
        """Ask what to do about a run that diverged, and do it."""
        row = self._table.model.find(run)
        if row is None or row.folder is None:
            return
        try:
            divergence = read_divergence(row.folder)
        except StoreError as error:
            self._notifier.fail(str(error))
            return
        if divergence is None:
            self._notifier.fail(f"{run} has not diverged, or an earlier version trained it.")
            return
        dialog = DivergenceDialog(run, row.folder, row.summary.message, divergence, self._window)
        dialog.chosen.connect(self._controller.mend)
        dialog.open()

    @Slot()
    def _repeat(self) -> None:
        for row in self._table.selected()[:1]:
            if row.folder is not None:
                self._controller.repeat(row.folder, paths.runs_dir())

    @Slot()
    def _fine_tune(self) -> None:
        for row in self._table.selected()[:1]:
            if row.folder is not None:
                try:
                    asked = comparison_of(row.config)
                except OptionError as error:
                    self._notifier.fail(f"The settings of this run cannot be used. {error}")
                    return
                self._controller.fine_tune(asked, paths.runs_dir(), row.folder)

    def _ask_steps(self, rows: list[Row]) -> None:
        done = max(row.summary.step for row in rows)
        box = input_dialog(self._window, "steps_question", "Train further", "Meta-steps in all:")
        box.setInputMode(QInputDialog.InputMode.IntInput)
        box.setIntRange(min(done + 1, MOST_STEPS), MOST_STEPS)
        box.setIntStep(max(done // 10, 1))
        box.setIntValue(2 * done)
        box.intValueSelected.connect(self._extend)
        box.open()

    @Slot(int)
    def _extend(self, steps: int) -> None:
        self._controller.resume(self._folders, steps)
