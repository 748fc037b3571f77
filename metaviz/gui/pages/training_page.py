"""Losses and accuracies before and after adaptation, while training."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from metaviz.gui.plotting.plot_widget import Band, Line, PlotPanel
from metaviz.gui.widgets.controls import combo, switch
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.curves import (
    AXIS_TITLES,
    QUANTITY_TITLES,
    TrainingCurve,
    TrainingView,
    available,
    training_curves,
)
from metaviz.runs.analysis.smoothing import Smoother
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import robust_range

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metaviz.runs.figures.base import Page

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
_FEW = 2
_QUANTILE_POINTS = 500

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
        self._curves: list[TrainingCurve] = []
        self._bands: list[Band] = []
        self._offered: set[str] = set()
        self.plot = PlotPanel("trainingPlot", "Losses before and after adaptation", self)
        self.plot.set_message(EMPTY)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 2)
        layout.addLayout(self._controls())
        layout.addWidget(self.plot, 1)
        self.hint = QLabel(
            "Bold: after adaptation. Thin: before. The shaded gap is what adaptation gains."
        )
        self.hint.setObjectName("trainingHint")
        self.hint.setWordWrap(True)
        layout.addWidget(self.hint)

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
        self.refresh()

    def refresh(self) -> None:
        """Draw what has been recorded until now."""
        for piece in self.pieces():
            piece()

    def pieces(self) -> list[Piece]:
        """Return what `refresh` has to do: finding out what to draw takes as long as drawing it."""
        return [self._prepare, self._show]

    def _prepare(self) -> None:
        view = self._view
        curves = self._curves = training_curves(self._records, view, self._smoother)
        live = self._live
        self.plot.set_log(x=view.log_x, y=view.log_y)
        crowded = live and len(curves) > _FEW
        lines, bands = [], self._bands
        bands.clear()
        for curve in curves:
            lines += _lines(curve, view, crowded=crowded)
            if view.show_pre and not crowded:
                name = f"{curve.run} gap"
                color = curve.style.color
                bands.append(Band(name, curve.x, curve.post, curve.pre, color, 0.07))
        self.plot.fill(lines, fine=not live)

    def _show(self) -> None:
        self._offer_quantities()
        view, curves = self._view, self._curves
        self.plot.set_message("" if curves else self._absent())
        self.plot.set_labels(
            AXIS_TITLES[view.axis], f"{QUANTITY_TITLES[view.quantity]}, batch mean"
        )
        self.plot.set_y_range(self._limits(curves))
        self.plot.show_filled(self._bands)
        self.plot.describe(_spoken(curves, view))

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

    def figure(self, page: "Page") -> "Figure":
        """Draw the same for a paper."""
        from metaviz.runs.figures.base import training_figure

        return training_figure(self._records, self._view, page)

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

    def _controls(self) -> QVBoxLayout:
        rows = QVBoxLayout()
        rows.setSpacing(2)
        row, switches = QHBoxLayout(), QHBoxLayout()
        row.setSpacing(8)
        switches.setSpacing(14)
        rows.addLayout(row)
        rows.addLayout(switches)
        self.quantity = combo("trainingQuantity", "Quantity", _QUANTITIES)
        self.axis = combo("trainingAxis", "Horizontal axis", _AXES)
        self.smoothing = QSlider(Qt.Orientation.Horizontal)
        self.smoothing.setObjectName("trainingSmoothing")
        self.smoothing.setAccessibleName("Smoothing")
        self.smoothing.setToolTip(
            "Weight of the past in a bias-corrected running mean; a constant stays constant."
        )
        self.smoothing.setRange(0, _SMOOTHEST)
        self.smoothing.setValue(round(self._view.smoothing * 100))
        self.smoothing.setMinimumWidth(70)
        self.smoothing.setMaximumWidth(160)
        self.smoothing_value = QLabel()
        label = QLabel("Smoothi&ng")
        label.setBuddy(self.smoothing)
        self._switches = {
            "log_y": switch("trainingLogY", "log &y", "Logarithmic vertical axis."),
            "log_x": switch("trainingLogX", "log &x", "Logarithmic horizontal axis."),
            "robust": switch(
                "trainingRobust", "r&obust range", "Leave rare spikes outside the plot."
            ),
            "show_pre": switch(
                "trainingPre", "&before adaptation", "Show the curve before adaptation and the gap."
            ),
            "show_raw": switch("trainingRaw", "ra&w curves", "Show the unsmoothed curve faintly."),
        }
        for widget in (self.quantity, QLabel("over"), self.axis, label, self.smoothing):
            row.addWidget(widget)
        row.addWidget(self.smoothing_value)
        for name, box in self._switches.items():
            box.setChecked(bool(getattr(self._view, name)))
            box.toggled.connect(self._take_view)
            switches.addWidget(box)
        row.addStretch(1)
        switches.addStretch(1)
        self.quantity.currentIndexChanged.connect(self._take_view)
        self.axis.currentIndexChanged.connect(self._take_view)
        self.smoothing.valueChanged.connect(self._take_view)
        self._show_smoothing()
        return rows

    def _show_smoothing(self) -> None:
        self.smoothing_value.setText(f"{self.smoothing.value() / 100:.2f}")

    @Slot()
    def _take_view(self) -> None:
        switches = {name: box.isChecked() for name, box in self._switches.items()}
        self._view = TrainingView(
            quantity=self.quantity.currentData(),
            axis=self.axis.currentData(),
            smoothing=self.smoothing.value() / 100,
            **switches,
        )
        self._show_smoothing()
        self.hint.setVisible(self._view.show_pre)
        self.refresh()
        self.view_changed.emit()

    def _offer_quantities(self) -> None:
        """Grey out what no run has recorded."""
        offered: set[str] = set(available(self._records))
        if offered == self._offered:
            return
        self._offered = offered
        model: Any = self.quantity.model()
        for place in range(self.quantity.count()):
            model.item(place).setEnabled(self.quantity.itemData(place) in offered)

    def _limits(self, curves: list[TrainingCurve]) -> tuple[float, float] | None:
        if not self._view.robust or not curves:
            return None
        shown = [curve.post for curve in curves]
        if self._view.show_pre:
            shown += [curve.pre for curve in curves]
        # Every few points are enough for quantiles, and this is done at every redraw.
        sparse = [values[:: max(1, len(values) // _QUANTILE_POINTS)] for values in shown]
        return robust_range(sparse, log=self._view.log_y)


def _lines(curve: TrainingCurve, view: TrainingView, *, crowded: bool) -> list[Line]:
    """Return a run's lines; while several train, thin ones without the raw curve, to be quick."""
    color, dash = curve.style.color, curve.style.dash
    lines = []
    if view.show_raw and view.smoothing > 0 and not crowded:
        lines.append(Line(f"{curve.run} raw", curve.x, curve.post_raw, color, alpha=0.18))
    if view.show_pre:
        name = f"{curve.run} pre"
        lines.append(Line(name, curve.x, curve.pre, color, dash=dash, alpha=0.5))
    width = 1.0 if crowded else 2.0
    lines.append(
        Line(f"{curve.run} post", curve.x, curve.post, color, curve.label, dash, width=width)
    )
    return lines


def _spoken(curves: list[TrainingCurve], view: TrainingView) -> str:
    title = QUANTITY_TITLES[view.quantity]
    parts = [f"{curve.label}: {title} {curve.post[-1]:.4g}" for curve in curves]
    return "; ".join(parts) or "Nothing recorded yet."
