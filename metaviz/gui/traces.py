"""The line of a plot, and the strip above the plot that names the lines."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from pyqtgraph.Qt import internals
from PySide6.QtCore import QLineF, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

_SAMPLE, _GAP, _APART = 30, 6, 16
_MOST_ROWS = 3
_MOST_DASHES = 5000
_AROUND = 0.03


class Trace:
    """A line with optional dots: its points, how they are drawn, and what they cover."""

    def __init__(self) -> None:
        """Hold no points."""
        self._x = self._y = np.empty(0)
        self._pen: QPen | None = None
        self._dots: QPen | None = None
        self._fine = True
        self._pieces = internals.PrimitiveArray(QLineF, 4)
        self._scale: tuple[float, float] | None = None
        self._extent: list[tuple[float | None, float | None]] = [(None, None)] * 2

    def show_data(
        self, x: np.ndarray, y: np.ndarray, pen: QPen | None, dots: QPen | None, *, fine: bool
    ) -> None:
        """Hold these points, to be joined by `pen` and marked by `dots`."""
        self._x, self._y, self._pen, self._dots, self._fine = x, y, pen, dots, fine
        self._scale = None
        known = np.isfinite(x) & np.isfinite(y)
        self._extent = [_extent(values[known]) for values in (x, y)]
        if pen is not None and pen.style() == Qt.PenStyle.SolidLine:
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
        p.setPen(self._dots)
        pairs = zip(self._x.tolist(), self._y.tolist(), strict=True)
        points = QPolygonF([QPointF(*pair) for pair in pairs if np.isfinite(pair).all()])
        # In pixels, because the axes' different scales would make ellipses of discs.
        transform = p.worldTransform()
        p.save()
        p.resetTransform()
        p.drawPoints(transform.map(points))
        p.restore()

    def _paint_line(self, p: QPainter, pen: QPen) -> None:
        """Draw piece by piece: thick lines as one path take a hundred times longer."""
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
        p.setRenderHint(QPainter.RenderHint.Antialiasing, self._fine)
        p.setPen(pen)
        p.drawLines(*self._pieces.drawargs())

    def _take(self, pieces: np.ndarray) -> None:
        self._pieces.resize(len(pieces))
        self._pieces.ndarray()[:] = pieces


class Sheet(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph has no types
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


def dots_of(color: QColor, size: float) -> QPen:
    """Return a pen whose points are discs of a size in pixels."""
    pen = QPen(color)
    pen.setCosmetic(True)
    pen.setWidthF(size)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    return pen


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    text: str
    pen: QPen | None
    dots: QPen | None


class Legend(QWidget):
    """Names the lines above a plot, where it covers none of them; entries flow into rows."""

    def __init__(self, parent: QWidget) -> None:
        """Show nothing yet."""
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.keys: list[Key] = []
        self._color = QColor("black")

    def set_color(self, color: str) -> None:
        """Choose the colour of the texts."""
        self._color = QColor(color)
        self.update()

    def set_keys(self, keys: list[Key]) -> bool:
        """Show these entries; return whether the room they need may have changed."""
        changed = [key.text for key in keys] != [key.text for key in self.keys]
        restyled = [(k.pen, k.dots) for k in keys] != [(k.pen, k.dots) for k in self.keys]
        self.keys = keys
        if changed:
            self._fit()
        if changed or restyled:
            self.update()
        return changed

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Flow anew; splitters and scrolled areas do not ask how high a width needs."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        needed = self.heightForWidth(self.width())
        if needed != self.maximumHeight():
            self.setFixedHeight(needed)

    def hasHeightForWidth(self) -> bool:  # noqa: N802 - Qt's name
        """Entries flow."""
        return True

    def sizeHint(self) -> QSize:
        """Return the room that the entries need."""
        return QSize(self.width(), self.heightForWidth(self.width()))

    def heightForWidth(self, width: int) -> int:  # noqa: N802 - Qt's name
        """Return the height that the entries need in this width."""
        places = self._places(width)
        if not places:
            return 0
        return places[-1][0].bottom() + 4

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw samples and texts."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for place, key, text in self._places(self.width()):
            middle = place.center().y()
            if key is not None and key.pen is not None:
                painter.setPen(key.pen)
                painter.drawLine(place.left(), middle, place.left() + _SAMPLE, middle)
            if key is not None and key.dots is not None:
                painter.setPen(key.dots)
                painter.drawPoint(place.left() + _SAMPLE // 2, middle)
            painter.setPen(self._color)
            beside = place.adjusted(_SAMPLE + _GAP if key is not None else 0, 0, 0, 0)
            painter.drawText(beside, Qt.AlignmentFlag.AlignVCenter, text)

    def _places(self, width: int) -> list[tuple[QRect, Key | None, str]]:
        """Return where entries are drawn; those that do not fit into the last row are counted."""
        metrics = self.fontMetrics()
        row_height = metrics.height() + 3
        places: list[tuple[QRect, Key | None, str]] = []
        x, row = 0, 0
        for number, key in enumerate(self.keys):
            size = QSize(_SAMPLE + _GAP + metrics.horizontalAdvance(key.text), row_height)
            left = f"and {len(self.keys) - number} more"
            last = row == _MOST_ROWS - 1 and number < len(self.keys) - 1
            room = width - (metrics.horizontalAdvance(left) + _APART if last else 0)
            if x and x + size.width() > room:
                if row == _MOST_ROWS - 1:
                    tail = QSize(metrics.horizontalAdvance(left), row_height)
                    places.append((QRect(QPointF(x, row * row_height).toPoint(), tail), None, left))
                    break
                x, row = 0, row + 1
            places.append((QRect(x, row * row_height, size.width(), row_height), key, key.text))
            x += size.width() + _APART
        return places
