"""Pens for the lines and dots of charts."""

import math
from collections.abc import Iterable

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from metaviz.charts.values import DASHES

_CORNERS = {
    **{"s": (4, 45), "D": (4, 0), "d": (4, 0), "p": (5, 90), "*": (10, 90)},
    **{"^": (3, 90), "v": (3, 270), "<": (3, 180), ">": (3, 0)},
}
"""How many corners a shape has, and in which direction the first one lies, in degrees."""


def line_pen(color: QColor, width: float, dash: str) -> QPen:
    """Return a pen for lines of a width in pixels."""
    pen = QPen(color)
    pen.setCosmetic(True)
    pen.setWidthF(width)
    if DASHES[dash]:
        pen.setDashPattern(DASHES[dash])
    return pen


def dots_of(color: QColor, size: float) -> QPen:
    """Return a pen whose points are discs of a size in pixels."""
    pen = QPen(color)
    pen.setCosmetic(True)
    pen.setWidthF(size)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    return pen


def draw_markers(p: QPainter, marker: str, dots: QPen, places: Iterable[QPointF]) -> None:
    """Draw a shape of `MARKERS` at places in pixels, as large as discs of `dots`."""
    if marker == "o":
        p.setPen(dots)
        p.drawPoints(QPolygonF(list(places)))
        return
    shape = _outline(marker, dots.widthF() * 0.62)
    p.setPen(Qt.PenStyle.NoPen)
    p.setBrush(dots.color())
    for place in places:
        p.drawPolygon(shape.translated(place))
    p.setBrush(Qt.BrushStyle.NoBrush)


def _outline(marker: str, radius: float) -> QPolygonF:
    """Return a shape around the origin."""
    if marker in "PX":
        arm = 0.36 * radius
        corners = [(-arm, radius), (arm, radius), (arm, arm)]
        turned = [
            (x * math.cos(a) + y * math.sin(a), y * math.cos(a) - x * math.sin(a))
            for a in (0, math.pi / 2, math.pi, 3 * math.pi / 2)
            for x, y in corners
        ]
        tilt = math.pi / 4 if marker == "X" else 0.0
        c, s = math.cos(tilt), math.sin(tilt)
        return QPolygonF([QPointF(x * c - y * s, x * s + y * c) for x, y in turned])
    count, start = _CORNERS[marker]
    points = []
    for at in range(count):
        angle = math.radians(start + 360 * at / count)
        far = 1.15 * radius * (0.42 if marker == "*" and at % 2 else 1.0)
        wide = 0.6 if marker == "d" else 1.0
        points.append(QPointF(wide * far * math.cos(angle), -far * math.sin(angle)))
    return QPolygonF(points)
