"""The curves of compared groups, and the numbers under the pointer."""

import math
from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QWidget

from metaviz.gui.pages.compare_worker import Ready
from metaviz.gui.plotting.plot_widget import PlotPanel
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.alignment import at
from metaviz.runs.analysis.comparison import (
    AXES,
    ComparisonView,
    GroupCurve,
    difference_at,
    measure_title,
)

_MOST_READ = 6
_KEY_STEPS = 100


class ComparePlot(PlotPanel):
    """Draws what was made ready; `read` tells the numbers at the x that is pointed at."""

    read = Signal(str)
    span_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__("comparePlot", "Groups of runs compared", parent)
        self._curves: Sequence[GroupCurve] = ()
        self._view = ComparisonView()
        self._base: GroupCurve | None = None
        self._x = math.nan
        self._cursor = pg.InfiniteLine(angle=90, movable=False)
        self._cursor.hide()
        self.addItem(self._cursor, ignoreBounds=True)
        self.scene().sigMouseMoved.connect(self._on_moved)
        self.getPlotItem().getViewBox().sigXRangeChanged.connect(self._on_span)
        tip = "Point at the curves to read them; the left and right keys do the same."
        self.setStatusTip(tip)

    def show_ready(self, ready: Ready, base: GroupCurve | None) -> None:
        """Draw compared groups; differences are to `base`."""
        self._curves, self._view, self._base = ready.curves, ready.view, base
        view = self._view
        self.set_log(x=view.log_x, y=view.log_y)
        self.set_labels(AXES[view.axis], measure_title(view, ready.curves).partition(",")[0])
        self.set_y_range(ready.limits)
        self.draw(ready.lines, ready.bands, fine=len(ready.lines) <= _KEY_STEPS)
        self.describe("; ".join(self._spoken(one) for one in ready.curves))
        self._tell()

    def use_base(self, base: GroupCurve | None) -> None:
        """Tell differences to another group."""
        self._base = base
        self._tell()

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        super().apply_theme(theme)
        self._cursor.setPen(pg.mkPen(theme.muted, style=Qt.PenStyle.DashLine))

    def span(self) -> tuple[float, float] | None:
        """Return the visible x, None where all of it is."""
        box = self.getPlotItem().getViewBox()
        if box.autoRangeEnabled()[0]:
            return None
        low, high = box.viewRange()[0]
        return (10.0**low, 10.0**high) if self._view.log_x else (low, high)

    def point_at(self, x: float) -> None:
        """Read the curves at x."""
        self._x = x
        self._tell()

    def readout(self) -> str:
        """Return the numbers at the pointer: mean ± half-width, n, difference to the baseline."""
        if not math.isfinite(self._x):
            return ""
        told = [text for one in self._curves if (text := self._told(one))]
        if not told:
            return ""
        more = f" · and {len(told) - _MOST_READ} more" if len(told) > _MOST_READ else ""
        where = AXES[self._view.axis].partition(" (")[0]
        return f"{where} {self._x:.6g}:  " + "  ·  ".join(told[:_MOST_READ]) + more

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the pointer by a hundredth of what is seen."""
        by = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if by is None or not self._curves:
            super().keyPressEvent(event)
            return
        low, high = self.getPlotItem().getViewBox().viewRange()[0]
        now = self._placed(self._x) if math.isfinite(self._x) else (low + high) / 2
        place = min(max(now + by * (high - low) / _KEY_STEPS, low), high)
        self.point_at(10.0**place if self._view.log_x else place)

    def _told(self, one: GroupCurve) -> str:
        place = at(one.curve, self._x)
        if place is None or not math.isfinite(one.curve.mean[place]):
            return ""
        mean, low, high = (float(c[place]) for c in (one.curve.mean, one.curve.low, one.curve.high))
        text = f"{one.group.label} {mean:.4g}"
        if math.isfinite(low):
            ranged = one.band == "range"
            text += f" [{low:.4g}, {high:.4g}]" if ranged else f" ± {high - mean:.2g}"
        text += f" (n = {one.curve.n[place]})"
        if self._base is not None and one.group.values != self._base.group.values:
            apart = difference_at(one, self._base, self._x)
            text += f" Δ {apart:+.3g}" if math.isfinite(apart) else ""
        return text

    def _tell(self) -> None:
        text = self.readout()
        self._cursor.setVisible(bool(text))
        if text:
            self._cursor.setPos(self._placed(self._x))
        self.read.emit(text)

    def _placed(self, x: float) -> float:
        if not self._view.log_x:
            return x
        return float(np.log10(x)) if x > 0 else -300.0

    def _spoken(self, one: GroupCurve) -> str:
        return f"{one.legend}: {one.final()[0]:.4g}"

    @Slot(object)
    def _on_moved(self, place: QPointF) -> None:
        box = self.getPlotItem().getViewBox()
        if self._curves and box.sceneBoundingRect().contains(place):
            x = box.mapSceneToView(place).x()
            self.point_at(10.0**x if self._view.log_x else x)

    def _on_span(self, *_range: object) -> None:
        self.span_changed.emit()
