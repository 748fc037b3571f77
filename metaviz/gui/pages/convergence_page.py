"""How fast adaptation converges: curves of all runs, numbers, and the loss around one path."""

from functools import partial

import numpy as np
from PySide6.QtCore import Slot
from PySide6.QtWidgets import QDoubleSpinBox, QWidget

from metaviz.charts.values import Lines, Panels, Paths
from metaviz.gui.pages.layouts import column, named, page, row, split
from metaviz.gui.pages.page import PlotPage
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.plotting.legend import Legend
from metaviz.gui.widgets.controls import (
    combo,
    connect_controls,
    offer,
    switch,
    text_label,
)
from metaviz.gui.widgets.read_table import ReadTable
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.analysis.convergence import convergence
from metaviz.runs.analysis.curve_charts import convergence_charts, inner_chart, loss_slice
from metaviz.runs.analysis.curves import (
    InnerQuantity,
    InnerView,
    evaluation_text,
    inner_curves,
)
from metaviz.runs.model.labels import labels

EMPTY = (
    "Press Run (Ctrl+Return) or tick stored runs: how fast each inner loop converges on the "
    "same tasks appears here."
)
GREY = "Where it is grey, runs take more inner steps than in training."
NO_SLICE = "The loss along one adaptation appears here."
NO_PLANE = "The plane is stored for small networks that take at least two inner steps."
_COLUMNS = (
    ("Run", "Algorithm and seed"),
    ("At step", "Meta-step of the evaluation: the last one of each run"),
    (
        "Steps to loss",
        "Inner steps until the mean support loss is at most the chosen one; – where it is not "
        "reached in the steps that were evaluated",
    ),
    (
        "Area",
        "Sum under the curve of mean support loss, up to the last step that all runs share: "
        "small where the loss is low early on",
    ),
    (
        "Rate",
        "By which factor the support loss falls in one inner step, fitted to the trained steps: "
        "0.5 "
        "halves it; smaller is faster",
    ),
)


class ConvergenceTab(PlotPage):
    """The two plots of convergence, a table of numbers, and slices through the loss."""

    export_name = "convergence"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show empty plots."""
        super().__init__("convergence", parent)
        self.legend = Legend(self)
        loss = ChartView("convergenceLoss", "Support loss against k", legend=self.legend)
        norm = ChartView("convergenceNorm", "Gradient norm against k")
        self.plots: dict[InnerQuantity, ChartView] = {"support_loss": loss, "gradient_norm": norm}
        self.line = ChartView("convergenceLine", "Loss along the line of adaptation")
        self.plane = ChartView("convergencePlane", "Loss on the plane of adaptation")
        self.table = ReadTable("convergenceTable", "Convergence in numbers", _COLUMNS)
        tip = "Interval of the mean over the evaluation tasks."
        self.log_y = switch("convergenceLogY", "log &y", "Logarithmic vertical axes.", on=True)
        self.band = switch("convergenceBand", "95 % &band", tip, on=True)
        connect_controls(self.redraw, self.log_y, self.band)
        self.note = text_label("convergenceNote")
        above = split("convergenceAbove", *self.plots.values())
        below = split("convergenceBelow", self._numbers(), self._around(), sizes=(340, 520))
        body = split("convergenceBody", above, below, upright=True, sizes=(1000, 1000))
        for place in (0, 1):
            body.setStretchFactor(place, 1)
        controls = row(self.log_y, self.band, self.note, stretch=self.note)
        page(self, controls, self.legend, body, stretch=body)

    def take_records(self) -> None:
        """Offer the runs whose loss can be sliced."""
        offer(self.run, labels(self._records))

    def chart(self) -> Panels | None:
        """Return all plots beside each other; None where no run was evaluated."""
        if not any(record.evaluations for record in self._records):
            return None
        views = [self._view(quantity) for quantity in self.plots]
        return convergence_charts(self._records, self.current_slice(), views)

    def current_slice(self) -> tuple[Lines, Paths | None] | None:
        """Return the charts of the slice of the chosen run."""
        record = self.record_of(self.run)
        return loss_slice(record, self.run.currentText()) if record is not None else None

    def drawing(self) -> list[Piece]:
        """Return what draws the two plots, the table and the slices."""
        plots = [partial(self._draw, quantity) for quantity in self.plots]
        return [*plots, self._fill_table, self._draw_slice]

    def _numbers(self) -> QWidget:
        tip = "The table counts the inner steps until this support loss."
        self.loss = named(QDoubleSpinBox(), "convergenceTarget", "Support loss to reach", tip)
        self.loss.setDecimals(4)
        self.loss.setRange(-1e6, 1e6)
        self.loss.setValue(0.5)
        self.loss.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        connect_controls(self._fill_table, self.loss)
        above = row(("support &loss to reach", self.loss), None, spacing=6)
        return column(None, above, self.table, stretch=self.table)

    def _around(self) -> QWidget:
        self.run = combo("convergenceRun", "Run whose loss is sliced", {}, letters=14)
        self.caption = text_label("convergenceCaption", wraps=False)
        connect_controls(self._draw_slice, self.run)
        above = row(("loss aro&und", self.run), self.caption, spacing=6, stretch=self.caption)
        slices = split("convergenceSlices", self.line, self.plane)
        return column(None, above, slices, stretch=slices)

    def _view(self, quantity: InnerQuantity) -> InnerView:
        log, band = self.log_y.isChecked(), self.band.isChecked()
        return InnerView(quantity=quantity, log_y=log, show_interval=band)

    def _draw(self, quantity: InnerQuantity) -> None:
        view, first = self._view(quantity), quantity == "support_loss"
        chart = inner_chart(self._records, view, labelled=first, shaded=True, message=EMPTY)
        self.plots[quantity].show_chart(chart)
        if first:
            self.legend.setVisible(bool(chart.series))
            where = evaluation_text(inner_curves(self._records, view))
            self.note.setText(f"{where} {GREY if chart.regions else ''}".strip())

    @Slot()
    def _fill_table(self) -> None:
        rows = convergence(self._records, self.loss.value())
        self.table.show_rows(
            [
                (one.label, str(one.step), *map(_figure, (one.steps_to_loss, one.area, one.rate)))
                for one in rows
            ]
        )
        spoken = (f"{one.label}: rate {one.rate:.4g} per step" for one in rows)
        if rows:
            self.plots["support_loss"].setAccessibleDescription("; ".join(spoken))

    @Slot()
    def _draw_slice(self) -> None:
        line, plane = self.current_slice() or (None, None)
        self.caption.setText(f"one task, {line.title.rpartition(', ')[2]}" if line else "")
        self.line.show_chart(line or Lines(id="loss-line", message=NO_SLICE))
        self.plane.show_chart(plane or Lines(id="loss-plane", message=NO_PLANE))


def _figure(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "–"
