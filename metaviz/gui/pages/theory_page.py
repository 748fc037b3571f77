"""The Theory page: what the theory says of a run, with what it assumes and the numbers checked."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.charts.values import Chart, Lines
from metaviz.gui.pages.layouts import flow, follow, page, row, slider
from metaviz.gui.pages.page import PlotPage, folder_of
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import (
    combo,
    connect_controls,
    offer,
    push_button,
    scrolling,
    switch,
    text_label,
)
from metaviz.gui.widgets.layouts import alternatives
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.analysis.meta_gradient_charts import (
    InnerQuadratic,
    expansion_charts,
    expansion_text,
    inner_quadratic,
    over_training_charts,
    over_training_text,
    prior_charts,
    prior_text,
)
from metaviz.runs.analysis.optimality import (
    LINEAR,
    History,
    WhatIf,
    has_tables,
    history,
    singular_text,
)
from metaviz.runs.analysis.optimality_charts import (
    example_charts,
    example_text,
    optimality_charts,
)
from metaviz.runs.analysis.replay_charts import (
    Place,
    after_inner,
    after_outer,
    last_inner,
    replay_charts,
    replay_text,
)
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.model.theory import Expanded, ExpandedOverTraining, MeasuredAccuracy, Replay
from metaviz.theory.errors import NoAnswerError

VIEWS = {
    "example": "Stationary, not optimal",
    "optimality": "Optimality",
    "expansion": "Expansion",
    "prior": "Prior and K",
    "replay": "Step by step",
}
_NO_LOOP = "Tick a run of a method with an inner loop of gradient steps, like MAML."
_TO_EXPAND = (
    "Press Compute: the meta-gradients of MAML, first-order MAML and Reptile\n"
    "at this run's weights are compared with their expansion in the step size."
)
_TO_MEASURE = (
    "Press Measure: the support Hessian of this run's first task is needed,\n"
    "which takes up to a minute."
)
_TO_REPLAY = (
    "Press Replay: the first meta-steps of this run are taken again,\n"
    "to be walked through inner step by inner step."
)
_PLAY_MS = 900
_NO_MINIMUM = "L keeps falling as its weights grow: there is no optimum to compare with."
_HUNDREDTHS, _MIDDLE, _DECADE = 100, 50, 50


@dataclass(frozen=True)
class _Shown:
    """A chart, and what is said below it; without a chart that is why there is none."""

    chart: Chart | None
    text: str


class TheoryTab(PlotPage):
    """Five views: an example, optimality, expansion, implicit prior, and a run step by step."""

    requested = Signal(str, object)
    export_name = "theory"
    lazy = True
    stands_alone = True

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show the example, which needs no run."""
        super().__init__("theory", parent)
        self._expanded: Expanded | ExpandedOverTraining | None = None
        self._measured: MeasuredAccuracy | None = None
        self._replay: Replay | None = None
        self._place = Place()
        self._busy = False
        self._timer = QTimer(self)
        self._timer.setInterval(_PLAY_MS)
        self._timer.timeout.connect(self._take_inner)
        self.plots = {
            name: ChartView(f"theory_{name}", f"{title} in charts", self)
            for name, title in VIEWS.items()
        }
        self.stack, self._pages = alternatives(*self.plots.values(), parent=self)
        self.text = text_label("theoryText")
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        told = scrolling("theoryTold", "What the view assumes", self.text)
        told.setFixedHeight(4 * self.text.fontMetrics().lineSpacing())
        self.muted = (self.text,)
        top = self._chooser()
        self.options, self._option_pages = alternatives(
            *(self._of_example(), self._of_optimality()),
            *(self._of_expansion(), self._of_prior(), self._of_replay()),
            parent=self,
        )
        self.status.hide()
        page(self, top, self.options, self.status, self.stack, told, stretch=self.stack)

    @property
    def view(self) -> str:
        """The view that is shown."""
        return str(self.what.currentData())

    def take_records(self) -> None:
        """Offer the runs that the view can be drawn of."""
        fitting = [one for one in self._records if self._fits(one)]
        names = labels(fitting)
        offer(self.run, names)
        record = self.record_of(self.run)
        found = self._history(record)
        follow(self.evaluation, len(found.judged) - 1 if found is not None else 0)

    def chart(self) -> Chart:
        """Return what the view shows; where there is nothing the example."""
        return self._shown().chart or example_charts(self._eta)

    def drawing(self) -> list[Piece]:
        """Return what draws the view."""
        return [self._draw]

    @Slot(object)
    def show_result(
        self, found: Expanded | ExpandedOverTraining | MeasuredAccuracy | Replay
    ) -> None:
        """Show what was computed of a run."""
        self._busy = False
        if isinstance(found, Expanded | ExpandedOverTraining):
            self._expanded = found
        elif isinstance(found, Replay):
            self._replay, self._place = found, Place()
        else:
            self._measured = found
        self.show_status("")
        self.redraw()

    @Slot(str)
    def show_progress(self, sentence: str) -> None:
        """Say how far the computation is."""
        self.show_status(sentence)

    @Slot(str)
    def show_error(self, sentence: str) -> None:
        """Say why there is no result."""
        self._busy = False
        self.show_status(sentence, wrong=True)
        self.redraw()

    def show_status(self, sentence: str, *, wrong: bool = False) -> None:
        """Say what the page does, or what went wrong; nothing takes no room."""
        super().show_status(sentence, wrong=wrong)
        self.status.setVisible(bool(sentence))

    def _chooser(self) -> QWidget:
        self.what = combo("theoryView", "View", VIEWS, "What the theory is asked.")
        self.run = combo("theoryRun", "Run", {}, letters=28)
        self.what.currentIndexChanged.connect(self._take_view)
        connect_controls(self._take_run, self.run)
        self.of = PlainLabel("&of")
        self.of.setBuddy(self.run)
        box = QWidget(self)
        flow(("sho&w", self.what), self.of, self.run, inside=box)
        return box

    def _of_example(self) -> QWidget:
        tip = "Step size of adaptation, from 0.1 to 10."
        self.eta = slider("theoryEta", "Step size η", tip)
        self.eta.setRange(10, 1000)
        self.eta.setValue(400)
        self.eta.setEnabled(True)
        self.eta_text = PlainLabel()
        connect_controls(self.redraw, self.eta)
        return _strip("step si&ze η", self.eta, self.eta_text)

    def _of_optimality(self) -> QWidget:
        tip = "Go back to earlier evaluations; the number is the meta-step."
        self.evaluation = slider("theoryEvaluation", "Evaluation shown", tip, transient=True)
        self.evaluation_text = PlainLabel()
        self.evaluation_text.setMinimumWidth(50)
        losses = {"": "as trained", "squared": "squared", "logistic": "logistic"}
        self.loss = combo("theoryLoss", "Loss", losses, "Judge the same points by another loss.")
        tip = "Give all tasks one marginal of x, the mean of theirs."
        self.shared = switch("theoryShared", "one &marginal", tip)
        connect_controls(self.redraw, self.evaluation, self.loss, self.shared)
        box = QWidget(self)
        when = ("a&t meta-step", self.evaluation), self.evaluation_text
        flow(*when, ("&loss", self.loss), self.shared, inside=box, stretch=self.evaluation)
        return box

    def _of_expansion(self) -> QWidget:
        tip = "Compute the meta-gradients of all orderings of minibatches; takes seconds."
        self.expand = push_button("theoryExpand", "Comp&ute", tip, "Compute the expansion")
        self.expand.clicked.connect(self._ask_expansion)
        tip = (
            "The same at the run's first meta-steps, which are taken again, and at its "
            "checkpoints; takes up to a minute."
        )
        self.over = push_button("theoryOver", "Over trai&ning", tip, "Expand over training")
        self.over.clicked.connect(self._ask_over_training)
        box = QWidget(self)
        row(self.expand, self.over, None, inside=box)
        return box

    def _of_prior(self) -> QWidget:
        tip = "Step size, from a tenth of the run's to ten times as much."
        self.alpha = slider("theoryAlpha", "Step size", tip, transient=True)
        self.alpha.setRange(0, _HUNDREDTHS)
        self.alpha.setValue(_MIDDLE)
        self.alpha.setEnabled(True)
        self.alpha_text = PlainLabel()
        tip = "Number of inner steps."
        self.steps = slider("theoryK", "Inner steps K", tip, transient=True)
        self.steps.setRange(0, _HUNDREDTHS)
        self.steps.setEnabled(True)
        self.steps_text = PlainLabel()
        tip = "Compute the support Hessian, and errors of meta-gradients against K; up to a minute."
        self.measure = push_button("theoryMeasure", "Meas&ure", tip, "Measure accuracy against K")
        self.measure.clicked.connect(self._ask_accuracy)
        connect_controls(self.redraw, self.alpha, self.steps)
        box = QWidget(self)
        parts = ("&α", self.alpha), self.alpha_text, ("&K", self.steps), self.steps_text
        flow(*parts, self.measure, inside=box)
        return box

    def _of_replay(self) -> QWidget:
        tip = "Take the first meta-steps of the run again."
        self.again = push_button("theoryReplay", "Repla&y", tip, "Replay the run")
        self.again.clicked.connect(self._ask_replay)
        tip = "One inner step; behind the last one comes the meta-step."
        self.inner = push_button("theoryInner", "&Inner step", tip)
        self.inner.clicked.connect(self._take_inner)
        self.outer = push_button("theoryOuter", "Meta-s&tep", "To the next meta-step.")
        self.outer.clicked.connect(self._take_outer)
        tip = "One step after the other, slowly."
        self.play = push_button("theoryPlay", "P&lay", tip, "Play the steps")
        self.play.setCheckable(True)
        self.play.toggled.connect(self._play)
        box = QWidget(self)
        flow(self.again, self.inner, self.outer, self.play, inside=box)
        return box

    @property
    def _eta(self) -> float:
        return self.eta.value() / _HUNDREDTHS

    def _fits(self, record: Record) -> bool:
        if self.view == "optimality":
            return has_tables(record)
        return record.traits.has_inner_loop

    @Slot()
    def _take_view(self) -> None:
        self._pages.setCurrentIndex(self.what.currentIndex())
        self._option_pages.setCurrentIndex(self.what.currentIndex())
        for widget in (self.of, self.run):
            widget.setVisible(self.view != "example")
        self.take_records()
        self.redraw()

    @Slot()
    def _take_run(self) -> None:
        self.take_records()
        self.redraw()

    @Slot()
    def _ask_expansion(self) -> None:
        self._ask("expansion")

    @Slot()
    def _ask_over_training(self) -> None:
        self._ask("over_training")

    @Slot()
    def _ask_accuracy(self) -> None:
        self._ask("accuracy")

    @Slot()
    def _ask_replay(self) -> None:
        self._ask("replay")

    @Slot()
    def _take_inner(self) -> None:
        if self._replay is not None:
            self._place = after_inner(self._replay, self._place)
            self.redraw()

    @Slot()
    def _take_outer(self) -> None:
        if self._replay is not None:
            last = last_inner(self._replay, self._place)
            ended = self._place.inner > last
            to_end = replace(self._place, inner=last + 1)
            self._place = after_outer(self._replay, self._place) if ended else to_end
            self.redraw()

    @Slot(bool)
    def _play(self, on: bool) -> None:
        self.play.setText("Pa&use" if on else "P&lay")
        (self._timer.start if on else self._timer.stop)()

    def _ask(self, kind: str) -> None:
        folder = folder_of(self.record_of(self.run))
        if folder is not None and not self._busy:
            self._busy = True
            self.show_status("Computing…")
            self._enable()
            self.requested.emit(kind, folder)

    def _enable(self) -> None:
        record = self.record_of(self.run)
        able = folder_of(record) is not None and not self._busy
        for button in (self.expand, self.over, self.measure, self.again):
            button.setEnabled(able)
        walks = self._replay is not None and record is not None and self._replay.run == record.id
        for button in (self.inner, self.outer, self.play):
            button.setEnabled(walks)

    def _draw(self) -> None:
        for widget in (self.of, self.run):
            widget.setVisible(self.view != "example")
        self._enable()
        self.eta_text.setText(f"{self._eta:.2f}")
        shown = self._shown()
        chart = shown.chart or Lines(id=f"theory-{self.view}", message=shown.text)
        self.plots[self.view].show_chart(chart)
        self.text.setText(shown.text if shown.chart is not None else "")

    def _shown(self) -> _Shown:
        makers: dict[str, Callable[[], _Shown]] = {
            "example": lambda: _Shown(example_charts(self._eta), example_text(self._eta)),
            "optimality": self._of_optimum,
            "expansion": self._of_expanded,
            "prior": self._of_measured,
            "replay": self._of_replayed,
        }
        return makers[self.view]()

    def _change(self) -> WhatIf:
        loss = self.loss.currentData() or None
        return WhatIf(loss, self.shared.isChecked())

    def _history(self, record: Record | None) -> History | None:
        if record is None or self.view != "optimality":
            return None
        return history(record, self._change())

    def _of_optimum(self) -> _Shown:
        record = self.record_of(self.run)
        if record is None:
            return _Shown(None, LINEAR.missing)
        found = self._history(record)
        if found is None:
            return _Shown(None, _NO_MINIMUM)
        place = min(self.evaluation.value(), len(found.judged) - 1)
        self.evaluation_text.setText(str(found.judged[place].step))
        fitting = [one for one in self._records if has_tables(one)]
        chart = optimality_charts(found, place, fitting, self._change())
        dropped = found.judged[place].found.dropped
        # What does not hold comes first: not all lines are in sight.
        told = sorted(found.assumptions(place), key=lambda one: one.holds)
        words = [*(one.text for one in told), singular_text(found.risk)]
        if dropped:
            words.append(f"{dropped} points where w is 0 are left out of the norm.")
        return _Shown(chart, "\n".join(words))

    def _of_expanded(self) -> _Shown:
        record = self.record_of(self.run)
        if record is None:
            return _Shown(None, _NO_LOOP)
        found = self._expanded
        if found is None or found.run != record.id:
            return _Shown(None, _TO_EXPAND)
        if isinstance(found, ExpandedOverTraining):
            return _Shown(over_training_charts(found), over_training_text(found))
        return _Shown(expansion_charts(found), expansion_text(found))

    def _of_measured(self) -> _Shown:
        record = self.record_of(self.run)
        if record is None:
            return _Shown(None, _NO_LOOP)
        measured = self._measured
        measured = measured if measured is not None and measured.run == record.id else None
        inner = inner_quadratic(record, measured)
        if inner is None:
            return _Shown(None, _TO_MEASURE)
        inner = self._slid(inner)
        try:
            return _Shown(prior_charts(inner, measured), prior_text(inner, measured))
        except NoAnswerError as error:
            return _Shown(None, f"{error}.")

    def _of_replayed(self) -> _Shown:
        record, found = self.record_of(self.run), self._replay
        if record is None:
            return _Shown(None, _NO_LOOP)
        if found is None or found.run != record.id:
            return _Shown(None, _TO_REPLAY)
        return _Shown(replay_charts(found, self._place), replay_text(found, self._place))

    def _slid(self, inner: InnerQuadratic) -> InnerQuadratic:
        """Return the inner loss with the step size and number of steps of the sliders.

        K at 0 stands for the run's own.
        """
        rate = inner.rate * 10 ** ((self.alpha.value() - _MIDDLE) / _DECADE)
        steps = self.steps.value() or inner.steps
        self.alpha_text.setText(f"{rate:.3g}")
        self.steps_text.setText(str(steps))
        return replace(inner, rate=rate, steps=steps)


def _strip(text: str, control: QWidget, told: QWidget) -> QWidget:
    box = QWidget()
    row((text, control), told, inside=box, stretch=control)
    return box
