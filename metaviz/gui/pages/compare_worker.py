"""Comparing groups of runs beside the window: what is drawn is made ready on another thread."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from PySide6.QtCore import QObject, Signal, Slot

from metaviz.charts.values import Lines
from metaviz.gui.background.task import Task
from metaviz.runs.analysis.comparison import (
    ComparisonView,
    GroupCurve,
    compared,
    offered,
    usual_measure,
)
from metaviz.runs.analysis.curve_charts import comparison_chart
from metaviz.runs.model.record import Record


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


class CompareWorker(QObject):
    """Answers the newest request; older ones that wait are left out."""

    ready = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        """Do nothing yet."""
        super().__init__(parent)
        self._is_busy = False
        self._waiting: Request | None = None
        self._known: tuple[object, list[str], list[GroupCurve]] | None = None

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._is_busy

    def ask(self, request: Request) -> None:
        """Have a comparison made ready; `ready` is emitted then."""
        if self._is_busy:
            self._waiting = request
            return
        key = _key(request)
        known = self._known if self._known is not None and self._known[0] == key else None
        self._is_busy = True
        call = partial(made_ready, request, known[1:] if known else None)
        Task(call, self._on_done, self._on_failed, self).start()

    @Slot(str)
    def _on_failed(self, _sentence: str) -> None:
        self._on_done(None)

    @Slot(object)
    def _on_done(self, ready: Ready | None) -> None:
        self._is_busy = False
        waiting, self._waiting = self._waiting, None
        if ready is not None:
            self._known = (_key(ready.request), ready.measures, ready.curves)
        if waiting is not None:
            self.ask(waiting)
        if ready is not None and (waiting is None or _key(waiting) == _key(ready.request)):
            self.ready.emit(ready)


def made_ready(
    request: Request, known: tuple[list[str], list[GroupCurve] | None] | None = None
) -> Ready:
    """Compare, or take what was compared before, and thin it to the pixels that there are."""
    measures, curves = known or (offered(request.records), None)
    view = replace(request.view, measure=usual_measure(measures)) if request.usual else request.view
    curves = compared(request.records, view) if curves is None else curves
    chart = comparison_chart(curves, view, pixels=request.pixels, span=request.span)
    return Ready(request, view, measures, curves, chart)


def _key(request: Request) -> object:
    """Tell one comparison from another, whatever part of it is seen."""
    return (
        tuple((id(one), one.revision, one.state, one.marks) for one in request.records),
        request.view,
        request.usual,
    )
