"""Meta-gradients of the ticked algorithms on one batch at one point."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    Signal,
    Slot,
)
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSpinBox,
    QSplitter,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.plotting.plot_widget import PlotPanel
from metaviz.gui.widgets.controls import combo, switch
from metaviz.gui.widgets.theme import Theme, tint
from metaviz.paths import runs_dir
from metaviz.runs.model.gradients import GradientComparison, MetaGradientRow
from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import OKABE_ITO

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metaviz.runs.figures.base import Page

Index = QModelIndex | QPersistentModelIndex
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
        self.model = GradientModel(self)
        self.table = QTableView(self)
        self.table.setObjectName("gradientsTable")
        self.table.setAccessibleName("Meta-gradients: lengths, residuals and cosines")
        self.table.setModel(self.model)
        self.table.setAlternatingRowColors(True)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.lengths = PlotPanel("gradientLengths", "Lengths of the meta-gradients", self)
        self.lengths.set_message(EMPTY)
        self._bars: list[pg.BarGraphItem] = []
        body = QSplitter(Qt.Orientation.Vertical, self)
        body.setObjectName("gradientsBody")
        body.addWidget(self.table)
        body.addWidget(self.lengths)
        body.setSizes([320, 260])
        body.setChildrenCollapsible(False)
        self.status = QLabel()
        self.status.setObjectName("gradientsStatus")
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        self.status.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 2)
        layout.addLayout(self._controls())
        layout.addWidget(self.status)
        layout.addWidget(body, 1)
        self.table.hide()

    def show_records(self, records: list[Record]) -> None:
        """Offer these runs' weights as points."""
        self._records = records
        chosen = self.start.currentData()
        self.start.clear()
        self.start.addItem(INITIAL, None)
        for record in records:
            self.start.addItem(f"the weights of {record.label}", record.id)
        self.start.setCurrentIndex(max(0, self.start.findData(chosen)))

    def refresh(self) -> None:
        """Keep what was compared: it does not change while training."""

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        self.lengths.apply_theme(theme)
        self.model.dark = theme.name == "dark"
        self._draw_lengths()

    @property
    def shows_something(self) -> bool:
        """Whether there is a figure to draw."""
        return self.result is not None

    def figure(self, page: "Page") -> "Figure | None":
        """Draw the same for a paper; None before anything was compared."""
        if self.result is None:
            return None
        from metaviz.runs.figures.base import gradients_figure

        return gradients_figure(self.result, page)

    @Slot(object)
    def show_result(self, result: GradientComparison) -> None:
        """Show compared meta-gradients."""
        self.result = result
        self.model.show_result(result)
        self.table.show()
        self.compare.setEnabled(True)
        notes = [f"{row.algorithm}: {note}" for row in result.rows for note in row.notes]
        self._say("  ".join(notes) or "Cosine 1 means the same direction; 0, nothing in common.")
        self._draw_lengths()

    def show_busy(self) -> None:
        """Say that meta-gradients are being computed."""
        self.compare.setEnabled(False)
        self._say("Computing…")

    @Slot(str)
    def show_error(self, sentence: str) -> None:
        """Say why meta-gradients could not be compared."""
        self.compare.setEnabled(True)
        self._say(sentence, wrong=True)

    def _controls(self) -> QHBoxLayout:
        self.compare = QPushButton("&Compare")
        self.compare.setObjectName("compareGradients")
        self.compare.setAccessibleName("Compare meta-gradients")
        self.compare.setToolTip(
            "Compute each ticked algorithm's meta-gradient; nothing is trained."
        )
        self.compare.clicked.connect(self._request)
        self.start = combo("gradientStart", "Point", {})
        self.start.addItem(INITIAL, None)
        self.start.setSizeAdjustPolicy(self.start.SizeAdjustPolicy.AdjustToContents)
        self.step = QSpinBox()
        self.step.setObjectName("gradientStep")
        self.step.setAccessibleName("Meta-batch")
        self.step.setToolTip("Which of the seeded meta-batches, counted from 0.")
        self.step.setRange(0, 1_000_000)
        self.log = switch("gradientLog", "log le&ngths", "Logarithmic lengths.")
        self.log.toggled.connect(self._draw_lengths)
        row = QHBoxLayout()
        row.setSpacing(8)
        at, on = QLabel("&at"), QLabel("on meta-&batch")
        at.setBuddy(self.start)
        on.setBuddy(self.step)
        for widget in (self.compare, at, self.start, on, self.step, self.log):
            row.addWidget(widget)
        row.addStretch(1)
        return row

    @Slot()
    def _request(self) -> None:
        name = self.start.currentData()
        self.requested.emit(self._folder(name) if name else None, self.step.value())

    def _folder(self, name: str) -> Path:
        record = next((r for r in self._records if r.id == name), None)
        folder = record.environment.get("folder") if record is not None else None
        return Path(folder) if folder else runs_dir() / name

    def _say(self, sentence: str, *, wrong: bool = False) -> None:
        self.status.setText(sentence)
        if hasattr(self, "_theme"):
            tint(self.status, self._theme.error if wrong else self._theme.muted)

    @Slot()
    def _draw_lengths(self) -> None:
        for bar in self._bars:
            self.lengths.removeItem(bar)
        self._bars = []
        self.lengths.set_message("" if self.result else EMPTY)
        if self.result is None:
            return
        rows = self.result.rows
        log = self.log.isChecked()
        values = [_bar_height(row, log=log) for row in rows]
        floor = min(values) - 0.5 if log else 0.0
        places = np.arange(len(rows))
        bars = pg.BarGraphItem(
            x=places, y0=floor, y1=values, width=0.6, brush=OKABE_ITO[0], pen=None
        )
        self.lengths.addItem(bars)
        self._bars.append(bars)
        ticks = [(place, row.algorithm) for place, row in zip(places, rows, strict=True)]
        self.lengths.getPlotItem().getAxis("bottom").setTicks([ticks])
        self.lengths.set_labels("", "log₁₀ of the length" if log else "length of gradient")
        self.lengths.describe("; ".join(f"{row.algorithm}: {row.norm:.4g}" for row in rows))


def _bar_height(row: MetaGradientRow, *, log: bool) -> float:
    return float(np.log10(max(row.norm, 1e-12))) if log else row.norm


class GradientModel(QAbstractTableModel):
    """Rows of a comparison; cosine cells are coloured from blue (-1) over white to red (1)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Hold nothing."""
        super().__init__(parent)
        self._rows: tuple[MetaGradientRow, ...] = ()
        self._cosine = np.zeros((0, 0))
        self.dark = False

    def show_result(self, result: GradientComparison) -> None:
        """Hold a comparison."""
        self.beginResetModel()
        self._rows, self._cosine = result.rows, result.cosine()
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Return one row for each algorithm."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        """Return the numbers and one cosine for each algorithm."""
        return 0 if parent.isValid() else len(_COLUMNS) + len(self._rows)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Name columns and rows."""
        if orientation == Qt.Orientation.Vertical:
            shown = role == Qt.ItemDataRole.DisplayRole
            return self._rows[section].algorithm if shown else None
        cosine = section - len(_COLUMNS)
        if role == Qt.ItemDataRole.DisplayRole:
            return f"cos {self._rows[cosine].algorithm}" if cosine >= 0 else _COLUMNS[section][0]
        if role == Qt.ItemDataRole.ToolTipRole:
            return "Cosine of the angle between two." if cosine >= 0 else _COLUMNS[section][1]
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a cell's text, alignment or colour."""
        row, column = index.row(), index.column() - len(_COLUMNS)
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, index.column())
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if column < 0 or not np.isfinite(self._cosine[row, column]):
            return None
        cosine = float(self._cosine[row, column])
        if role == Qt.ItemDataRole.BackgroundRole:
            return _diverging(cosine, dark=self.dark)
        if role == Qt.ItemDataRole.ForegroundRole:
            return QColor("white") if self.dark or abs(cosine) > _STRONG else QColor("black")
        return None

    def _text(self, row: int, column: int) -> str:
        place = column - len(_COLUMNS)
        if place >= 0:
            cosine = self._cosine[row, place]
            return f"{cosine:z.4f}" if np.isfinite(cosine) else "–"
        one = self._rows[row]
        return (
            f"{one.norm:.6g}",
            "" if one.inner_residual is None else f"{one.inner_residual:.2e}",
            "" if one.solver_residual is None else f"{one.solver_residual:.2e}",
            str(one.gradient_evaluations),
            str(one.hessian_vector_products),
            f"{one.seconds:.3f} s",
        )[column]


_STRONG = 0.75


def _diverging(value: float, *, dark: bool) -> QColor:
    """Return blue for -1, the ground for 0 and red for 1."""
    full = np.array([178, 24, 43] if value > 0 else [33, 102, 172])
    ground = np.array([23, 26, 33] if dark else [255, 255, 255])
    mixed = ground + (full - ground) * abs(value) ** 1.5
    return QColor(*(int(part) for part in mixed))
