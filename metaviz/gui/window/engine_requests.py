"""What the window asks of the worker besides training."""

from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QMessageBox, QWidget

from metaviz.config.options import OptionError
from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.background.engine_protocol import Errand
from metaviz.gui.background.training_controller import Conductor
from metaviz.gui.experiment.experiment_dock import ExperimentPanel
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.widgets.message_boxes import question
from metaviz.runs.model.episode import Episode
from metaviz.runs.model.gradients import GradientComparison

_ON_HELD_OUT = {"judge", "robustness"}
_EVALUATING = "An evaluation is under way: wait for it, or cancel it on the Benchmark page."


class _Download(NamedTuple):
    """What is downloaded for a problem, and whether the problem must be told where it is."""

    dataset: str
    title: str
    source: str
    sets_path: bool


_DOWNLOADS = {
    "omniglot": _Download(
        "omniglot", "Omniglot", "about 16 MB from github.com/brendenlake/omniglot", sets_path=False
    ),
    "images": _Download(
        "cifar100", "CIFAR-100", "about 169 MB from www.cs.toronto.edu/~kriz", sets_path=True
    ),
}


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
        self._wanted = ""
        self._broken_off = False
        worker = conductor.worker
        worker.answered.connect(self._on_answered)
        worker.unanswered.connect(self._on_unanswered)
        worker.reported.connect(self._on_reported)
        form.download_wanted.connect(self._on_download_wanted)
        form.download_unwanted.connect(self._on_download_unwanted)
        asked = tabs.requests
        asked.gradients_requested.connect(self._on_gradients_wanted)
        asked.evaluation_requested.connect(self._on_evaluation_wanted)
        asked.robustness_requested.connect(self._on_robustness_wanted)
        asked.episode_requested.connect(self._on_episode_wanted)
        asked.cancel_requested.connect(conductor.recall)

    @Slot(object, int)
    def _on_gradients_wanted(self, start: Path | None, step: int) -> None:
        try:
            comparison = self._form.comparison()
        except OptionError as error:
            self._tabs.gradients.show_error(str(error))
            return
        self._tabs.gradients.show_busy()
        self._conductor.ask(
            Errand("gradients", lambda engine, _: engine.gradients(comparison, start, step))
        )

    @Slot(object, object)
    def _on_evaluation_wanted(self, folders: list[Path], protocol: EvaluationProtocol) -> None:
        self._conductor.ask(
            Errand(
                "judge", lambda engine, report: engine.judge(folders, protocol, report), _EVALUATING
            )
        )

    @Slot(object, object)
    def _on_robustness_wanted(self, folders: list[Path], protocol: EvaluationProtocol) -> None:
        self._conductor.ask(
            Errand(
                "robustness",
                lambda engine, report: engine.robustness(folders, protocol, report),
                _EVALUATING,
            )
        )

    @Slot(object, object, int)
    def _on_episode_wanted(self, folder: Path, protocol: EvaluationProtocol, number: int) -> None:
        self._conductor.ask(
            Errand("episode", lambda engine, _: engine.episode(folder, protocol, number))
        )

    @Slot(str)
    def _on_download_wanted(self, problem: str) -> None:
        known = _DOWNLOADS[problem]
        self._wanted = problem
        used = (
            "The path in the form is then set to it; it is divided as CIFAR-FS or FC100, as the "
            "form says."
            if known.sets_path
            else "It is used from then on wherever no other path is set."
        )
        box = question(
            "download_question",
            "Download",
            f"Download {known.title}?",
            f"This fetches {known.source}, and keeps it in the data folder. {used}",
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
        self._broken_off = False
        self._form.show_downloading(under_way=True)
        dataset = _DOWNLOADS[self._wanted].dataset
        self._conductor.ask(
            Errand(
                "download",
                lambda engine, report: engine.download(dataset, report),
                "A download is under way.",
            )
        )

    @Slot()
    def _on_download_unwanted(self) -> None:
        self._broken_off = True
        self.said.emit("Ending the download…")
        self._conductor.recall()

    def _on_downloaded(self, folder: str) -> None:
        self._form.show_downloading(under_way=False)
        path = self._form.field(f"{self._wanted}.path")
        if path is not None and _DOWNLOADS[self._wanted].sets_path:
            path.set_value(folder)
        self.said.emit(f"Downloaded to {folder}")

    def _on_not_downloaded(self, sentence: str) -> None:
        self._form.show_downloading(under_way=False)
        if self._broken_off:
            self.said.emit("The download was ended; the next one goes on from there")
        else:
            self.failed.emit(sentence, "")

    @Slot(str, object)
    def _on_answered(self, kind: str, answer: object) -> None:
        if isinstance(answer, GradientComparison):
            self._tabs.gradients.show_result(answer)
        elif isinstance(answer, Episode):
            self._tabs.episode.show_result(answer)
        elif kind == "judge" and isinstance(answer, list):
            self._tabs.benchmark.show_done(answer)
        elif kind == "robustness":
            self._tabs.benchmark.show_done(())
        elif kind == "download":
            self._on_downloaded(str(answer))

    @Slot(str, str)
    def _on_unanswered(self, kind: str, sentence: str) -> None:
        if kind == "gradients":
            self._tabs.gradients.show_error(sentence)
        elif kind == "episode":
            self._tabs.episode.show_error(sentence)
        elif kind in _ON_HELD_OUT:
            self._tabs.benchmark.show_error(sentence)
        elif kind == "download":
            self._on_not_downloaded(sentence)

    @Slot(str, str)
    def _on_reported(self, kind: str, line: str) -> None:
        if kind in _ON_HELD_OUT:
            self._tabs.benchmark.show_progress(line)
        elif kind == "download":
            self.said.emit(line)
