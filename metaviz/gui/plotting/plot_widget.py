"""One plot: pyqtgraph with our colours, a legend, an empty state and no menu of its own."""

from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QPen, QPolygonF, QResizeEvent
from PySide6.QtWidgets import QGraphicsPolygonItem, QLabel, QWidget

from metaviz.charts.thinning import thin
from metaviz.gui.plotting.axes import PlainAxis, plain_numbers
from metaviz.gui.plotting.curve_item import CurveItem, Trace, dots_of
from metaviz.gui.plotting.legend import Key, Legend
from metaviz.gui.widgets.theme import PEN_STYLES, Theme, curve_color, tint

_FEWEST_POINTS = 400
_BAND_POINTS = 100
_LEGEND_MARGIN = 8


@dataclass(frozen=True)
class Line:
    """One line of a plot: data, look, and the text of its legend entry (empty for none)."""

    name: str
    x: np.ndarray
    y: np.ndarray
    color: str
    legend: str = ""
    dash: str = "solid"
    width: float = 1.0
    alpha: float = 1.0
    dots: float = 0.0
    """Diameter of a dot at each point, in pixels; 0 for none."""


@dataclass(frozen=True)
class Band:
    """A shaded area between two curves over the same x."""

    name: str
    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    color: str
    alpha: float = 0.15


class PlotPanel(pg.PlotWidget):  # type: ignore[misc]  # pyqtgraph has no types
    """Draws lines and bands; items are kept and given new data, not made anew."""

    def __init__(
        self, name: str, title: str, parent: QWidget | None = None, legend: Legend | None = None
    ) -> None:
        """Make an empty plot; `title` is its name for screen readers.

        A legend from outside is filled, and otherwise the plot has its own above its axes.
        """
        axes = {side: PlainAxis(side) for side in ("left", "bottom")}
        super().__init__(parent, background=None, axisItems=axes)
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMenuEnabled(False)
        self.hideButtons()
        self._sheet: CurveItem | None = None
        self._keys: list[Key] = []
        self._bands: dict[str, QGraphicsPolygonItem] = {}
        self._log = (False, False)
        self._labels = ("", "")
        self._theme: Theme | None = None
        self._own_legend = legend is None
        self.legend = legend or Legend(self)
        self._message = QLabel(self)
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setWordWrap(True)
        self._message.setTextFormat(Qt.TextFormat.PlainText)
        self._message.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._message.hide()

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours; pyqtgraph does not follow the palette by itself."""
        self._theme = theme
        self.setBackground(theme.background)
        item = self.getPlotItem()
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setPen(pg.mkPen(theme.grid))
            axis.setTextPen(pg.mkPen(theme.foreground))
            # Lines of the grid at the numbered ticks only: the finer ones cost a third of a frame.
            axis.setStyle(maxTickLevel=0)
            plain_numbers(axis)
        item.showGrid(x=True, y=True, alpha=0.25)
        self.legend.set_color(theme.foreground)
        tint(self._message, theme.muted)

    def set_labels(self, x: str, y: str) -> None:
        """Name the axes, units in brackets."""
        if (x, y) != self._labels:
            self._labels = (x, y)
            self.setLabel("bottom", x)
            self.setLabel("left", y)

    def set_log(self, *, x: bool, y: bool) -> None:
        """Choose logarithmic axes for what is drawn next."""
        if (x, y) != self._log:
            self._log = (x, y)
            self.getPlotItem().getAxis("bottom").setLogMode(x=x)
            self.getPlotItem().getAxis("left").setLogMode(y=y)

    def set_message(self, text: str) -> None:
        """Say what to do where there is nothing to draw; an empty text says nothing."""
        self._message.setText(text)
        self._message.setVisible(bool(text))
        for side in ("left", "bottom"):
            self.getPlotItem().getAxis(side).setVisible(not text)
        if text:
            self._message.setGeometry(self.rect().adjusted(60, 20, -40, -40))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the message in the middle and the legend above the axes."""
        super().resizeEvent(event)
        # Resized also while it is made, and by pyqtgraph once more when it has closed the plot.
        if hasattr(self, "_message") and self.plotItem is not None:
            self._message.setGeometry(self.rect().adjusted(60, 20, -40, -40))
            self._place_legend()

    def draw(
        self, lines: list[Line], bands: list[Band] | None = None, *, fine: bool = True
    ) -> None:
        """Show these lines and bands and nothing else.

        Without `fine` edges are not smoothed and there is one point a pixel in place of two:
        several times faster, for curves that are drawn anew all the time.
        """
        self.fill(lines, fine=fine)
        self.show_filled(bands)

    def fill(self, lines: list[Line], *, fine: bool = True) -> None:
        """Take these lines in, for `show_filled` to show them in this turn or in a later one."""
        points = max(_FEWEST_POINTS, (2 if fine else 1) * self.width())
        sheet = self._sheet
        if sheet is None:
            sheet = self._sheet = CurveItem()
            self.addItem(sheet)
        known, sheet.traces = sheet.traces, {}
        self._keys = []
        for line in lines:
            pen, dots = self._pens(line)
            trace = sheet.traces[line.name] = known.get(line.name) or Trace()
            trace.show_data(*self._thinned(line, points), pen, dots, fine=fine)
            if line.legend:
                self._keys.append(Key(line.legend, pen, dots))

    def show_filled(self, bands: list[Band] | None = None) -> None:
        """Show the lines that were taken in, with these bands."""
        if self._sheet is not None:
            self._sheet.settle()
        if self.legend.set_keys(self._keys):
            self._place_legend()
        self._draw_bands(bands or [])
        self._settle()

    @property
    def traces(self) -> dict[str, Trace]:
        """What is drawn of each line, by its name."""
        return self._sheet.traces if self._sheet is not None else {}

    def set_y_range(self, limits: tuple[float, float] | None) -> None:
        """Show these values, or all of them for None."""
        box = self.getPlotItem().getViewBox()
        if limits is None:
            box.enableAutoRange(box.YAxis)
        else:
            low, high = np.log10(limits).tolist() if self._log[1] else limits
            box.setYRange(low, high, padding=0)
        self._settle()

    def describe(self, text: str) -> None:
        """Tell screen readers the newest numbers."""
        self.setAccessibleDescription(text)

    def _pens(self, line: Line) -> tuple[QPen | None, QPen | None]:
        shade = self._shade(line.color, line.alpha)
        pen = _pen(shade, line.width, line.dash) if line.width else None
        return pen, dots_of(shade, line.dots) if line.dots else None

    def _thinned(self, line: Line, most: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = thin(line.x, line.y, most)
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.log10(x) if self._log[0] else x
            y = np.log10(y) if self._log[1] else y
        return x, y

    def _settle(self) -> None:
        """Let ranges follow the data now: found out while painting, they would paint twice."""
        self.scene().prepareForPaint()

    def _place_legend(self) -> None:
        """Give the legend the room above the axes that it needs."""
        if not self._own_legend:
            return
        width = self.width() - 2 * _LEGEND_MARGIN
        height = self.legend.heightForWidth(width)
        self.getPlotItem().layout.setContentsMargins(1, height + 3, 1, 1)
        self.legend.setGeometry(_LEGEND_MARGIN, 2, width, height)

    def _draw_bands(self, bands: list[Band]) -> None:
        wanted = {band.name for band in bands}
        for name in [name for name in self._bands if name not in wanted]:
            self.removeItem(self._bands.pop(name))
        for band in bands:
            if band.name not in self._bands:
                item = QGraphicsPolygonItem()
                item.setPen(QPen(Qt.PenStyle.NoPen))
                item.setZValue(-10)
                self.addItem(item, ignoreBounds=True)
                self._bands[band.name] = item
            self._bands[band.name].setBrush(self._shade(band.color, band.alpha))
            self._bands[band.name].setPolygon(self._outline(band))

    def _outline(self, band: Band) -> QPolygonF:
        """Return the area's corners; a few hundred, because filling costs more than lines."""
        stride = max(1, len(band.x) // _BAND_POINTS)
        starts = np.arange(0, len(band.x), stride)
        x, low, high = (
            np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))
            for values in (band.x, band.low, band.high)
        )
        x_low, low = self._scaled(x, low)
        x_high, high = self._scaled(x, high)
        corners = zip(
            np.concatenate([x_low, x_high[::-1]]).tolist(),
            np.concatenate([low, high[::-1]]).tolist(),
            strict=True,
        )
        return QPolygonF([QPointF(*corner) for corner in corners])

    def _shade(self, color: str, alpha: float) -> QColor:
        shade = curve_color(color, self._theme) if self._theme else QColor(color)
        shade.setAlphaF(alpha)
        return shade

    def _scaled(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return finite points in the axes' scale; areas do not follow log mode by themselves."""
        log_x, log_y = self._log
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.log10(x) if log_x else x
            y = np.log10(y) if log_y else y
        known = np.isfinite(x) & np.isfinite(y)
        return x[known], y[known]


def _pen(color: QColor, width: float, dash: str) -> QPen:
    pen = QPen(color)
    pen.setCosmetic(True)
    pen.setWidthF(width)
    pen.setStyle(PEN_STYLES[dash])
    return pen
