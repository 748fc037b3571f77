"""One task: its images, what a run takes them for while it adapts, and one image's path."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QEvent, QObject, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.pages.episode_grid import EpisodeGrid
from metaviz.gui.plotting.plot_widget import Line, PlotPanel
from metaviz.gui.widgets.controls import combo, offer, scrolling, switch
from metaviz.gui.widgets.theme import Theme, tint
from metaviz.runs.model.episode import Episode
from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import OKABE_ITO, labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metaviz.runs.figures.base import Page

EMPTY = (
    "Tick a trained run below and press Show: what it makes of one task's images, step by step. "
    "A dot under Benchmark, Single tasks opens its task here."
)
_CAPTION = (
    "Below each query image: the class it is taken for before adaptation → after k steps, and as a "
    "bar the probability of its own class. Framed and ✗: wrong after k steps."
)
_MOST_CLASSES = 6


class EpisodeTab(QWidget):
    """A grid of images, a step to look at, and the path of the chosen image."""

    requested = Signal(object, object, int)
    export_name = "episode"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__(parent)
        self.setObjectName("episodeTab")
        self.result: Episode | None = None
        self._records: list[Record] = []
        self._protocol = EvaluationProtocol()
        self._theme: Theme | None = None
        self.grid = EpisodeGrid()
        self.grid.chosen.connect(self._draw_path)
        self.fit = PlotPanel("episodeFit", "Predictions on the task", self)
        self.path = PlotPanel("episodePath", "The chosen image's path", self)
        self.losses = PlotPanel("episodeLosses", "Losses of the task", self)
        self.message = QLabel(EMPTY)
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.message.setWordWrap(True)
        self.caption = QLabel(_CAPTION)
        self.caption.setWordWrap(True)
        self._lay_out()
        self._set_step_range(0)

    def show_records(self, records: list[Record]) -> None:
        """Offer these runs."""
        self._records = records
        offer(self.run, labels(records))
        self.show_button.setEnabled(bool(records))

    def refresh(self) -> None:
        """Keep the task that is shown: it changes on demand only."""

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        self.grid.apply_theme(theme)
        for plot in (self.fit, self.path, self.losses):
            plot.apply_theme(theme)
        for label in (self.message, self.caption):
            tint(label, theme.muted)
        self._draw()

    @property
    def shows_something(self) -> bool:
        """Whether there is a figure to draw."""
        return self.result is not None

    def figure(self, page: "Page") -> "Figure | None":
        """Draw the same for a paper; None before a task was shown."""
        if self.result is None:
            return None
        from metaviz.runs.figures.benchmark import episode_figure

        return episode_figure(self.result, self.step.value(), page)

    def open_task(self, record: str, protocol: EvaluationProtocol, number: int) -> None:
        """Ask for a task of a run."""
        self._protocol = protocol
        self.run.setCurrentIndex(max(0, self.run.findData(record)))
        self.number.setValue(number)
        self.request()

    @Slot()
    def request(self) -> None:
        """Ask for the chosen task of the chosen run."""
        record = next((r for r in self._records if r.id == self.run.currentData()), None)
        if record is None or "folder" not in record.environment:
            return
        self.show_button.setEnabled(False)
        self._say("Adapting…")
        folder = Path(record.environment["folder"])
        split = self.split.currentData()
        protocol = self._protocol.model_copy(update={"split": split})
        self.requested.emit(folder, protocol, self.number.value())

    @Slot(object)
    def show_result(self, episode: Episode) -> None:
        """Show a task at the run's own number of steps."""
        self.result = episode
        self.show_button.setEnabled(True)
        self._set_step_range(len(episode.query_loss) - 1)
        self.step.setValue(min(episode.k, self.step.maximum()))
        self.grid.show_episode(episode if episode.has_images else None)
        self._draw()

    @Slot(str)
    def show_error(self, sentence: str) -> None:
        """Say why a task cannot be shown."""
        self.show_button.setEnabled(True)
        self._say(sentence, wrong=True)

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
        for page in (self.message, self.area, self.fit):
            self.stack.addWidget(page)
        side = QSplitter(Qt.Orientation.Vertical)
        side.setObjectName("episodeSide")
        side.addWidget(self.path)
        side.addWidget(self.losses)
        side.setSizes([300, 200])
        body = QSplitter(Qt.Orientation.Horizontal)
        body.setObjectName("episodeBody")
        body.addWidget(self.stack)
        body.addWidget(side)
        body.setSizes([560, 340])
        for splitter in (side, body):
            splitter.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 2)
        layout.setSpacing(4)
        layout.addLayout(self._choices())
        layout.addLayout(self._scrubber())
        layout.addWidget(self.caption)
        layout.addWidget(body, 1)

    def _choices(self) -> QHBoxLayout:
        self.show_button = QPushButton("S&how")
        self.show_button.setObjectName("episodeShow")
        self.show_button.setToolTip("Adapt the run's stored weights to this task.")
        self.show_button.clicked.connect(self.request)
        self.show_button.setEnabled(False)
        self.run = combo("episodeRun", "Run", {})
        self.run.setMinimumContentsLength(18)
        self.split = combo(
            "episodeSplit", "Classes of the task", {"test": "test", "validation": "validation"}
        )
        self.number = QSpinBox()
        self.number.setProperty("transient", True)
        self.number.setObjectName("episodeNumber")
        self.number.setAccessibleName("Number of the task")
        self.number.setToolTip("Which task of the seeded list, counted from 0.")
        self.number.setRange(0, 1_000_000)
        self.number.editingFinished.connect(self._on_number)
        self.status = QLabel()
        self.status.setObjectName("episodeStatus")
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        self.status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout()
        row.setSpacing(8)
        label = QLabel("tas&k")
        label.setBuddy(self.number)
        for widget in (self.show_button, self.run, self.split, label, self.number):
            row.addWidget(widget)
        row.addWidget(self.status, 1)
        return row

    def _scrubber(self) -> QHBoxLayout:
        self.step = QSlider(Qt.Orientation.Horizontal)
        self.step.setProperty("transient", True)
        self.step.setObjectName("episodeStep")
        self.step.setAccessibleName("Inner step k")
        self.step.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.step.setPageStep(1)
        self.step.valueChanged.connect(self._draw)
        self.at = QLabel()
        self.at.setMinimumWidth(self.fontMetrics().horizontalAdvance("k = 00 of 00 (trained: 00)"))
        self.logits = switch(
            "episodeLogits", "lo&gits", "Draw the network's outputs in place of probabilities."
        )
        self.logits.toggled.connect(self._draw_path)
        row = QHBoxLayout()
        row.setSpacing(8)
        label = QLabel("i&nner step")
        label.setBuddy(self.step)
        for widget in (label, self.step, self.at, self.logits):
            row.addWidget(widget, 1 if widget is self.step else 0)
        return row

    @Slot()
    def _on_number(self) -> None:
        if self.result is not None and self.number.value() != self.result.number:
            self.request()

    def _set_step_range(self, last: int) -> None:
        self.step.setRange(0, last)
        self.step.setEnabled(last > 0)

    @Slot()
    def _draw(self) -> None:
        episode = self.result
        shown = 0 if episode is None else 1 if episode.has_images else 2
        self.stack.setCurrentIndex(shown)
        self.logits.setVisible(episode is not None and episode.has_classes)
        self.caption.setVisible(episode is not None and episode.has_images)
        if episode is None or self._theme is None:
            self.at.setText("")
            self.path.set_message("One image's path over the inner steps.")
            self.losses.set_message("The task's losses over the inner steps.")
            return
        k = self.step.value()
        self.at.setText(f"k = {k} of {self.step.maximum()} (trained: {episode.k})")
        if episode.has_images:
            self.grid.show_step(k)
        if not episode.has_images and not episode.has_classes:
            self._draw_fit(episode, k)
        self._draw_losses(episode)
        self._draw_path()
        self._say(self._summary(episode, k))

    def _summary(self, episode: Episode, k: int) -> str:
        name = f" · {episode.dataset}, task {episode.number}"
        if not episode.has_classes:
            losses = episode.query_loss
            return f"query loss {losses[0]:.3g} → {losses[k]:.3g}{name}"
        right = 100 * episode.query.right().mean(axis=1)
        count = len(episode.query.y)
        return f"{right[0]:.0f} % → {right[k]:.0f} % right of {count} query images{name}"

    @Slot()
    def _draw_path(self) -> None:
        episode, theme = self.result, self._theme
        if episode is None or theme is None:
            return
        self.path.setVisible(episode.has_classes)
        if not episode.has_classes:
            return
        self.path.set_message("")
        raw = self.logits.isChecked()
        number = self.grid.selected
        values = (episode.query.outputs if raw else episode.query.probabilities())[:, number]
        true = int(episode.query.y[number])
        # The true class, and those that come nearest to it at some step.
        rivals = np.argsort(-values.max(axis=0), kind="stable").tolist()
        classes = [true, *(c for c in rivals if c != true)][:_MOST_CLASSES]
        steps = np.arange(len(values), dtype=float)
        lines = [
            Line(
                f"class{place}",
                steps,
                values[:, c],
                OKABE_ITO[c % len(OKABE_ITO)],
                f"class {c + 1}{' (true)' if c == true else ''}",
                "solid" if c == true else "dash",
                width=2.0 if c == true else 1.2,
                dots=5.0,
            )
            for place, c in enumerate(classes)
        ]
        lines.append(self._cursor(values))
        self.path.set_labels(
            f"inner step k, query image {number + 1}", "logit" if raw else "probability"
        )
        self.path.draw(lines)
        self.path.set_y_range(None if raw else (0.0, 1.0))

    def _draw_losses(self, episode: Episode) -> None:
        self.losses.set_message("")
        steps = np.arange(len(episode.query_loss), dtype=float)
        both = np.stack([episode.support_loss, episode.query_loss])
        self.losses.set_labels("inner step k", "loss of the task")
        self.losses.draw(
            [
                Line("support", steps, both[0], "#0072B2", "support", "dash", 1.5, dots=4.0),
                Line("query", steps, both[1], "#D55E00", "query", "solid", 2.0, dots=4.0),
                self._cursor(both),
            ]
        )

    def _draw_fit(self, episode: Episode, k: int) -> None:
        self.fit.set_message("")
        if episode.query.x.shape[-1] != 1 or episode.query.x.ndim > 2:  # noqa: PLR2004 - a column
            self.fit.set_message("This task has no pictures; its losses are on the right.")
            self.fit.draw([])
            return
        support, query = episode.support, episode.query
        order = np.argsort(query.x[:, 0])
        x, truth, predicted = query.x[order, 0], query.y[order, 0], query.outputs[:, order, 0]
        here = f"k = {k}"
        self.fit.set_labels("x", "y")
        self.fit.draw(
            [
                Line("query", x, truth, "#7F7F7F", "query points", width=0, dots=4.0),
                Line("before", x, predicted[0], "#56B4E9", "k = 0", "dot"),
                Line("after", x, predicted[k], "#D55E00", here, width=2.0),
                Line(
                    "support",
                    support.x[:, 0],
                    support.y[:, 0],
                    "#0072B2",
                    "support points",
                    width=0,
                    dots=8.0,
                ),
            ]
        )

    def _cursor(self, values: np.ndarray) -> Line:
        """Return the upright line at the step that is shown."""
        finite = values[np.isfinite(values)]
        ends = np.array([finite.min(initial=0.0), finite.max(initial=1.0)])
        muted = self._theme.muted if self._theme else "#808080"
        return Line("cursor", np.full(2, float(self.step.value())), ends, muted, "", "dot", 1.2)

    def _say(self, sentence: str, *, wrong: bool = False) -> None:
        self.status.setText(sentence)
        self.status.setToolTip(sentence)
        if self._theme is not None:
            tint(self.status, self._theme.error if wrong else self._theme.muted)
