"""The lines of a plot, and how they are drawn quickly."""

from typing import Any

import numpy as np
import pyqtgraph as pg
from pyqtgraph.Qt import internals
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPainterPath, QPen, QTransform

from metaviz.gui.plotting.pens import draw_markers

_MOST_DASHES = 5000
_MOST_MARKERS = 400
"""Beyond so many points their shapes would cover each other: they are discs, which are quick."""
_AROUND = 0.03
_THICK, _OPAQUE = 2.0, 255


class Trace:
    """A line with optional dots: its points, how they are drawn, and what they cover."""

    def __init__(self) -> None:
        """Hold no points."""
        self._x = self._y = np.empty(0)
        self._pen: QPen | None = None
        self._dots: QPen | None = None
        self._marker = "o"
        self._fine = True
        self._pieces = internals.PrimitiveArray(QLineF, 4)
        self._placed = internals.PrimitiveArray(QLineF, 4)
        self._path: QPainterPath | None = None
        self._scale: tuple[float, float] | None = None
        self._extent: list[tuple[float | None, float | None]] = [(None, None)] * 2

    def show_data(
        self,
        x: np.ndarray,
        y: np.ndarray,
        pen: QPen | None,
        dots: QPen | None,
        *,
        fine: bool,
        marker: str = "o",
    ) -> None:
        """Hold these points, to be joined by `pen` and marked by `dots` of a shape."""
        self._marker = marker
        self._x, self._y, self._pen, self._dots, self._fine = x, y, pen, dots, fine
        self._scale = self._path = None
        known = np.isfinite(x) & np.isfinite(y)
        self._extent = [_extent(values[known]) for values in (x, y)]
        if pen is not None and not fine and _is_quick(pen):
            self._path = pg.functions.arrayToQPath(x, y, connect="finite")
        elif pen is not None and pen.style() == Qt.PenStyle.SolidLine:
            joined = known[:-1] & known[1:]
            self._take(np.stack([x[:-1], y[:-1], x[1:], y[1:]], axis=1)[joined])

    def getData(self) -> tuple[np.ndarray, np.ndarray]:  # noqa: N802 - pyqtgraph's name
        """Return the points in the scale of the axes."""
        return self._x, self._y

    def dataBounds(self, ax: int) -> tuple[float | None, float | None]:  # noqa: N802
        """Return the smallest and the largest value along an axis."""
        return self._extent[ax]

    @property
    def overhang(self) -> float:
        """By how many pixels the line is wider than its points."""
        return max((pen.widthF() / 2 for pen in (self._pen, self._dots) if pen), default=0.0)

    def paint(self, p: QPainter) -> None:
        """Draw the line, then the dots."""
        if self._pen is not None and self._pen.style() != Qt.PenStyle.NoPen:
            self._paint_line(p, self._pen)
        if self._dots is None:
            return
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        pairs = zip(self._x.tolist(), self._y.tolist(), strict=True)
        points = [QPointF(*pair) for pair in pairs if np.isfinite(pair).all()]
        # In pixels, because the axes' different scales would make ellipses of discs.
        transform = p.worldTransform()
        p.save()
        p.resetTransform()
        marker = self._marker if len(points) <= _MOST_MARKERS else "o"
        draw_markers(p, marker, self._dots, map(transform.map, points))
        p.restore()

    def _paint_line(self, p: QPainter, pen: QPen) -> None:
        """Draw piece by piece: as one path only thin lines with rough edges are quick, but very."""
        p.setRenderHint(QPainter.RenderHint.Antialiasing, self._fine)
        if self._path is not None:
            _paint_path(p, pen, self._path)
            return
        if pen.style() != Qt.PenStyle.SolidLine:
            # Dashes one by one: Qt would begin its pattern anew at every point of the line.
            transform = p.combinedTransform()
            scale = (transform.m11(), transform.m22())
            if scale != self._scale:
                self._scale = scale
                pattern = [part * max(1.0, pen.widthF()) for part in pen.dashPattern()]
                self._take(dashes(self._x, self._y, scale, pattern))
            pen = QPen(pen)
            pen.setStyle(Qt.PenStyle.SolidLine)
        # In pixels: a thick smooth line takes twenty times as long where units are scaled.
        place, known = p.worldTransform(), self._pieces.ndarray()
        scale, origin = (place.m11(), place.m22()), (place.dx(), place.dy())
        self._placed.resize(len(known))
        self._placed.ndarray()[:] = known * (2 * scale) + 2 * origin
        p.setPen(pen)
        p.resetTransform()
        p.drawLines(*self._placed.drawargs())
        p.setWorldTransform(place)

    def _take(self, pieces: np.ndarray) -> None:
        self._pieces.resize(len(pieces))
        self._pieces.ndarray()[:] = pieces


class CurveItem(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph has no types
    """All lines of a plot as one item: an item for each line would cost more than its drawing."""

    def __init__(self) -> None:
        """Hold no lines."""
        super().__init__()
        self.traces: dict[str, Trace] = {}
        self._extent: list[tuple[float | None, float | None]] = [(None, None)] * 2
        self._bounds = QRectF()

    def settle(self) -> None:
        """Take in that traces are others or show other data."""
        self.prepareGeometryChange()
        self._extent = [self._whole(axis) for axis in (0, 1)]
        (left, right), (low, high) = self._extent
        self._bounds = QRectF()
        if left is not None and right is not None and low is not None and high is not None:
            aside, above = _AROUND * (right - left), _AROUND * (high - low)
            self._bounds = QRectF(left, low, right - left, high - low)
            self._bounds.adjust(-aside, -above, aside, above)
        self.informViewBoundsChanged()
        self.update()

    def boundingRect(self) -> QRectF:
        """Return where there are lines, with some room for their width."""
        return self._bounds

    def dataBounds(  # noqa: N802 - pyqtgraph's name
        self,
        ax: int,
        frac: float = 1.0,
        orthoRange: Any = None,  # noqa: N803
    ) -> tuple[float | None, float | None]:
        """Return the smallest and the largest value along an axis."""
        del frac, orthoRange
        return self._extent[ax]

    def pixelPadding(self) -> float:  # noqa: N802 - pyqtgraph's name
        """Return by how many pixels lines are wider than their points."""
        return max((trace.overhang for trace in self.traces.values()), default=0.0)

    def paint(self, p: QPainter, *_: Any) -> None:
        """Draw the lines, later ones on top."""
        for trace in self.traces.values():
            trace.paint(p)

    def _whole(self, axis: int) -> tuple[float | None, float | None]:
        extents = [trace.dataBounds(axis) for trace in self.traces.values()]
        lows = [low for low, _ in extents if low is not None]
        highs = [high for _, high in extents if high is not None]
        return (min(lows), max(highs)) if lows and highs else (None, None)


def _is_quick(pen: QPen) -> bool:
    """Return whether a line with rough edges can be drawn as a path, and thus quickly."""
    thick = pen.widthF() <= _THICK and pen.style() == Qt.PenStyle.SolidLine
    return pen.widthF() <= 1 or (thick and pen.color().alpha() == _OPAQUE)


def _paint_path(p: QPainter, pen: QPen, path: QPainterPath) -> None:
    """Draw with rough edges; a line of two pixels is drawn thrice, which takes a third as long."""
    thin, place = QPen(pen), p.worldTransform()
    thin.setWidthF(min(1.0, pen.widthF()))
    p.setPen(thin)
    pixel = 1 / p.device().devicePixelRatioF()
    for x, y in ((0, 0), (1, 0), (0, 1)) if pen.widthF() > 1 else ((0, 0),):
        p.setWorldTransform(place * QTransform.fromTranslate(x * pixel, y * pixel))
        p.drawPath(path)
    p.setWorldTransform(place)


def dashes(
    x: np.ndarray, y: np.ndarray, scale: tuple[float, float], pattern: list[float]
) -> np.ndarray:
    """Cut a line into the straight pieces of its dashes, rows of x1, y1, x2, y2.

    `pattern` holds lengths of dashes and gaps by turns, in pixels; `scale` is pixels per unit.
    Points that are not finite interrupt the line.
    """
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    x, y = x[known], y[known]
    if len(x) < 2:  # noqa: PLR2004 - a line has two ends
        return np.empty((0, 4))
    steps = np.hypot(np.diff(x) * scale[0], np.diff(y) * scale[1])
    along = np.concatenate([[0.0], np.cumsum(steps)])
    edges = np.concatenate([[0.0], np.cumsum(pattern)])
    period = edges[-1]
    repeats = np.arange(min(along[-1] / period, _MOST_DASHES) + 1)[:, None] * period
    bounds = (repeats + edges[None, :-1]).ravel()
    cuts = np.unique(np.concatenate([along, bounds[bounds < along[-1]]]))
    middle = (cuts[1:] + cuts[:-1]) / 2
    drawn = np.searchsorted(edges, middle % period, side="right") % 2 == 1
    gaps = np.diff(known) > 1
    drawn &= ~gaps[np.clip(np.searchsorted(along, middle, side="right") - 1, 0, len(gaps) - 1)]
    ends = np.stack([np.interp(cuts, along, x), np.interp(cuts, along, y)], axis=1)
    pieces: np.ndarray = np.hstack([ends[:-1], ends[1:]])[drawn]
    return pieces


def _extent(values: np.ndarray) -> tuple[float | None, float | None]:
    return (float(values.min()), float(values.max())) if values.size else (None, None)
