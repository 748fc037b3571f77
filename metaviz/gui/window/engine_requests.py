"""Requests of form and pages to the engine, besides training."""

from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QWidget

from metaviz.config.options import OptionError
from metaviz.config.run_config import EvaluationProtocol
from metaviz.files.progress import Report
from metaviz.gui.background.engine_protocol import Engine, EngineCall
from metaviz.gui.background.training_controller import TrainingController
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.widgets.message_boxes import ask
from metaviz.gui.widgets.notifier import Notifier

_EVALUATING = "An evaluation is under way: wait for it, or cancel it on the Benchmark page."


class _Download(NamedTuple):
    """What is downloaded for a problem, and whether the problem's path is set to it."""

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


class EngineRequests(QObject):
    """Sends the requests of pages and form to the worker, and shows the answers there."""

    def __init__(
        self,
        controller: TrainingController,
        form: ExperimentDock,
        tabs: Tabs,
        notifier: Notifier,
        window: QWidget,
    ) -> None:
        """Listen to the form and the pages."""
        super().__init__(window)
        self._controller, self._form, self._tabs = controller, form, tabs
        self._notifier, self._window = notifier, window
        self._problem = ""
        self._is_cancelled = False
        form.download_requested.connect(self._ask_download)
        form.download_cancelled.connect(self._cancel_download)
        requests = tabs.requests
        requests.gradients_requested.connect(self._compare_gradients)
        requests.theory_requested.connect(self._ask_theory)
        requests.evaluation_requested.connect(self._evaluate)
        requests.robustness_requested.connect(self._evaluate_robustness)
        requests.episode_requested.connect(self._adapt_episode)
        requests.predict_requested.connect(self._predict)
        requests.cancel_requested.connect(controller.cancel_request)

    @Slot(object, int)
    def _compare_gradients(self, start: Path | None, step: int) -> None:
        page = self._tabs.gradients
        try:
            comparison = self._form.comparison()
        except OptionError as error:
            page.show_error(str(error))
            return
        page.show_busy()
        self._controller.ask(
            lambda engine, _: engine.gradients(comparison, start, step),
            page.show_result,
            page.show_error,
        )

    @Slot(str, object)
    def _ask_theory(self, kind: str, folder: Path) -> None:
        page = self._tabs.theory

        def compute(engine: Engine, report: Report) -> object:
            calls = {
                "expansion": engine.expansion,
                "over_training": engine.expansion_over_training,
                "accuracy": engine.accuracy,
                "replay": engine.replay,
            }
            return calls[kind](folder, report)

        self._controller.ask(compute, page.show_result, page.show_error, page.show_progress)

    @Slot(object, object)
    def _evaluate(self, folders: list[Path], protocol: EvaluationProtocol) -> None:
        self._ask_benchmark(lambda engine, report: engine.judge(folders, protocol, report))

    @Slot(object, object)
    def _evaluate_robustness(self, folders: list[Path], protocol: EvaluationProtocol) -> None:
        def vary(engine: Engine, report: Report) -> tuple[()]:
            engine.robustness(folders, protocol, report)
            return ()  # stored with the runs; there is no list of tasks to show

        self._ask_benchmark(vary)

    def _ask_benchmark(self, call: EngineCall) -> None:
        page = self._tabs.benchmark
        self._controller.ask(
            call, page.show_done, page.show_error, page.show_progress, blocks=_EVALUATING
        )

    @Slot(object, object, int)
    def _adapt_episode(self, folder: Path, protocol: EvaluationProtocol, number: int) -> None:
        page = self._tabs.episode
        self._controller.ask(
            lambda engine, _: engine.episode(folder, protocol, number),
            page.show_result,
            page.show_error,
        )

    @Slot(object, object, object, bool)
    def _predict(
        self, folder: Path, support: tuple[Path, ...], query: tuple[Path, ...], together: bool
    ) -> None:
        page = self._tabs.predict
        self._controller.ask(
            lambda engine, _: engine.predict(folder, support, query, together=together),
            page.show_result,
            page.show_error,
        )

    @Slot(str)
    def _ask_download(self, problem: str) -> None:
        known = _DOWNLOADS[problem]
        self._problem = problem
        used = (
            "The path in the form is then set to it; it is divided as CIFAR-FS or FC100, as the "
            "form says."
            if known.sets_path
            else "It is used from then on wherever no other path is set."
        )
        ask(
            self._window,
            "download_question",
            "Download",
            f"Download {known.title}?",
            f"This fetches {known.source}, and keeps it in the data folder. {used}",
            ("&Download", self._download),
        )

    @Slot()
    def _download(self) -> None:
        self._notifier.inform("Downloading…")
        self._is_cancelled = False
        self._form.show_downloading(under_way=True)
        dataset = _DOWNLOADS[self._problem].dataset
        self._controller.ask(
            lambda engine, report: engine.download(dataset, report),
            self._on_downloaded,
            self._on_download_failed,
            self._notifier.inform,
            blocks="A download is under way.",
        )

    @Slot()
    def _cancel_download(self) -> None:
        self._is_cancelled = True
        self._notifier.inform("Ending the download…")
        self._controller.cancel_request()

    @Slot(object)
    def _on_downloaded(self, folder: Path) -> None:
        self._form.show_downloading(under_way=False)
        path = self._form.field(f"{self._problem}.path")
        if path is not None and _DOWNLOADS[self._problem].sets_path:
            path.set_value(str(folder))
        self._notifier.inform(f"Downloaded to {folder}")

    @Slot(str)
    def _on_download_failed(self, sentence: str) -> None:
        self._form.show_downloading(under_way=False)
        if self._is_cancelled:
            self._notifier.inform("The download was ended; the next one goes on from there")
        else:
            self._notifier.fail(sentence)
