"""Parallel coordinates: one polyline per run, and brushes on the axes that choose runs."""

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.parallel import ABSENT, ParallelAxis, inside

_TOP, _BOTTOM, _SIDE = 34, 34, 62
_BRUSH_HALF = 7
_NEAR = 6.0
_STEP = 0.05
_Key = Qt.Key


class ParallelPlot(QWidget):
    """Draws runs over axes. `brushed` carries the run ids that the brushes leave, None for all."""

    brushed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__(parent)
        self.setObjectName("parallelPlot")
        self.setAccessibleName("Hyperparameters and result of every run")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(120)
        tip = (
            "Drag along an axis to choose runs, its title to move it. Keys: left and right choose "
            "an axis, up and down move its brush, with Shift they stretch it, Ctrl+left and "
            "Ctrl+right move the axis, Escape clears."
        )
        self.setStatusTip(tip)
        self.setAccessibleDescription(tip)
        self.axes: list[ParallelAxis] = []
        self.brushes: dict[str, tuple[float, float]] = {}
        self.current = 0
        self._ids: list[str] = []
        self._labels: list[str] = []
        self._colors: list[QColor] = []
        self._order: list[str] = []
        self._theme: Theme | None = None
        self._message = ""
        self._picture: QPixmap | None = None
        self._drag: tuple[str, str, float] | None = None
        self._hovered: int | None = None

    def show_runs(
        self,
        axes: Sequence[ParallelAxis],
        runs: Sequence[tuple[str, str]],
        colors: Sequence[QColor],
        message: str = "",
    ) -> None:
        """Show runs (id and label) over axes; the order that a person dragged is kept."""
        self.axes = list(axes)
        self._sort_axes()
        self._ids, self._labels = [one for one, _ in runs], [label for _, label in runs]
        self._colors, self._message = list(colors), message
        self.current = min(self.current, max(0, len(self.axes) - 1))
        self._hovered = None
        if self.brushes:
            keys = {axis.key for axis in axes}
            self.brushes = {key: brush for key, brush in self.brushes.items() if key in keys}
            self._follow_brushes()
        else:
            self._renew()

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        self._renew()

    def chosen(self) -> np.ndarray:
        """Return which runs all brushes leave."""
        left = np.ones(len(self._ids), dtype=bool)
        for axis in self.axes:
            if axis.key in self.brushes:
                left &= inside(axis, self.brushes[axis.key])
        return left

    def brush(self, key: str, low: float, high: float) -> None:
        """Choose the runs from one place of an axis to another; ABSENT is below 0."""
        self.brushes[key] = (max(ABSENT - 0.02, min(low, high)), min(1.0, max(low, high)))
        self._follow_brushes()

    def clear(self) -> None:
        """Choose all runs again."""
        if self.brushes:
            self.brushes = {}
            self._follow_brushes()

    def move_axis(self, key: str, place: int) -> None:
        """Put an axis at another place."""
        axis = next(axis for axis in self.axes if axis.key == key)
        self.axes.remove(axis)
        self.axes.insert(min(max(place, 0), len(self.axes)), axis)
        self._order = [axis.key for axis in self.axes]
        self.current = self.axes.index(axis)
        self._renew()

    def order(self) -> list[str]:
        """Return the keys of the axes from left to right, as a person dragged them."""
        return list(self._order)

    def use_order(self, keys: Sequence[str]) -> None:
        """Put axes in an order; others come behind."""
        self._order = list(keys)
        self._sort_axes()
        self._renew()

    def x_of(self, place: int) -> float:
        """Return where an axis stands, in pixels."""
        room = self.width() - 2 * _SIDE
        return _SIDE + (room * place / (len(self.axes) - 1) if len(self.axes) > 1 else room / 2)

    def y_of(self, place: float) -> float:
        """Return the height of a place on an axis, in pixels."""
        foot = self._foot()
        return self.height() - foot - place * (self.height() - _TOP - foot)

    def run_at(self, point: QPointF) -> str:
        """Return the label of the run whose line passes nearest, empty where none is near."""
        place = self._nearest(point)
        return "" if place is None else self._labels[place]

    def sizeHint(self) -> QSize:
        """Return a size that shows a handful of axes."""
        return QSize(600, 260)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Draw anew."""
        super().resizeEvent(event)
        self._renew()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Show the lines, drawn once, and above them axes and brushes."""
        del event
        if self._theme is None:
            return
        if self._picture is None:
            self._picture = self._drawn(self._theme)
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._message:
            painter.setPen(QColor(self._theme.muted))
            frame = self.rect().adjusted(40, 10, -40, -10)
            flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
            painter.drawText(frame, flags, self._message)
            return
        if self._hovered is not None:
            painter.setPen(QPen(QColor(self._theme.foreground), 2.5))
            painter.drawPolyline(self._line(self._hovered))
        for place, axis in enumerate(self.axes):
            self._paint_axis(painter, place, axis, self._theme)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a brush, or to move an axis by its title."""
        place = self._axis_at(event.position())
        if place is None or event.button() != Qt.MouseButton.LeftButton:
            return
        self.current = place
        kind = "move" if event.position().y() < _TOP - 8 else "brush"
        self._drag = (kind, self.axes[place].key, self._value(event.position().y()))
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Stretch a brush, move an axis, or name the run under the pointer."""
        if self._drag is None:
            self._hover(event)
            return
        kind, key, start = self._drag
        if kind == "brush":
            self.brush(key, start, self._value(event.position().y()))
            return
        nearest = min(range(len(self.axes)), key=lambda p: abs(self.x_of(p) - event.position().x()))
        if self.axes[nearest].key != key:
            self.move_axis(key, nearest)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a drag; a click on an axis takes its brush away."""
        if self._drag is None:
            return
        kind, key, start = self._drag
        self._drag = None
        moved = abs(self.y_of(start) - event.position().y())
        if kind == "brush" and moved < 3 and key in self.brushes:  # noqa: PLR2004 - pixels
            del self.brushes[key]
            self._follow_brushes()

    def leaveEvent(self, event: QEvent) -> None:
        """Tell of no run."""
        super().leaveEvent(event)
        self._hovered = None
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Choose axes and move brushes; see the status tip."""
        key, modifiers = _Key(event.key()), event.modifiers()
        if not self.axes or key not in {_Key.Key_Left, _Key.Key_Right, _Key.Key_Up, _Key.Key_Down}:
            if key == _Key.Key_Escape and self.brushes:
                self.clear()
            else:
                super().keyPressEvent(event)
            return
        by = 1 if key in {_Key.Key_Right, _Key.Key_Up} else -1
        axis = self.axes[self.current]
        if key in {_Key.Key_Up, _Key.Key_Down}:
            low, high = self.brushes.get(axis.key, (0.0, 1.0) if by > 0 else (ABSENT, 1.0))
            stretch = bool(modifiers & Qt.KeyboardModifier.ShiftModifier)
            lowest = ABSENT if axis.absent else 0.0
            low = low if stretch else min(max(low + by * _STEP, lowest), 1.0)
            high = min(max(high + by * _STEP, low), 1.0)
            self.brush(axis.key, low, high)
        elif modifiers & Qt.KeyboardModifier.ControlModifier:
            self.move_axis(axis.key, self.current + by)
        else:
            self.current = min(max(self.current + by, 0), len(self.axes) - 1)
            self.update()

    def _sort_axes(self) -> None:
        places = {key: place for place, key in enumerate(self._order)}
        self.axes.sort(key=lambda axis: places.get(axis.key, len(places)))

    def _renew(self) -> None:
        self._picture = None
        self.update()

    def _follow_brushes(self) -> None:
        """Draw anew, and emit which runs are left."""
        self._renew()
        left = {name for name, kept in zip(self._ids, self.chosen(), strict=True) if kept}
        self.brushed.emit(left if self.brushes else None)

    def _foot(self) -> float:
        return _BOTTOM + (18 if any(axis.absent for axis in self.axes) else 0)

    def _value(self, y: float) -> float:
        foot = self._foot()
        return (self.height() - foot - y) / max(1.0, self.height() - _TOP - foot)

    def _axis_at(self, point: QPointF) -> int | None:
        if not self.axes:
            return None
        place = min(range(len(self.axes)), key=lambda p: abs(self.x_of(p) - point.x()))
        near = 40 if point.y() < _TOP - 8 else 14
        return place if abs(self.x_of(place) - point.x()) <= near else None

    def _line(self, run: int) -> QPolygonF:
        heights = (self.y_of(float(axis.places[run])) for axis in self.axes)
        return QPolygonF([QPointF(self.x_of(at), height) for at, height in enumerate(heights)])

    def _drawn(self, theme: Theme) -> QPixmap:
        """Draw every line: those that brushes leave out faintly and below."""
        ratio = self.devicePixelRatioF()
        picture = QPixmap(self.size() * ratio)
        picture.setDevicePixelRatio(ratio)
        picture.fill(QColor(theme.background))
        if self._message or not self.axes:
            return picture
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left = self.chosen()
        for run in np.argsort(left, kind="stable").tolist():
            color = QColor(self._colors[run]) if left[run] else QColor(theme.grid)
            color.setAlphaF(0.85 if left[run] else 0.35)
            painter.setPen(QPen(color, 1.6 if left[run] else 1.0))
            painter.drawPolyline(self._line(run))
        painter.end()
        return picture

    def _paint_axis(self, painter: QPainter, place: int, axis: ParallelAxis, theme: Theme) -> None:
        x, metrics = self.x_of(place), self.fontMetrics()
        focused = self.hasFocus() and place == self.current
        painter.setPen(QPen(QColor(theme.accent if focused else theme.muted), 2 if focused else 1))
        painter.drawLine(QPointF(x, self.y_of(1.0)), QPointF(x, self.y_of(0.0)))
        brush = self.brushes.get(axis.key)
        if brush is not None:
            upper, lower = self.y_of(brush[1]), self.y_of(brush[0])
            color = QColor(theme.accent)
            painter.setPen(QPen(color, 1))
            color.setAlphaF(0.25)
            painter.setBrush(color)
            height = max(3.0, lower - upper)
            painter.drawRect(QRectF(x - _BRUSH_HALF, upper, 2 * _BRUSH_HALF, height))
            painter.setBrush(Qt.BrushStyle.NoBrush)
        room = int((self.width() - 2 * _SIDE) / max(1, len(self.axes) - 1)) - 8
        room = max(30, min(room, 2 * _SIDE - 6))
        title = metrics.elidedText(axis.title, Qt.TextElideMode.ElideRight, room)
        middle = Qt.AlignmentFlag.AlignCenter
        painter.setPen(QColor(theme.accent if focused else theme.foreground))
        painter.drawText(QRectF(x - room / 2, 4, room, metrics.height()), middle, title)
        ticks = list(axis.ticks) + ([(ABSENT, "absent")] if axis.absent else [])
        last = place == len(self.axes) - 1 and len(self.axes) > 1
        for height, text in ticks:
            shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, _SIDE - 12)
            width = metrics.horizontalAdvance(shown) + 4
            top = self.y_of(height) - metrics.height() / 2
            box = QRectF(x + 6 if last else x - 6 - width, top, width, metrics.height())
            ground = QColor(theme.background)
            ground.setAlphaF(0.75)
            painter.fillRect(box, ground)
            painter.setPen(QColor(theme.muted))
            painter.drawText(box, middle, shown)

    def _hover(self, event: QMouseEvent) -> None:
        found = self._nearest(event.position())
        if found == self._hovered:
            return
        self._hovered = found
        if found is None:
            QToolTip.hideText()
        else:
            QToolTip.showText(event.globalPosition().toPoint(), self._labels[found], self)
        self.update()

    def _nearest(self, point: QPointF) -> int | None:
        """Return the run whose line passes nearest to a point between the outer axes."""
        if len(self.axes) < 2 or not self._ids:  # noqa: PLR2004 - a line has two ends
            return None
        x = np.array([self.x_of(place) for place in range(len(self.axes))])
        if not x[0] <= point.x() <= x[-1]:
            return None
        left = min(int(np.searchsorted(x, point.x(), side="right")) - 1, len(x) - 2)
        share = (point.x() - x[left]) / (x[left + 1] - x[left])
        one, other = self.axes[left].places, self.axes[left + 1].places
        foot, top = self.y_of(0.0), self.y_of(1.0)
        heights = foot - ((1 - share) * one + share * other) * (foot - top)
        apart = np.where(self.chosen(), np.abs(heights - point.y()), np.inf)
        nearest = int(apart.argmin())
        return nearest if apart[nearest] <= _NEAR else None
