"""What the window asks of the worker besides training: meta-gradients and downloads."""

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QMessageBox, QWidget

from metaviz.gui.conductor import Conductor
from metaviz.gui.experiment import ExperimentPanel
from metaviz.gui.questions import question
from metaviz.gui.tabs import Tabs, as_start
from metaviz.options import OptionError

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
        worker.gradients_ready.connect(tabs.show_gradients)
        worker.gradients_failed.connect(tabs.show_gradients_error)
        worker.download_reported.connect(self.said)
        worker.downloaded.connect(self._on_downloaded)
        worker.download_failed.connect(self._on_download_failed)
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
        self._conductor.gradients(comparison, as_start(start), step)

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
        self._conductor.download(self._form.problem.id)

    @Slot(str, str)
    def _on_downloaded(self, problem: str, folder: str) -> None:
        self.said.emit(f"Downloaded {problem} to {folder}")

    @Slot(str)
    def _on_download_failed(self, sentence: str) -> None:
        self.failed.emit(sentence, "")
