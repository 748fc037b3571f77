"""When the welcome page is shown, and what its cards do."""

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QMessageBox, QStackedLayout

from metaviz import paths
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, read_comparison, read_demo
from metaviz.config.sweep import Estimate, plan_sweep
from metaviz.gui.background.engine_protocol import Errand
from metaviz.gui.widgets.message_boxes import question
from metaviz.gui.window.welcome_page import LAST, WelcomePage

if TYPE_CHECKING:
    from metaviz.gui.window.main_window import MainWindow

_KIND = "reproduction"
_PUBLISHED = "sinusoid-5shot-published.toml"
_INVENTED = "strokes"


class WelcomeDesk(QObject):
    """Puts the page in the plots' place while there is nothing to plot."""

    def __init__(self, window: "MainWindow") -> None:
        """Make the page; `stack` holds it beside the plots."""
        super().__init__(window)
        self._window = window
        self.page = WelcomePage(window)
        self.stack = QStackedLayout()
        self.stack.addWidget(window.tabs)
        self.stack.addWidget(self.page)
        self.wanted = True
        """Whether a person wants the page where there is nothing to plot."""
        self._left = self._asked = False
        self._runs: list[RunConfig] = []
        self._estimating = False
        page = self.page
        page.demo.button.clicked.connect(self.start_demo)
        page.reproduction.button.clicked.connect(self.estimate)
        page.runs.button.clicked.connect(window.files.open_runs)
        page.data.button.clicked.connect(self.look)
        page.run_wanted.connect(self._show_run)
        page.closed.connect(self.leave)
        window.commands["welcome"].triggered.connect(self.show_page)
        window.runs.visibility_changed.connect(self.update_page)
        window.runs.rowsInserted.connect(self.update_page)
        window.runs.rowsRemoved.connect(self.update_page)
        window.conductor.phase_changed.connect(self.update_page)
        worker = window.conductor.worker
        worker.answered.connect(self._on_answered)
        worker.unanswered.connect(self._on_unanswered)
        worker.reported.connect(self._on_reported)

    @property
    def is_shown(self) -> bool:
        """Whether the page is in the plots' place."""
        return self.stack.currentWidget() is self.page

    @Slot()
    def show_page(self) -> None:
        """Show the page because a person asked, until it is closed or a run is ticked."""
        self._asked, self._left = True, False
        self.update_page()
        self._asked = False

    @Slot()
    def leave(self) -> None:
        """Show the plots instead, until the page is asked for again."""
        self._left = True
        self.update_page()
        self._window.tabs.setFocus()

    @Slot()
    def update_page(self) -> None:
        """Show the page or the plots, whichever is right now."""
        window = self._window
        idle = not window.runs.shown() and not window.conductor.busy
        if self._asked or (idle and self.wanted and not self._left):
            self.stack.setCurrentWidget(self.page)
        else:
            self.stack.setCurrentWidget(window.tabs)
        if self.is_shown:
            self.page.show_runs(window.runs.rows[:LAST])
        reason = window.training.why_not()
        demo = self.page.demo.button
        blocked = "" if window.form.reason == reason else reason
        demo.setEnabled(not blocked)
        demo.setToolTip(blocked or demo.accessibleDescription())
        self.page.reproduction.button.setEnabled(not blocked and not self._estimating)

    @Slot()
    def start_demo(self) -> None:
        """Fill the form with a small comparison and run it."""
        self._window.form.show_comparison(read_demo("window"), "30-second demo")
        self._window.commands["run"].trigger()

    @Slot()
    def look(self) -> None:
        """Show episodes of the form's problem, or of the invented script where it has no images."""
        form = self._window.form
        if not form.problem.has_images:
            form.problem_box.setCurrentIndex(form.problem_box.findData(_INVENTED))
        self._window.commands["look"].trigger()

    @Slot()
    def estimate(self) -> None:
        """Have the engine tell how long the published settings take; then ask."""
        window = self._window
        try:
            comparison = read_comparison(paths.resource(_PUBLISHED))
            runs = plan_sweep(comparison, (), window.form.catalogue).runs()
        except OptionError as error:
            window.messages.show_error(str(error))
            return
        self._runs, self._estimating = runs, True
        window.say("Estimating how long the sinusoid comparison takes…")
        window.conductor.ask(
            Errand(
                _KIND,
                lambda engine, report: engine.estimate(runs, report),
                "The time of the sinusoid comparison is being estimated.",
            )
        )

    @Slot(str, object)
    def _on_answered(self, kind: str, answer: object) -> None:
        if kind != _KIND or not isinstance(answer, Estimate):
            return
        self._estimating = False
        self.update_page()
        workers = self._window.queueing.panel.workers.value()
        box = question(
            "reproduction_question",
            "Reproduce the sinusoid comparison",
            f"{answer.text(workers)}.",
            "“Queue” trains MAML and joint training for 70000 meta-steps each, with the settings "
            "of the MAML paper on 5-shot sinusoids. They can be paused and go on after a restart.",
            self._window,
        )
        queue = box.addButton("&Queue", QMessageBox.ButtonRole.AcceptRole)
        no = box.addButton("&Cancel", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(queue)
        box.setEscapeButton(no)
        queue.clicked.connect(self._queue)
        box.open()

    @Slot(str, str)
    def _on_unanswered(self, kind: str, sentence: str) -> None:
        if kind == _KIND:
            self._estimating = False
            self.update_page()
            self._window.messages.show_error(sentence)

    @Slot(str, str)
    def _on_reported(self, kind: str, line: str) -> None:
        if kind == _KIND:
            self._window.say(line)

    @Slot()
    def _queue(self) -> None:
        self._window.queueing.add(self._runs, "sinusoid comparison")

    @Slot(str)
    def _show_run(self, name: str) -> None:
        self._window.runs.tick([name], visible=True)
        self._window.table.select(name)
