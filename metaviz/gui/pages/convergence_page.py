"""How fast adaptation converges: curves of all runs, numbers, and the loss around one path."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt, Slot
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDoubleSpinBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.pages.inner_loop_page import inner_band, inner_limits
from metaviz.gui.pages.page import EvaluatedPage
from metaviz.gui.plotting.legend import Legend
from metaviz.gui.plotting.plot_widget import Line, PlotPanel
from metaviz.gui.widgets.controls import combo, offer, scrolling, switch
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.convergence import LossSlice, convergence, loss_slice
from metaviz.runs.analysis.curves import (
    InnerCurve,
    InnerQuantity,
    InnerView,
    beyond_trained,
    inner_curves,
    moment_text,
)
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import has_logarithms
from metaviz.runs.model.styles import labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metaviz.runs.figures.base import Page

EMPTY = (
    "Press Run (Ctrl+Return) or tick stored runs below: how fast each inner loop converges on the "
    "same tasks appears here."
)
NO_PLANE = "The plane is stored for small networks that take at least two inner steps."
STEPS = "φᵏ, k = 0, 1, …"
_COLUMNS = (
    ("Run", "Algorithm and seed"),
    ("At step", "Meta-step of the evaluation: the last one of each run"),
    (
        "Steps to loss",
        "Inner steps until the mean support loss is at most the chosen one; – where it is not "
        "reached in the steps that were evaluated",
    ),
    ("Area", "Area under the mean support loss, up to the last step that all runs share"),
    (
        "Rate",
        "Factor of the loss from one step to the next, of the exponential fitted to the trained "
        "steps; smaller is faster",
    ),
)
_PANELS: tuple[tuple[InnerQuantity, str, str], ...] = (
    ("support_loss", "convergenceLoss", "support loss"),
    ("gradient_norm", "convergenceNorm", "gradient norm"),
)


class ConvergenceTab(EvaluatedPage):
    """The two plots of convergence, a table of numbers, and slices through the loss."""

    export_name = "convergence"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show empty plots."""
        super().__init__(parent)
        self.setObjectName("convergenceTab")
        self._theme: Theme | None = None
        self.legend = Legend(self)
        self.plots = {
            quantity: PlotPanel(
                name, f"{title} against the inner step", self, legend=None if place else self.legend
            )
            for place, (quantity, name, title) in enumerate(_PANELS)
        }
        self._beyond: dict[InnerQuantity, list[pg.LinearRegionItem]] = {q: [] for q in self.plots}
        self.line = PlotPanel("convergenceLine", "Loss along the line of adaptation", self)
        self.plane = PlotPanel("convergencePlane", "Loss on the plane of adaptation", self)
        self.image = pg.ImageItem()
        self.image.setZValue(-20)
        self.plane.addItem(self.image)
        self.table = _table()
        self._lay_out()

    def show_records(self, records: list[Record]) -> None:
        """Show these runs."""
        self._records = records
        offer(self.run, labels(records))
        self.redraw()

    def _drawing(self) -> list[Piece]:
        plots = [partial(self._draw, quantity, title) for quantity, _, title in _PANELS]
        return [*plots, self._fill_table, self._draw_slice]

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        for plot in (*self.plots.values(), self.line, self.plane):
            plot.apply_theme(theme)
        self.legend.set_color(theme.foreground)
        self.redraw()

    def figure(self, page: "Page") -> "Figure | None":
        """Draw the same for a paper; None where no run was evaluated."""
        from metaviz.runs.figures.base import convergence_figure

        if not any(record.evaluations for record in self._records):
            return None
        return convergence_figure(self._records, self.current_slice(), page)

    def current_slice(self) -> LossSlice | None:
        """Return the slice of the chosen run."""
        record = next((r for r in self._records if r.id == self.run.currentData()), None)
        return loss_slice(record, self.run.currentText()) if record is not None else None

    def _lay_out(self) -> None:
        above, below = (QSplitter(Qt.Orientation.Horizontal) for _ in range(2))
        above.setObjectName("convergenceAbove")
        below.setObjectName("convergenceBelow")
        for plot in self.plots.values():
            above.addWidget(plot)
        slices = QSplitter(Qt.Orientation.Horizontal)
        slices.setObjectName("convergenceSlices")
        for part in (self.line, self.plane):
            slices.addWidget(part)
        below.addWidget(self._numbers())
        below.addWidget(self._around(slices))
        below.setSizes([340, 520])
        above.setMinimumHeight(180)
        below.setMinimumHeight(210)
        body = QSplitter(Qt.Orientation.Vertical)
        body.setObjectName("convergenceBody")
        body.addWidget(above)
        body.addWidget(below)
        for splitter in (above, below, slices, body):
            splitter.setChildrenCollapsible(False)
        for place in (0, 1):
            body.setStretchFactor(place, 1)
        body.setSizes([1000, 1000])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 2)
        layout.addLayout(self._controls())
        layout.addWidget(self.legend)
        layout.addWidget(scrolling("convergenceScroll", "Plots of convergence", body), 1)

    def _controls(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self.log_y = switch("convergenceLogY", "log &y", "Logarithmic vertical axes.")
        self.log_y.setChecked(True)
        self.band = switch(
            "convergenceBand", "95 % &band", "Interval of the mean over the evaluation tasks."
        )
        self.band.setChecked(True)
        self.note = QLabel()
        self.note.setObjectName("convergenceNote")
        self.note.setWordWrap(True)
        for box in (self.log_y, self.band):
            box.toggled.connect(self.redraw)
            row.addWidget(box)
        row.addWidget(self.note, 1)
        return row

    def _numbers(self) -> QWidget:
        self.loss = QDoubleSpinBox()
        self.loss.setObjectName("convergenceTarget")
        self.loss.setAccessibleName("Support loss to reach")
        self.loss.setToolTip("The table counts the inner steps until this support loss.")
        self.loss.setDecimals(4)
        self.loss.setRange(-1e6, 1e6)
        self.loss.setValue(0.5)
        self.loss.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.loss.valueChanged.connect(self._fill_table)
        return _headed("support &loss to reach", self.loss, QLabel(), self.table)

    def _around(self, slices: QWidget) -> QWidget:
        self.run = combo("convergenceRun", "Run whose loss is sliced", {})
        self.run.setMinimumContentsLength(14)
        self.caption = QLabel()
        self.run.currentIndexChanged.connect(self._draw_slice)
        return _headed("loss a&round", self.run, self.caption, slices)

    def _draw(self, quantity: InnerQuantity, title: str) -> None:
        plot = self.plots[quantity]
        view = InnerView(
            quantity=quantity, log_y=self.log_y.isChecked(), show_interval=self.band.isChecked()
        )
        curves = inner_curves(self._records, view)
        view = replace(view, log_y=view.log_y and has_logarithms([c.mean for c in curves]))
        plot.set_message("" if curves else EMPTY)
        plot.set_log(x=False, y=view.log_y)
        plot.set_labels("inner step k", title)
        lines = [
            Line(
                curve.run,
                curve.k.astype(float),
                curve.mean,
                curve.style.color,
                curve.label if quantity == "support_loss" else "",
                curve.style.dash,
                width=2.0,
            )
            for curve in curves
        ]
        plot.set_y_range(inner_limits(curves, view))
        plot.draw(
            lines,
            [inner_band(curve, len(curves)) for curve in curves] if view.show_interval else [],
        )
        self._shade_beyond(quantity, curves)
        self.legend.setVisible(bool(curves))
        beyond = " Shaded: beyond the trained steps."
        self.note.setText(moment_text(curves) + beyond if curves else "")

    def _shade_beyond(self, quantity: InnerQuantity, curves: list[InnerCurve]) -> None:
        """Shade what lies beyond each trained number of steps; runs may differ in it."""
        plot = self.plots[quantity]
        for old in self._beyond[quantity]:
            plot.removeItem(old)
        shade = pg.mkColor(self._theme.muted if self._theme else "#808080")
        shade.setAlphaF(0.12)
        self._beyond[quantity] = [_region(span, shade) for span in beyond_trained(curves)]
        for region in self._beyond[quantity]:
            plot.addItem(region, ignoreBounds=True)

    @Slot()
    def _fill_table(self) -> None:
        rows = convergence(self._records, self.loss.value())
        self.table.setRowCount(len(rows))
        for place, row in enumerate(rows):
            numbers = (row.steps_to_loss, row.area, row.rate)
            texts = [row.label, str(row.step), *(_figure(value) for value in numbers)]
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(f"{_COLUMNS[column][0]}: {text}")
                if column:
                    side = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    item.setTextAlignment(side)
                self.table.setItem(place, column, item)
        self.plots["support_loss"].describe(
            "; ".join(f"{row.label}: rate {row.rate:.4g} per step" for row in rows)
        )

    @Slot()
    def _draw_slice(self) -> None:
        shown = self.current_slice()
        theme = self._theme
        self.line.set_message("" if shown else "The loss along one adaptation appears here.")
        has_plane = shown is not None and shown.plane is not None
        self.plane.set_message("" if has_plane else NO_PLANE)
        self.image.setVisible(has_plane)
        if shown is None or theme is None:
            self.line.draw([])
            self.plane.draw([])
            self.caption.setText("")
            return
        self.caption.setText(f"one task, meta-step {shown.step}")
        self.line.set_labels("φ⁰ (0) to φᴷ (1)", "loss")
        self.line.draw(
            [
                Line("support", shown.t, shown.support, "#0072B2", "support", width=2.0),
                Line("query", shown.t, shown.query, "#D55E00", "query", "dash", width=2.0),
                Line(
                    "k",
                    shown.path,
                    shown.on_path,
                    theme.foreground,
                    STEPS,
                    width=0,
                    dots=6,
                ),
            ]
        )
        if has_plane:
            self._draw_plane(shown)
        else:
            self.plane.draw([])

    def _draw_plane(self, shown: LossSlice) -> None:
        u, v, plane, path = shown.u, shown.v, shown.plane, shown.plane_path
        if u is None or v is None or plane is None or path is None or shown.explained is None:
            return
        heights, _ = shown.heights()
        levels = float(np.nanmin(heights)), float(np.nanmax(heights))
        self.image.setImage(heights, levels=levels)
        self.image.setColorMap(pg.colormap.get("viridis"))
        du, dv = u[1] - u[0], v[1] - v[0]
        self.image.setRect(
            QRectF(u[0] - du / 2, v[0] - dv / 2, float(np.ptp(u) + du), float(np.ptp(v) + dv))
        )
        shares = 100 * shown.explained
        self.plane.set_labels(
            f"1st direction of the path ({shares[0]:.0f} %)", f"2nd ({shares[1]:.1f} %)"
        )
        low, high = float(np.nanmin(plane)), float(np.nanmax(plane))
        legend = f"support loss {low:.2g} (dark) to {high:.2g}"
        line = Line("path", path[:, 0], path[:, 1], "#ffffff", legend, width=1.5, dots=6)
        self.plane.draw([line])


def _figure(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "–"


def _region(span: tuple[int, int], shade: QColor) -> pg.LinearRegionItem:
    region = pg.LinearRegionItem(span, movable=False, pen=pg.mkPen(None), brush=pg.mkBrush(shade))
    region.setZValue(-30)
    return region


def _headed(text: str, control: QWidget, remark: QLabel, content: QWidget) -> QWidget:
    """Put a control with its label and a remark above what it governs."""
    part = QWidget()
    column = QVBoxLayout(part)
    column.setContentsMargins(0, 0, 0, 0)
    row = QHBoxLayout()
    label = QLabel(text)
    label.setBuddy(control)
    remark.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    for widget in (label, control):
        row.addWidget(widget)
    row.addWidget(remark, 1)
    column.addLayout(row)
    column.addWidget(content, 1)
    return part


def _table() -> QTableWidget:
    table = QTableWidget(0, len(_COLUMNS))
    table.setObjectName("convergenceTable")
    table.setAccessibleName("Convergence in numbers")
    table.setHorizontalHeaderLabels([title for title, _ in _COLUMNS])
    for place, (_, tip) in enumerate(_COLUMNS):
        item = table.horizontalHeaderItem(place)
        if item is not None:
            item.setToolTip(tip)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.verticalHeader().hide()
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    table.horizontalHeader().setStretchLastSection(True)
    table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 8)
    table.setTabKeyNavigation(False)
    return table
