"""What adaptation does, step by step, on the fixed evaluation tasks."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QSpinBox,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from metaviz.charts.thinning import has_logarithms
from metaviz.gui.pages.page import EvaluatedPage
from metaviz.gui.pages.sinusoid_plot import FanPlot
from metaviz.gui.plotting.legend import Legend
from metaviz.gui.plotting.plot_widget import Band, Line, PlotPanel
from metaviz.gui.widgets.controls import combo, scrolling, switch
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.curves import (
    QUANTITY_TITLES,
    InnerCurve,
    InnerQuantity,
    InnerView,
    band_alpha,
    inner_curves,
    moment_text,
)
from metaviz.runs.model.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metaviz.runs.figures.base import Page

EMPTY = (
    "Press Run (Ctrl+Return): before the first meta-step and then at every evaluation,\n"
    "the loss after 0, 1, 2, … inner steps appears here."
)
_PLAY_MS = 350
_ALL = 0
_BETWEEN = "   ·   "

_LOSSES = {
    "query_loss": "Query loss",
    "support_loss": "Support loss",
    "query_accuracy": "Query accuracy",
}


class InnerTab(EvaluatedPage):
    """Loss and gradient norm against the inner step k, a k scrubber, and the sinusoid fan."""

    export_name = "inner"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show empty plots."""
        super().__init__(parent)
        self.setObjectName("innerTab")
        self.legend = Legend(self)
        self.loss = PlotPanel(
            "innerLossPlot", "Loss against the inner step", self, legend=self.legend
        )
        self.norm = PlotPanel("innerNormPlot", "Gradient norm against the inner step", self)
        self.fan = FanPlot(self)
        self._markers = {
            plot: pg.InfiniteLine(angle=90, movable=False) for plot in (self.loss, self.norm)
        }
        self._trained: dict[PlotPanel, list[pg.InfiniteLine]] = {self.loss: [], self.norm: []}
        self._marked: dict[PlotPanel, list[int]] = {}
        for plot, marker in self._markers.items():
            marker.setZValue(20)
            plot.addItem(marker, ignoreBounds=True)
        self._timer = QTimer(self)
        self._timer.setInterval(_PLAY_MS)
        self._timer.timeout.connect(self._advance)
        self._lay_out()

    def show_records(self, records: list[Record]) -> None:
        """Show these runs."""
        self._records = records
        self.fan.show_records(records)
        self.redraw()

    def _drawing(self) -> list[Piece]:
        return [self._draw_loss, self._draw_norm, self._show_k]

    def _draw_loss(self) -> None:
        self._follow_evaluations()
        curves = self._draw(self.loss, self._view(self.quantity.currentData()))
        self.legend.setVisible(bool(curves))
        self.loss.set_message("" if curves else EMPTY)
        last = max((len(curve.k) - 1 for curve in curves), default=0)
        self.k.setMaximum(last)
        for widget in (self.k, self.play):
            widget.setEnabled(last > 0)
        for marker in self._markers.values():
            marker.setVisible(bool(curves))

    def _draw_norm(self) -> None:
        curves = self._draw(self.norm, self._view("gradient_norm"))
        self.norm.set_message("" if curves else "‖∇L_S‖ at each inner step appears here.")

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        for plot in (self.loss, self.norm):
            plot.apply_theme(theme)
            self._markers[plot].setPen(pg.mkPen(theme.accent, width=2))
        self.fan.apply_theme(theme)
        self._trained_pen = pg.mkPen(theme.muted, style=Qt.PenStyle.DotLine)
        self._marked.clear()
        self.redraw()

    def figure(self, page: "Page") -> "Figure":
        """Draw the same for a paper."""
        from metaviz.runs.figures.base import inner_figure

        quantities: tuple[InnerQuantity, ...] = (self.quantity.currentData(), "gradient_norm")
        return inner_figure(self._records, [self._view(name) for name in quantities], page)

    def _lay_out(self) -> None:
        self._trained_pen = pg.mkPen(style=Qt.PenStyle.DotLine)
        above = QSplitter(Qt.Orientation.Horizontal, self)
        above.setObjectName("innerPlots")
        above.addWidget(self.loss)
        above.addWidget(self.norm)
        body = QSplitter(Qt.Orientation.Vertical, self)
        body.setObjectName("innerBody")
        body.addWidget(above)
        body.addWidget(self.fan)
        body.setSizes([330, 270])
        body.setChildrenCollapsible(False)
        above.setMinimumHeight(170)
        self.fan.setMinimumHeight(190)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 2)
        layout.addLayout(self._controls())
        layout.addWidget(self.legend)
        layout.addWidget(scrolling("innerScroll", "Plots of the inner loop", body), 1)
        layout.addLayout(self._scrubber())
        self.readout = QLabel()
        self.readout.setObjectName("innerReadout")
        self.readout.setTextFormat(Qt.TextFormat.PlainText)
        self.readout.setWordWrap(True)
        self.readout.setAlignment(Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self.readout)

    def _controls(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self.quantity = combo("innerQuantity", "Quantity", _LOSSES)
        self.log_y = switch("innerLogY", "log &y", "Logarithmic vertical axes.")
        self.log_y.setChecked(True)
        self.interval = switch(
            "innerBand", "95 % &band", "Interval of the mean over the evaluation tasks."
        )
        self.interval.setChecked(True)
        self.limit = QSpinBox()
        self.limit.setObjectName("innerLimit")
        self.limit.setAccessibleName("Largest inner step shown")
        self.limit.setToolTip("Largest inner step shown; all shows every run to its end.")
        self.limit.setRange(_ALL, 100_000)
        self.limit.setSpecialValueText("all")
        self.limit.setValue(10)
        self.evaluation = QSlider(Qt.Orientation.Horizontal)
        self.evaluation.setProperty("transient", True)
        self.evaluation.setObjectName("innerEvaluation")
        self.evaluation.setAccessibleName("Evaluation shown")
        self.evaluation.setToolTip(
            "Go back to earlier evaluations of the same tasks; the number is the meta-step."
        )
        self.evaluation.setMinimumWidth(80)
        self.evaluation_text = QLabel()
        limit_label, evaluation_label = QLabel("&k up to"), QLabel("&at meta-step")
        limit_label.setBuddy(self.limit)
        evaluation_label.setBuddy(self.evaluation)
        for widget in (self.quantity, self.log_y, self.interval, limit_label, self.limit):
            row.addWidget(widget)
        row.addWidget(evaluation_label)
        row.addWidget(self.evaluation)
        row.addWidget(self.evaluation_text)
        row.setStretchFactor(self.evaluation, 1)
        self.quantity.currentIndexChanged.connect(self.redraw)
        self.limit.valueChanged.connect(self.redraw)
        self.evaluation.valueChanged.connect(self.redraw)
        for box in (self.log_y, self.interval):
            box.toggled.connect(self.redraw)
        return row

    def _scrubber(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self.play = QPushButton("&Play")
        self.play.setObjectName("innerPlay")
        self.play.setAccessibleName("Play the inner steps")
        self.play.setToolTip("Step k forward by itself.")
        self.play.setCheckable(True)
        self.play.toggled.connect(self._play)
        self.k = QSlider(Qt.Orientation.Horizontal)
        self.k.setProperty("transient", True)
        self.k.setObjectName("innerK")
        self.k.setAccessibleName("Inner step k")
        self.k.setToolTip("Move through the inner steps.")
        self.k.setPageStep(1)
        self.k.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.k.valueChanged.connect(self._show_k)
        self.k_text = QLabel("k = 0")
        self.k_text.setMinimumWidth(60)
        for widget in (self.play, self.k_text, self.k):
            row.addWidget(widget)
        row.setStretchFactor(self.k, 1)
        return row

    def _view(self, quantity: InnerQuantity) -> InnerView:
        return InnerView(
            quantity=quantity,
            log_y=self.log_y.isChecked() and quantity != "query_accuracy",
            evaluation=self.evaluation.value() - self.evaluation.maximum() - 1,
            show_interval=self.interval.isChecked(),
            max_k=self.limit.value() or None,
        )

    def _follow_evaluations(self) -> None:
        """Let the slider reach every evaluation, and stay at the newest if it was there."""
        count = max((len(record.evaluations) for record in self._records), default=0)
        newest = self.evaluation.value() == self.evaluation.maximum()
        self.evaluation.blockSignals(True)
        self.evaluation.setMaximum(max(0, count - 1))
        if newest:
            self.evaluation.setValue(self.evaluation.maximum())
        self.evaluation.blockSignals(False)
        self.evaluation.setEnabled(count > 1)

    def _draw(self, plot: PlotPanel, view: InnerView) -> list[InnerCurve]:
        curves = inner_curves(self._records, view)
        view = replace(view, log_y=view.log_y and has_logarithms([c.mean for c in curves]))
        plot.set_log(x=False, y=view.log_y)
        title = "gradient norm" if plot is self.norm else QUANTITY_TITLES[view.quantity]
        plot.set_labels("inner step k", title)
        lines = [
            Line(
                curve.run,
                curve.k.astype(float),
                curve.mean,
                curve.style.color,
                curve.label if plot is self.loss else "",
                curve.style.dash,
                width=2.0,
                dots=5.0 if len(curve.k) <= _MANY_STEPS else 0.0,
            )
            for curve in curves
        ]
        bands = [inner_band(curve, len(curves)) for curve in curves] if view.show_interval else []
        plot.set_y_range(inner_limits(curves, view))
        plot.draw(lines, bands)
        self._mark_trained(plot, curves)
        return curves

    def _mark_trained(self, plot: PlotPanel, curves: list[InnerCurve]) -> None:
        last = max((len(curve.k) - 1 for curve in curves), default=0)
        steps = sorted({curve.trained_steps for curve in curves if curve.trained_steps <= last})
        if steps == self._marked.get(plot):
            return
        self._marked[plot] = steps
        for old in self._trained[plot]:
            plot.removeItem(old)
        options = {"position": 0.04, "color": self._trained_pen.color(), "movable": False}
        self._trained[plot] = [
            pg.InfiniteLine(
                k, angle=90, pen=self._trained_pen, label=f"trained K = {k}", labelOpts=options
            )
            for k in steps
        ]
        for line in self._trained[plot]:
            plot.addItem(line, ignoreBounds=True)

    @Slot()
    def _show_k(self) -> None:
        k = self.k.value()
        self.k_text.setText(f"k = {k}")
        for marker in self._markers.values():
            marker.setValue(k)
        view = self._view(self.quantity.currentData())
        curves = inner_curves(self._records, view)
        if curves:
            steps = {curve.step for curve in curves}
            self.evaluation_text.setText(" / ".join(map(str, sorted(steps))))
            place = f"{moment_text(curves)} "
        else:
            self.evaluation_text.setText("")
            place = ""
        together = len({curve.step for curve in curves}) == 1
        parts = [
            _value(curve, k) + ("" if together else f" (meta-step {curve.step})")
            for curve in curves
        ]
        title = QUANTITY_TITLES[view.quantity]
        text = f"{place}{title} after {k} inner steps:   " + _BETWEEN.join(parts) if parts else ""
        self.readout.setText(self._shortened(text))
        self.readout.setToolTip(text)
        self.loss.describe(text)
        self.fan.show_step(k, view.evaluation)

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
        self.play.setText("&Pause" if on else "&Play")
        if on:
            self._timer.start()
        else:
            self._timer.stop()

    @Slot()
    def _advance(self) -> None:
        self.k.setValue(0 if self.k.value() >= self.k.maximum() else self.k.value() + 1)


_MANY_STEPS = 40


def inner_limits(curves: list[InnerCurve], view: InnerView) -> tuple[float, float] | None:
    """Return a range that holds every mean, and bands as far as they do not dwarf the means."""
    if not curves:
        return None
    means = np.concatenate([curve.mean for curve in curves])
    spread = np.concatenate([curve.ci95 for curve in curves]) if view.show_interval else 0 * means
    low, high = np.nanmin(means), np.nanmax(means)
    if view.log_y:
        if not low > 0:
            return None
        bottom = max(np.nanmin(np.maximum(means - spread, 1e-300)), low / 3)
        return float(bottom * 0.95), float(min(np.nanmax(means + spread), 2 * high) * 1.05)
    room = (high - low) or abs(high) or 1.0
    bottom = max(np.nanmin(means - spread), low - room)
    return float(bottom - room / 20), float(min(np.nanmax(means + spread), high + room) + room / 20)


def inner_band(curve: InnerCurve, runs: int = 1) -> Band:
    """Return the 95 % interval, one of several, as a band that a logarithmic axis can show."""
    low = curve.mean - curve.ci95
    if np.nanmin(curve.mean) > 0:
        low = np.maximum(low, np.nanmin(curve.mean) * 1e-2)
    return Band(
        curve.run,
        curve.k.astype(float),
        low,
        curve.mean + curve.ci95,
        curve.style.color,
        band_alpha(runs),
    )


def _value(curve: InnerCurve, k: int) -> str:
    if k >= len(curve.k):
        return f"{curve.label} was evaluated to k = {len(curve.k) - 1}"
    return f"{curve.label} {curve.mean[k]:.4g} ± {curve.ci95[k]:.2g}"
