"""From the form into the queue: its runs as they are, or a sweep of them."""

from functools import partial

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QWidget

from metaviz.config.options import OptionError, Plain
from metaviz.config.run_config import RunConfig
from metaviz.config.sweep import Estimate, plan_sweep
from metaviz.gui.background.training_controller import TrainingController
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.experiment.sweep_dialog import SweepDialog
from metaviz.gui.queue.queue_controller import QueueController
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.notifier import Notifier


class EnqueueCommands(QObject):
    """Queues the form's runs, and opens the sweep dialog."""

    def __init__(
        self,
        queue_controller: QueueController,
        form: ExperimentDock,
        controller: TrainingController,
        commands: Actions,
        notifier: Notifier,
        window: QWidget,
    ) -> None:
        """Listen to the commands and the form."""
        super().__init__(window)
        self._queue_controller, self._form, self._controller = queue_controller, form, controller
        self._commands, self._notifier, self._window = commands, notifier, window
        self.dialog: SweepDialog | None = None
        self._estimating = False
        commands.connect({"queue": self._queue, "sweep": partial(self.open_sweep, "")})
        form.sweep_requested.connect(self.open_sweep)

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
            self._commands.allow(name, reason, tip)
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
            self._notifier.fail(str(error))
            return
        workers = self._queue_controller.dock.workers.value()
        dialog = SweepDialog(
            comparison, self._form.catalogue, self._values(), workers, self._window
        )
        dialog.queued.connect(self._on_queued)
        dialog.estimate_requested.connect(self._on_estimate_requested)
        dialog.closed.connect(self._on_closed)
        dialog.add_row(key)
        self.dialog = dialog
        dialog.open()

    def _values(self) -> dict[str, Plain]:
        """Return what the form has, by dotted key."""
        return {field.key: field.value for field in self._form.every_field()}

    @Slot()
    def _queue(self) -> None:
        try:
            runs = plan_sweep(self._form.comparison(), (), self._form.catalogue).propose(()) or []
        except OptionError as error:
            self._notifier.fail(str(error))
            return
        self._queue_controller.add(runs)

    @Slot(object, str)
    def _on_queued(self, runs: list[RunConfig], name: str) -> None:
        self._queue_controller.add(runs, name)

    @Slot(object)
    def _on_estimate_requested(self, runs: list[RunConfig]) -> None:
        self._estimating = True
        self._controller.ask(
            lambda engine, report: engine.estimate(runs, report),
            self._on_estimated,
            self._on_estimate_failed,
            self._on_progressed,
            blocks="The time of a sweep is being estimated.",
        )

    @Slot()
    def _on_closed(self) -> None:
        if self._estimating:
            self._controller.cancel_request()
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None

    @Slot(object)
    def _on_estimated(self, estimate: Estimate) -> None:
        self._estimating = False
        if self.dialog is not None:
            self.dialog.show_estimate(estimate)

    @Slot(str)
    def _on_estimate_failed(self, sentence: str) -> None:
        self._estimating = False
        if self.dialog is not None:
            self.dialog.show_error(sentence)

    @Slot(str)
    def _on_progressed(self, line: str) -> None:
        if self.dialog is not None:
            self.dialog.show_progress(line)
