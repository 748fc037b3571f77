"""A matrix as an image with a colour bar, in both themes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import QWidget

from metaviz.gui.plotting.axes import plain_numbers
from metaviz.gui.plotting.plot_widget import PlotPanel
from metaviz.gui.widgets.theme import Theme

Span = tuple[str, int, int]
_APART = 4
_LONGEST_NAME = 18
_MARGIN = 9
_WIDEST_TICK = "-0.0000"


def diverging(theme: Theme) -> pg.ColorMap:
    """Return blue below the middle, the theme's ground at it and red above."""
    dark = theme.name == "dark"
    low = ["#b9dcff", "#4d9fec", "#1f4f86"] if dark else ["#08306b", "#2166ac", "#92c5de"]
    high = ["#8a2b2b", "#ff5a4f", "#ffc9c0"] if dark else ["#f4a582", "#b2182b", "#5a0010"]
    colours = [QColor(name) for name in (*low, theme.background, *high)]
    return pg.ColorMap(np.linspace(0, 1, len(colours)), colours)


class HeatMap(PlotPanel):
    """An image whose first row is on top; a click tells the row and the column."""

    clicked = Signal(int, int)

    def __init__(self, name: str, title: str, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__(name, title, parent)
        self.image = pg.ImageItem(axisOrder="row-major")
        self.bar = pg.ColorBarItem(interactive=False, width=12, colorMap="CET-L1")
        self._colours: pg.ColorMap | None = None
        self._shape = (0, 0)
        self._extent = (0.0, 0.0)
        self._scale = (1.0, 1.0)
        self._spans: Sequence[Span] = ()
        self._columns: Sequence[str] | None = None
        self._edges: list[pg.InfiniteLine] = []
        item = self.getPlotItem()
        item.invertY(True)
        item.addItem(self.image)
        self.bar.setImageItem(self.image, insert_in=item)
        # The last column's text may be wider than its column.
        item.getAxis("bottom").setStyle(hideOverlappingLabels=False)
        self.scene().sigMouseClicked.connect(self._click)

    def minimumSizeHint(self) -> QSize:
        """Leave room for the axes and the colour bar."""
        return QSize(220, 140)

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        super().apply_theme(theme)
        self.getPlotItem().showGrid(x=False, y=False)
        self._colours = diverging(theme)
        self.bar.setColorMap(self._colours)
        self.bar.axis.setPen(pg.mkPen(theme.grid))
        self.bar.axis.setTextPen(pg.mkPen(theme.foreground))
        plain_numbers(self.bar.axis)
        for edge in self._edges:
            edge.setPen(pg.mkPen(theme.muted))

    def show_matrix(
        self,
        values: np.ndarray,
        *,
        middle: float,
        half_span: float,
        meaning: str,
        extent: tuple[float, float] | None = None,
        square: bool = False,
    ) -> None:
        """Draw values (rows, columns), coloured around `middle`; the bar says their meaning.

        `extent` is what rows and columns are numbered to where cells stand for several of them.
        """
        rows, columns = values.shape
        height, width = extent or (rows, columns)
        self.image.setImage(np.asarray(values, dtype=float), autoLevels=False)
        self.image.setRect(QRectF(0, 0, width, height))
        # The colour bar hands its range to the image.
        self.bar.setLevels((middle - half_span, middle + half_span))
        self.bar.axis.setLabel(meaning)
        metrics = self.fontMetrics()
        self.bar.axis.setWidth(metrics.horizontalAdvance(_WIDEST_TICK) + 2 * metrics.height())
        self.image.show()
        self.bar.show()
        self._scale = (height / rows, width / columns)
        if ((rows, columns), (height, width)) != (self._shape, self._extent):
            self._shape, self._extent = (rows, columns), (height, width)
            item = self.getPlotItem()
            item.setAspectLocked(square)
            item.setXRange(0, width, padding=0)
            item.setYRange(0, height, padding=0)
        self._number_axes()

    def clear_matrix(self, message: str) -> None:
        """Show a sentence in place of the image."""
        self.set_message(message)
        self.image.hide()
        self.bar.hide()
        self.name_rows(())

    def name_rows(self, spans: Sequence[Span]) -> None:
        """Mark groups of rows and name them at the side, instead of numbers."""
        for edge in self._edges:
            self.removeItem(edge)
        colour = self._theme.muted if self._theme else "#808080"
        self._edges = [
            pg.InfiniteLine(start, angle=0, pen=pg.mkPen(colour)) for _, start, _ in spans[1:]
        ]
        for edge in self._edges:
            edge.setZValue(5)
            self.addItem(edge, ignoreBounds=True)
        self._spans = spans
        self._number_axes()

    def name_columns(self, texts: Sequence[str]) -> None:
        """Put these texts below the columns, as many as fit."""
        self._columns = texts
        self._number_axes()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Name as many rows and columns as fit."""
        super().resizeEvent(event)
        if hasattr(self, "_edges") and self.plotItem is not None:
            # Half a number stands above the axis.
            self.getPlotItem().layout.setContentsMargins(1, _MARGIN, _MARGIN, 1)
            self._number_axes()

    def _number_axes(self) -> None:
        item, metrics = self.getPlotItem(), self.fontMetrics()
        if self._spans:
            item.getAxis("left").setTicks([self._row_ticks(metrics.height() + 1)])
        elif self._shape[0] == 1:
            item.getAxis("left").setTicks([[]])
        else:
            item.getAxis("left").setTicks(None)
        if self._columns is not None:
            widest = max((metrics.horizontalAdvance(text) for text in self._columns), default=1)
            item.getAxis("bottom").setTicks([self._column_ticks(widest + 3 * _APART)])

    def _row_ticks(self, height: int) -> list[tuple[float, str]]:
        """Return the names of the groups, large groups first, none upon another."""
        room = max(self.height() - 60, 60) / max(self._spans[-1][2], 1)
        placed: list[tuple[float, str]] = []
        for name, start, stop in sorted(self._spans, key=lambda span: span[1] - span[2]):
            middle = (start + stop) / 2
            if all(abs(middle - other) * room >= height for other, _ in placed):
                placed.append((middle, shortened(name)))
        return placed

    def _column_ticks(self, width: int) -> list[tuple[float, str]]:
        texts = self._columns or ()
        fitting = max(1, (self.width() - 180) // max(width, 1))
        stride = max(1, -(-len(texts) // fitting))
        return [(place + 0.5, texts[place]) for place in range(0, len(texts), stride)]

    def _click(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton or not self.image.isVisible():
            return
        box = self.getPlotItem().getViewBox()
        if not box.sceneBoundingRect().contains(event.scenePos()):
            return
        place = box.mapSceneToView(event.scenePos())
        row, column = int(place.y() // self._scale[0]), int(place.x() // self._scale[1])
        if 0 <= row < self._shape[0] and 0 <= column < self._shape[1]:
            self.clicked.emit(row, column)


def shortened(name: str) -> str:
    """Cut the middle out of a long name."""
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME // 2 - 1]}…{name[-_LONGEST_NAME // 2 :]}"
