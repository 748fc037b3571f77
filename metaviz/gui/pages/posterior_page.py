"""What a method holds possible: fans of samples, how often it is right, and over training."""

from dataclasses import replace

from PySide6.QtWidgets import QComboBox, QWidget

from metaviz.charts.posterior import CALIBRATION, ERROR
from metaviz.charts.values import Chart, Lines, Panels
from metaviz.config.quantities import quantity_of
from metaviz.gui.pages.evaluation_picker import EvaluationPage
from metaviz.gui.pages.layouts import column, page, row, split
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import combo, connect_controls, offer, text_label
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.analysis.needs import POSTERIOR
from metaviz.runs.analysis.posterior import (
    posterior_chart_of,
    posterior_lines,
    posterior_quantities,
    posterior_views,
)

EMPTY = (
    "Tick PLATIPUS or LLAMA on the left and press Run (Ctrl+Return),\n"
    "or tick a stored run of one in the Runs table.\n"
    "What it holds possible appears here at every evaluation."
)
NONE_DRAWN = (
    "Of these tasks there is no picture of what the run holds possible:\n"
    "LLAMA draws the last layer's band, which is that of a regression.\n"
    "What it measures over training is beside this."
)
HELP = {
    "fan": "The functions that the run holds possible after adaptation to the support points, with "
    "their mean and where 95 % of observations should lie. LLAMA has a band instead of samples: "
    "the variance by its last layer's posterior. The axis keeps near the truth, samples may leave "
    "it.",
    CALIBRATION: "Below the diagonal the run is too sure. Where it does not know the error of its "
    "own model, intervals hold too few points, however many samples there are.",
    ERROR: "A dot is a task. Where the spread means something, tasks with a larger one have larger "
    "errors. Compare with the control, MAML with untrained noise on its start.",
}
_EMPTY_HELP = ""


class PosteriorTab(EvaluationPage):
    """One chart of one run at one evaluation, and one quantity of all runs over training."""

    export_name = "posterior"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show empty plots."""
        super().__init__("posterior", POSTERIOR.has, parent)
        self.plot = ChartView("posteriorPlot", "What is held possible", self)
        self.training = ChartView("posteriorTraining", "A quantity over training", self)
        self.what = combo("posteriorWhat", "What is shown", {}, "A task, or all of them.")
        self.quantity = combo("posteriorQuantity", "Quantity over training", {})
        for box in (self.what, self.quantity):
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.setMinimumContentsLength(14)
        self.right = column(
            None, row(("over trai&ning", self.quantity), None), self.training, stretch=self.training
        )
        self.choice = QWidget(self)
        row(("sho&w", self.what), None, inside=self.choice)
        left = column(None, self.choice, self.plot, stretch=self.plot)
        self.body = split("posteriorBody", left, self.right, sizes=(520, 380))
        self.help = text_label("posteriorHelp")
        self.muted = (self.help,)
        page(self, self.picker, self.body, self.help, stretch=self.body)
        connect_controls(self._take, self.what, self.quantity)

    def chart(self) -> Panels | None:
        """Return what is shown of the run and over training; None where there is neither."""
        charts = [chart for chart in (self._shown(), self._lines()) if chart is not None]
        if not charts:
            return None
        return Panels(id="posterior", charts=tuple(charts), columns=len(charts))

    def _shown(self) -> Chart | None:
        record, name = self.picker.record, self.what.currentData()
        if record is None or not self.picker.steps or name is None:
            return None
        return posterior_chart_of(record, self.picker.place, name)

    def _lines(self) -> Lines | None:
        name, record, steps = self.quantity.currentData(), self.picker.record, self.picker.steps
        if record is None or name is None:
            return None
        at = steps[self.picker.place] if steps else None
        return posterior_lines(self._records, name, record, at)

    def take_evaluation(self) -> None:
        """Offer what the chosen run has drawn, and what the runs have measured."""
        record = self.picker.record
        offer(self.what, posterior_views(record) if record is not None else {})
        offer(self.quantity, posterior_quantities(self._records))

    def drawing(self) -> list[Piece]:
        """Return what draws both, or says how to get them."""
        return [self._show_chart, self._show_lines]

    def _show_chart(self) -> None:
        chart, lines = self._shown(), self._lines()
        begun = chart is not None or lines is not None
        for widget in (self.picker, self.help):
            widget.setVisible(begun)
        self.choice.setVisible(self.what.count() > 0)
        self.right.setVisible(lines is not None)
        if chart is None:
            message = NONE_DRAWN if begun else EMPTY
            self.plot.show_chart(Lines(id="posterior", message=message))
            self.help.setText(_EMPTY_HELP)
            return
        # The controls above show run, evaluation and chart, and what is drawn over training.
        self.plot.show_chart(replace(chart, title=""))
        self.help.setText(HELP.get(chart.id, HELP["fan"]))

    def _show_lines(self) -> None:
        lines = self._lines()
        if lines is not None:
            unit = quantity_of(self.quantity.currentData()).unit
            self.training.show_chart(replace(lines, title="", y=replace(lines.y, title=unit)))
