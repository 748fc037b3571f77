"""Pens for the lines and dots of charts."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPen

from metaviz.charts.values import DASHES


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
