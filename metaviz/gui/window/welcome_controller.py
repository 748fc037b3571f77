"""When the welcome page is shown, and what its cards do."""

import math

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QStackedLayout, QWidget

from metaviz import paths
from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError
from metaviz.config.quantities import quantity_of
from metaviz.config.run_config import RunConfig, read_comparison, read_demo
from metaviz.config.sweep import Estimate, plan_sweep
from metaviz.gui.background.training_controller import TrainingController
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.queue.queue_controller import QueueController
from metaviz.gui.runs.row import Row
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.message_boxes import ask
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.window.training_commands import TrainingCommands
from metaviz.gui.window.welcome_page import LAST, ToldRun, WelcomePage
from metaviz.runs.model.statistics import interval_text
from metaviz.runs.table.columns import started_text

_PUBLISHED = "sinusoid-5shot-published.toml"
_INVENTED = "strokes"


class WelcomeController(QObject):
    """Puts the page in the plots' place while there is nothing to plot."""

    demo_over = Signal()
    """The demo was trained to its end."""

    def __init__(
        self,
        tabs: Tabs,
        runs: RunListModel,
        form: ExperimentDock,
        controller: TrainingController,
        training: TrainingCommands,
        queue: QueueController,
        commands: Actions,
        notifier: Notifier,
        window: QWidget,
    ) -> None:
        """Make the page; `stack` holds it beside the plots."""
        super().__init__(window)
        self._tabs, self._runs, self._form, self._controller = tabs, runs, form, controller
        self._training, self._queue, self._commands = training, queue, commands
        self._notifier, self._window = notifier, window
        self.page = page = WelcomePage(window)
        self.stack = QStackedLayout()
        self.stack.addWidget(tabs)
        self.stack.addWidget(page)
        self._is_wanted = True
        self._left = self._asked = self._in_demo = False
        self._planned: list[RunConfig] = []
        self._estimating = False
        page.demo.button.clicked.connect(self.start_demo)
        page.reproduction.button.clicked.connect(self.estimate)
        page.runs.button.clicked.connect(commands["open_runs"].trigger)
        page.data.button.clicked.connect(self.look)
        page.closed.connect(self.leave)
        controller.worker.finished.connect(self._on_finished)
        commands["welcome"].triggered.connect(self.show_page)
        for signal in (
            *(runs.visibility_changed, runs.rowsInserted, runs.rowsRemoved),
            controller.phase_changed,
        ):
            signal.connect(self.update_page)

    @property
    def is_shown(self) -> bool:
        """Whether the page is in the plots' place."""
        return self.stack.currentWidget() is self.page

    def set_wanted(self, wanted: bool) -> None:
        """Take whether a person wants the page where there is nothing to plot."""
        self._is_wanted = wanted
        self.update_page()

    @Slot()
    def show_page(self) -> None:
        """Show the page because a person asked, until it is closed or a run is ticked."""
        self._asked, self._left = True, False
        self.update_page()
        self._asked = False

    @Slot()
    def leave(self) -> None:
        """Show the plots instead, until the page is asked for again."""
        if self.is_shown:
            self._left = True
            self.update_page()
            self._tabs.setFocus()

    @Slot()
    def update_page(self) -> None:
        """Show the page or the plots, whichever is right now."""
        idle = not self._runs.shown() and not self._controller.busy
        is_right = self._asked or (idle and self._is_wanted and not self._left)
        self.stack.setCurrentWidget(self.page if is_right else self._tabs)
        if self.is_shown:
            self.page.show_runs([told_run(one, self._form.catalogue) for one in self._last_runs()])
        reason = self._training.why_not()
        demo = self.page.demo.button
        blocked = "" if self._form.reason == reason else reason
        demo.setEnabled(not blocked)
        demo.setToolTip(plain_tip(blocked or demo.accessibleDescription()))
        self.page.reproduction.button.setEnabled(not blocked and not self._estimating)

    def _last_runs(self) -> list[Row]:
        """Return the newest runs, whatever the table is sorted by."""
        return sorted(self._runs.rows, key=_newest_first)[:LAST]

    @Slot()
    def start_demo(self) -> None:
        """Fill the form with a small comparison and run it."""
        self._form.show_comparison(read_demo("window"), "30-second demo")
        self._in_demo = self._commands["run"].isEnabled()
        self._commands["run"].trigger()

    @Slot()
    def _on_finished(self) -> None:
        over, self._in_demo = self._in_demo, False
        if over and all(record.state == "done" for record in self._runs.visible_records()):
            self.demo_over.emit()

    @Slot()
    def look(self) -> None:
        """Show episodes of the form's problem, or of the invented script where it has no images."""
        if not self._form.problem.has_images:
            box = self._form.problem_box
            box.setCurrentIndex(box.findData(_INVENTED))
        self._commands["look"].trigger()

    @Slot()
    def estimate(self) -> None:
        """Estimate how long the published settings take; then ask."""
        try:
            comparison = read_comparison(paths.resource(_PUBLISHED))
            runs = plan_sweep(comparison, (), self._form.catalogue).runs()
        except OptionError as error:
            self._notifier.fail(str(error))
            return
        self._planned, self._estimating = runs, True
        self._notifier.inform("Estimating how long the sinusoid comparison takes…")
        self._controller.ask(
            lambda engine, report: engine.estimate(runs, report),
            self._on_estimated,
            self._on_estimate_failed,
            self._notifier.inform,
            blocks="The time of the sinusoid comparison is being estimated.",
        )

    @Slot(object)
    def _on_estimated(self, estimate: Estimate) -> None:
        self._estimating = False
        self.update_page()
        workers = self._queue.dock.workers.value()
        ask(
            self._window,
            "reproduction_question",
            "Reproduce the sinusoid comparison",
            f"{estimate.text(workers)}.",
            "“Queue” trains MAML and joint training for 70000 meta-steps each, with the settings "
            "of the MAML paper on 5-shot sinusoids. You can pause them, and they continue after "
            "a restart.",
            ("&Queue", self._add_to_queue),
            usually_yes=True,
        )

    @Slot(str)
    def _on_estimate_failed(self, sentence: str) -> None:
        self._estimating = False
        self.update_page()
        self._notifier.fail(sentence)

    @Slot()
    def _add_to_queue(self) -> None:
        self._queue.add(self._planned, "sinusoid comparison")


def _newest_first(row: Row) -> float:
    started = row.summary.started
    return -started if math.isfinite(started) else -math.inf


def told_run(row: Row, catalogue: Catalogue) -> ToldRun:
    """Say of a run what it is called, what it learned from, how it ended, and when it began."""
    summary = row.summary
    problem = catalogue.problem(summary.problem)
    name = summary.primary
    mean = summary.result(name)
    half = getattr(summary, f"{name}_ci95", math.nan)
    if name == "accuracy":
        result = f"accuracy {interval_text(100 * mean, 100 * half)} %"
    else:
        title = quantity_of("query_loss" if name == "loss" else name).noun
        result = f"{title} {interval_text(mean, half)}"
    return ToldRun(
        row.id,
        row.label,
        summary.problem if problem is None else problem.title,
        result if math.isfinite(mean) else "",
        summary.state,
        started_text(summary.started),
    )
