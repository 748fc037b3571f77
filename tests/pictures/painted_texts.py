"""Every text that a window paints: what, where, in which colour, and by which widget.

Widgets are painted one by one into SVG, where texts stay texts: so those that are drawn by hand,
by styles, by item views and within graphics scenes are all known by what is really drawn.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from xml.etree import ElementTree

from PySide6.QtCore import QBuffer, QIODevice, QPoint, QRectF
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QRegion, QTransform
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

_RESOLUTION = 96
_GROUP = "{http://www.w3.org/2000/svg}g"
_TEXT = "{http://www.w3.org/2000/svg}text"
_NUMBER = re.compile(r"[-+.\deE]+")


@dataclass(frozen=True)
class PaintedText:
    """A text as it was painted. `ink` is where its letters are, in pixels of the window."""

    text: str
    ink: QRectF
    color: QColor
    points: float
    owner: QWidget


def painted_texts(window: QWidget) -> list[PaintedText]:
    """Return all texts of a window's visible widgets."""
    found: list[PaintedText] = []
    for widget in visible_widgets(window):
        found += _texts_of(widget, widget.mapTo(window, QPoint()))
    return found


def visible_widgets(window: QWidget) -> Iterator[QWidget]:
    """Yield a window and the widgets in it that are shown, those below first."""
    yield window
    for child in window.children():
        if isinstance(child, QWidget) and child.isVisible() and not child.isWindow():
            yield from visible_widgets(child)


def _texts_of(widget: QWidget, place: QPoint) -> list[PaintedText]:
    if widget.width() <= 0 or widget.height() <= 0:
        return []
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    canvas = QSvgGenerator()
    canvas.setOutputDevice(buffer)
    canvas.setResolution(_RESOLUTION)
    canvas.setSize(widget.size())
    # Graphics views hide this method by another one.
    QWidget.render(widget, canvas, QPoint(), QRegion(), QWidget.RenderFlag(0))
    drawn = bytes(buffer.data().data())
    if b"<text" not in drawn:
        return []
    found = []
    for group in ElementTree.fromstring(drawn).iter(_GROUP):
        for element in group.findall(_TEXT):
            text = "".join(element.itertext())
            if text.strip():
                found.append(_read(text, element, group, widget, place))
    return found


def _read(
    text: str,
    element: ElementTree.Element,
    group: ElementTree.Element,
    owner: QWidget,
    place: QPoint,
) -> PaintedText:
    size, weight = float(element.get("font-size", "0")), int(element.get("font-weight", "400"))
    slanted = element.get("font-style") == "italic"
    ink = QRectF(_ink(text, element.get("font-family", ""), size, weight, slanted))
    ink.translate(float(element.get("x", "0")), float(element.get("y", "0")))
    color = QColor(element.get("fill", "#000000"))
    color.setAlphaF(float(element.get("fill-opacity", "1")))
    matrix = _matrix(group.get("transform", ""))
    ink = matrix.mapRect(ink).translated(place)
    return PaintedText(text, ink, color, size * matrix.m22() if matrix.m22() else size, owner)


def _matrix(text: str) -> QTransform:
    numbers = [float(one) for one in _NUMBER.findall(text.partition("(")[2])]
    return QTransform(*numbers) if len(numbers) == 6 else QTransform()


@cache
def _ink(text: str, family: str, size: float, weight: int, slanted: bool) -> QRectF:
    font = QFont(family)
    font.setPixelSize(max(1, round(size)))
    font.setWeight(QFont.Weight(weight))
    font.setItalic(slanted)
    return QFontMetricsF(font).tightBoundingRect(text)
