"""One task: its images, what a run takes them for while it adapts, and one image's path."""

from dataclasses import replace

from PySide6.QtCore import QEvent, QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QStackedWidget, QWidget

from metaviz.charts.values import Chart, Lines
from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.pages.episode_grid import EpisodeGrid
from metaviz.gui.pages.layouts import page, row, slider, split
from metaviz.gui.pages.page import OnDemandPage, folder_of
from metaviz.gui.pages.scrubbed_chart import ScrubbedChart
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import (
    combo,
    connect_controls,
    offer,
    push_button,
    scrolling,
    switch,
    text_label,
    whole_number,
)
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.analysis.result_charts import (
    episode_chart,
    image_chart,
    losses_chart,
    regression_chart,
)
from metaviz.runs.model.episode import Episode
from metaviz.runs.model.labels import labels

EMPTY = (
    "Tick a trained run and press Show: what it makes of one task's images, step by step. "
    "A dot under Benchmark, Single tasks opens its task here."
)
_CAPTION = (
    "Below each query image: the class it is taken for before adaptation → after k steps, and as a "
    "bar the probability of its own class. Framed and ✗: wrong after k steps."
)
_ONE_STATE = (
    "Below each query image: the class it is taken for, and as a bar the probability of its own "
    "class. Framed and ✗: wrong. {} has no inner loop: there are no inner steps to move through."
)
_EXAMPLES = "examples and answers"
_NO_PATH = "One image's path over the inner steps."
_NO_LOSSES = "The task's losses over the inner steps."
_NO_FIT = "This task has no pictures; its losses are on the right."


class EpisodeTab(OnDemandPage):
    """A grid of images, a step to look at, and the path of the chosen image."""

    requested = Signal(object, object, int)
    export_name = "episode"
    result: Episode | None = None

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__("episode", parent)
        self._protocol = EvaluationProtocol()
        self.grid = EpisodeGrid()
        self.grid.chosen.connect(self._draw_path)
        self.fit = ChartView("episodeFit", "Predictions on the task", self)
        self.own = ScrubbedChart("episodeChart", "How the method decides on the task", self)
        self.path = ChartView("episodePath", "The chosen image's path", self)
        self.losses = ChartView("episodeLosses", "Losses of the task", self)
        self.message = text_label("episodeEmpty", text=EMPTY)
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.caption = text_label("episodeCaption", text=_CAPTION)
        self.muted = self.message, self.caption
        self._lay_out()
        self._set_step_range(0)

    def take_records(self) -> None:
        """Offer these runs."""
        offer(self.run, labels(self._records))
        self.ask_button.setEnabled(bool(self._records))

    def drawing(self) -> list[Piece]:
        """Return what draws the task at the chosen step."""
        return [self._draw]

    def chart(self) -> Chart | None:
        """Return what is shown of the task; None before a task was shown."""
        episode, own = self.result, self._own_chart()
        if episode is None or own is None:
            return None if episode is None else episode_chart(episode, self.step.value())
        named = f"{episode.label}, {episode.dataset}, task {episode.number}"
        return replace(self.own.placed(own), title=f"{own.title or own.id}\n{named}")

    def open_task(self, record: str, protocol: EvaluationProtocol, number: int) -> None:
        """Ask for a task of a run."""
        self._protocol = protocol
        self.run.setCurrentIndex(max(0, self.run.findData(record)))
        self.number.setValue(number)
        self.request()

    @Slot()
    def request(self) -> None:
        """Ask for the chosen task of the chosen run."""
        folder = folder_of(self.record_of(self.run))
        if folder is None:
            return
        self.show_busy("Adapting…")
        protocol = self._protocol.model_copy(update={"split": self.split.currentData()})
        self.requested.emit(folder, protocol, self.number.value())

    @Slot(object)
    def show_result(self, episode: Episode) -> None:
        """Show a task at the run's own number of steps."""
        self.result = episode
        self.grid.show_episode(episode if episode.has_images else None)
        self.ask_button.setEnabled(True)
        self._set_step_range(len(episode.query_loss) - 1)
        offer(self.what, {"": _EXAMPLES} | {one.id: one.title or one.id for one in episode.charts})
        self.what_label.setVisible(bool(episode.charts))
        self.what.setVisible(bool(episode.charts))
        self.caption.setText(_CAPTION if episode.has_steps else _ONE_STATE.format(episode.label))
        for widget in (*self.scrubber, self.losses):
            widget.setVisible(episode.has_steps)
        self.step.setValue(min(episode.k, self.step.maximum()))
        self._draw()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let the grid fill the width that it has."""
        if event.type() == QEvent.Type.Resize:
            self.grid.fit(self.area.viewport().width() - 4)
        return super().eventFilter(watched, event)

    def _lay_out(self) -> None:
        self.stack = QStackedWidget()
        self.area = scrolling("episodeScroll", "Images of the task", self.grid)
        self.area.setWidgetResizable(False)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.area.viewport().installEventFilter(self)
        for widget in (self.message, self.area, self.fit, self.own):
            self.stack.addWidget(widget)
        side = split("episodeSide", self.path, self.losses, upright=True, sizes=(300, 200))
        body = split("episodeBody", self.stack, side, sizes=(560, 340))
        rows = self._choices(), self._scrubber()
        page(self, *rows, self.caption, body, stretch=body, spacing=4)

    def _choices(self) -> QHBoxLayout:
        tip = "Adapt the run's stored weights to this task."
        self.ask_button = push_button("episodeShow", "Sh&ow", tip)
        self.ask_button.clicked.connect(self.request)
        self.ask_button.setEnabled(False)
        self.run = combo("episodeRun", "Run", {}, letters=18)
        splits = {"test": "test", "validation": "validation"}
        self.split = combo("episodeSplit", "Classes of the task", splits)
        tip = "Which task of the seeded list, counted from 0."
        self.number = whole_number("episodeNumber", "Number of the task", tip, (0, 1_000_000))
        self.number.setProperty("transient", True)
        self.number.editingFinished.connect(self._on_number)
        self.status.setWordWrap(False)
        self.status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        parts = self.ask_button, self.run, self.split, ("tas&k", self.number), self.status
        return row(*parts, stretch=self.status)

    def _scrubber(self) -> QHBoxLayout:
        tip = "Move through the inner steps."
        self.step = slider("episodeStep", "Inner step k", tip, transient=True, ticks=True)
        self.at = PlainLabel()
        self.at.setMinimumWidth(self.fontMetrics().horizontalAdvance("k = 00 of 00 (trained: 00)"))
        tip = "Draw the network's outputs in place of probabilities."
        self.logits = switch("episodeLogits", "lo&gits", tip)
        self.what = combo("episodeWhat", "What is shown of the task", {"": _EXAMPLES}, letters=24)
        self.what.setToolTip("The task's examples, or how the method decides on them.")
        self.what_label = PlainLabel("sho&w")
        self.what_label.setBuddy(self.what)
        self.what_label.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        connect_controls(self.redraw, self.what, self.step, self.logits)
        title = PlainLabel("i&nner step")
        title.setBuddy(self.step)
        self.scrubber = title, self.step, self.at
        shown = self.what_label, self.what
        for widget in shown:
            widget.hide()
        return row(*shown, *self.scrubber, self.logits, stretch=self.step)

    def _own_chart(self) -> Chart | None:
        """Return the chart of the method that is chosen, None for the examples."""
        charts = () if self.result is None else self.result.charts
        return next((one for one in charts if one.id == self.what.currentData()), None)

    @Slot()
    def _on_number(self) -> None:
        if self.result is not None and self.number.value() != self.result.number:
            self.request()

    def _set_step_range(self, last: int) -> None:
        self.step.setRange(0, last)
        self.step.setEnabled(last > 0)

    def _draw(self) -> None:
        episode = self.result
        own = self._own_chart()
        shown = 0 if episode is None else 1 if episode.has_images else 2
        self.stack.setCurrentIndex(shown if own is None else 3)
        self.logits.setVisible(episode is not None and episode.has_classes)
        self.caption.setVisible(episode is not None and episode.has_images and own is None)
        if episode is None:
            self.at.setText("")
            self.path.show_chart(Lines(id="episode-image", message=_NO_PATH))
            self.losses.show_chart(Lines(id="episode-losses", message=_NO_LOSSES))
            return
        k = self.step.value()
        self.at.setText(f"k = {k} of {self.step.maximum()} (trained: {episode.k})")
        if own is not None:
            self.own.show_chart(replace(own, title=""))
        elif episode.has_images:
            self.grid.show_step(k)
        elif not episode.has_classes:
            self.fit.show_chart(regression_chart(episode, k, _NO_FIT))
        self.losses.show_chart(losses_chart(episode, k))
        self._draw_path()
        self.show_status(self._summary(episode, k))

    def _summary(self, episode: Episode, k: int) -> str:
        name = f" · {episode.dataset}, task {episode.number}"
        if not episode.has_classes:
            told = [f"{loss:.3g}" for loss in episode.query_loss[[0, k]]]
            return f"query loss {' → '.join(told[not episode.has_steps :])}{name}"
        right = 100 * episode.query.right().mean(axis=1)[[0, k]]
        told = [f"{share:.0f} %" for share in right[not episode.has_steps :]]
        return f"{' → '.join(told)} right of {len(episode.query.y)} query images{name}"

    @Slot()
    def _draw_path(self) -> None:
        episode = self.result
        if episode is None:
            return
        self.path.setVisible(episode.has_classes)
        if episode.has_classes:
            number, k = self.grid.selected, self.step.value()
            chart = image_chart(episode, number, k, logits=self.logits.isChecked())
            self.path.show_chart(chart)
