"""Shows data sets: opens the dialog, asks the engine, and fills the form."""

from threading import Event as Flag

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QWidget

from metaviz.config.run_config import Comparison, parse_seeds
from metaviz.files.progress import Report
from metaviz.gui.background.engine_protocol import Engine
from metaviz.gui.background.training_controller import TrainingController
from metaviz.gui.dataset.dataset_dialog import DatasetDialog, DatasetRequest, DatasetSource
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.widgets.editors import automatic_text
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.runs.model.dataset import DatasetView

_OF_AN_EPISODE = ("ways", "shots", "query_shots")


class DatasetController(QObject):
    """Keeps one request under way; a newer one takes the place of those before it."""

    def __init__(
        self, controller: TrainingController, form: ExperimentDock, action: QAction, window: QWidget
    ) -> None:
        """Listen to the form, to the menu's action and to the worker."""
        super().__init__(window)
        self._controller, self._form, self._window = controller, form, window
        self._action = action
        self.dialog: DatasetDialog | None = None
        self._waiting: DatasetRequest | None = None
        self._current: DatasetRequest | None = None
        self._cancelled = Flag()
        controller.phase_changed.connect(self._update)
        form.changed.connect(self._update)
        form.look.clicked.connect(self.open)
        action.triggered.connect(self.open)
        self._update()

    @Slot()
    def open(self) -> None:
        """Open the dialog on the form's problem, and read its data where the form names some."""
        if self.dialog is not None or not self._action.isEnabled():
            return
        dialog = DatasetDialog(self._subject(), self._window)
        dialog.requested.connect(self._on_requested)
        dialog.cancelled.connect(self._on_cancelled)
        dialog.chosen.connect(self._on_chosen)
        dialog.finished.connect(self._on_closed)
        self.dialog = dialog
        dialog.open()
        dialog.begin()

    def _subject(self) -> DatasetSource:
        problem = self._form.problem
        path, swap = (
            self._form.field(f"{problem.id}.{name}") for name in ("path", "swap_channels")
        )
        return DatasetSource(
            title=problem.title,
            help_text=None if path is None else path.spec.description,
            path="" if path is None else str(path.value),
            may_be_empty=path is not None and bool(automatic_text(path.spec)),
            swapped=None if swap is None else bool(swap.value),
        )

    def _comparison(self, path: str) -> Comparison:
        """Return the form's problem with the data at a path, colours as they are in the files."""
        form = self._form
        shared = form.shared.values()
        options = dict(form.problem_form.changes())
        options.pop("swap_channels", None)
        if "path" in form.problem_form.fields:
            options["path"] = path
        return Comparison(
            problem=form.problem.id,
            seeds=parse_seeds(str(shared["seeds"]))[:1],
            shared={name: shared[name] for name in _OF_AN_EPISODE},
            problem_options=options,
        )

    @Slot(object)
    def _on_requested(self, request: DatasetRequest) -> None:
        self._waiting = request
        if self._current is None:
            self._send()
        elif self._current.path != request.path:
            self._cancelled.set()

    def _send(self) -> None:
        request, self._waiting = self._waiting, None
        self._current = request
        if request is None:
            return
        comparison, cancelled = self._comparison(request.path), Flag()
        self._cancelled = cancelled

        def read(engine: Engine, report: Report) -> DatasetView:
            def report_unless_cancelled(line: str) -> None:
                if cancelled.is_set():
                    raise InterruptedError("Cancelled.")
                report(line)

            return engine.dataset_view(
                comparison, request.split, request.number, report_unless_cancelled
            )

        self._controller.ask(
            read,
            self._on_read,
            self._on_failed,
            self._on_progressed,
            blocks="A data set is being read.",
        )

    @Slot(object)
    def _on_read(self, view: DatasetView) -> None:
        newer = self._waiting is not None
        self._send()
        if self.dialog is not None and self.dialog.is_waiting and not newer:
            self.dialog.show_view(view)

    @Slot(str)
    def _on_failed(self, sentence: str) -> None:
        cancelled, newer = self._cancelled.is_set(), self._waiting is not None
        self._send()
        if self.dialog is None or not self.dialog.is_waiting or newer:
            return
        if cancelled:
            self.dialog.show_cancelled()
        else:
            self.dialog.show_error(sentence)

    @Slot(str)
    def _on_progressed(self, line: str) -> None:
        if self.dialog is not None and not self._cancelled.is_set():
            self.dialog.show_progress(line)

    @Slot()
    def _on_cancelled(self) -> None:
        self._waiting = None
        self._cancelled.set()

    @Slot()
    def _on_closed(self) -> None:
        self._on_cancelled()
        self.dialog = None

    @Slot(str, object)
    def _on_chosen(self, path: str, swapped: bool | None) -> None:
        problem = self._form.problem.id
        for name, value in (("path", path), ("swap_channels", swapped)):
            field = self._form.field(f"{problem}.{name}")
            if field is not None and value is not None:
                field.set_value(value)

    @Slot()
    def _update(self) -> None:
        reason = self._why_not()
        self._action.setEnabled(not reason)
        self._form.look.setEnabled(not reason)
        tip = reason or "Show what the data hold, and some episodes of them."
        for part in (self._action, self._form.look):
            part.setToolTip(plain_tip(tip))
        self._action.setStatusTip(tip)

    def _why_not(self) -> str:
        if not self._form.problem.has_images:
            return f"{self._form.problem.title} has no images to look at."
        phase = self._controller.phase
        if phase in {"loading", "broken"}:
            return "The engine is not there yet."
        if phase not in {"idle", "paused"}:
            return "Runs are training: pause or stop them first."
        return self._controller.blocked if self.dialog is None else ""
