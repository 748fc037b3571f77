"""Small pictures of how a run is drawn: a piece of its curve, or a patch of a colour."""

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap

from metaviz.gui.plotting.pens import dots_of, draw_markers, line_pen
from metaviz.gui.widgets.theme import current_theme, curve_color
from metaviz.runs.model.styles import Style

_WIDTH, _HEIGHT, _LINE, _DOT = 26, 12, 2, 8.0


def swatch(style: Style | None, given: str = "") -> QPixmap:
    """Return a piece of a shown run's curve; of a hidden one a dot of the colour it was given."""
    theme = current_theme()
    if style is not None:
        return _line(curve_color(style.color, theme), style.dash, style.marker)
    return _dot(curve_color(given, theme).name() if given else "")


def patch(color: str) -> QIcon:
    """Return a square of a colour for menus."""
    picture = QPixmap(14, 14)
    picture.fill(curve_color(color, current_theme()))
    return QIcon(picture)


def _line(color: QColor, dash: str, marker: str) -> QPixmap:
    picture = QPixmap(_WIDTH, _HEIGHT)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    pen = line_pen(color, _LINE, dash)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    painter.setPen(pen)
    painter.drawLine(0, _HEIGHT // 2, _WIDTH, _HEIGHT // 2)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    draw_markers(painter, marker, dots_of(color, _DOT), [QPointF(_WIDTH / 2, _HEIGHT / 2)])
    painter.end()
    return picture


def _dot(color: str) -> QPixmap:
    picture = QPixmap(_WIDTH, _HEIGHT)
    picture.fill(Qt.GlobalColor.transparent)
    if color:
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(QColor(color))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawEllipse(_WIDTH // 2 - 4, 2, 8, 8)
        painter.end()
    return picture
