"""The curves of compared groups, and the numbers under the pointer."""

import math
from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.gui.pages.compare_worker import Ready
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.runs.analysis.alignment import at
from metaviz.runs.analysis.comparison import AXES, ComparisonView, GroupCurve, difference_at

_MOST_READ = 6
_MANY_LINES = 100


class ComparePlot(ChartView):
    """Draws what was made ready; `read` carries the numbers at the x that is pointed at."""

    read = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__("comparePlot", "Groups of runs compared", parent)
        self._groups: Sequence[GroupCurve] = ()
        self._view = ComparisonView()
        self._base: GroupCurve | None = None
        self._x = math.nan
        self.reads = True
        self.hovered.connect(self._on_hovered)
        self.setStatusTip("Point at the curves to read them; the left and right keys do the same.")

    def show_ready(self, ready: Ready, base: GroupCurve | None) -> None:
        """Draw compared groups; differences are to `base`."""
        self._groups, self._view, self._base = ready.curves, ready.view, base
        self.show_chart(ready.chart, fine=len(ready.chart.series) <= _MANY_LINES)
        self._show_numbers()

    def use_base(self, base: GroupCurve | None) -> None:
        """Tell differences to another group."""
        self._base = base
        self._show_numbers()

    def point_at(self, x: float) -> None:
        """Read the curves at x."""
        self._x = x
        self._show_numbers()

    def readout(self) -> str:
        """Return the numbers at the pointer: mean ± half-width, n, difference to the baseline."""
        if not math.isfinite(self._x):
            return ""
        texts = [text for one in self._groups if (text := self._text(one))]
        if not texts:
            return ""
        more = f" · and {len(texts) - _MOST_READ} more" if len(texts) > _MOST_READ else ""
        where = AXES[self._view.axis].partition(" (")[0]
        return f"{where} {self._x:.6g}:  " + "  ·  ".join(texts[:_MOST_READ]) + more

    def _text(self, one: GroupCurve) -> str:
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

    def _show_numbers(self) -> None:
        text = self.readout()
        self.set_cursor(self._x if text else None)
        self.read.emit(text)

    @Slot(str, float, float)
    def _on_hovered(self, _chart: str, x: float, _y: float) -> None:
        self.point_at(x)
