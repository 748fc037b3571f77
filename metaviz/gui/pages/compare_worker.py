"""Comparing groups of runs beside the window: what is drawn is made ready on another thread."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from PySide6.QtCore import QObject, QRunnable, QThreadPool, Signal, Slot

from metaviz.charts.values import Lines
from metaviz.runs.analysis.comparison import (
    ComparisonView,
    GroupCurve,
    compared,
    offered,
    usual_measure,
)
from metaviz.runs.analysis.curve_charts import comparison_chart
from metaviz.runs.model.record import Record

_log = logging.getLogger("metaviz.compare")


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
        self._task: _Task | None = None
        self._waiting: Request | None = None
        self._known: tuple[object, list[str], list[GroupCurve]] | None = None

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._task is not None

    def ask(self, request: Request) -> None:
        """Have a comparison made ready; `ready` is emitted then."""
        if self._task is not None:
            self._waiting = request
            return
        key = _key(request)
        known = self._known if self._known is not None and self._known[0] == key else None
        self._task = _Task(request, known[1:] if known else None)
        self._task.signals.done.connect(self._on_done)
        QThreadPool.globalInstance().start(self._task)

    @Slot(object)
    def _on_done(self, ready: Ready | None) -> None:
        self._task = None
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


class _Signals(QObject):
    done = Signal(object)


class _Task(QRunnable):
    def __init__(self, request: Request, known: tuple[list[str], list[GroupCurve]] | None) -> None:
        super().__init__()
        self.setAutoDelete(False)
        self.signals = _Signals()
        self._request, self._known = request, known

    def run(self) -> None:
        ready = None
        try:
            ready = made_ready(self._request, self._known)
        except Exception:  # noqa: BLE001 - a failed comparison is logged; the page goes on
            _log.exception("The comparison failed")
        self.signals.done.emit(ready)
