"""The pictures of the benchmark: published and ours, step sizes at test time, single tasks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtWidgets import QWidget

from metaviz.gui.plotting.heat_map import HeatMap
from metaviz.gui.plotting.plot_widget import Line, PlotPanel
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.benchmark import Judged, Row, gains
from metaviz.runs.model.robustness import Robustness, factor_text

_ROW = 17
_REACH = 12.0
_POINTS = 20.0


class DotPlot(PlotPanel):
    """One line per row of the table: a dot with its 95 % interval."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__("benchmarkDots", "Published results and ours", parent)
        self._rows: Sequence[Row] = ()

    def show_rows(self, rows: Sequence[Row], measure: str) -> None:
        """Draw these rows, the first on top; the plot grows with their number."""
        self._rows = rows
        self.set_message("" if rows else "No results of these data: choose other ones above.")
        muted = self._theme.muted if self._theme else "#808080"
        lines = []
        for place, row in enumerate(rows):
            height, color = float(-place), row.color or muted
            if row.half_width is not None:
                ends = np.array([row.value - row.half_width, row.value + row.half_width])
                lines.append(
                    Line(f"interval{place}", ends, np.full(2, height), color, width=2.0, alpha=0.7)
                )
            middle = np.array([row.value])
            size = 9.0 if row.record else 6.0
            lines.append(Line(f"dot{place}", middle, np.array([height]), color, width=0, dots=size))
        self.draw(lines)
        self.set_labels(measure, "")
        item = self.getPlotItem()
        item.getAxis("left").setTicks([[(-place, row.name) for place, row in enumerate(rows)]])
        item.setYRange(0.5 - len(rows), 0.5, padding=0)
        self.setMinimumHeight(max(140, _ROW * len(rows) + 60))
        self.describe("; ".join(f"{row.name}: {row.value:.4g}" for row in rows))


class RobustnessMap(HeatMap):
    """Step size at test time against the number of steps; white is as good as trained."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__(
            "benchmarkRobustness", "Step size and number of steps at test time", parent
        )
        self._mark = pg.QtWidgets.QGraphicsRectItem()
        self._mark.setZValue(10)
        self._mark.hide()
        self.addItem(self._mark, ignoreBounds=True)

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        super().apply_theme(theme)
        self._mark.setPen(pg.mkPen(theme.foreground, width=2))

    def show_map(self, found: Robustness) -> None:
        """Draw a map; the frame marks what was trained."""
        self.set_message("")
        values = found.unit * found.mean
        here = found.factors.index(1.0)
        trained = float(values[here, found.k]) if found.k < values.shape[1] else np.nan
        middle = trained if np.isfinite(trained) else float(np.nanmedian(values))
        apart = values - middle
        accuracy = found.measure == "query_accuracy"
        # Beyond this colours are all the same: one exploding step size would leave none for others.
        most = _POINTS if accuracy else abs(middle) or 1.0
        reach = min(most, float(np.abs(apart[np.isfinite(apart)]).max(initial=0.0)) or most)
        self.show_matrix(
            np.nan_to_num(apart, nan=reach, posinf=reach),
            middle=0.0,
            half_span=reach,
            meaning=f"{'points' if accuracy else 'loss'} from as trained, up to ±{reach:.3g}",
        )
        self.name_columns([str(k) for k in range(values.shape[1])])
        names = [factor_text(found, factor) for factor in found.factors]
        rows = [(name, place, place + 1) for place, name in enumerate(names)]
        # Where there is no room for all names, the first and those far enough from it stay.
        self.name_rows([rows[here], *rows[:here], *rows[here + 1 :]])
        self.set_labels("inner steps k", "")
        self._mark.setRect(QRectF(found.k, here, 1, 1))
        self._mark.setVisible(found.k < values.shape[1])
        self.describe(
            f"{found.label}: {trained:.4g} as trained, between {np.nanmin(values):.4g} and "
            f"{np.nanmax(values):.4g} elsewhere"
        )

    def clear_map(self, message: str) -> None:
        """Show a sentence in place of the map."""
        self._mark.hide()
        self.clear_matrix(message)


class TaskPlot(PlotPanel):
    """A dot per run and task: the loss before adaptation, and what adaptation gained."""

    chosen = Signal(str, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__("benchmarkTasks", "Gain of adaptation on each task", parent)
        self._points: list[tuple[str, np.ndarray, np.ndarray]] = []
        self._zero = pg.InfiniteLine(0.0, angle=0)
        self._zero.setZValue(-5)
        self.addItem(self._zero, ignoreBounds=True)
        self.setToolTip("Click a dot to see what the run does on that task.")
        self.scene().sigMouseClicked.connect(self._click)

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        super().apply_theme(theme)
        self._zero.setPen(pg.mkPen(theme.muted, style=Qt.PenStyle.DashLine))

    def show_tasks(self, judged: Sequence[Judged]) -> None:
        """Draw every task of these runs."""
        self._zero.setVisible(bool(judged))
        self._points = [
            (one.record, one.judgement.per_task["query_loss"][0], gains(one.judgement))
            for one in judged
        ]
        self.draw(
            [
                Line(one.record, x, y, one.style.color, one.label, width=0, dots=5.0, alpha=0.7)
                for one, (_, x, y) in zip(judged, self._points, strict=True)
            ],
            fine=False,
        )
        accuracy = bool(judged) and judged[0].judgement.unit > 1
        gained = "accuracy gained (points)" if accuracy else "query loss taken off"
        self.set_labels("query loss before adaptation", gained)

    def nearest(self, x: float, y: float) -> tuple[str, int] | None:
        """Return run and number of the task drawn nearest to a place in the scene, within reach."""
        box = self.getPlotItem().getViewBox()
        best, found = _REACH, None
        for record, across, up in self._points:
            spots = [
                box.mapViewToScene(pg.Point(a, b))
                for a, b in zip(across.tolist(), up.tolist(), strict=True)
            ]
            far = np.array([np.hypot(spot.x() - x, spot.y() - y) for spot in spots])
            place = int(np.nanargmin(far)) if np.isfinite(far).any() else 0
            if len(far) and far[place] < best:
                best, found = float(far[place]), (record, place)
        return found

    def _click(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            found = self.nearest(event.scenePos().x(), event.scenePos().y())
            if found is not None:
                self.chosen.emit(*found)
