"""Losses and accuracies before and after adaptation, while training."""

from dataclasses import asdict, replace
from typing import Any

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.charts.values import Lines
from metaviz.gui.pages.layouts import column, page, row, slider
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import combo, enable_only, switch, text_label
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.curve_charts import training_chart
from metaviz.runs.analysis.curves import TrainingView, available
from metaviz.runs.analysis.smoothing import Smoother
from metaviz.runs.model.record import Record

EMPTY = (
    "Tick algorithms on the left and press Run (Ctrl+Return).\n"
    "Their losses appear here as they train.\n"
    "Or tick a stored run in the table below."
)
WAITING = (
    "Evaluating the untrained weights of every run, then taking the first meta-step…\n"
    "The log says what is read or decoded meanwhile."
)
PREPARING = "{}…\nThe first meta-step follows."
NO_STEP = "No shown run has taken a meta-step: its last line in the log says why."
_SMOOTHEST = 99

_AXES = {
    "step": "Meta-step",
    "seconds": "Training time (s)",
    "gradient_evaluations": "Gradient evaluations",
}
_QUANTITIES = {
    "query_loss": "Query loss",
    "support_loss": "Support loss",
    "query_accuracy": "Query accuracy",
    "support_accuracy": "Support accuracy",
}
_SWITCHES = {
    "log_y": ("trainingLogY", "log &y", "Logarithmic vertical axis."),
    "log_x": ("trainingLogX", "log &x", "Logarithmic horizontal axis."),
    "robust": ("trainingRobust", "r&obust range", "Leave rare spikes outside the plot."),
    "show_pre": (
        *("trainingPre", "&before adaptation"),
        "Show the curve before adaptation and the gap.",
    ),
    "show_raw": ("trainingRaw", "ra&w curves", "Show the unsmoothed curve faintly."),
}


_ADAPTING = "Bold: after adaptation. Thin: before. The shaded gap is what adaptation gains."
_WITHOUT = "These methods have no inner loop, and so no loss before adaptation."


class TrainingTab(QWidget):
    """The training plot and the controls of its view."""

    view_changed = Signal()
    export_name = "training"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show an empty plot."""
        super().__init__(parent)
        self.setObjectName("trainingTab")
        self._records: list[Record] = []
        self._view = TrainingView()
        self._smoother = Smoother()
        self._offered: set[str] = set()
        self.plot = ChartView("trainingPlot", "Losses before and after adaptation", self)
        self.hint = text_label("trainingHint", text=_ADAPTING)
        page(self, self._controls(), self.plot, self.hint, stretch=self.plot)
        self.refresh()

    @property
    def view(self) -> TrainingView:
        """What is shown, and how."""
        return self._view

    @property
    def _live(self) -> bool:
        return any(not record.ended for record in self._records)

    def show_records(self, records: list[Record]) -> None:
        """Show these runs."""
        self._records = records
        without = records and not any(record.traits.has_inner_loop for record in records)
        self.hint.setText(_WITHOUT if without else _ADAPTING)
        self.refresh()

    def refresh(self) -> None:
        """Draw what has been recorded until now."""
        for piece in self.pieces():
            piece()

    def pieces(self) -> list[Piece]:
        """Return what `refresh` has to do: finding out what to draw takes as long as drawing it."""
        return [self._prepare, self._show]

    def chart(self) -> Lines:
        """Return what is shown, in full detail also while runs train."""
        return training_chart(self._records, self._view)

    def _prepare(self) -> None:
        live = self._live
        chart = training_chart(
            self._records, self._view, self._smoother, live=live, message=self._absent()
        )
        self.plot.fill(chart, fine=not live)

    def _show(self) -> None:
        self._offer_quantities()
        self.plot.show_filled()

    def _absent(self) -> str:
        """Say why there is no curve yet."""
        if not self._live:
            return NO_STEP if self._records else EMPTY
        doing = next((record.doing for record in self._records if record.doing), "")
        return PREPARING.format(doing.capitalize()) if doing else WAITING

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self.plot.apply_theme(theme)
        self.refresh()

    def state(self) -> dict[str, Any]:
        """Return the view as plain values, to be remembered."""
        return asdict(self._view)

    def restore(self, values: dict[str, Any]) -> None:
        """Take remembered values; unknown ones are passed over."""
        known = {key: value for key, value in values.items() if key in asdict(self._view)}
        view = replace(self._view, **known)
        for box, value in ((self.quantity, view.quantity), (self.axis, view.axis)):
            box.setCurrentIndex(max(0, box.findData(value)))
        self.smoothing.setValue(round(view.smoothing * 100))
        for name, toggle in self._switches.items():
            toggle.setChecked(bool(getattr(view, name)))
        self._take_view()

    def _controls(self) -> QWidget:
        self.quantity = combo("trainingQuantity", "Quantity", _QUANTITIES)
        self.axis = combo("trainingAxis", "Horizontal axis", _AXES)
        tip = "Weight of the past in a bias-corrected running mean; a constant stays constant."
        self.smoothing = slider("trainingSmoothing", "Smoothing", tip)
        self.smoothing.setRange(0, _SMOOTHEST)
        self.smoothing.setValue(round(self._view.smoothing * 100))
        self.smoothing.setMinimumWidth(70)
        self.smoothing.setMaximumWidth(160)
        self.smoothing_value = PlainLabel(f"{self._view.smoothing:.2f}")
        self._switches = {name: switch(*about) for name, about in _SWITCHES.items()}
        for name, box in self._switches.items():
            box.setChecked(bool(getattr(self._view, name)))
            box.toggled.connect(self._take_view)
        self.quantity.currentIndexChanged.connect(self._take_view)
        self.axis.currentIndexChanged.connect(self._take_view)
        self.smoothing.valueChanged.connect(self._take_view)
        smoothing = ("Smoothi&ng", self.smoothing), self.smoothing_value
        above = row(self.quantity, "over", self.axis, *smoothing, None)
        return column(None, above, row(*self._switches.values(), None, spacing=14), spacing=2)

    @Slot()
    def _take_view(self) -> None:
        switches = {name: box.isChecked() for name, box in self._switches.items()}
        self._view = TrainingView(
            quantity=self.quantity.currentData(),
            axis=self.axis.currentData(),
            smoothing=self.smoothing.value() / 100,
            **switches,
        )
        self.smoothing_value.setText(f"{self._view.smoothing:.2f}")
        self.hint.setVisible(self._view.show_pre)
        self.refresh()
        self.view_changed.emit()

    def _offer_quantities(self) -> None:
        """Grey out what no run has recorded."""
        offered: set[str] = set(available(self._records))
        if offered == self._offered:
            return
        self._offered = offered
        enable_only(self.quantity, offered)
