"""Draws one view of a learned geometry: bars, curves or an image."""

from collections.abc import Callable

import numpy as np
import pyqtgraph as pg
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from metaviz.gui.plotting.heat_map import HeatMap, shortened
from metaviz.gui.plotting.plot_widget import Band, Line, PlotPanel
from metaviz.gui.widgets.theme import Theme, curve_color
from metaviz.runs.analysis.geometry import (
    VIEW_TITLES,
    RateHistograms,
    View,
    factor,
    gate,
    mask,
    numbers,
    parts,
    rate_histograms,
    shows,
    slope_ranges,
    span,
    tensor_spans,
    without_diagonal,
)
from metaviz.runs.model.events import Pictured

BLUE, ORANGE = "#0072B2", "#D55E00"
NOT_NOW = "This was not computed at this evaluation; move the slider to another one."
_MANY = 60
_SQUARE = 3
_ALL = -1
_ROW_HEIGHT = 0.8


class GeometryPlot(QStackedWidget):
    """Shows an image for matrices and a plot for all else."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__(parent)
        self.setObjectName("geometryPlots")
        self.plot = PlotPanel("geometryPlot", "Learned geometry", self)
        self.image = HeatMap("geometryImage", "Learned geometry", self)
        self.addWidget(self.plot)
        self.addWidget(self.image)
        self._bars: list[pg.BarGraphItem] = []
        self._rows: list[tuple[str, str]] = []
        self._middle = 0.0
        self._theme: Theme | None = None
        self._shown: tuple[object, ...] = ()
        self._draw: dict[View, Callable[[Pictured, int], str]] = {
            "rates": self._rates,
            "factors": self._factor,
            "masks": self._mask,
            "gates": self._gates,
            "slopes": self._slopes,
            "dense": self._dense,
            "spectrum": self._spectrum,
            "condition": self._condition,
        }
        self.log_rates = False
        self.diagonal = True

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours for what is drawn next."""
        self._theme = theme
        self.plot.apply_theme(theme)
        right = self.plot.getPlotItem().getAxis("right")
        right.setPen(pg.mkPen(None))
        right.setTextPen(pg.mkPen(theme.muted))
        right.setGrid(False)
        self.image.apply_theme(theme)

    def show_message(self, text: str) -> None:
        """Show a sentence in place of a plot."""
        self._clear()
        self.plot.draw([])
        self.plot.set_message(text)
        self.setCurrentWidget(self.plot)
        self._shown = ()

    def show_view(self, picture: Pictured, view: View, part: int) -> None:
        """Draw a view, of one part (or of all for -1); what was zoomed stays so within a view."""
        if not shows(picture, view):
            self.show_message(NOT_NOW)
            return
        self._clear()
        panel = self.image if view in {"factors", "dense"} else self.plot
        panel.set_message("")
        self.setCurrentWidget(panel)
        if not self.diagonal:
            picture = without_diagonal(picture)
        now = (view, part, self.log_rates)
        if panel is self.plot and now != self._shown:
            panel.getPlotItem().getViewBox().enableAutoRange()
        self._shown = now
        panel.describe(
            f"{VIEW_TITLES[view]} at meta-step {picture.step}: " + self._draw[view](picture, part)
        )

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Name as many rows as fit."""
        super().resizeEvent(event)
        self._name_rows()

    def _clear(self) -> None:
        for item in self._bars:
            self.plot.removeItem(item)
        self._bars, self._rows = [], []
        self.plot.getPlotItem().hideAxis("right")
        for side in ("left", "bottom"):
            self.plot.getPlotItem().getAxis(side).setTicks(None)

    def _lines(
        self, lines: list[Line], bands: list[Band], x: str, y: str, *, log_y: bool = False
    ) -> None:
        self.plot.set_log(x=False, y=log_y)
        self.plot.set_labels(x, y)
        self.plot.draw(lines, bands)

    def _bar(self, color: str, alpha: float = 1.0, **places: np.ndarray) -> None:
        shade = curve_color(color, self._theme) if self._theme else pg.mkColor(color)
        shade.setAlphaF(alpha)
        bars = pg.BarGraphItem(**places, brush=shade, pen=None)
        self.plot.addItem(bars)
        self._bars.append(bars)

    def _rates(self, picture: Pictured, part: int) -> str:
        counted = rate_histograms(picture, log=self.log_rates)
        single = part != _ALL
        chosen = [part] if single else list(range(len(counted.tensors)))
        shares = [f"{100 * counted.negative_share[place]:.3g} % negative" for place in chosen]
        keys = [("positive", BLUE), (shares[0] if single else "negative", ORANGE)]
        none = np.empty(0)
        self._lines(
            [Line(name, none, none, color, name, width=8.0) for name, color in keys],
            [],
            "magnitude of the step size, log₁₀" if counted.log else "step size of a weight",
            "weights sampled" if single else "",
        )
        self._stack(counted, chosen, scaled=not single)
        names = [counted.tensors[place] for place in chosen]
        if not single:
            self._rows = list(zip(names, shares, strict=True))
            self._middle = _ROW_HEIGHT / 2
            self._name_rows()
        return "; ".join(f"{name} {share}" for name, share in zip(names, shares, strict=True))

    def _stack(self, counted: RateHistograms, chosen: list[int], *, scaled: bool) -> None:
        """Draw histograms in rows, negative step sizes upon positive ones."""
        above, below = counted.positive[chosen], counted.negative[chosen]
        if scaled:
            unit = _ROW_HEIGHT / np.maximum(1, (above + below).max(axis=1, keepdims=True))
            above, below = above * unit, below * unit
        # Rows count downwards, as a table does.
        floor = np.zeros(above.shape) - np.arange(len(chosen))[:, None]
        left = np.tile(counted.edges[:-1], len(chosen))
        right = np.tile(counted.edges[1:], len(chosen))
        for color, base, height in ((BLUE, floor, above), (ORANGE, floor + above, below)):
            self._bar(color, x0=left, x1=right, y0=base.ravel(), height=height.ravel())

    def _name_rows(self) -> None:
        """Name the rows, and say their shares on the right, as far as there is height."""
        if not self._rows:
            return
        room = max(self.height() - 70, 40) / len(self._rows)
        stride = max(1, int(np.ceil((self.fontMetrics().height() + 1) / room)))
        item = self.plot.getPlotItem()
        item.showAxis("right")
        shown = list(enumerate(self._rows))[::stride]
        middle = self._middle
        item.getAxis("left").setTicks([[(middle - row, shortened(n)) for row, (n, _) in shown]])
        item.getAxis("right").setTicks([[(middle - row, text) for row, (_, text) in shown]])

    def _factor(self, picture: Pictured, part: int) -> str:
        values = factor(picture, part)
        self.image.name_rows(())
        diagonal = values.shape[0] == 1
        self.image.set_labels(
            "entry of the diagonal" if diagonal else "column", "" if diagonal else "row"
        )
        return self._matrix(values, f"entry of {parts(picture, 'factors')[part]}")

    def _dense(self, picture: Pictured, part: int) -> str:
        del part
        values = numbers(picture, "dense")
        size = int(picture.arrays.get("dense_size", len(values)))
        self.image.set_labels("weight", "weight")
        pooled = ", largest of each cell" if size > len(values) else ""
        said = self._matrix(values, f"entry of P{pooled}", (size, size))
        self.image.name_rows(tensor_spans(picture))
        return said

    def _matrix(
        self, values: np.ndarray, meaning: str, extent: tuple[float, float] | None = None
    ) -> str:
        rows, columns = values.shape
        self.image.show_matrix(
            values,
            middle=0.0,
            half_span=span(values),
            meaning=meaning,
            extent=extent,
            square=max(rows, columns) <= _SQUARE * min(rows, columns),
        )
        return f"{rows} × {columns}, from {np.nanmin(values):.4g} to {np.nanmax(values):.4g}"

    def _mask(self, picture: Pictured, part: int) -> str:
        values = mask(picture, part)
        self._lines([], [], "unit", "probability that it adapts")
        self._bar(
            BLUE,
            x=np.arange(len(values)),
            y0=np.zeros(len(values)),
            height=values,
            width=np.full(len(values), 0.8),
        )
        self.plot.set_y_range((0.0, 1.02))
        return f"{parts(picture, 'masks')[part]}: mean {values.mean():.4g}"

    def _gates(self, picture: Pictured, part: int) -> str:
        shown = gate(picture, part)
        color = (BLUE, ORANGE)[part]
        low, lower, median, upper, high = shown.quantiles.T
        lines = [Line("median", shown.k, median, color, shown.name, width=2.0, dots=6.0)]
        values = shown.quantiles.ravel()
        if np.isfinite(shown.plain):
            level = np.full(len(shown.k), shown.plain)
            grey = self._theme.muted if self._theme else "#7F7F7F"
            lines.append(Line("plain", shown.k, level, grey, "gradient descent", "dash"))
            values = np.append(values, shown.plain)
        bands = [
            Band("90", shown.k, low, high, color, 0.15),
            Band("50", shown.k, lower, upper, color, 0.3),
        ]
        self._lines(lines, bands, "inner step k", shown.name)
        self._range(values)
        return f"median {median[0]:.4g} at k = 0, {median[-1]:.4g} at the end"

    def _slopes(self, picture: Pictured, part: int) -> str:
        del part
        ranges = slope_ranges(picture)
        rows = -np.arange(len(ranges.tensors), dtype=float)
        # One line through all rows, cut between them.
        gap = np.full(len(rows), np.nan)
        x = np.stack([ranges.smallest, ranges.largest, gap], 1).ravel()
        y = np.stack([rows, rows, gap], 1).ravel()
        top_and_bottom = np.array([1.0, 1.0]), np.array([0.5, rows[-1] - 0.5])
        grey = self._theme.muted if self._theme else "#7F7F7F"
        self._lines(
            [
                Line("ones", *top_and_bottom, grey, "gradient descent", "dash"),
                Line("ranges", x, y, BLUE, "smallest to largest", width=3.0),
                Line("means", ranges.mean, rows, ORANGE, "mean", width=0.0, dots=8.0),
            ],
            [],
            "slope ∂g(z)ᵢ / ∂zᵢ at the start",
            "",
        )
        texts = [
            f"{a:.3g} to {b:.3g}" for a, b in zip(ranges.smallest, ranges.largest, strict=True)
        ]
        self._rows = list(zip(ranges.tensors, texts, strict=True))
        self._middle = 0.0
        self._name_rows()
        return "; ".join(f"{name} {text}" for name, text in self._rows)

    def _range(self, values: np.ndarray) -> None:
        """Show these values whole: areas do not count for pyqtgraph's own range."""
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
        self.plot.set_y_range((low - room, high + room))

    def _spectrum(self, picture: Pictured, part: int) -> str:
        del part
        values = numbers(picture, "spectrum")
        rank = np.arange(1.0, len(values) + 1)
        dots = 5.0 if len(values) <= _MANY else 0.0
        line = Line("spectrum", rank, values, BLUE, width=2.0, dots=dots)
        self._lines([line], [], "rank", "magnitude of the eigenvalue of P", log_y=True)
        return f"from {values[0]:.4g} down to {values[-1]:.4g}" if len(values) else "none"

    def _condition(self, picture: Pictured, part: int) -> str:
        del part
        lines, said = [], []
        for key, text, color, dash in (
            ("condition_plain", "without P", BLUE, "solid"),
            ("condition_shaped", "with P", ORANGE, "dash"),
        ):
            values = numbers(picture, key)
            k = np.arange(len(values), dtype=float)
            lines.append(Line(key, k, values, color, text, dash, width=2.0, dots=6.0))
            said.append(f"{text} {values[0]:.4g} at k = 0, {values[-1]:.4g} at the end")
        self._lines(lines, [], "inner step k", "condition number", log_y=True)
        return "; ".join(said)
