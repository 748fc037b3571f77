"""Meta-gradients of the ticked algorithms on one batch at one point."""

from pathlib import Path

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QHBoxLayout, QHeaderView, QSpinBox, QWidget

from metaviz.charts.values import Lines, Panels
from metaviz.gui.pages.layouts import ReadTable, named, page, plain_label, row, split
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import combo, offer, push_button, switch
from metaviz.gui.widgets.theme import Theme, tint
from metaviz.paths import runs_dir
from metaviz.runs.analysis.result_charts import gradients_chart, lengths_chart
from metaviz.runs.model.gradients import GradientComparison, MetaGradientRow
from metaviz.runs.model.record import Record

EMPTY = (
    "Tick algorithms on the left and press Compare:\n"
    "each one's meta-gradient on the same tasks, from the same weights."
)
INITIAL = "the seed's initial weights"
_COLUMNS = (
    ("length", "Euclidean length of the meta-gradient."),
    ("inner residual", "‖∇L_S + λ(φ − θ)‖: how far the inner problem is from solved."),
    ("solver residual", "‖v − A x‖ / ‖v‖ of the linear system behind an implicit gradient."),
    ("gradients", "Gradient evaluations, summed over tasks."),
    ("HVPs", "Hessian-vector products, summed over tasks."),
    ("time", "Seconds for this meta-gradient."),
)


class GradientsTab(QWidget):
    """A table of lengths, residuals and cosines, and a bar for each length."""

    requested = Signal(object, int)
    export_name = "gradients"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show an empty table."""
        super().__init__(parent)
        self.setObjectName("gradientsTab")
        self._records: list[Record] = []
        self.result: GradientComparison | None = None
        title = "Meta-gradients: lengths, residuals and cosines"
        self.table = ReadTable("gradientsTable", title, _COLUMNS)
        self.table.verticalHeader().show()
        self.table.horizontalHeader().setStretchLastSection(False)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.lengths = ChartView("gradientLengths", "Lengths of the meta-gradients", self)
        body = split("gradientsBody", self.table, self.lengths, upright=True, sizes=(320, 260))
        self.status = plain_label("gradientsStatus")
        page(self, self._controls(), self.status, body, stretch=body)
        self.table.hide()
        self._draw_lengths()

    def show_records(self, records: list[Record]) -> None:
        """Offer these runs' weights as points."""
        self._records = records
        weights = {record.id: f"the weights of {record.label}" for record in records}
        offer(self.start, {"": INITIAL} | weights)

    def refresh(self) -> None:
        """Keep what was compared: it does not change while training."""

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        self.lengths.apply_theme(theme)
        self._fill_table()
        self._draw_lengths()

    @property
    def shows_something(self) -> bool:
        """Whether there is a figure to draw."""
        return self.result is not None

    def chart(self) -> Panels | None:
        """Return cosines and lengths; None before anything was compared."""
        return None if self.result is None else gradients_chart(self.result)

    @Slot(object)
    def show_result(self, result: GradientComparison) -> None:
        """Show compared meta-gradients."""
        self.result = result
        self._fill_table()
        self.table.show()
        self.compare.setEnabled(True)
        notes = [f"{row.algorithm}: {note}" for row in result.rows for note in row.notes]
        self._show_status(
            "  ".join(notes) or "Cosine 1 means the same direction; 0, nothing in common."
        )
        self._draw_lengths()

    def show_busy(self) -> None:
        """Say that meta-gradients are being computed."""
        self.compare.setEnabled(False)
        self._show_status("Computing…")

    @Slot(str)
    def show_error(self, sentence: str) -> None:
        """Say why meta-gradients could not be compared."""
        self.compare.setEnabled(True)
        self._show_status(sentence, wrong=True)

    def _controls(self) -> QHBoxLayout:
        self.compare = push_button(
            "compareGradients",
            "&Compare",
            "Compute each ticked algorithm's meta-gradient; nothing is trained.",
            "Compare meta-gradients",
        )
        self.compare.clicked.connect(self._request)
        self.start = combo("gradientStart", "Point", {"": INITIAL})
        self.start.setSizeAdjustPolicy(self.start.SizeAdjustPolicy.AdjustToContents)
        tip = "Which of the seeded meta-batches, counted from 0."
        self.step = named(QSpinBox(), "gradientStep", "Meta-batch", tip)
        self.step.setRange(0, 1_000_000)
        self.log = switch("gradientLog", "log le&ngths", "Logarithmic lengths.")
        self.log.toggled.connect(self._draw_lengths)
        at, on = ("&at", self.start), ("on meta-&batch", self.step)
        return row(self.compare, at, on, self.log, None)

    @Slot()
    def _request(self) -> None:
        name = self.start.currentData()
        self.requested.emit(self._folder(name) if name else None, self.step.value())

    def _folder(self, name: str) -> Path:
        record = next((r for r in self._records if r.id == name), None)
        folder = record.environment.get("folder") if record is not None else None
        return Path(folder) if folder else runs_dir() / name

    def _show_status(self, sentence: str, *, wrong: bool = False) -> None:
        self.status.setText(sentence)
        if hasattr(self, "_theme"):
            tint(self.status, self._theme.error if wrong else self._theme.muted)

    def _fill_table(self) -> None:
        """Write every cell; cosines are coloured from blue (-1) over white to red (1)."""
        if self.result is None:
            return
        table, rows, cosine = self.table, self.result.rows, self.result.cosine()
        dark = hasattr(self, "_theme") and self._theme.name == "dark"
        cosines = [(f"cos {row.algorithm}", "Cosine of the angle between two.") for row in rows]
        table.set_columns([*_COLUMNS, *cosines])
        table.setRowCount(len(rows))
        table.setVerticalHeaderLabels([row.algorithm for row in rows])
        for place, one in enumerate(rows):
            for at, text in enumerate(_numbers(one)):
                table.put(place, at, text, number=True)
            for at, value in enumerate(cosine[place].tolist(), len(_COLUMNS)):
                known = np.isfinite(value)
                item = table.put(place, at, f"{value:z.4f}" if known else "–", number=True)
                if known:
                    item.setBackground(_diverging(value, dark=dark))
                    strong = dark or abs(value) > _STRONG
                    item.setForeground(QColor("white" if strong else "black"))

    @Slot()
    def _draw_lengths(self) -> None:
        if self.result is None:
            self.lengths.show_chart(Lines(id="lengths", message=EMPTY))
        else:
            self.lengths.show_chart(lengths_chart(self.result, log=self.log.isChecked()))


_STRONG = 0.75


def _diverging(value: float, *, dark: bool) -> QColor:
    """Return blue for -1, the ground for 0 and red for 1."""
    full = np.array([178, 24, 43] if value > 0 else [33, 102, 172])
    ground = np.array([23, 26, 33] if dark else [255, 255, 255])
    mixed = ground + (full - ground) * abs(value) ** 1.5
    return QColor(*(int(part) for part in mixed))


def _numbers(one: MetaGradientRow) -> tuple[str, ...]:
    return (
        f"{one.norm:.6g}",
        "" if one.inner_residual is None else f"{one.inner_residual:.2e}",
        "" if one.solver_residual is None else f"{one.solver_residual:.2e}",
        str(one.gradient_evaluations),
        str(one.hessian_vector_products),
        f"{one.seconds:.3f} s",
    )
