"""The line of a plot, and the strip above the plot that names the lines."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QLineF, QPointF, QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

_SAMPLE, _GAP, _APART = 30, 6, 16
_MOST_ROWS = 3
_MOST_DASHES = 5000


class Trace(pg.PlotCurveItem):  # type: ignore[misc]  # pyqtgraph has no types
    """A line with optional dots.

    pyqtgraph's PlotDataItem takes three times as long to be given new data, because it serves a
    dozen features that are not used here; and its bounds are looked up many times a frame.
    """

    def __init__(self) -> None:
        super().__init__(connect="finite")
        # Thick lines are stroked piece by piece: as one path they take a hundred times longer.
        self.setSegmentedLineMode("on")
        self._dots: QPen | None = None
        self._extent: list[tuple[float | None, float | None]] = [(None, None)] * 2

    def show_data(
        self, x: np.ndarray, y: np.ndarray, pen: QPen | None, dots: QPen | None, *, fine: bool
    ) -> None:
        """Draw these points, joined by `pen` and marked by `dots`."""
        self._dots = dots
        known = np.isfinite(x) & np.isfinite(y)
        self._extent = [_extent(values[known]) for values in (x, y)]
        self.setData(x, y, pen=pen, antialias=fine)

    def dataBounds(  # noqa: N802 - pyqtgraph's name
        self,
        ax: int,
        frac: float = 1.0,
        orthoRange: Any = None,  # noqa: N803
    ) -> tuple[float | None, float | None]:
        """Return the smallest and the largest value along an axis."""
        del frac, orthoRange
        return self._extent[ax]

    def paint(self, p: QPainter, opt: Any, widget: Any) -> None:
        """Draw the line, then the dots."""
        pen = self.opts["pen"]
        if pen is not None and pen.style() == Qt.PenStyle.SolidLine:
            super().paint(p, opt, widget)
        elif pen is not None and pen.style() != Qt.PenStyle.NoPen:
            self._paint_dashes(p, pen)
        if self._dots is None:
            return
        p.setRenderHint(QPainter.RenderHint.Antialiasing)
        p.setPen(self._dots)
        pairs = zip(self.xData.tolist(), self.yData.tolist(), strict=True)
        points = QPolygonF([QPointF(*pair) for pair in pairs if np.isfinite(pair).all()])
        # In pixels, because the axes' different scales would make ellipses of discs.
        transform = p.worldTransform()
        p.save()
        p.resetTransform()
        p.drawPoints(transform.map(points))
        p.restore()

    def _paint_dashes(self, p: QPainter, pen: QPen) -> None:
        """Draw the dashes one by one: Qt begins its pattern anew at every point of the line."""
        plain = QPen(pen)
        plain.setStyle(Qt.PenStyle.SolidLine)
        if self.opts["antialias"]:
            p.setRenderHint(QPainter.RenderHint.Antialiasing)
        p.setPen(plain)
        transform = p.combinedTransform()
        scale = (transform.m11(), transform.m22())
        pattern = [part * max(1.0, pen.widthF()) for part in pen.dashPattern()]
        pieces = dashes(self.xData, self.yData, scale, pattern)
        p.drawLines([QLineF(*piece) for piece in pieces.tolist()])


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
