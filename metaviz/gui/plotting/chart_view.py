"""The widget that draws charts with pyqtgraph: our colours, a legend, an empty state, no menu."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QCursor,
    QKeyEvent,
    QPainter,
    QPen,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QGraphicsPolygonItem, QGridLayout, QToolTip, QWidget

from metaviz.charts.describing import described
from metaviz.charts.reading import reading_text, readings
from metaviz.charts.shapes import Boxes, Picture, Shapes, Words, fitting, shapes_of
from metaviz.charts.thinning import thin
from metaviz.charts.values import Axis, Band, Chart, Lines, Mark, Panels, Region, Ticks
from metaviz.gui.plotting.axes import PlainAxis, plain_numbers
from metaviz.gui.plotting.curve_item import CurveItem, Trace
from metaviz.gui.plotting.legend import Key, Legend
from metaviz.gui.plotting.pens import dots_of, line_pen
from metaviz.gui.plotting.plot_menu import open_menu
from metaviz.gui.widgets.plain_text import PlainLabel, plain_tip, plain_words
from metaviz.gui.widgets.theme import Theme, role_color, tint

_FEWEST_POINTS, _BAND_POINTS = 400, 100
_MARGIN, _TICK_APART = 8, 12
_WIDEST_TICK = "-0.0000"
_KEY_STEPS = 100
_DRAWING = 40
_REACH = 12.0
_LOWEST, _AROUND, _ROWS = 0.04, 10, 3
_SIDES = ("left", "bottom")
_LEAST, _PANEL_WIDTH, _AXIS_HEIGHT, _BAR_ROOM = QSize(220, 140), 280, 45, 110
_TITLE_HEIGHT = 30


class ChartView(pg.PlotWidget):  # type: ignore[misc]  # pyqtgraph has no types
    """Shows a chart; items are kept by name and given new data, not made anew.

    Signals name the chart first. `hovered` carries x and y of the pointer, `picked` a series
    and the index of its nearest point (or of a cell, row by row), `brushed` the x that are in sight
    after a person zoomed, `dragged` a mark and its new place.
    """

    hovered = Signal(str, float, float)
    picked = Signal(str, str, int)
    brushed = Signal(str, float, float)
    dragged = Signal(str, str, float)

    def __init__(
        self, name: str, title: str, parent: QWidget | None = None, legend: Legend | None = None
    ) -> None:
        """Make an empty view; `title` is its name for screen readers.

        A legend from outside is filled, and otherwise the view has its own above its axes.
        """
        axes = {side: PlainAxis(side) for side in _SIDES}
        # pyqtgraph's own menu takes a ninth of the time that a page takes to open.
        super().__init__(parent, background=None, axisItems=axes, enableMenu=False)
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.hideButtons()
        self.chart: Chart = Lines(id=name)
        self.reads = False
        """Whether the arrow keys move the place that is pointed at."""
        self.tells = True
        """Whether the numbers of the lines stand at the pointer."""
        self.has_grid = True
        """Whether lines of the grid are drawn where the chart has axes."""
        self.bands: dict[str, QGraphicsPolygonItem] = {}
        self.boxes: dict[str, pg.BarGraphItem] = {}
        self.images: dict[str, pg.ImageItem] = {}
        self.marks: dict[str, pg.InfiniteLine] = {}
        self.regions: dict[str, pg.LinearRegionItem] = {}
        self.words: dict[str, pg.TextItem] = {}
        self.panels: list[ChartView] = []
        self._columns = 1
        self._title = ""
        self.bar: pg.ColorBarItem | None = None
        self._curves: CurveItem | None = None
        self._shapes = Shapes(Axis(), Axis())
        self._frame: tuple[object, ...] = ()
        self._ranges: list[tuple[str, tuple[float, float] | None, bool]] = []
        self._keys: list[Key] = []
        self._log = (False, False)
        self._theme: Theme | None = None
        self._own_legend = legend is None
        self.legend = legend or Legend(self)
        self._message = PlainLabel(parent=self)
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setWordWrap(True)
        self._message.setTextFormat(Qt.TextFormat.PlainText)
        self._message.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._message.hide()
        self.cursor_line = pg.InfiniteLine(angle=90, movable=False)
        self.cursor_line.setZValue(20)
        self.cursor_line.hide()
        self.addItem(self.cursor_line, ignoreBounds=True)
        self.scene().sigMouseMoved.connect(self._on_moved)
        self.scene().sigMouseClicked.connect(self._on_clicked)
        self.getPlotItem().getViewBox().sigXRangeChanged.connect(self._on_span)

    def minimumSizeHint(self) -> QSize:
        """Leave room for legend, axes and a colour bar, of every panel."""
        if self.panels:
            rows = -(-len(self.panels) // self._columns)
            high = max(panel.minimumSizeHint().height() for panel in self.panels)
            return QSize(_LEAST.width(), rows * high)
        above = self.legend.heightForWidth(max(self.width(), _LEAST.width()) - 2 * _MARGIN)
        beside = max(_BAR_ROOM if self.images else 0, self._room_of_names())
        above = (above if self._own_legend else 0) + (_TITLE_HEIGHT if self._title else 0)
        return _LEAST + QSize(beside, above)

    def _room_of_names(self) -> int:
        """Return how wide the names are that stand left and right of the axes."""
        wide = self.fontMetrics().horizontalAdvance
        sides = (self._shapes.y.ticks or (), self._shapes.right)
        return sum(max((wide(text) for _, text in ticks), default=0) for ticks in sides)

    @property
    def traces(self) -> dict[str, Trace]:
        """What is drawn of each line, by its name."""
        return self._curves.traces if self._curves is not None else {}

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours; pyqtgraph does not follow the palette by itself."""
        changed, self._theme = self._theme is not None and theme != self._theme, theme
        self.setBackground(theme.background)
        item = self.getPlotItem()
        for side in (*_SIDES, "right"):
            axis = item.getAxis(side)
            axis.setPen(pg.mkPen(theme.grid if side in _SIDES else None))
            axis.setTextPen(pg.mkPen(theme.foreground if side in _SIDES else theme.muted))
            # Lines of the grid at the numbered ticks only: finer ones cost a third of a frame.
            axis.setStyle(maxTickLevel=0)
            plain_numbers(axis)
        item.getAxis("right").setGrid(False)
        look = ("muted", 1.0, "dash") if self.reads else ("accent", 2.0, "solid")
        self.cursor_line.setPen(line_pen(self._shade(look[0]), *look[1:]))
        self.legend.set_color(theme.foreground)
        tint(self._message, theme.muted)
        self._frame = ()
        for panel in self.panels:
            panel.apply_theme(theme)
        if changed or self._shapes.pictures:
            self.show_chart(self.chart)

    def show_chart(self, chart: Chart, *, fine: bool = True, place: int | None = None) -> None:
        """Show this chart and nothing else, its slider at a place.

        Without `fine` edges are not smoothed and there is one point a pixel in place of two:
        several times faster, for curves that are drawn anew all the time.
        """
        self.fill(chart, fine=fine, place=place)
        self.show_filled()

    def fill(self, chart: Chart, *, fine: bool = True, place: int | None = None) -> None:
        """Take a chart's lines in, for `show_filled` to show it in this turn or in a later one."""
        self.chart = chart
        self._fill_panels(chart)
        shown = Shapes(Axis(), Axis()) if isinstance(chart, Panels) else shapes_of(chart, place)
        self._shapes = shown
        self._log = (shown.x.log, shown.y.log)
        points = max(_FEWEST_POINTS, (2 if fine else 1) * self.width())
        if self._curves is None:
            self._curves = CurveItem()
            self.addItem(self._curves)
        known, self._curves.traces = self._curves.traces, {}
        self._keys = []
        for one in shown.series:
            shade = self._shade(one.role, one.alpha)
            pen = line_pen(shade, one.width, one.dash) if one.width else None
            dots = dots_of(shade, one.dots) if one.dots else None
            trace = self._curves.traces[one.name] = known.get(one.name) or Trace()
            x, y = one.x, one.y
            if shown.curves and one.width:
                x, y = thin(x, y, points)
            x, y = self._scaled(x, y)
            trace.show_data(x, y, pen, dots, fine=fine, marker=one.marker)
            if one.label:
                self._keys.append(Key(one.label, pen, dots, one.marker))

    def show_filled(self) -> None:
        """Show the chart whose lines were taken in."""
        shown = self._shapes
        self._set_axes(shown)
        self._set_message(self.chart.message)
        if self._curves is not None:
            self._curves.settle()
        if self.legend.set_keys(self._keys):
            self._place_legend()
        self._draw_bands(shown.bands)
        self._draw_boxes(shown.boxes)
        self._draw_images(shown.pictures)
        self._draw_marks(shown.marks)
        self._draw_regions(shown.regions)
        self._draw_words(shown.words)
        self._set_range(shown)
        self.setAccessibleDescription(described(self.chart))
        # Let ranges follow the data now: found out while painting, they would paint twice.
        self.scene().prepareForPaint()

    def set_cursor(self, x: float | None) -> None:
        """Put an upright line at x, or take it away."""
        self.cursor_line.setVisible(x is not None)
        if x is not None:
            self.cursor_line.setPos(self._scaled(np.array([x]), np.zeros(1))[0][0])

    def span(self) -> tuple[float, float] | None:
        """Return the visible x, None where all of it is."""
        box = self.getPlotItem().getViewBox()
        if box.autoRangeEnabled()[0]:
            return None
        low, high = box.viewRange()[0]
        return self._unscaled(low, 0), self._unscaled(high, 0)

    @Slot()
    def reset_axes(self) -> None:
        """Show everything again after a person zoomed or moved the axes."""
        for view in (self, *self.panels):
            box = view.getPlotItem().getViewBox()
            box.enableAutoRange()
            view._ranges = []
            view._set_range(view._shapes)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Offer picture, numbers and axes."""
        open_menu(self, self.chart, self.reset_axes, event.globalPos())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the place that is pointed at by a hundredth of what is seen."""
        by = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if by is None or not self.reads or not self.traces:
            super().keyPressEvent(event)
            return
        low, high = self.getPlotItem().getViewBox().viewRange()[0]
        shown = self.cursor_line.isVisible()
        now = float(self.cursor_line.value()) if shown else (low + high) / 2
        at = min(max(now + by * (high - low) / _KEY_STEPS, low), high)
        self.hovered.emit(self.chart.id, self._unscaled(at, 0), float("nan"))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the message in the middle, the legend above the axes, and name what fits."""
        super().resizeEvent(event)
        # Resized also while it is made, and by pyqtgraph once more when it has closed the plot.
        if hasattr(self, "cursor_line") and self.plotItem is not None:
            self._message.setGeometry(self.rect().adjusted(60, 20, -40, -40))
            self._place_legend()
            self._set_ticks(self._shapes)
            self._arrange(self._fitting_columns())
            if self._title:
                self._set_title(self._title)

    def _set_axes(self, shown: Shapes) -> None:
        """Name and number the axes, where anything of it changed."""
        # Limits of plain numbers move at every redraw and change nothing here.
        x, y = (axis if axis.ticks else replace(axis, limits=None) for axis in (shown.x, shown.y))
        frame = (x, y, shown.right, shown.square, shown.bare, bool(shown.pictures))
        if frame == self._frame:
            return
        self._frame = frame
        item = self.getPlotItem()
        item.getAxis("bottom").setLogMode(x=self._log[0])
        item.getAxis("left").setLogMode(y=self._log[1])
        for side, axis in (("bottom", shown.x), ("left", shown.y)):
            item.getAxis(side).whole = axis.whole
            if item.getAxis(side).labelText != axis.text:
                self.setLabel(side, plain_words(axis.text))
                item.getAxis(side).resizeEvent()  # puts the new name into the middle
        # The last column's text may be wider than its column.
        item.getAxis("bottom").setStyle(hideOverlappingLabels=not shown.pictures)
        grid = self.has_grid and not (shown.bare or any(one.levels for one in shown.pictures))
        item.showGrid(x=grid, y=grid, alpha=0.25)
        item.showAxis("right", bool(shown.right))
        if item.getViewBox().yInverted() != shown.y.down:
            item.invertY(shown.y.down)
        item.setAspectLocked(shown.square)
        self._set_ticks(shown)
        self._place_legend()
        self.updateGeometry()

    def _set_ticks(self, shown: Shapes) -> None:
        item, metrics = self.getPlotItem(), self.fontMetrics()
        under = item.getAxis("bottom").height() or _AXIS_HEIGHT
        above = item.layout.getContentsMargins()[1]
        title = item.titleLabel.height() if item.titleLabel.isVisible() else 0
        high = max(int(self.height() - under - above - title), 40)
        wide = max(self.width() - 180, 60)
        if shown.square:
            high = wide = min(high, wide)

        def place(side: str, ticks: Ticks | None, axis: Axis, room: int) -> None:
            if ticks is None:
                item.getAxis(side).setTicks(None)
                return
            places = [at for at, _ in ticks]
            ends = axis.limits or (min(places, default=0), max(places, default=1) + 1)
            upright = side != "bottom"

            def size(text: str) -> float:
                if upright:
                    return float(metrics.height() + 1)
                return float(metrics.horizontalAdvance(text) + _TICK_APART)

            fits = fitting(ticks, room / ((ends[1] - ends[0]) or 1.0), size)
            item.getAxis(side).setTicks([sorted(fits, key=ticks.index)])

        place("left", shown.y.ticks, shown.y, high)
        place("bottom", shown.x.ticks, shown.x, wide)
        if shown.right:
            ends = np.log10 if self._log[1] else np.asarray
            right = tuple((float(ends(at)), text) for at, text in shown.right)
            low, top = item.getViewBox().viewRange()[1]
            place("right", right, Axis(limits=(low, top)), high)

    def _set_range(self, shown: Shapes) -> None:
        box = self.getPlotItem().getViewBox()
        for number, (axis, show) in enumerate(((shown.x, box.setXRange), (shown.y, box.setYRange))):
            wanted = (self.chart.id, axis.limits, axis.log)
            known = self._ranges[number] if self._ranges else None
            if axis.limits is not None:
                # A person's zoom stays within matrices, whose limits are those of their cells.
                if not (shown.pictures and known == wanted):
                    low, high = np.log10(axis.limits).tolist() if axis.log else axis.limits
                    show(low, high, padding=0)
            elif known is not None and (known[0] != self.chart.id or known[1] is not None):
                box.enableAutoRange(number)
        self._ranges = [(self.chart.id, axis.limits, axis.log) for axis in (shown.x, shown.y)]

    def _set_message(self, text: str) -> None:
        """Say what to do where there is nothing to draw; an empty text says nothing."""
        hidden = bool(text) or self._shapes.bare or bool(self.panels and not self._frame[-1])
        self._message.setText(text)
        self._message.setVisible(bool(text))
        for side in _SIDES:
            self.getPlotItem().getAxis(side).setVisible(not hidden)
        if text:
            self._message.setGeometry(self.rect().adjusted(60, 20, -40, -40))

    def _place_legend(self) -> None:
        """Give the legend the room above the axes that it needs."""
        margin = 9 if self._shapes.pictures else 1
        height = 0
        if self._own_legend:
            width = self.width() - 2 * _MARGIN
            height = self.legend.heightForWidth(width)
            self.legend.setGeometry(_MARGIN, 2, width, height)
        self.getPlotItem().layout.setContentsMargins(1, max(height + 3, margin), margin, 1)

    def _draw_bands(self, bands: Sequence[Band]) -> None:
        for band, item in self._kept(self.bands, bands, _area):
            item.setBrush(self._shade(band.role, band.alpha))
            item.setPolygon(self._outline(band))

    def _draw_boxes(self, boxes: Sequence[Boxes]) -> None:
        for one, item in self._kept(self.boxes, boxes, _bars, counts=True):
            brush = self._shade(one.role, one.alpha)
            item.setOpts(x0=one.x0, x1=one.x1, y0=one.y0, y1=one.y1, brush=brush, pen=None)

    def _draw_images(self, pictures: Sequence[Picture]) -> None:
        bar, had_images = None, bool(self.images)
        for one, item in self._kept(self.images, pictures, _image, counts=True):
            if one.levels is None and item.shown is one.values and item.placed == one.rect:
                continue
            item.shown, item.placed = one.values, one.rect
            item.setImage(np.asarray(one.values, dtype=float), autoLevels=False)
            item.setRect(QRectF(*one.rect))
            colors = self._colors(one)
            if one.levels is None:
                item.setLevels((0.0, 1.0))
            elif one.meaning and not one.contours:
                bar = self._bar(item)
                bar.setColorMap(colors)
                # The colour bar hands its range to the image.
                bar.setLevels(one.levels)
                bar.axis.setLabel(plain_words(one.meaning))
            else:
                item.setColorMap(colors)
                item.setLevels(one.levels)
        if self.bar is not None:
            self.bar.setVisible(bar is not None)
        if bool(self.images) != had_images:
            self.updateGeometry()

    def _bar(self, image: pg.ImageItem) -> pg.ColorBarItem:
        if self.bar is None:
            self.bar = pg.ColorBarItem(interactive=False, width=12, colorMap="CET-L1")
            self.bar.setImageItem(image, insert_in=self.getPlotItem())
        # The image may be another one: a bar that colours one that is gone ends the process.
        self.bar.setImageItem(image)
        metrics, axis = self.fontMetrics(), self.bar.axis
        axis.setWidth(metrics.horizontalAdvance(_WIDEST_TICK) + 2 * metrics.height())
        axis.setPen(pg.mkPen(self._shade("grid")))
        axis.setTextPen(pg.mkPen(self._shade("foreground")))
        plain_numbers(axis)
        return self.bar

    def _colors(self, one: Picture) -> pg.ColorMap:
        if not one.diverging:
            return pg.colormap.get("viridis" if one.contours else "CET-L1")
        # Blue below the middle, the theme's ground at it and red above.
        dark = self._theme is not None and self._theme.name == "dark"
        low = ["#b9dcff", "#4d9fec", "#1f4f86"] if dark else ["#08306b", "#2166ac", "#92c5de"]
        high = ["#8a2b2b", "#ff5a4f", "#ffc9c0"] if dark else ["#f4a582", "#b2182b", "#5a0010"]
        ground = self._shade("background")
        colours = [*map(QColor, low), ground, *map(QColor, high)]
        return pg.ColorMap(np.linspace(0, 1, len(colours)), colours)

    def _draw_marks(self, marks: Sequence[Mark]) -> None:
        named = [mark.name for mark in marks if mark.label]
        high = max(1.0, self.getPlotItem().getViewBox().height())
        apart = (self.fontMetrics().height() + _AROUND) / high
        for mark, item in self._kept(self.marks, marks, self._line):
            pen = line_pen(self._shade(mark.role), mark.width, mark.dash)
            item.setPen(pen)
            item.setPos(
                self._scaled(np.array([mark.at]), np.array([mark.at]))[mark.across == "y"][0]
            )
            if mark.label:
                item.label.setFormat(mark.label)
                # One above the other, as lines may be nearer to each other than names are wide.
                item.label.setPosition(_LOWEST + apart * (named.index(mark.name) % _ROWS))
                item.label.setColor(pen.color())
                item.label.fill = pg.mkBrush(self._shade("background", 0.9))

    def _line(self, mark: Mark) -> pg.InfiniteLine:
        options = {"position": _LOWEST, "movable": False}
        line = pg.InfiniteLine(
            angle=90 if mark.across == "x" else 0,
            movable=mark.movable,
            label=mark.label or None,
            labelOpts=options,
            name=mark.name,
        )
        line.setZValue(10)
        if mark.movable:
            line.sigDragged.connect(self._on_dragged)
        return line

    def _draw_regions(self, regions: Sequence[Region]) -> None:
        for one, item in self._kept(self.regions, regions, _region):
            item.setBrush(pg.mkBrush(self._shade(one.role, one.alpha)))
            item.setRegion((one.low, one.high))

    def _draw_words(self, words: Sequence[Words]) -> None:
        for one, item in self._kept(self.words, words, _Text):
            shade = self._shade(one.role)
            if item.shown == (one, shade, self._theme):
                continue
            item.shown = one, shade, self._theme
            item.setAnchor((one.across, one.down))
            item.setText(one.text, shade)
            item.fill = pg.mkBrush(self._shade("background", 0.75) if one.ground else None)
            item.setPos(one.x, one.y)

    def _kept(
        self, known: dict[str, Any], wanted: Iterable[Any], make: Any, *, counts: bool = False
    ) -> Iterable[tuple[Any, Any]]:
        """Yield each wanted shape with its item, made where there is none; others are removed.

        Items are known by the names of shapes, or by their places where shapes have none.
        """
        named = {getattr(one, "name", str(place)): one for place, one in enumerate(wanted)}
        for name in known.keys() - named.keys():
            self.removeItem(known.pop(name))
        for name, one in named.items():
            if name not in known:
                known[name] = make(one)
                self.addItem(known[name], ignoreBounds=not counts)
            yield one, known[name]

    def _outline(self, band: Band) -> QPolygonF:
        """Return the area's corners; a few hundred, because filling costs more than lines."""
        starts = np.arange(0, len(band.x), max(1, len(band.x) // _BAND_POINTS))
        x, low, high = (
            np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))
            if len(values)
            else values
            for values in (band.x, band.low, band.high)
        )
        sides = []
        for edge in (low, high):
            along, across = self._scaled(x, edge)
            finite = np.isfinite(along) & np.isfinite(across)
            sides.append((along[finite], across[finite]))
        (x_low, low), (x_high, high) = sides
        corners = zip(
            np.concatenate([x_low, x_high[::-1]]).tolist(),
            np.concatenate([low, high[::-1]]).tolist(),
            strict=True,
        )
        return QPolygonF([QPointF(*corner) for corner in corners])

    def _fill_panels(self, chart: Chart) -> None:
        """Show panels in views of their own, upon this one."""
        charts = chart.charts if isinstance(chart, Panels) else ()
        while len(self.panels) > len(charts):
            self.panels.pop().setParent(None)
        grid = self.layout() or (QGridLayout(self) if charts else None)
        columns = self._fitting_columns()
        self._arrange(columns)
        for number, one in enumerate(charts):
            if number == len(self.panels):
                panel = ChartView(f"{self.objectName()}{number}", one.title or one.id, self)
                self.panels.append(panel)
                grid.addWidget(panel, *divmod(number, columns))  # type: ignore[union-attr]
                if self._theme is not None:
                    panel.apply_theme(self._theme)
            self.panels[number].show_chart(one)
            self.panels[number]._set_title(one.title)
        if isinstance(chart, Panels):
            for other in self.panels[1:]:
                first = self.panels[0]
                other.setXLink(first if chart.share_x else None)
                other.setYLink(first if chart.share_y else None)

    def _fitting_columns(self) -> int:
        """Return how many panels fit side by side, at most as many as the chart asks for."""
        wanted = self.chart.columns if isinstance(self.chart, Panels) else 1
        return max(1, min(wanted, int(self.width()) // _PANEL_WIDTH))

    def _arrange(self, columns: int) -> None:
        """Put the panels into so many columns."""
        grid = self.layout()
        if columns != self._columns and isinstance(grid, QGridLayout):
            for number, panel in enumerate(self.panels):
                grid.removeWidget(panel)
                grid.addWidget(panel, *divmod(number, columns))
            self.updateGeometry()
        self._columns = columns

    def _set_title(self, text: str) -> None:
        """Write what there is room for above the axes; a tip shows the whole."""
        self._title = text
        room = max(self.width() - 2 * _MARGIN, _LEAST.width() // 2)
        shown = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room)
        item = self.getPlotItem()
        item.setTitle(plain_words(shown) if text else None, color=self._shade("foreground"))
        item.titleLabel.setToolTip(plain_tip(text))

    def _shade(self, role: str, alpha: float = 1.0) -> QColor:
        shade = role_color(role, self._theme)
        shade.setAlphaF(alpha)
        return shade

    def _scaled(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return points in the axes' scale."""
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.log10(x) if self._log[0] else x
            y = np.log10(y) if self._log[1] else y
        return x, y

    def _unscaled(self, value: float, axis: int) -> float:
        return float(10.0**value) if self._log[axis] else float(value)

    @Slot(object)
    def _on_moved(self, place: QPointF) -> None:
        box = self.getPlotItem().getViewBox()
        if self.traces and box.sceneBoundingRect().contains(place):
            point = box.mapSceneToView(place)
            x = self._unscaled(point.x(), 0)
            self.hovered.emit(self.chart.id, x, self._unscaled(point.y(), 1))
            if self.tells and isinstance(self.chart, Lines):
                left, right = (self._unscaled(end, 0) for end in box.viewRange()[0])
                told = readings(self.chart, x, (right - left) / _KEY_STEPS)
                QToolTip.showText(
                    QCursor.pos(), plain_tip(reading_text(self.chart, told)), self.viewport()
                )

    def _on_span(self, *_range: object) -> None:
        low, high = self.getPlotItem().getViewBox().viewRange()[0]
        self.brushed.emit(self.chart.id, self._unscaled(low, 0), self._unscaled(high, 0))

    def _on_dragged(self, line: pg.InfiniteLine) -> None:
        axis = 0 if line.angle else 1
        self.dragged.emit(self.chart.id, line.name(), self._unscaled(line.value(), axis))

    def _on_clicked(self, event: Any) -> None:
        box = self.getPlotItem().getViewBox()
        spot = event.scenePos()
        if event.button() != Qt.MouseButton.LeftButton or self._message.isVisible():
            return
        if not box.sceneBoundingRect().contains(spot):
            return
        found = self.cell_at(spot) if self.images else self.nearest(spot)
        if found is not None:
            self.picked.emit(self.chart.id, *found)

    def pixels(self, point: QPointF) -> QPointF:
        """Return where a point of the axes lies in the widget."""
        box = self.getPlotItem().getViewBox()
        return QPointF(self.mapFromScene(box.mapViewToScene(point)))

    def point(self, pixels: QPointF) -> QPointF:
        """Return which point of the axes lies at a place of the widget."""
        box = self.getPlotItem().getViewBox()
        return QPointF(box.mapSceneToView(self.mapToScene(pixels.toPoint())))

    def cell_at(self, spot: QPointF) -> tuple[str, int] | None:
        """Return name and number of the cell of a matrix at a place in the scene."""
        point = self.getPlotItem().getViewBox().mapSceneToView(spot)
        for one in self._shapes.pictures:
            left, low, width, height = one.rect
            rows, columns = one.values.shape[:2]
            row = int((point.y() - low) // (height / rows))
            column = int((point.x() - left) // (width / columns))
            if 0 <= row < rows and 0 <= column < columns:
                return one.name, row * columns + column
        return None

    def nearest(self, spot: QPointF) -> tuple[str, int] | None:
        """Return series and number of the point nearest to a place in the scene, within reach."""
        box = self.getPlotItem().getViewBox()
        origin, one_on = (box.mapViewToScene(QPointF(at, at)) for at in (0, 1))
        best, found = _REACH, None
        for one in self._shapes.series:
            x, y = self._scaled(one.x, one.y)
            across = origin.x() + x * (one_on.x() - origin.x()) - spot.x()
            up = origin.y() + y * (one_on.y() - origin.y()) - spot.y()
            far = np.where(np.isfinite(across + up), np.hypot(across, up), np.inf)
            place = int(far.argmin()) if len(far) else 0
            if len(far) and far[place] < best:
                best, found = float(far[place]), (one.name, place)
        return found


def _area(_: Band) -> QGraphicsPolygonItem:
    item = QGraphicsPolygonItem()
    item.setPen(QPen(Qt.PenStyle.NoPen))
    item.setZValue(-10)
    return item


def _bars(_: Boxes) -> pg.BarGraphItem:
    return pg.BarGraphItem(x0=[], x1=[], y0=[], y1=[])


class _Text(pg.TextItem):  # type: ignore[misc]  # pyqtgraph has no types
    """A text that remembers what it shows: setting it again takes as long as drawing it."""

    shown: object = None

    def __init__(self, _: Words) -> None:
        super().__init__()


class _Image(pg.ImageItem):  # type: ignore[misc]  # pyqtgraph has no types
    """A matrix, or pixels: small drawings and cells stay sharp, photographs are smoothed."""

    smooth = False
    shown: np.ndarray | None = None
    placed: tuple[float, float, float, float] | None = None

    def paint(self, p: QPainter, *args: object) -> None:
        """Draw the picture."""
        p.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self.smooth)
        super().paint(p, *args)


def _image(one: Picture) -> pg.ImageItem:
    item = _Image(axisOrder="row-major")
    item.smooth = one.levels is None and len(one.values) > _DRAWING
    item.setZValue(-20)
    return item


def _region(one: Region) -> pg.LinearRegionItem:
    across = "vertical" if one.across == "x" else "horizontal"
    item = pg.LinearRegionItem(movable=False, pen=pg.mkPen(None), orientation=across)
    item.setZValue(-30)
    return item
