"""The learned mirror map: its slopes over training, one coordinate's curve, and diagnostics."""

from dataclasses import replace

from PySide6.QtCore import QSignalBlocker, Qt, Slot
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QWidget

from metaviz.charts.shapes import shortened
from metaviz.charts.values import Lines, Panels
from metaviz.gui.pages.evaluation_picker import EvaluationPage
from metaviz.gui.pages.layouts import column, flow, page, row, split
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import (
    combo,
    connect_controls,
    scrolling,
    text_label,
    whole_number,
)
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme, tint
from metaviz.runs.analysis.geometry import (
    DIAGNOSTIC_TITLES,
    MapHistory,
    map_history,
    map_warnings,
    most_changed,
)
from metaviz.runs.analysis.needs import MAP
from metaviz.runs.analysis.result_charts import (
    diagnostics_chart,
    mirror_charts,
    slopes_chart,
    weight_chart,
)

EMPTY = (
    "Tick Mirror descent on the left and press Run (Ctrl+Return),\n"
    "or tick a stored run of it in the Runs table.\n"
    "What its map has learned appears here at every evaluation."
)
HELP = (
    "Slope 1: the map leaves this weight alone, as in plain gradient descent. Above 1 (red) the "
    "weight moves further, below 1 (blue) less. Click the picture to choose a weight and a time."
)
TOO_LARGE = "This network is too large: the whole Jacobian was not computed."
OTHERS_SAMPLED = "Other weights were sampled at this evaluation."


class MirrorTab(EvaluationPage):
    """Slopes as a heat map over training, g(z) of one weight, and diagnostics over training."""

    export_name = "mirror"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show empty plots."""
        super().__init__("mirror", MAP.has, parent)
        self._history: MapHistory | None = None
        self._row = 0
        self._first_shown = ""
        self.map = ChartView("mirrorMap", "Slope of the mirror map over training")
        self.curve = ChartView("mirrorCurve", "The mirror map of one weight")
        self.diagnostics = ChartView("mirrorDiagnostics", "Diagnostics over training")
        self.sampled = text_label("mirrorSampled", wraps=False)
        self.sampled.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        maps = column(None, self.map, self.sampled, stretch=self.map, spacing=2)
        side = split("mirrorSide", self._curve_box(), self._diagnostics_box(), upright=True)
        self.side = scrolling("mirrorScroll", "One weight, and diagnostics", side)
        body = split("mirrorBody", maps, self.side, sizes=(400, 470))
        self.badge = text_label("mirrorBadge", "Warnings about the map")
        self.badge.setAutoFillBackground(True)
        self.badge.setContentsMargins(6, 3, 6, 3)
        self.help = text_label("mirrorHelp", text=HELP)
        self.muted = (self.help,)
        page(self, self.picker, self.badge, body, self.help, stretch=body)
        connect_controls(self._take_row, self.row)
        connect_controls(self._draw_diagnostics, self.diagnostic)
        self.map.picked.connect(self._on_picked)

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        tint(self.badge, theme.warning)
        tint(self.badge, theme.warning_background, QPalette.ColorRole.Window)
        super().apply_theme(theme)

    def chart(self) -> Panels | None:
        """Return the map and one weight's curve; None where no run has a map."""
        if self.picker.record is None or self._history is None:
            return None
        return mirror_charts(self.picker.record, self.picker.place, self._row)

    def _curve_box(self) -> QWidget:
        tip = "Which weight is drawn: a row of the picture, counted from its top."
        self.row = whole_number("mirrorCoordinate", "Row of the picture", tip, (1, 1))
        self.weight = text_label("mirrorWeight", wraps=False)
        above = flow(("ro&w", self.row), self.weight, stretch=self.weight)
        return column(None, above, self.curve, stretch=self.curve)

    def _diagnostics_box(self) -> QWidget:
        titles = {name: text[0].upper() + text[1:] for name, text in DIAGNOSTIC_TITLES.items()}
        self.diagnostic = combo("mirrorDiagnostic", "Diagnostic over training", titles)
        return column(None, row(self.diagnostic, None), self.diagnostics, stretch=self.diagnostics)

    def take_evaluation(self) -> None:
        """Take in the map's history, and how many weights there are to choose from."""
        record = self.picker.record
        self._history = map_history(record) if record is not None else None
        count = len(self._history.coordinates) if self._history else 0
        with QSignalBlocker(self.row):
            self.row.setMaximum(max(1, count))
            if record is not None and self._history and record.id != self._first_shown:
                self._first_shown = record.id
                self.row.setValue(most_changed(self._history) + 1)
        self.row.setEnabled(count > 1)
        self._row = self.row.value() - 1

    @Slot()
    def _take_row(self) -> None:
        self._row = self.row.value() - 1
        self.redraw()

    @Slot(str, str, int)
    def _on_picked(self, _chart: str, _name: str, cell: int) -> None:
        place, evaluation = divmod(cell, len(self.picker.steps))
        self.row.setValue(place + 1)
        self.picker.choose(evaluation)

    def drawing(self) -> list[Piece]:
        """Return what draws the map, one weight and the diagnostics, or says how to get them."""
        return [self._show_map, self._draw_curve, self._draw_diagnostics]

    def _show_map(self) -> None:
        history = self._history
        for widget in (self.picker, self.side, self.help):
            widget.setVisible(history is not None)
        warnings = map_warnings(history, self.picker.place) if history else []
        self.badge.setText("\n".join(warnings))
        self.badge.setVisible(bool(warnings))
        sampled = history.sampled_text() if history else ""
        self.sampled.setText(sampled)
        self.sampled.setVisible(bool(sampled))
        self.map.show_chart(
            slopes_chart(history, self.picker.place, self._row)
            if history
            else Lines(id="mirror", message=EMPTY)
        )

    def _draw_curve(self) -> None:
        history = self._history
        if history is None:
            return
        layer, number = history.layers[self._row], history.coordinates[self._row]
        self.weight.setText(f"{shortened(layer)}, weight {number} of {history.total}")
        self.weight.setToolTip(
            plain_tip(f"{layer}: weight {number} of the network's {history.total}.")
        )
        chart = weight_chart(history, self.picker.place, self._row)
        missing = Lines(id="mirror-weight", message=OTHERS_SAMPLED)
        self.curve.show_chart(missing if chart is None else replace(chart, title=""))

    @Slot()
    def _draw_diagnostics(self) -> None:
        if self._history is None:
            return
        at = self.picker.steps[self.picker.place] if self.picker.steps else None
        name, record = self.diagnostic.currentData(), self.picker.record
        chart = diagnostics_chart(self._records, name, record, at, TOO_LARGE)
        self.diagnostics.show_chart(chart)
