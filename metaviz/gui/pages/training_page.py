"""Losses and accuracies before and after adaptation, while training."""

from dataclasses import asdict, replace
from typing import Any

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.charts.values import Lines
from metaviz.config.quantities import quantity_of
from metaviz.gui.pages.layouts import column, flow, page
from metaviz.gui.pages.page import PlotPage
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import (
    Control,
    ShareSlider,
    combo,
    connect_controls,
    enable_only,
    read_fields,
    show_fields,
    switch,
    text_label,
)
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.analysis.curve_charts import training_chart
from metaviz.runs.analysis.curves import (
    AXIS_TITLES,
    TrainingView,
    as_judged,
    available,
    judged_by_returns,
)
from metaviz.runs.analysis.evaluated_curves import evaluable
from metaviz.runs.analysis.needs import why_no_step
from metaviz.runs.analysis.smoothing import Smoother

EMPTY = (
    "Tick algorithms on the left and press Run (Ctrl+Return).\n"
    "Their losses appear here as they train.\n"
    "Or tick a stored run in the Runs table."
)
WAITING = (
    "Evaluating the untrained weights of every run, then taking the first meta-step…\n"
    "The log says what is read or decoded meanwhile."
)
PREPARING = "{}…\nThe first meta-step follows."

_AXES = {"step": "Meta-step"} | {n: quantity_of(n).label for n in AXIS_TITLES if n != "step"}
_QUANTITIES = {
    "query_loss": "Query loss",
    "support_loss": "Support loss",
    "query_accuracy": "Query accuracy",
    "support_accuracy": "Support accuracy",
    "query_return": "Query return",
    "support_return": "Support return",
}
_SWITCHES = {
    "log_y": ("trainingLogY", "log &y", "Logarithmic vertical axis."),
    "log_x": ("trainingLogX", "log &x", "Logarithmic horizontal axis."),
    "robust": (
        "trainingRobust",
        "r&obust range",
        "Fit the axis to most of the values: rare spikes leave the plot, and are counted.",
    ),
    "show_pre": (
        *("trainingPre", "&before adaptation"),
        "Show the curve before adaptation and the gap.",
    ),
    "batches": (
        *("trainingBatches", "&training batches"),
        "Show losses of training batches in place of evaluations on fixed tasks. Batches differ "
        "from step to step: they tell of noise, evaluations of what a method gains.",
    ),
    "show_raw": ("trainingRaw", "ra&w curves", "Show batches as they were read, faintly."),
}


_WITHOUT = "These methods have no inner loop, and so no loss before adaptation."


class TrainingTab(PlotPage):
    """The training plot and the controls of its view."""

    view_changed = Signal()
    export_name = "training"
    live = True

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show an empty plot."""
        super().__init__("training", parent)
        self.view = TrainingView()
        """What is shown, and how."""
        self._smoother = Smoother()
        self._offered: set[str] = set()
        self.plot = ChartView("trainingPlot", "Losses before and after adaptation", self)
        self.hint = text_label("trainingHint", "What lines mean")
        page(self, self._controls(), self.plot, self.hint, stretch=self.plot)
        self._offer_smoothing()
        self.redraw()

    @property
    def _live(self) -> bool:
        return any(not record.ended for record in self._records)

    def drawing(self) -> list[Piece]:
        """Return what a redraw does: finding out what to draw takes as long as drawing it."""
        return [self._prepare, self._show]

    def chart(self) -> Lines:
        """Return what is shown, in full detail also while runs train."""
        return training_chart(self._records, self.view)

    def _prepare(self) -> None:
        chart = training_chart(self._records, self.view, self._smoother, message=self._absent())
        adapting = any(record.traits.has_inner_loop for record in self._records)
        told = f"{chart.caption[:1].upper()}{chart.caption[1:]}." if chart.series else ""
        self.hint.setText(f"{told} {'' if adapting or not told else _WITHOUT}".strip())
        self.plot.fill(chart, fine=not (self.view.batches and self._live))

    def _show(self) -> None:
        offered: set[str] = set((available if self.view.batches else evaluable)(self._records))
        if offered != self._offered:
            self._offered = offered
            enable_only(self.quantity, offered)
            by_returns = "query_return" in offered and judged_by_returns(self._records)
            wanted = as_judged(self.view.quantity, by_returns=by_returns)
            self.quantity.setCurrentIndex(self.quantity.findData(wanted))
        self.plot.show_filled()

    def _absent(self) -> str:
        """Say why there is no curve yet."""
        if not self._live:
            return why_no_step(self._records) if self._records else EMPTY
        doing = next((record.doing for record in self._records if record.doing), "")
        return PREPARING.format(doing.capitalize()) if doing else WAITING

    def state(self) -> dict[str, Any]:
        """Return the view as plain values, to be remembered."""
        return asdict(self.view)

    def restore(self, values: dict[str, Any]) -> None:
        """Take remembered values; unknown ones are passed over."""
        known = {key: value for key, value in values.items() if key in asdict(self.view)}
        show_fields(self._fields, replace(self.view, **known))
        self._take_view()

    def _controls(self) -> QWidget:
        self.quantity = combo("trainingQuantity", "Quantity", _QUANTITIES)
        self.axis = combo("trainingAxis", "Horizontal axis", _AXES)
        tip = "Weight of the past in a bias-corrected running mean; a constant stays constant."
        self.smoothing = ShareSlider("trainingSmoothing", "Smoothing", tip, (70, 160))
        switches = {name: switch(*about) for name, about in _SWITCHES.items()}
        self.batches = switches["batches"]
        chosen: dict[str, Control] = {
            "quantity": self.quantity,
            "axis": self.axis,
            "smoothing": self.smoothing,
        }
        self._fields = {**chosen, **switches}
        show_fields(self._fields, self.view)
        connect_controls(self._take_view, *self._fields.values())
        smoothing = ("Smoothi&ng", self.smoothing), self.smoothing.text
        above = flow(self.quantity, ("over", self.axis), *smoothing)
        return column(None, above, flow(*switches.values(), spacing=14), spacing=2)

    def _offer_smoothing(self) -> None:
        """Let only batches be smoothed: each evaluation is already a mean over many tasks."""
        for control in (self.smoothing, self._fields["show_raw"]):
            control.setEnabled(self.view.batches)

    @Slot()
    def _take_view(self) -> None:
        self.view = TrainingView(**read_fields(self._fields))
        self._offer_smoothing()
        self.redraw()
        self.view_changed.emit()
