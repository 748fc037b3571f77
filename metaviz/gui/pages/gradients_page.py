"""Meta-gradients of the ticked algorithms on one batch at one point."""

import math

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLayout, QWidget

from metaviz.charts.values import Lines, Panels
from metaviz.gui.pages.layouts import flow, page, split
from metaviz.gui.pages.page import OnDemandPage, folder_of
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import (
    combo,
    connect_controls,
    offer,
    push_button,
    switch,
    whole_number,
)
from metaviz.gui.widgets.read_table import Cell, ReadTable
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.paths import runs_dir
from metaviz.runs.analysis.result_charts import gradients_chart, lengths_chart
from metaviz.runs.model.gradients import GradientComparison, MetaGradientRow
from metaviz.runs.model.labels import algorithm_title

EMPTY = (
    "Tick algorithms on the left and press Compare:\n"
    "each one's meta-gradient on the same tasks, from the same weights."
)
_COSINE = "Cosine 1 means the same direction; 0, nothing in common."
_ENDS = "#2166ac", "#b2182b"
_STRONG = 0.65
INITIAL = "the seed's initial weights"
_COLUMNS = (
    ("length", "Euclidean length of the meta-gradient."),
    ("inner residual", "‖∇L_S + λ(φ − θ)‖: how far the inner problem is from solved."),
    ("solver residual", "‖v − A x‖ / ‖v‖ of the linear system behind an implicit gradient."),
    ("gradients", "Gradient evaluations, summed over tasks."),
    (
        "HVPs",
        "Hessian-vector products, the second derivatives that were needed, summed over tasks; "
        "each costs about two to three gradients.",
    ),
    ("time", "Seconds for this meta-gradient."),
)


class GradientsTab(OnDemandPage):
    """A table of lengths, residuals and cosines, and a bar for each length."""

    requested = Signal(object, int)
    export_name = "gradients"
    result: GradientComparison | None = None

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show an empty table."""
        super().__init__("gradients", parent)
        title = "Meta-gradients: lengths, residuals and cosines"
        self.table = ReadTable("gradientsTable", title, _COLUMNS, words=())
        self.table.verticalHeader().show()
        self.table.horizontalHeader().setStretchLastSection(False)
        self.lengths = ChartView("gradientLengths", "Lengths of the meta-gradients", self)
        body = split("gradientsBody", self.table, self.lengths, upright=True, sizes=(320, 260))
        page(self, self._controls(), self.status, body, stretch=body)
        self.redraw()

    def take_records(self) -> None:
        """Offer the weights of the shown runs as points."""
        weights = {record.id: f"the weights of {record.label}" for record in self._records}
        offer(self.start, {"": INITIAL} | weights)

    def chart(self) -> Panels | None:
        """Return cosines and lengths; None before anything was compared."""
        return None if self.result is None else gradients_chart(self.result)

    def drawing(self) -> list[Piece]:
        """Return what fills the table and draws the lengths."""
        return [self._fill_table, self._draw_lengths]

    @Slot(object)
    def show_result(self, result: GradientComparison) -> None:
        """Show compared meta-gradients."""
        self.result = result
        self.compare.setEnabled(True)
        notes = [f"{row.algorithm}: {note}" for row in result.rows for note in row.notes]
        self.show_status("  ".join(notes) or _COSINE)
        self.redraw()

    def _controls(self) -> QLayout:
        tip = "Compute each ticked algorithm's meta-gradient; nothing is trained."
        title = "Compare meta-gradients"
        self.ask_button = self.compare = push_button("compareGradients", "&Compare", tip, title)
        self.compare.clicked.connect(self._request)
        self.start = combo("gradientStart", "Point", {"": INITIAL})
        self.start.setSizeAdjustPolicy(self.start.SizeAdjustPolicy.AdjustToContents)
        tip = "Which of the seeded meta-batches, counted from 0."
        self.step = whole_number("gradientStep", "Meta-batch", tip, (0, 1_000_000))
        self.log = switch("gradientLog", "log le&ngths", "Logarithmic lengths.")
        connect_controls(self._draw_lengths, self.log)
        at, on = ("a&t", self.start), ("on meta-&batch", self.step)
        return flow(self.compare, at, on, self.log)

    @Slot()
    def _request(self) -> None:
        name = self.start.currentData()
        folder = folder_of(self.record_of(self.start)) or runs_dir() / name if name else None
        self.requested.emit(folder, self.step.value())

    def _fill_table(self) -> None:
        """Write every cell; cosines are coloured from blue (-1) over nothing to red (1)."""
        self.table.setVisible(self.result is not None)
        if self.result is None:
            return
        rows, cosines = self.result.rows, self.result.cosine().tolist()
        titles = [algorithm_title(row.algorithm) for row in rows]
        names = [(f"cos {title}", "Cosine of the angle between two.") for title in titles]
        self.table.set_columns([*_COLUMNS, *names])
        self.table.show_rows(
            [(*_numbers(one), *map(self._cosine, cosines[at])) for at, one in enumerate(rows)]
        )
        self.table.setVerticalHeaderLabels(titles)

    def _cosine(self, value: float) -> str | Cell:
        if np.isnan(value):
            return "–"
        shade = QColor(_ENDS[value > 0])
        # By the angle, which tells 0.8 from 1: colours by the cosine itself hardly do.
        alike = 1 - math.acos(min(1.0, abs(value))) / (math.pi / 2)
        shade.setAlphaF(alike)
        is_dark = self._theme is not None and self._theme.name == "dark"
        strong = is_dark or alike > _STRONG
        return Cell(f"{value:z.4f}", color=QColor("white" if strong else "black"), ground=shade)

    @Slot()
    def _draw_lengths(self) -> None:
        if self.result is None:
            self.lengths.show_chart(Lines(id="lengths", message=EMPTY))
        else:
            self.lengths.show_chart(lengths_chart(self.result, log=self.log.isChecked()))


def _numbers(one: MetaGradientRow) -> list[str]:
    residuals = one.inner_residual, one.solver_residual
    told = ["" if value is None else f"{value:.2e}" for value in residuals]
    products = str(one.gradient_evaluations), str(one.hessian_vector_products)
    return [f"{one.norm:.6g}", *told, *products, f"{one.seconds:.3f} s"]
