"""The curves of compared groups, made ready on another thread, and the numbers at the pointer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.charts.values import Lines
from metaviz.gui.background.task import Task
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.runs.analysis.alignment import at
from metaviz.runs.analysis.comparison import (
    AXES,
    ComparisonView,
    GroupCurve,
    compared,
    difference_at,
    offered,
    usual_measure,
)
from metaviz.runs.analysis.curve_charts import comparison_chart
from metaviz.runs.analysis.pooled import End, iqm_end
from metaviz.runs.analysis.verdict import Verdict, verdict
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import interval_text, range_text

_MOST_READ = 6
_MANY_LINES = 100


@dataclass(frozen=True)
class Request:
    """What is to be compared, and drawn on how many pixels. `span` is the visible x, if not all."""

    records: Sequence[Record]
    view: ComparisonView
    pixels: int
    span: tuple[float, float] | None = None
    usual: bool = False
    """Whether the quantity is chosen for the person: what is usual for these runs."""


@dataclass(frozen=True)
class Ready:
    """Compared groups, and a chart of the few points of them that a screen can show."""

    request: Request
    view: ComparisonView
    measures: list[str]
    curves: list[GroupCurve]
    chart: Lines = field(repr=False)
    verdict: Verdict = field(default_factory=Verdict)
    ends: tuple[End, ...] = ()
    """What the table shows of where groups end: value, low, high, n."""


class CompareWorker(QObject):
    """Answers the newest request; older ones that wait are left out."""

    ready = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        """Do nothing yet."""
        super().__init__(parent)
        self.busy = False
        """Whether an answer is still to come."""
        self._waiting: Request | None = None
        self._known: tuple[object, Ready] | None = None

    def ask(self, request: Request) -> None:
        """Have a comparison made ready; `ready` is emitted then."""
        if self.busy:
            self._waiting = request
            return
        key = _key(request)
        known = self._known if self._known is not None and self._known[0] == key else None
        self.busy = True
        call = partial(made_ready, request, known[1] if known else None)
        Task(call, self._on_done, self._on_failed, self).start()

    @Slot(str)
    def _on_failed(self, _sentence: str) -> None:
        self._on_done(None)

    @Slot(object)
    def _on_done(self, ready: Ready | None) -> None:
        self.busy = False
        waiting, self._waiting = self._waiting, None
        if ready is not None:
            self._known = _key(ready.request), ready
        if waiting is not None:
            self.ask(waiting)
        if ready is not None and (waiting is None or _key(waiting) == _key(ready.request)):
            self.ready.emit(ready)


def made_ready(request: Request, known: Ready | None = None) -> Ready:
    """Compare, or take what was compared before, and thin it to the pixels that there are."""
    if known is not None:
        curves, view = known.curves, known.view
        chart = comparison_chart(curves, view, pixels=request.pixels, span=request.span)
        return replace(known, request=request, chart=chart)
    measures = offered(request.records)
    view = replace(request.view, measure=usual_measure(measures)) if request.usual else request.view
    curves = compared(request.records, view)
    chart = comparison_chart(curves, view, pixels=request.pixels, span=request.span)
    told = verdict(curves, view.axis)
    pooled = view.statistic == "iqm"
    ends = tuple(iqm_end(one, told.at) if pooled else one.final(told.at) for one in curves)
    return Ready(request, view, measures, curves, chart, told, ends)


def _key(request: Request) -> object:
    """Tell one comparison from another, whatever part of it is seen."""
    return (
        tuple((id(one), one.revision, one.state, one.marks) for one in request.records),
        request.view,
        request.usual,
    )


class ComparePlot(ChartView):
    """Draws what was made ready; `read` carries the numbers at the x that is pointed at."""

    read = Signal(str)

    def __init__(
        self, baseline: Callable[[], GroupCurve | None], parent: QWidget | None = None
    ) -> None:
        """Show nothing yet; differences are told to what `baseline` returns."""
        super().__init__("comparePlot", "Groups of runs compared", parent)
        self._groups: Sequence[GroupCurve] = ()
        self._view = ComparisonView()
        self._baseline = baseline
        self._x = math.nan
        self.reads = True
        self.tells = False
        self.hovered.connect(self._on_hovered)
        self.setStatusTip("Point at the curves to read them; the left and right keys do the same.")

    def show_ready(self, ready: Ready) -> None:
        """Draw compared groups."""
        self._groups, self._view = ready.curves, ready.view
        self.show_chart(ready.chart, fine=len(ready.chart.series) <= _MANY_LINES)
        self.show_numbers()

    def point_at(self, x: float) -> None:
        """Read the curves at x."""
        self._x = x
        self.show_numbers()

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
        ranged = one.band == "range"
        mean, low, high = (one.unit * value for value in (mean, low, high))
        shown = range_text(mean, low, high) if ranged else interval_text(mean, high - mean)
        text = f"{one.group.label} {shown} (n = {one.curve.n[place]})"
        base = self._baseline()
        if base is not None and one.group.values != base.group.values:
            apart = one.unit * difference_at(one, base, self._x)
            text += f" Δ {apart:+.3g}" if math.isfinite(apart) else ""
        return text

    @Slot()
    def show_numbers(self) -> None:
        """Tell the numbers at the pointer, and mark it."""
        text = self.readout()
        self.set_cursor(self._x if text else None)
        self.read.emit(text)

    @Slot(str, float, float)
    def _on_hovered(self, _chart: str, x: float, _y: float) -> None:
        self.point_at(x)
