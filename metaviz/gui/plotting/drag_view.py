"""A chart whose handles a person drags, by mouse or by keyboard."""

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QWidget

from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.plotting.pens import line_pen
from metaviz.gui.widgets.theme import role_color

_REACH, _RING = 14.0, 11.0
_KEY_STEPS, _FINE = 100, 10
_ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Down: (0, -1),
    Qt.Key.Key_Up: (0, 1),
}


class DragView(ChartView):
    """Shows a chart; series whose names begin with `prefix` are handles of one point each.

    Tab goes from handle to handle, arrows move the one that is chosen by a hundredth of what is
    seen, with Shift by a tenth of that.
    """

    moved = Signal(str, float, float)
    """A handle, without the prefix, and where it was moved to."""
    released = Signal()
    """After a drag: what was drawn roughly can be drawn finely."""
    resized = Signal()

    def __init__(self, name: str, title: str, prefix: str, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__(name, title, parent)
        self._prefix = prefix
        self.has_grid = False
        self._held = ""
        self.chosen = ""
        """The handle that arrows move."""
        self.setMouseEnabled(x=False, y=False)

    @property
    def held(self) -> bool:
        """Whether a handle is being dragged."""
        return bool(self._held)

    def handles(self) -> dict[str, QPointF]:
        """Return where the handles are, by name."""
        found = {}
        for name, trace in self.traces.items():
            if name.startswith(self._prefix):
                x, y = trace.getData()
                found[name.removeprefix(self._prefix)] = QPointF(float(x[0]), float(y[0]))
        return found

    def handle_at(self, place: QPointF) -> str:
        """Return the handle that is nearest to a place of the widget, empty out of reach."""
        best, found = _REACH, ""
        for name, point in self.handles().items():
            apart = self.pixels(point) - place
            length = float(apart.x() ** 2 + apart.y() ** 2) ** 0.5
            if length < best:
                best, found = length, name
        return found

    def choose(self, name: str) -> None:
        """Let arrows move a handle, and say where it is."""
        self.chosen = name
        point = self.handles().get(name)
        if point is not None:
            at = f"{name} at ({point.x():.3g}, {point.y():.3g}); arrows move it"
            self.setAccessibleDescription(at)
        self.viewport().update()

    @property
    def shape(self) -> float:
        """Width over height of what is between the axes."""
        box = self.getPlotItem().getViewBox()
        return float(max(box.width(), 1.0) / max(box.height(), 1.0))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Say that it has another shape."""
        super().resizeEvent(event)
        self.resized.emit()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take the handle under the pointer."""
        name = self.handle_at(event.position())
        if event.button() != Qt.MouseButton.LeftButton or not name:
            super().mousePressEvent(event)
            return
        self._held = name
        self.choose(name)
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move the handle that is held."""
        if not self._held:
            name = self.handle_at(event.position())
            shape = Qt.CursorShape.OpenHandCursor if name else Qt.CursorShape.ArrowCursor
            self.viewport().setCursor(shape)
            super().mouseMoveEvent(event)
            return
        point = self.point(event.position())
        self.moved.emit(self._held, point.x(), point.y())
        event.accept()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Let go of the handle."""
        if not self._held:
            super().mouseReleaseEvent(event)
            return
        self._held = ""
        self.released.emit()
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the chosen handle."""
        by = _ARROWS.get(Qt.Key(event.key()))
        point = self.handles().get(self.chosen)
        if by is None or point is None:
            super().keyPressEvent(event)
            return
        fine = _FINE if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1
        ranges = self.getPlotItem().getViewBox().viewRange()
        steps = [(high - low) / _KEY_STEPS / fine for low, high in ranges]
        self.moved.emit(self.chosen, point.x() + by[0] * steps[0], point.y() + by[1] * steps[1])
        self.choose(self.chosen)

    def focusNextPrevChild(self, next: bool) -> bool:  # noqa: A002, N802 - Qt's
        """Go to the next handle; behind the last one to the next widget."""
        names = list(self.handles())
        at = names.index(self.chosen) if self.chosen in names else -1
        to = at + (1 if next else -1)
        if at >= 0 and 0 <= to < len(names):
            self.choose(names[to])
            return True
        self.choose("")
        return bool(super().focusNextPrevChild(next))

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Begin with the first handle, or from behind with the last."""
        super().focusInEvent(event)
        names = list(self.handles())
        back = event.reason() == Qt.FocusReason.BacktabFocusReason
        if names and event.reason() in {
            Qt.FocusReason.TabFocusReason,
            Qt.FocusReason.BacktabFocusReason,
        }:
            self.choose(names[-1 if back else 0])

    def drawForeground(self, painter: QPainter, rect: QRectF) -> None:  # noqa: N802 - Qt's
        """Draw a ring around the chosen handle while the view has the focus."""
        super().drawForeground(painter, rect)
        point = self.handles().get(self.chosen)
        if point is None or not self.hasFocus():
            return
        painter.save()
        painter.resetTransform()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(line_pen(role_color("accent", self._theme), 2.0, "solid"))
        painter.drawEllipse(self.pixels(point), _RING, _RING)
        painter.restore()
