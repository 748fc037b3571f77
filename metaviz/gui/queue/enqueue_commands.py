"""From the form into the queue: its runs as they are, or a sweep of them."""

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QWidget

from metaviz.config.options import OptionError, Plain
from metaviz.config.run_config import RunConfig
from metaviz.config.sweep import Estimate, plan_sweep
from metaviz.gui.background.engine_protocol import Errand
from metaviz.gui.background.training_controller import Conductor
from metaviz.gui.experiment.experiment_dock import ExperimentPanel
from metaviz.gui.experiment.sweep_dialog import SweepDialog
from metaviz.gui.queue.queue_controller import Queueing
from metaviz.gui.widgets.commands import Actions

_KIND = "estimate"


class QueueOrders(QObject):
    """Queues what the form says, and opens the sweep dialog."""

    def __init__(
        self,
        queueing: Queueing,
        form: ExperimentPanel,
        conductor: Conductor,
        commands: Actions,
        window: QWidget,
    ) -> None:
        """Listen to the commands, the form and the worker."""
        super().__init__(window)
        self._queueing, self._form, self._conductor = queueing, form, conductor
        self._commands, self._window = commands, window
        self.dialog: SweepDialog | None = None
        self._estimating = False
        commands["queue"].triggered.connect(self._queue)
        commands["sweep"].triggered.connect(self._open)
        form.sweep_wanted.connect(self.open_sweep)
        conductor.worker.answered.connect(self._on_answered)
        conductor.worker.unanswered.connect(self._on_unanswered)
        conductor.worker.reported.connect(self._on_reported)

    @Slot()
    def update_actions(self) -> None:
        """Say how many runs would be queued, or why none can be."""
        reason = self._form.reason
        text = "&Queue"
        if not reason:
            comparison = self._form.comparison()
            text = f"&Queue {len(comparison.algorithms) * len(comparison.seeds)}"
        self._commands["queue"].setText(text)
        for name, tip in (
            (
                "queue",
                "Queue these runs: they train one after another in processes of their own, also "
                "beside Run, with which they then share the machine. (Ctrl+Shift+Q)",
            ),
            ("sweep", "Queue runs over ranges of hyperparameters. (Ctrl+Shift+W)"),
        ):
            self._commands[name].setEnabled(not reason)
            self._commands[name].setToolTip(reason or tip)
            self._commands[name].setStatusTip(reason or tip)

    @Slot(str)
    def open_sweep(self, key: str) -> None:
        """Open the dialog, with one hyperparameter varied around its value."""
        if self.dialog is not None:
            self.dialog.raise_()
            return
        try:
            comparison = self._form.comparison()
        except OptionError as error:
            self._queueing.troubled.emit(str(error), "")
            return
        workers = self._queueing.panel.workers.value()
        dialog = SweepDialog(
            comparison, self._form.catalogue, self._values(), workers, self._window
        )
        dialog.queued.connect(self._on_queued)
        dialog.estimate_wanted.connect(self._on_estimate_wanted)
        dialog.left.connect(self._on_left)
        dialog.add_row(key)
        self.dialog = dialog
        dialog.open()

    def _values(self) -> dict[str, Plain]:
        """Return what the form has, by dotted key."""
        return {field.key: field.value for field in self._form.every_field()}

    @Slot()
    def _open(self) -> None:
        self.open_sweep("")

    @Slot()
    def _queue(self) -> None:
        try:
            runs = plan_sweep(self._form.comparison(), (), self._form.catalogue).runs()
        except OptionError as error:
            self._queueing.troubled.emit(str(error), "")
            return
        self._queueing.add(runs)

    @Slot(object, str)
    def _on_queued(self, runs: list[RunConfig], name: str) -> None:
        self._queueing.add(runs, name)

    @Slot(object)
    def _on_estimate_wanted(self, runs: list[RunConfig]) -> None:
        self._estimating = True
        self._conductor.ask(
            Errand(
                _KIND,
                lambda engine, report: engine.estimate(runs, report),
                "The time of a sweep is being estimated.",
            )
        )

    @Slot()
    def _on_left(self) -> None:
        if self._estimating:
            self._conductor.recall()
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None

    @Slot(str, object)
    def _on_answered(self, kind: str, answer: object) -> None:
        if kind == _KIND and isinstance(answer, Estimate):
            self._estimating = False
            if self.dialog is not None:
                self.dialog.show_estimate(answer)

    @Slot(str, str)
    def _on_unanswered(self, kind: str, sentence: str) -> None:
        if kind == _KIND:
            self._estimating = False
            if self.dialog is not None:
                self.dialog.show_error(sentence)

    @Slot(str, str)
    def _on_reported(self, kind: str, line: str) -> None:
        if kind == _KIND and self.dialog is not None:
            self.dialog.show_progress(line)
