"""The strip above a plot that names its lines."""

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRect, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from metaviz.gui.plotting.pens import draw_markers
from metaviz.gui.widgets.plain_text import plain_tip

_SAMPLE, _GAP, _APART = 30, 6, 16
_MOST_ROWS, _LEAST_TEXT = 3, 24


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    text: str
    pen: QPen | None
    dots: QPen | None
    marker: str = "o"


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
        restyled = list(map(_look, keys)) != list(map(_look, self.keys))
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
        cut = any(key and key.text != text for _, key, text in self._places(self.width()))
        self.setToolTip(plain_tip("\n".join(key.text for key in self.keys)) if cut else "")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents, not cut)
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
                at = QPointF(place.left() + _SAMPLE // 2, middle)
                draw_markers(painter, key.marker, key.dots, [at])
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
            left = f"and {len(self.keys) - number} more"
            tail = QSize(metrics.horizontalAdvance(left), row_height)
            beside = tail.width() + _APART if number < len(self.keys) - 1 else 0
            for _ in range(2):
                room = width - (beside if row == _MOST_ROWS - 1 else 0)
                most = max(_LEAST_TEXT, room - _SAMPLE - _GAP)
                text = metrics.elidedText(key.text, Qt.TextElideMode.ElideRight, most)
                wide = _SAMPLE + _GAP + metrics.horizontalAdvance(text)
                if not x or x + wide <= room or row == _MOST_ROWS - 1:
                    break
                x, row = 0, row + 1
            if x and x + wide > room:
                places.append((QRect(x, row * row_height, tail.width(), row_height), None, left))
                break
            places.append((QRect(x, row * row_height, wide, row_height), key, text))
            x += wide + _APART
        return places


def _look(key: Key) -> tuple[QPen | None, QPen | None, str]:
    return key.pen, key.dots, key.marker
