"""One plot: pyqtgraph with our colours, a legend, an empty state and no menu of its own."""

from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPen, QResizeEvent
from PySide6.QtWidgets import QLabel, QWidget

from metaviz.gui.theme import Theme, tint
from metaviz.runs.statistics import thin

_DASH = {
    "solid": Qt.PenStyle.SolidLine,
    "dash": Qt.PenStyle.DashLine,
    "dot": Qt.PenStyle.DotLine,
    "dashdot": Qt.PenStyle.DashDotLine,
}
_FEWEST_POINTS = 400
_LIGHTER = 135


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
    symbol: str | None = None
    symbol_size: float = 5.0


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

    def __init__(self, name: str, title: str, parent: QWidget | None = None) -> None:
        """Make an empty plot; `title` is its name for screen readers."""
        super().__init__(parent, background=None)
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMenuEnabled(False)
        self.hideButtons()
        self._lines: dict[str, pg.PlotDataItem] = {}
        self._bands: dict[str, tuple[pg.PlotCurveItem, pg.PlotCurveItem, pg.FillBetweenItem]] = {}
        self._log = (False, False)
        self._theme: Theme | None = None
        self.legend = self.addLegend(offset=(-8, 8), verSpacing=-3, sampleType=_LegendSample)
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
        item.showGrid(x=True, y=True, alpha=0.25)
        self.legend.setLabelTextColor(theme.foreground)
        for _, label in self.legend.items:
            label.setText(label.text, color=theme.foreground)
        backdrop = QColor(theme.background)
        backdrop.setAlphaF(0.75)
        self.legend.setBrush(pg.mkBrush(backdrop))
        tint(self._message, theme.muted)

    def set_labels(self, x: str, y: str) -> None:
        """Name the axes, units in brackets."""
        self.setLabel("bottom", x)
        self.setLabel("left", y)

    def set_log(self, *, x: bool, y: bool) -> None:
        """Choose logarithmic axes."""
        if (x, y) != self._log:
            self._log = (x, y)
            self.setLogMode(x=x, y=y)

    def set_message(self, text: str) -> None:
        """Say what to do where there is nothing to draw; an empty text says nothing."""
        self._message.setText(text)
        self._message.setVisible(bool(text))
        for side in ("left", "bottom"):
            self.getPlotItem().getAxis(side).setVisible(not text)
        if text:
            self._message.setGeometry(self.rect().adjusted(60, 20, -40, -40))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the message in the middle."""
        super().resizeEvent(event)
        if hasattr(self, "_message"):
            self._message.setGeometry(self.rect().adjusted(60, 20, -40, -40))

    def draw(self, lines: list[Line], bands: list[Band] | None = None) -> None:
        """Show these lines and bands and nothing else."""
        points = max(_FEWEST_POINTS, 2 * self.width())
        wanted = {line.name for line in lines}
        for name in [name for name in self._lines if name not in wanted]:
            self.removeItem(self._lines.pop(name))
        for line in lines:
            self._draw_line(line, points)
        self._draw_bands(bands or [], points)

    def set_y_range(self, limits: tuple[float, float] | None) -> None:
        """Show these values, or all of them for None."""
        box = self.getPlotItem().getViewBox()
        if limits is None:
            box.enableAutoRange(box.YAxis)
            return
        low, high = limits
        if self._log[1]:
            low, high = float(np.log10(low)), float(np.log10(high))
        box.setYRange(low, high, padding=0)

    def describe(self, text: str) -> None:
        """Tell screen readers the newest numbers."""
        self.setAccessibleDescription(text)

    def _draw_line(self, line: Line, points: int) -> None:
        x, y = thin(line.x, line.y, points)
        shade = self._shade(line.color, line.alpha)
        pen = _pen(shade, line.width, line.dash) if line.width else None
        symbols = {
            "symbol": line.symbol,
            "symbolSize": line.symbol_size,
            "symbolBrush": self._shade(line.color, line.alpha),
            "symbolPen": None,
        }
        item = self._lines.get(line.name)
        if item is None:
            item = pg.PlotDataItem(name=line.legend or None, connect="finite", antialias=True)
            self._lines[line.name] = item
            self.addItem(item)
        elif item.name() != (line.legend or None):
            self.removeItem(item)
            item.opts["name"] = line.legend or None
            self.addItem(item)
        with np.errstate(divide="ignore", invalid="ignore"):
            item.setData(x, y, pen=pen, **symbols)

    def _draw_bands(self, bands: list[Band], points: int) -> None:
        wanted = {band.name for band in bands}
        for name in [name for name in self._bands if name not in wanted]:
            self.removeItem(self._bands.pop(name)[2])
        for band in bands:
            if band.name not in self._bands:
                edges = pg.PlotCurveItem(), pg.PlotCurveItem()
                area = pg.FillBetweenItem(*edges)
                area.setZValue(-10)
                self.addItem(area, ignoreBounds=True)
                self._bands[band.name] = (*edges, area)
            low, high, area = self._bands[band.name]
            area.setBrush(self._shade(band.color, band.alpha))
            for edge, values in ((low, band.low), (high, band.high)):
                edge.setData(*self._scaled(*thin(band.x, values, points)))

    def _shade(self, color: str, alpha: float) -> QColor:
        """Return a colour, lighter on a dark ground."""
        dark = self._theme is not None and self._theme.name == "dark"
        shade = QColor(color).lighter(_LIGHTER if dark else 100)
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


class _LegendSample(pg.graphicsItems.LegendItem.ItemSample):  # type: ignore[misc]
    """A legend sample that cannot be clicked away: what is hidden is chosen in the runs table."""

    def mouseClickEvent(self, event: object) -> None:
        del event


def _pen(color: QColor, width: float, dash: str) -> QPen:
    pen = QPen(color)
    pen.setCosmetic(True)
    pen.setWidthF(width)
    pen.setStyle(_DASH[dash])
    return pen
