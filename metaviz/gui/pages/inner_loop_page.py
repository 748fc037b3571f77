"""What adaptation does, step by step, on the fixed evaluation tasks, and on one sinusoid."""

from dataclasses import replace

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import QHBoxLayout, QLayout, QWidget

from metaviz.charts.values import Lines, Panels
from metaviz.config.quantities import unit_of
from metaviz.gui.pages.layouts import column, flow, follow, page, row, slider, split
from metaviz.gui.pages.page import PlotPage
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.plotting.legend import Legend
from metaviz.gui.widgets.controls import (
    choose_silently,
    combo,
    connect_controls,
    offer,
    push_button,
    scrolling,
    switch,
    text_label,
    whole_number,
)
from metaviz.gui.widgets.plain_text import PlainLabel, plain_tip
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.analysis.curve_charts import (
    draws_tasks,
    fan,
    fan_tasks,
    inner_chart,
    inner_charts,
)
from metaviz.runs.analysis.curves import (
    QUANTITY_TITLES,
    InnerCurve,
    InnerQuantity,
    InnerView,
    Quantity,
    as_judged,
    evaluation_text,
    has_positive,
    inner_curves,
    judged_by_returns,
)
from metaviz.runs.model.labels import labels
from metaviz.runs.model.statistics import interval_text

EMPTY = (
    "Press Run (Ctrl+Return): before the first meta-step and then at every evaluation,\n"
    "the loss after 0, 1, 2, … inner steps appears here."
)
NO_NORM = "‖∇L_S‖ at each inner step appears here."
NONE_DRAWN = "This problem draws no functions; the curves above tell what adaptation does."
WAITING = "Truth, support points and predictions after each inner step appear here."
_PLAY_MS = 350
_ALL = 0
_BETWEEN = "   ·   "

_LOSSES = {
    "query_loss": "Query loss",
    "support_loss": "Support loss",
    "query_accuracy": "Query accuracy",
    "query_return": "Query return",
    "support_return": "Support return",
}


class InnerTab(PlotPage):
    """Loss and gradient norm against the inner step k, a k scrubber, and the sinusoid fan."""

    export_name = "inner"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show empty plots."""
        super().__init__("inner", parent)
        self.legend = Legend(self)
        self.loss = ChartView("innerLossPlot", "Loss against the inner step", legend=self.legend)
        self.norm = ChartView("innerNormPlot", "Gradient norm against the inner step")
        self._by_returns = False
        self._timer = QTimer(self)
        self._timer.setInterval(_PLAY_MS)
        self._timer.timeout.connect(self._advance)
        above = split("innerPlots", self.loss, self.norm)
        self.fan = self._fan_box()
        body = split("innerBody", above, self.fan, upright=True, sizes=(330, 270))
        self.readout = text_label("innerReadout")
        self.readout.setAlignment(Qt.AlignmentFlag.AlignTop)
        plots = scrolling("innerScroll", "Plots of the inner loop", body)
        parts = self._controls(), self.legend, plots, self._scrubber(), self.readout
        page(self, *parts, stretch=plots)

    def take_records(self) -> None:
        """Offer the runs' predictions, and as many evaluations as there are.

        Where all are judged by returns these are shown in place of losses, until others are chosen.
        """
        by_returns = judged_by_returns(self._records)
        if by_returns != self._by_returns:
            self._by_returns = by_returns
            now: Quantity = self.quantity.currentData()
            choose_silently(self.quantity, as_judged(now, by_returns=by_returns))
        offer(self.run, labels(self._records))
        follow(self.evaluation, max((len(r.evaluations) for r in self._records), default=0) - 1)

    def chart(self) -> Panels:
        """Return loss and gradient norm beside each other."""
        chosen: tuple[InnerQuantity, ...] = (self.quantity.currentData(), "gradient_norm")
        return inner_charts(self._records, [self._view(name) for name in chosen])

    def drawing(self) -> list[Piece]:
        """Return what draws the two plots, and what stands at the chosen step."""
        return [self._draw_loss, self._draw_norm, self._show_k]

    def _draw_loss(self) -> None:
        view = self._view(self.quantity.currentData())
        chart = inner_chart(self._records, view, message=EMPTY)
        self.loss.show_chart(chart)
        self.legend.setVisible(bool(chart.series))
        last = max((len(one.x) - 1 for one in chart.series), default=0)
        self.k.setMaximum(last)
        for widget in (self.k, self.play):
            widget.setEnabled(last > 0)

    def _draw_norm(self) -> None:
        view = self._view("gradient_norm")
        self.norm.show_chart(inner_chart(self._records, view, labelled=False, message=NO_NORM))

    def _controls(self) -> QLayout:
        self.quantity = combo("innerQuantity", "Quantity", _LOSSES)
        self.log_y = switch("innerLogY", "log &y", "Logarithmic vertical axes.", on=True)
        tip = "Interval of the mean over the evaluation tasks."
        self.interval = switch("innerBand", "95 % &band", tip, on=True)
        title = "Largest inner step shown"
        tip = f"{title}; all shows every run to its end."
        self.limit = whole_number("innerLimit", title, tip, (_ALL, 100_000), 10)
        self.limit.setSpecialValueText("all")
        tip = "Go back to earlier evaluations of the same tasks; the number is the meta-step."
        self.evaluation = slider("innerEvaluation", "Evaluation shown", tip, transient=True)
        self.evaluation.setMinimumWidth(80)
        self.evaluation_text = PlainLabel()
        looks = self.quantity, self.log_y, self.interval
        connect_controls(self.redraw, *looks, self.limit, self.evaluation)
        when = ("a&t meta-step", self.evaluation), self.evaluation_text
        return flow(*looks, ("&k up to", self.limit), *when, stretch=self.evaluation)

    def _scrubber(self) -> QHBoxLayout:
        tip = "Step k forward by itself."
        self.play = push_button("innerPlay", "P&lay", tip, "Play the inner steps")
        self.play.setCheckable(True)
        self.play.toggled.connect(self._play)
        tip = "Move through the inner steps."
        self.k = slider("innerK", "Inner step k", tip, transient=True, ticks=True)
        connect_controls(self._show_k, self.k)
        self.k_text = PlainLabel("k = 0")
        self.k_text.setMinimumWidth(60)
        return row(self.play, self.k_text, self.k, spacing=6, stretch=self.k)

    def _view(self, quantity: InnerQuantity) -> InnerView:
        return InnerView(
            quantity=quantity,
            log_y=self.log_y.isChecked() and has_positive(quantity),
            evaluation=self.evaluation.value() - self.evaluation.maximum() - 1,
            show_interval=self.interval.isChecked(),
            max_k=self.limit.value() or None,
        )

    @Slot()
    def _show_k(self) -> None:
        k = self.k.value()
        self.k_text.setText(f"k = {k}")
        view = self._view(self.quantity.currentData())
        curves = inner_curves(self._records, view)
        for plot in (self.loss, self.norm):
            plot.set_cursor(k if curves else None)
        steps = {curve.step for curve in curves}
        self.evaluation_text.setText(" / ".join(map(str, sorted(steps))))
        parts = [
            _value(curve, k, unit_of(view.quantity))
            + ("" if len(steps) == 1 else f" (meta-step {curve.step})")
            for curve in curves
        ]
        title = f"{evaluation_text(curves)} {QUANTITY_TITLES[view.quantity]}"
        text = f"{title} after {k} inner steps:   " + _BETWEEN.join(parts) if parts else ""
        self.readout.setText(self._shortened(text))
        self.readout.setToolTip(plain_tip(text))
        if text:
            self.loss.setAccessibleDescription(text)
        self._draw_fan()

    def _fan_box(self) -> QWidget:
        self.fan_plot = ChartView("fanPlot", "Predictions on one sinusoid task")
        self.run = combo("fanRun", "Run", {}, letters=14)
        tip = "Which of the drawn evaluation tasks is shown."
        self.task = whole_number("fanTask", "Task", tip, (1, 1))
        self.caption = PlainLabel()
        connect_controls(self._draw_fan, self.run, self.task)
        choices = ("run", self.run), ("on ta&sk", self.task), self.caption, None
        return column(None, row(*choices, spacing=6), self.fan_plot, stretch=self.fan_plot)

    @Slot()
    def _draw_fan(self) -> None:
        """Draw the chosen run, task and evaluation, the prediction after the chosen step bold."""
        record, at = self.record_of(self.run), self._view("query_loss").evaluation
        shown = fan(record, self.task.value() - 1, at) if record else None
        evaluated = any(record.evaluations for record in self._records)
        drawn = any(map(draws_tasks, self._records))
        self.fan.setVisible(drawn or not evaluated)
        self.task.setEnabled(shown is not None)
        if shown is None or shown.slider is None or record is None:
            message = NONE_DRAWN if evaluated else WAITING
            self.fan_plot.show_chart(Lines(id="fan", message=message))
            self.caption.setText("")
            return
        tasks, k = fan_tasks(record), min(self.k.value(), shown.slider.count - 1)
        self.task.setMaximum(tasks)
        when = shown.title.rpartition(", ")[2]
        self.caption.setText(
            "; ".join(filter(None, [f"of {tasks}, at {when}, k = {k}", shown.caption]))
        )
        self.fan_plot.show_chart(replace(shown, title="", caption=""), place=k)

    def _shortened(self, text: str) -> str:
        """Cut what does not fit into two lines; the tooltip holds it all."""
        metrics, room = self.readout.fontMetrics(), 1.8 * max(self.width(), 300)
        parts = text.split(_BETWEEN)
        kept = len(parts)
        while kept > 1 and metrics.horizontalAdvance(_BETWEEN.join(parts[:kept])) > room:
            kept -= 1
        left = len(parts) - kept
        return _BETWEEN.join(parts[:kept]) + (f"{_BETWEEN}and {left} more" if left else "")

    @Slot(bool)
    def _play(self, on: bool) -> None:
        self.play.setText("Pa&use" if on else "P&lay")
        (self._timer.start if on else self._timer.stop)()

    @Slot()
    def _advance(self) -> None:
        self.k.setValue(0 if self.k.value() >= self.k.maximum() else self.k.value() + 1)


def _value(curve: InnerCurve, k: int, unit: float) -> str:
    if k >= len(curve.k):
        return f"{curve.label} was evaluated to k = {len(curve.k) - 1}"
    mean, half = (unit * values[k] for values in (curve.mean, curve.ci95))
    return f"{curve.label} {interval_text(mean, half)}"
