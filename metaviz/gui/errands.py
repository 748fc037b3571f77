"""What the window asks of the worker besides training: meta-gradients and downloads."""

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QMessageBox, QWidget

from metaviz.gui.conductor import Conductor
from metaviz.gui.engine import Errand
from metaviz.gui.experiment import ExperimentPanel
from metaviz.gui.questions import question
from metaviz.gui.tabs import Tabs, as_start
from metaviz.options import OptionError
from metaviz.runs.gradients import GradientComparison

_SOURCES = {"omniglot": "about 16 MB from github.com/brendenlake/omniglot"}


class Errands(QObject):
    """Sends requests to the worker and hands the answers on. `said` is for the status bar."""

    said = Signal(str)
    failed = Signal(str, str)

    def __init__(
        self, conductor: Conductor, form: ExperimentPanel, tabs: Tabs, window: QWidget
    ) -> None:
        """Listen to the form, the plots and the worker."""
        super().__init__(window)
        self._conductor, self._form, self._tabs, self._window = conductor, form, tabs, window
        worker = conductor.worker
        worker.answered.connect(self._on_answered)
        worker.unanswered.connect(self._on_unanswered)
        worker.reported.connect(self._on_reported)
        form.download_wanted.connect(self._on_download_wanted)
        tabs.gradients_wanted.connect(self._on_gradients_wanted)

    @Slot(object, int)
    def _on_gradients_wanted(self, start: object, step: int) -> None:
        try:
            comparison = self._form.comparison()
        except OptionError as error:
            self._tabs.show_gradients_error(str(error))
            return
        self._tabs.show_gradients_busy()
        place = as_start(start)
        self._conductor.ask(
            Errand("gradients", lambda engine, _: engine.gradients(comparison, place, step))
        )

    @Slot(str)
    def _on_download_wanted(self, problem: str) -> None:
        source = _SOURCES.get(problem, "its publisher's files")
        box = question(
            "download_question",
            "Download",
            f"Download the data of {self._form.problem.title}?",
            f"This fetches {source}. It is kept in the data folder, and used from then on.",
            self._window,
        )
        yes = box.addButton("&Download", QMessageBox.ButtonRole.AcceptRole)
        no = box.addButton("&Cancel", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(no)
        box.setEscapeButton(no)
        yes.clicked.connect(self._download)
        box.open()

    @Slot()
    def _download(self) -> None:
        self.said.emit("Downloading…")
        problem = self._form.problem.id
        self._conductor.ask(
            Errand(
                "download",
                lambda engine, report: engine.download(problem, report),
                "A download is under way.",
            )
        )

    @Slot(str, object)
    def _on_answered(self, kind: str, answer: object) -> None:
        if isinstance(answer, GradientComparison):
            self._tabs.show_gradients(answer)
        elif kind == "download":
            self.said.emit(f"Downloaded to {answer}")

    @Slot(str, str)
    def _on_unanswered(self, kind: str, sentence: str) -> None:
        if kind == "gradients":
            self._tabs.show_gradients_error(sentence)
        elif kind == "download":
            self.failed.emit(sentence, "")

    @Slot(str, str)
    def _on_reported(self, kind: str, line: str) -> None:
        if kind == "download":
            self.said.emit(line)
