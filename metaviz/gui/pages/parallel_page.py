"""Parallel coordinates of the shown runs against a result, and brushes that choose runs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PySide6.QtCore import QEvent, QPointF, Qt, Signal, Slot
from PySide6.QtGui import QFocusEvent, QKeyEvent, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import QToolTip, QWidget

from metaviz.charts.values import Axis, Parallel
from metaviz.config.quantities import quantity_of
from metaviz.gui.pages.layouts import column, row
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import (
    combo,
    connect_controls,
    named,
    offer,
    scrolling,
    tool_button,
)
from metaviz.gui.widgets.plain_text import PlainLabel, plain_tip
from metaviz.runs.analysis.parallel import ABSENT, ParallelAxis, chosen, parallel_axes
from metaviz.runs.analysis.result_charts import parallel_chart
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.table.columns import Columns
from metaviz.runs.table.summary import Entry, entry_of, own_of

EMPTY = "Tick runs in the Runs table: every run becomes a line over what they differ in."
SAME = "The shown runs have the same hyperparameters: tick runs that differ."
_RESULTS = {
    "loss": quantity_of("query_loss").label,
    "accuracy": "Accuracy",
    "seconds": quantity_of("seconds").label,
}
_FEW = 2
_TITLE = 1.03
_APART, _ABOVE = 78, 64
"""Pixels from axis to axis at least, and above axes for titles of two lines."""
_NEAR, _NEAR_AXIS, _NEAR_TITLE, _CLICK = 6.0, 14, 40, 3
_STEP = 0.05
_Key = Qt.Key
_ARROWS = {_Key.Key_Left: -1, _Key.Key_Right: 1, _Key.Key_Down: -1, _Key.Key_Up: 1}
_TIP = (
    "Drag along an axis to choose runs, its title to move it. Keys: left and right choose "
    "an axis, up and down move its brush, with Shift they stretch it, Ctrl+left and "
    "Ctrl+right move the axis, Escape clears."
)


class ParallelPage(QWidget):
    """Parallel coordinates, the choice of a result, and how many runs the brushes leave."""

    brushed = Signal(object)

    def __init__(self, columns: Columns, parent: QWidget | None = None) -> None:
        """Show nothing yet; columns give hyperparameters titles and scales."""
        super().__init__(parent)
        self.setObjectName("parallelPage")
        self._columns = columns
        self._entries: list[Entry] = []
        self._labels: dict[str, str] = {}
        self.plot = ParallelPlot(self)
        self.result = combo("parallelResult", "Result of the last axis", _RESULTS)
        self.count = named(PlainLabel(), "parallelCount")
        tip = "Choose all runs again, in the table, too. (Esc)"
        self.clear = tool_button("parallelClear", "Clear brushes", tip)
        above = row(("Coloured by", self.result), self.count, None, self.clear, spacing=6)
        self.area = scrolling("parallelScroll", "Hyperparameters of every run", self.plot)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        column(self, above, self.area, stretch=self.area, spacing=2)
        connect_controls(self.refresh, self.result)
        self.clear.clicked.connect(self.plot.clear_brushes)
        self.plot.reached.connect(self.area.ensureVisible)
        self.plot.chosen.connect(self._count)
        self.plot.chosen.connect(self.brushed)
        self.refresh()

    def show_records(self, records: Sequence[Record]) -> None:
        """Show these runs."""
        self._entries = [entry_of(record, None) for record in records]
        self._labels = labels(records)
        own = own_of(self._entries).values()
        offer(self.result, _RESULTS | {quantity.id: quantity.label for quantity in own})
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Draw the axes anew."""
        entries, result = self._entries, self.result.currentData()
        axes = parallel_axes(
            entries, result, self._columns.spec, lambda key: self._columns.column(key).title
        )
        same = SAME if len(axes) < _FEW else ""
        self.plot.show_runs(axes, self._labels, result, same if entries else EMPTY)
        self._count()

    @Slot()
    def _count(self) -> None:
        total, left = len(self._entries), int(self.plot.left().sum())
        self.clear.setEnabled(bool(self.plot.brushes))
        self.count.setText(f"{left} of {total} runs" if self.plot.brushes else f"{total} runs")


class ParallelPlot(ChartView):
    """Draws runs over axes. `chosen` carries the run ids that the brushes leave, None for all."""

    chosen = Signal(object)
    reached = Signal(int, int, int, int)
    """Where the axis stands that the keys have come to, and the room to see around it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__("parallelPlot", "Hyperparameters and result of every run", parent)
        self.setMouseEnabled(x=False, y=False)
        self.setMinimumHeight(120)
        self.setStatusTip(_TIP)
        self.setAccessibleDescription(_TIP)
        self.axes: list[ParallelAxis] = []
        self.brushes: dict[str, tuple[float, float]] = {}
        self.current = 0
        self._labels: dict[str, str] = {}
        self._result = ""
        self._sentence = ""
        self.order: list[str] = []
        """Keys of the axes from left to right, as a person dragged them."""
        self._drag: tuple[str, str, float] | None = None
        self._hovered: int | None = None

    def show_runs(
        self, axes: Sequence[ParallelAxis], labels: dict[str, str], result: str, message: str = ""
    ) -> None:
        """Show runs (labels by id) over axes; the order that a person dragged is kept."""
        self.axes, self._labels, self._result, self._sentence = [*axes], labels, result, message
        self.current = min(self.current, max(0, len(axes) - 1))
        self._hovered = None
        brushed = bool(self.brushes)
        keys = {axis.key for axis in axes}
        self.brushes = {key: brush for key, brush in self.brushes.items() if key in keys}
        self.use_order(self.order)
        if brushed:
            self._tell_chosen()

    def figure(self) -> Parallel:
        """Return what is shown, without what follows the pointer."""
        runs = list(self._labels)
        return parallel_chart(self.axes, runs, self._result, self.brushes, self._sentence)

    def left(self) -> np.ndarray:
        """Return which runs all brushes leave."""
        return chosen(self.axes, self.brushes)

    def brush(self, key: str, low: float, high: float) -> None:
        """Choose the runs from one place of an axis to another; ABSENT is below 0."""
        self.brushes[key] = (max(ABSENT - 0.02, min(low, high)), min(1.0, max(low, high)))
        self._follow_brushes()

    def clear_brushes(self) -> None:
        """Choose all runs again."""
        if self.brushes:
            self.brushes = {}
            self._follow_brushes()

    def move_axis(self, key: str, place: int) -> None:
        """Put an axis at another place."""
        keys = [axis.key for axis in self.axes if axis.key != key]
        keys.insert(max(place, 0), key)
        self.current = keys.index(key)
        self.use_order(keys)

    def use_order(self, keys: Sequence[str]) -> None:
        """Put axes in an order; others come behind."""
        self.order = list(keys)
        places = {key: place for place, key in enumerate(keys)}
        self.axes.sort(key=lambda axis: places.get(axis.key, len(places)))
        self.redraw()

    def redraw(self) -> None:
        """Draw lines, axes and brushes, and above them the run under the pointer."""
        chart = self.figure()
        self.setMinimumWidth(_APART * (len(self.axes) + 1) if len(self.axes) > _FEW else 0)
        chart = replace(chart, y=Axis(limits=(0.0, 1.04 + _ABOVE / max(1, self.height()))))
        if self._hovered is not None:
            run = list(self._labels)[self._hovered]
            line = next(one for one in chart.series if one.name == run)
            above = replace(line, name="hovered", role="foreground", width=2.5, alpha=1.0)
            chart = replace(chart, series=(*chart.series, above))
        self.show_chart(chart)
        self.set_cursor(self.current if self.axes and self.hasFocus() else None)

    def x_of(self, place: float) -> float:
        """Return where an axis stands, in pixels."""
        return self.pixels(QPointF(place, 0.0)).x()

    def y_of(self, place: float) -> float:
        """Return the height of a place on an axis, in pixels."""
        return self.pixels(QPointF(0.0, place)).y()

    def run_at(self, point: QPointF) -> str:
        """Return the label of the run whose line passes nearest, empty where none is near."""
        place = self._nearest(self.point(point))
        return "" if place is None else list(self._labels.values())[place]

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave as much room for titles as they need."""
        super().resizeEvent(event)
        if hasattr(self, "axes"):  # resized also while it is made
            self.redraw()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a brush, or to move an axis by its title."""
        spot = self.point(event.position())
        place = self._axis_at(spot)
        if place is None or event.button() != Qt.MouseButton.LeftButton:
            return
        self.current = place
        self._drag = ("move" if spot.y() > _TITLE else "brush", self.axes[place].key, spot.y())
        self.redraw()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Stretch a brush, move an axis, or name the run under the pointer."""
        spot = self.point(event.position())
        if self._drag is None:
            place = self._axis_at(spot) if spot.y() > _TITLE else None
            self._hover(self._nearest(spot), event, "" if place is None else self.axes[place].title)
            return
        kind, key, start = self._drag
        nearest = min(max(round(spot.x()), 0), len(self.axes) - 1)
        if kind == "brush":
            self.brush(key, start, spot.y())
        elif self.axes[nearest].key != key:
            self.move_axis(key, nearest)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a drag; a click on an axis takes its brush away."""
        if self._drag is None:
            return
        kind, key, start = self._drag
        self._drag = None
        moved = abs(self.y_of(start) - event.position().y())
        if kind == "brush" and moved < _CLICK and key in self.brushes:
            del self.brushes[key]
            self._follow_brushes()

    def leaveEvent(self, event: QEvent) -> None:
        """Tell of no run."""
        super().leaveEvent(event)
        self._hover(None)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show which axis the keys move."""
        super().focusInEvent(event)
        self.redraw()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Show that keys move none."""
        super().focusOutEvent(event)
        self.redraw()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Choose axes and move brushes; see the status tip."""
        key, modifiers = _Key(event.key()), event.modifiers()
        if not self.axes or key not in _ARROWS:
            if key == _Key.Key_Escape and self.brushes:
                self.clear_brushes()
            else:
                super().keyPressEvent(event)
            return
        by, axis = _ARROWS[key], self.axes[self.current]
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
            self.redraw()
            self.reached.emit(int(self.x_of(self.current)), 0, _APART, 0)

    def _follow_brushes(self) -> None:
        self.redraw()
        self._tell_chosen()

    def _tell_chosen(self) -> None:
        kept = {name for name, left in zip(self._labels, self.left(), strict=True) if left}
        self.chosen.emit(kept if self.brushes else None)

    def _axis_at(self, spot: QPointF) -> int | None:
        place = round(spot.x())
        near = _NEAR_TITLE if spot.y() > _TITLE else _NEAR_AXIS
        apart = abs(self.x_of(place) - self.x_of(spot.x()))
        return place if 0 <= place < len(self.axes) and apart <= near else None

    def _hover(self, found: int | None, event: QMouseEvent | None = None, title: str = "") -> None:
        if event is not None:
            text = title if found is None else list(self._labels.values())[found]
            QToolTip.showText(event.globalPosition().toPoint(), plain_tip(text), self)
        if found != self._hovered:
            self._hovered = found
            self.redraw()

    def _nearest(self, spot: QPointF) -> int | None:
        """Return the run whose line passes nearest to a place between the outer axes."""
        last = len(self.axes) - 1
        x = min(max(spot.x(), 0.0), last)
        if not self._labels or not last or abs(self.x_of(x) - self.x_of(spot.x())) > _NEAR:
            return None
        left = min(int(x), last - 1)
        share = x - left
        heights = (1 - share) * self.axes[left].places + share * self.axes[left + 1].places
        apart = np.where(self.left(), np.abs(heights - spot.y()), np.inf)
        nearest = int(apart.argmin())
        return nearest if apart[nearest] * (self.y_of(0.0) - self.y_of(1.0)) <= _NEAR else None
