"""The learned mirror map: its slopes over training, one coordinate's curve, and diagnostics."""

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QSpinBox,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.pages.evaluation_picker import MomentTab
from metaviz.gui.plotting.heat_map import HeatMap, shortened
from metaviz.gui.plotting.plot_widget import Line, PlotPanel
from metaviz.gui.widgets.controls import combo, scrolling
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme, curve_color, tint
from metaviz.runs.analysis.geometry import (
    DIAGNOSTIC_TITLES,
    Diagnostic,
    MapHistory,
    MapPoint,
    has_map,
    map_history,
    map_warnings,
    most_changed,
)
from metaviz.runs.model.styles import labels, styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metaviz.runs.figures.base import Page

EMPTY = (
    "Tick Mirror descent on the left and press Run (Ctrl+Return),\n"
    "or tick a stored run of it in the table below.\n"
    "What its map has learned appears here at every evaluation."
)
HELP = (
    "Slope 1: the map leaves this weight alone, as in plain gradient descent. Above 1 (red) the "
    "weight moves further, below 1 (blue) less. Click the picture to choose a weight and a time."
)
TOO_LARGE = "This network is too large: the whole Jacobian was not computed."
_START, _ADAPTED = "#0072B2", "#D55E00"
_HISTOGRAM_SHARE = 0.2
_AXES: dict[Diagnostic, str] = {
    "smallest_slope": "slope",
    "moved_share": "share moved",
    "asymmetry": "‖J − Jᵀ‖ / ‖J‖",
    "symmetric_eigenvalue": "eigenvalue",
}
"""Names of the vertical axis; the choice above the plot says it in full."""


class MirrorTab(MomentTab):
    """Slopes as a heat map over training, g(z) of one weight, and diagnostics over training."""

    export_name = "mirror"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show empty plots."""
        super().__init__("mirror", has_map, parent)
        self._history: MapHistory | None = None
        self._theme: Theme | None = None
        self._row = 0
        self._first_shown = ""
        self.map = HeatMap("mirrorMap", "Slope of the mirror map over training", self)
        self.curve = PlotPanel("mirrorCurve", "The mirror map of one weight", self)
        self.diagnostics = PlotPanel("mirrorDiagnostics", "Diagnostics over training", self)
        self._bars = pg.BarGraphItem(x0=[], x1=[], height=[])
        self._bars.setZValue(-20)
        self._adapted = pg.ScatterPlotItem(size=6, pen=None)
        self._start = pg.ScatterPlotItem(size=9, pen=None)
        for item in (self._bars, self._adapted, self._start):
            self.curve.addItem(item, ignoreBounds=True)
        self._marks = {
            "time": pg.InfiniteLine(angle=90),
            "row": pg.InfiniteLine(angle=0),
            "diagnostic": pg.InfiniteLine(angle=90),
        }
        for name, mark in self._marks.items():
            mark.setZValue(20)
            plot = self.diagnostics if name == "diagnostic" else self.map
            plot.addItem(mark, ignoreBounds=True)
        self._lay_out()
        self.row.valueChanged.connect(self._take_row)
        self.diagnostic.currentIndexChanged.connect(self._draw_diagnostics)
        self.map.clicked.connect(self._take_click)

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        for plot in (self.map, self.curve, self.diagnostics):
            plot.apply_theme(theme)
        pen = pg.mkPen(theme.foreground, width=1.5, style=Qt.PenStyle.DashLine)
        for mark in self._marks.values():
            mark.setPen(pen)
        histogram = curve_color("#7F7F7F", theme)
        histogram.setAlphaF(0.45)
        self._bars.setOpts(brush=histogram, pen=None)
        self._adapted.setBrush(curve_color(_ADAPTED, theme))
        self._start.setBrush(curve_color(_START, theme))
        tint(self.badge, theme.warning)
        tint(self.badge, theme.warning_background, QPalette.ColorRole.Window)
        tint(self.help, theme.muted)
        self.draw()

    def figure(self, page: "Page") -> "Figure | None":
        """Draw the same for a paper; None where no run has a map."""
        if self.moment.record is None or self._history is None:
            return None
        from metaviz.runs.figures.geometry import mirror_figure

        return mirror_figure(self.moment.record, self.moment.place, self._row, page)

    def _lay_out(self) -> None:
        side = QSplitter(Qt.Orientation.Vertical, self)
        side.setObjectName("mirrorSide")
        side.addWidget(self._curve_box())
        side.addWidget(self._diagnostics_box())
        body = QSplitter(Qt.Orientation.Horizontal, self)
        body.setObjectName("mirrorBody")
        body.addWidget(self._map_box())
        self.side = scrolling("mirrorScroll", "One weight, and diagnostics", side)
        self.side.setMinimumWidth(260)
        body.addWidget(self.side)
        body.setSizes([400, 470])
        for splitter in (side, body):
            splitter.setChildrenCollapsible(False)
        self.badge = QLabel()
        self.badge.setObjectName("mirrorBadge")
        self.badge.setAccessibleName("Warnings about the map")
        self.badge.setAutoFillBackground(True)
        self.badge.setContentsMargins(6, 3, 6, 3)
        self.help = QLabel(HELP)
        self.help.setObjectName("mirrorHelp")
        for text in (self.badge, self.help):
            text.setTextFormat(Qt.TextFormat.PlainText)
            text.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 2)
        layout.addWidget(self.moment)
        layout.addWidget(self.badge)
        layout.addWidget(body, 1)
        layout.addWidget(self.help)

    def _map_box(self) -> QWidget:
        box = QWidget()
        self.sampled = QLabel()
        self.sampled.setObjectName("mirrorSampled")
        layout = QVBoxLayout(box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.map, 1)
        layout.addWidget(self.sampled, 0, Qt.AlignmentFlag.AlignHCenter)
        return box

    def _curve_box(self) -> QWidget:
        box = QWidget()
        self.row = QSpinBox()
        self.row.setObjectName("mirrorCoordinate")
        self.row.setAccessibleName("Row of the picture")
        self.row.setToolTip("Which weight is drawn: a row of the picture, counted from its top.")
        self.row.setMinimum(1)
        self.weight = QLabel()
        self.weight.setObjectName("mirrorWeight")
        self.weight.setTextFormat(Qt.TextFormat.PlainText)
        label = QLabel("ro&w")
        label.setBuddy(self.row)
        above = QHBoxLayout()
        for widget in (label, self.row):
            above.addWidget(widget)
        above.addWidget(self.weight, 1)
        self.curve.setMinimumHeight(160)
        layout = QVBoxLayout(box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(above)
        layout.addWidget(self.curve, 1)
        return box

    def _diagnostics_box(self) -> QWidget:
        box = QWidget()
        titles: dict[str, str] = {
            name: text[0].upper() + text[1:] for name, text in DIAGNOSTIC_TITLES.items()
        }
        self.diagnostic = combo("mirrorDiagnostic", "Diagnostic over training", titles)
        self.diagnostics.setMinimumHeight(150)
        layout = QVBoxLayout(box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.diagnostic, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.diagnostics, 1)
        return box

    def take_moment(self) -> None:
        """Take in the map's history, and how many weights there are to choose from."""
        record = self.moment.record
        self._history = map_history(record) if record is not None else None
        count = len(self._history.coordinates) if self._history else 0
        self.row.blockSignals(True)
        self.row.setMaximum(max(1, count))
        if record is not None and self._history and record.id != self._first_shown:
            self._first_shown = record.id
            self.row.setValue(most_changed(self._history) + 1)
        self.row.blockSignals(False)
        self.row.setEnabled(count > 1)
        self._row = self.row.value() - 1

    @Slot()
    def _take_row(self) -> None:
        self._row = self.row.value() - 1
        self.draw()

    @Slot(int, int)
    def _take_click(self, row: int, column: int) -> None:
        self.row.setValue(row + 1)
        self.moment.choose(column)

    def painting(self) -> list[Piece]:
        """Return what draws the map, one weight and the diagnostics, or says how to get them."""
        return [self._frame, self._draw_map, self._draw_curve, self._draw_diagnostics]

    def _frame(self) -> None:
        history = self._history
        for mark in self._marks.values():
            mark.setVisible(history is not None)
        for widget in (self.moment, self.side, self.help):
            widget.setVisible(history is not None)
        warnings = map_warnings(history, self.moment.place) if history else []
        self.badge.setText("\n".join(warnings))
        self.badge.setVisible(bool(warnings))
        if history is None:
            self.map.clear_matrix(EMPTY)
            self.sampled.hide()

    def _draw_map(self) -> None:
        history = self._history
        if history is None:
            return
        self.map.set_message("")
        sampled = history.sampled_text()
        self.sampled.setText(sampled)
        self.sampled.setVisible(bool(sampled))
        self.map.set_labels("meta-step", "")
        self.map.show_matrix(
            history.slopes.T,
            middle=1.0,
            half_span=history.half_span(),
            meaning="slope ∂g(z)ᵢ / ∂zᵢ",
        )
        self.map.name_rows(history.spans())
        self.map.name_columns([str(step) for step in history.steps])
        self._marks["time"].setValue(self.moment.place + 0.5)
        self._marks["row"].setValue(self._row + 0.5)
        now = history.slopes[self.moment.place]
        self.map.describe(
            f"Meta-step {history.steps[self.moment.place]}: slopes from {np.nanmin(now):.4g} to "
            f"{np.nanmax(now):.4g}. {sampled}"
        )

    def _draw_curve(self) -> None:
        history = self._history
        if history is None:
            return
        layer, number = history.layers[self._row], history.coordinates[self._row]
        name = f"{layer}, weight {number}"
        self.weight.setText(f"{shortened(layer)}, weight {number} of {history.total}")
        self.weight.setToolTip(f"{layer}: weight {number} of the network's {history.total}.")
        point = history.point(self.moment.place, self._row)
        if point is None:
            self.curve.draw([])
            for item in (self._bars, self._adapted, self._start):
                item.hide()
            self.curve.set_message("Other weights were sampled at this evaluation.")
            return
        self.curve.set_message("")
        for item in (self._bars, self._adapted, self._start):
            item.show()
        self.curve.set_labels("dual variable zᵢ", "weight g(z)ᵢ")
        self.curve.draw(self._curve_lines(point))
        self._adapted.setData(point.adapted, point.at(point.adapted))
        self._start.setData([point.start], [float(point.at(point.start))])
        (low, high), (bottom, top) = point.range(), point.heights()
        counts, edges = point.histogram()
        tallest = _HISTOGRAM_SHARE * (top - bottom) / max(1, counts.max())
        self._bars.setOpts(x0=edges[:-1], x1=edges[1:], y0=bottom, height=counts * tallest)
        box = self.curve.getPlotItem().getViewBox()
        box.setXRange(low, high, padding=0)
        box.setYRange(bottom, top, padding=0)
        self.curve.describe(
            f"{name}: g(z) = {point.slope:.4g} z + {point.shift:.4g}; start {point.start:.4g}, "
            f"adapted on average {np.nanmean(point.adapted):.4g}"
        )

    def _curve_lines(self, point: MapPoint) -> list[Line]:
        theme = self._theme
        grey = theme.muted if theme else "#7F7F7F"
        black = theme.foreground if theme else "#000000"
        ends = np.array(point.range())
        # The dots themselves are scattered: this is what names them.
        none = np.empty(0)
        return [
            Line("identity", ends, ends, grey, point.identity_text(), "dash"),
            Line("map", ends, point.at(ends), black, f"map, slope {point.slope:.4g}", width=2.0),
            Line("adapted", none, none, _ADAPTED, "adapted", width=0.0, dots=6.0),
            Line("start", none, none, _START, "start", width=0.0, dots=9.0),
        ]

    @Slot()
    def _draw_diagnostics(self) -> None:
        if self._history is None:
            return
        name = self.diagnostic.currentData()
        runs = [record for record in self.records if has_map(record)]
        look, names = styles(self.records), labels(self.records)
        lines, chosen = [], self.moment.record
        for record in runs:
            history = map_history(record)
            values = history.diagnostics[name] if history else np.empty(0)
            if history is None or not np.isfinite(values).any():
                continue
            style = look[record.id]
            legend = names[record.id] if len(runs) > 1 else ""
            width = 2.0 if record is chosen else 1.0
            x = history.steps.astype(float)
            lines.append(
                Line(record.id, x, values, style.color, legend, style.dash, width, dots=5.0)
            )
        self.diagnostics.set_message("" if lines else TOO_LARGE)
        self.diagnostics.set_labels("meta-step", _AXES[name])
        self.diagnostics.draw(lines)
        self.diagnostics.getPlotItem().getViewBox().enableAutoRange()
        if self.moment.steps:
            self._marks["diagnostic"].setValue(self.moment.steps[self.moment.place])
        self._marks["diagnostic"].setVisible(bool(lines))
        self.diagnostics.describe(
            "; ".join(
                f"{names[line.name]}: {DIAGNOSTIC_TITLES[name]} {line.y[-1]:.4g}" for line in lines
            )
        )
