"""Comparing groups of runs beside the window: what is drawn is made ready on another thread."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from metaviz.gui.background.task import Task
from metaviz.gui.plotting.plot_widget import Band, Line
from metaviz.runs.analysis.alignment import thin_band
from metaviz.runs.analysis.comparison import (
    ComparisonView,
    GroupCurve,
    compared,
    offered,
    usual_measure,
)
from metaviz.runs.analysis.curves import band_alpha
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import range_with_bands, thin

_BAND_POINTS = 100
_FEWEST_POINTS, _ALL_POINTS = 200, 45_000
_QUANTILE_POINTS = 500
_FEW = 8


@dataclass(frozen=True)
class Wish:
    """What is to be compared, and drawn on how many pixels. `span` is the visible x, if not all."""

    records: Sequence[Record]
    view: ComparisonView
    pixels: int
    span: tuple[float, float] | None = None
    usual: bool = False
    """Whether the quantity is chosen for the person: what is usual for these runs."""


@dataclass(frozen=True)
class Ready:
    """Compared groups, and the few points of them that a screen can show."""

    wish: Wish
    view: ComparisonView
    measures: list[str]
    curves: list[GroupCurve]
    lines: list[Line] = field(repr=False)
    bands: list[Band] = field(repr=False)
    limits: tuple[float, float] | None = None


class CompareWork(QObject):
    """Answers the newest wish; those that it overtakes are left out."""

    ready = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        """Do nothing yet."""
        super().__init__(parent)
        self._is_busy = False
        self._waiting: Wish | None = None
        self._known: tuple[object, list[str], list[GroupCurve]] | None = None

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._is_busy

    def ask(self, wish: Wish) -> None:
        """Have a comparison made ready; `ready` tells."""
        if self._is_busy:
            self._waiting = wish
            return
        key = _key(wish)
        known = self._known if self._known is not None and self._known[0] == key else None
        self._is_busy = True
        call = partial(made_ready, wish, known[1:] if known else None)
        Task(call, self._on_done, self._on_failed, self).start()

    @Slot(str)
    def _on_failed(self, _sentence: str) -> None:
        self._on_done(None)

    @Slot(object)
    def _on_done(self, ready: Ready | None) -> None:
        self._is_busy = False
        waiting, self._waiting = self._waiting, None
        if ready is not None:
            self._known = (_key(ready.wish), ready.measures, ready.curves)
        if waiting is not None:
            self.ask(waiting)
        if ready is not None and (waiting is None or _key(waiting) == _key(ready.wish)):
            self.ready.emit(ready)


def made_ready(wish: Wish, known: tuple[list[str], list[GroupCurve] | None] | None = None) -> Ready:
    """Compare, or take what was compared before, and thin it to the pixels that there are."""
    measures, curves = known or (offered(wish.records), None)
    view = replace(wish.view, measure=usual_measure(measures)) if wish.usual else wish.view
    curves = compared(wish.records, view) if curves is None else curves
    points = max(_FEWEST_POINTS, min(2 * wish.pixels, _ALL_POINTS // max(1, len(curves))))
    alpha = band_alpha(len(curves))
    lines: list[Line] = []
    bands: list[Band] = []
    for place, one in enumerate(curves):
        color, curve = one.style.color, one.curve
        if view.members:
            for number, run in enumerate(one.samples):
                seen = _seen(wish.span, run.x)
                x, y = thin(run.x[seen], run.y[seen], points // 2)
                lines.append(Line(f"{place} run {number}", x, y, color, alpha=0.35))
        seen = _seen(wish.span, curve.x)
        x, y = thin(curve.x[seen], curve.mean[seen], points)
        # Thick lines and dashes take ten times as long, and tell nothing apart where many cross.
        wide, dash = (2.0, one.style.dash) if len(curves) <= _FEW else (1.0, "solid")
        lines.append(Line(f"{place}", x, y, color, one.legend, dash, width=wide))
        if np.isfinite(curve.low).any():
            parts = thin_band(curve.x[seen], curve.low[seen], curve.high[seen], _BAND_POINTS)
            bands.append(Band(f"{place} band", *parts, color, alpha))
    return Ready(wish, view, measures, curves, lines, bands, _limits(curves, view))


def _limits(curves: list[GroupCurve], view: ComparisonView) -> tuple[float, float] | None:
    """Return what is shown of y; some hundred points of a curve tell that."""
    if not view.robust:
        return None
    means, edges = [], []
    for curve in (one.curve for one in curves):
        few = slice(None, None, max(1, len(curve.mean) // _QUANTILE_POINTS))
        means.append(curve.mean[few])
        edges += [curve.low[few], curve.high[few]]
    return range_with_bands(means, edges, log=view.log_y)


def _key(wish: Wish) -> object:
    """Tell one comparison from another, whatever part of it is seen."""
    return (
        tuple((id(one), one.revision, one.state, one.marks) for one in wish.records),
        wish.view,
        wish.usual,
    )


def _seen(span: tuple[float, float] | None, x: np.ndarray) -> slice:
    """Return the points in sight, and one more on each side."""
    if span is None:
        return slice(None)
    low, high = np.searchsorted(x, span)
    return slice(max(0, int(low) - 1), int(high) + 1)
