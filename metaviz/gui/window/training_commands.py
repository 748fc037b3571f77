"""The commands that train the form's runs in the window's own worker."""

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz import paths
from metaviz.config.options import OptionError
from metaviz.gui.background.training_controller import TrainingController
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.message_boxes import ask
from metaviz.gui.widgets.notifier import Notifier

_WHILE_TRAINING = ("pause", "step", "stop", "abort")


class TrainingCommands(QObject):
    """Starts, pauses and ends training. `started` follows the command that trains the form."""

    started = Signal()

    def __init__(
        self,
        controller: TrainingController,
        form: ExperimentDock,
        commands: Actions,
        notifier: Notifier,
        window: QWidget,
    ) -> None:
        """Listen to the commands."""
        super().__init__(window)
        self._controller, self._form, self._commands = controller, form, commands
        self._notifier, self._window = notifier, window
        commands.connect({"run": self.run, "pause": self._pause, "abort": self._ask_abort})
        commands.connect({"step": controller.step, "stop": controller.stop})

    def why_not(self) -> str:
        """Return why nothing can be trained now; empty where it can."""
        phase = self._controller.phase
        if phase == "loading":
            return "PyTorch is still loading."
        if phase == "broken":
            return "The engine could not be loaded; the message above the plots says why."
        if phase != "idle":
            return "Runs are training: stop them first."
        return self._controller.blocked or self._form.reason

    def update_actions(self) -> None:
        """Enable what makes sense now; the run action says why it is disabled."""
        reason = self.why_not()
        self._commands.allow("run", reason)
        for name in _WHILE_TRAINING:
            self._commands[name].setEnabled(self._controller.phase in {"training", "paused"})
        may_start = not self._controller.busy and not self._controller.blocked
        self._form.download.setEnabled(self._form.downloading or may_start)

    @Slot()
    def run(self) -> None:
        """Train the form's runs."""
        try:
            comparison = self._form.comparison()
        except OptionError as error:
            self._notifier.fail(str(error))
            return
        self.started.emit()
        self._controller.start(comparison, paths.runs_dir())

    @Slot()
    def _pause(self) -> None:
        self._controller.pause(paused=self._controller.phase == "training")

    @Slot()
    def _ask_abort(self) -> None:
        ask(
            self._window,
            "abort_question",
            "Abort",
            "Abort all runs?",
            "They end now and are marked as aborted. What was stored until here stays on disk.",
            ("&Abort", self._controller.abort),
            "&Keep training",
            destroys=True,
        )
