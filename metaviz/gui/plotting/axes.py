"""The axes of plots: round numbers on logarithmic ones, and quick to draw."""

from collections.abc import Iterator
from html import escape, unescape
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter
from PySide6.QtWidgets import QGraphicsSceneResizeEvent

from metaviz.gui.widgets.plain_text import plain_tip

_TICK_PIXELS = 45
_FEWEST_TICKS, _FEWEST = 3, 2


def plain_numbers(axis: pg.AxisItem) -> None:
    """Keep an axis from writing an accuracy of 0.4 as "400 (x0.001)".

    Switching the prefixes off is not enough: pyqtgraph then still scales the numbers by one.
    """
    axis.setSIPrefixEnableRanges(())
    axis.enableAutoSIPrefix(False)


class PlainAxis(pg.AxisItem):  # type: ignore[misc]  # pyqtgraph has no types
    """An axis whose numbers and name fit its length; logarithmic ones have round numbers."""

    labelText: str  # noqa: N815 - pyqtgraph's name
    whole = False
    """Whether there is nothing between whole numbers."""
    picture: Any = None
    """What is to be drawn; pyqtgraph sets it to None where it has changed."""

    def paint(self, p: QPainter, *_: object) -> None:
        """Draw line, ticks and numbers at once: by a QPicture it takes four times as long."""
        if self.picture is None:
            self.picture = self.generateDrawSpecs(p)
        if self.picture is None:
            return
        axis, ticks, texts = self.picture
        p.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        for pen, start, end in (axis, *ticks):
            if pen.style() != Qt.PenStyle.NoPen:
                p.fillRect(_strip(start, end, pen.widthF()), pen.color())
        p.setPen(self.textPen())
        for place, flags, text in texts:
            p.drawText(place, int(flags), text)

    def updateAutoSIPrefix(self) -> None:  # noqa: N802 - pyqtgraph's name
        """Do nothing: numbers are plain, and the name would be set anew with every range."""

    def labelString(self) -> str:  # noqa: N802 - pyqtgraph's name
        """Return the name of the axis, its end left out where the axis is shorter."""
        whole, metrics = self.labelText, QFontMetricsF(self.label.font())
        text, around = unescape(whole), 2 * self.label.document().documentMargin()
        room = self._length() - around - metrics.horizontalAdvance(" ")
        self.label.setToolTip("")
        if room > 0 and metrics.horizontalAdvance(text) > room:
            self.label.setToolTip(plain_tip(text))
            cut = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
            self.labelText = escape(cut, quote=False)
        shown: str = super().labelString()
        self.labelText = whole
        return shown

    def resizeEvent(self, event: QGraphicsSceneResizeEvent | None = None) -> None:
        """Fit the name to the new length."""
        if self.label is not None:  # as it is when pyqtgraph closes a plot
            self.label.setHtml(self.labelString())
        super().resizeEvent(event)

    def tickValues(  # noqa: N802 - pyqtgraph's name
        self,
        minVal: float,  # noqa: N803
        maxVal: float,  # noqa: N803
        size: float,
    ) -> list[tuple[float | None, list[float]]]:
        """Return the numbers to write, so many that lines of text fit one above the other."""
        levels: list[tuple[float | None, list[float]]] = super().tickValues(minVal, maxVal, size)
        if self.logMode or not levels or self._tickLevels is not None:
            return levels
        spacing, values = levels[0]
        if self.whole and spacing and spacing < 1:
            first, last = int(np.ceil(minVal)), int(np.floor(maxVal))
            return [(1.0, [float(value) for value in range(first, last + 1)])]
        if len(values) < _FEWEST and len(levels) > 1:
            spacing, values = levels[1][0], sorted({*values, *levels[1][1]})
        room = self._room(values, spacing or 1.0, size)
        every = -(-len(values) // room)
        if every > 1 and spacing:
            kept = [value for value in values if round(value / spacing) % every == 0]
            values = kept if len(kept) >= _FEWEST else [values[0], values[-1]]
            spacing *= every
        if self._lies() and spacing:
            spacing, values = self._with_ends(spacing, values, (minVal, maxVal), size)
        return [(spacing, values), *levels[1:]]

    def _with_ends(
        self, spacing: float, values: list[float], ends: tuple[float, float], size: float
    ) -> tuple[float, list[float]]:
        """Return two numbers of a finer spacing where of these fewer would be written.

        A number that would stand over an end of the axis is not written.
        """
        metrics, per = QFontMetricsF(self.font()), size / max(ends[1] - ends[0], 1e-300)

        def fitting(step: float, numbers: list[float]) -> list[float]:
            texts = self.tickStrings(numbers, self.autoSIPrefixScale * self.scale, step)
            places = ((value - ends[0]) * per for value in numbers)
            halves = (metrics.horizontalAdvance(text) / 2 for text in texts)
            both = zip(numbers, places, halves, strict=True)
            return [value for value, at, half in both if half < at < size - half]

        if len(fitting(spacing, values)) >= _FEWEST:
            return spacing, values
        for step in (spacing / 2, spacing / 4):
            finer = fitting(step, [float(value) for value in _multiples(step, *ends)])
            if len(finer) >= _FEWEST and (finer[-1] - finer[0]) * per > size / _FEWEST_TICKS:
                return step, [finer[0], finer[-1]]
        return spacing, values

    def _room(self, values: list[float], spacing: float, size: float) -> int:
        """Return how many numbers fit, side by side or one above the other."""
        metrics = QFontMetricsF(self.font())
        if not self._lies():
            return max(_FEWEST, int(size / metrics.height()))
        texts = self.tickStrings(values, self.autoSIPrefixScale * self.scale, spacing)
        wide = max(map(metrics.horizontalAdvance, texts), default=0.0) + metrics.height()
        return max(_FEWEST, int(size / wide))

    def _length(self) -> float:
        return float(self.size().width() if self._lies() else self.size().height())

    def _lies(self) -> bool:
        return self.orientation in {"top", "bottom"}

    def logTickValues(  # noqa: N802 - pyqtgraph's name
        self, low: float, high: float, size: float, std_ticks: object
    ) -> list[tuple[float | None, list[float]]]:
        """Return the decimal logarithms of the numbers to write."""
        del std_ticks
        most = max(_FEWEST_TICKS, int(size / _TICK_PIXELS))
        # Texts stand side by side on a lying axis, one above the other on an upright one.
        line = QFontMetricsF(self.font()).height()
        apart = (2 * line if self._lies() else line) * (high - low) / max(size, 1.0)
        return [(None, round_logarithms(low, high, most, apart))]

    def logTickStrings(  # noqa: N802 - pyqtgraph's name
        self, values: list[float], scale: float, spacing: float
    ) -> list[str]:
        """Return a text for each power of ten."""
        del scale, spacing
        return [f"{10.0**value:.6g}" for value in values]


def round_logarithms(low: float, high: float, most: int, apart: float = 0.0) -> list[float]:
    """Return the logarithms of up to about `most` round numbers from 10^low to 10^high.

    There are at least three, whatever `most` is, or two where three are nearer than `apart`.
    """
    tried = [found for found in _round_numbers(low, high) if len(found) >= _FEWEST_TICKS]
    fitting = [
        found
        for found in tried
        if len(found) <= max(most, _FEWEST_TICKS) and np.diff(found).min() >= apart
    ]
    if fitting:
        return [float(value) for value in max(fitting, key=len)]
    three = [found[:: -(-len(found) // _FEWEST_TICKS)] for found in tried]
    wide = [found for found in three if len(found) > _FEWEST and np.diff(found).min() >= apart]
    pairs = [found[[0, -1]] for found in _round_numbers(low, high) if len(found) >= _FEWEST]
    widest = max(wide or pairs, key=np.ptp, default=np.empty(0))
    return [float(value) for value in widest]


def _round_numbers(low: float, high: float) -> Iterator[np.ndarray]:
    """Yield the logarithms of numbers with few digits in a range, in several choices."""
    decades = np.arange(np.floor(low), np.ceil(high) + 1)
    for mantissas in (range(1, 10), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = np.add.outer(decades, np.log10(mantissas)).ravel()
        yield found[(found >= low - 1e-9) & (found <= high + 1e-9)]
    powers = decades[(decades >= low - 1e-9) & (decades <= high + 1e-9)]
    for every in range(2, max(3, (len(powers) + 1) // 2)):
        yield powers[::every]
    # Less than a decade: round numbers at equal distances.
    start, stop = 10.0**low, 10.0**high
    unit = 10 ** np.floor(np.log10(stop - start)) if stop > start else 0.0
    for step in (unit * share for share in (5, 2, 1, 0.5, 0.2, 0.1) if unit):
        numbers = _multiples(step, start, stop)
        yield np.log10(numbers[numbers > 0])


def _multiples(step: float, start: float, stop: float) -> np.ndarray:
    first, last = np.ceil(start / step - 1e-9), np.floor(stop / step + 1e-9)
    return np.asarray(np.arange(first, last + 1) * step)


def _strip(start: QPointF, end: QPointF, width: float) -> QRectF:
    """Return what a level or upright line covers; filling that is several times faster."""
    (left, right), (top, bottom) = (
        sorted(pair) for pair in ((start.x(), end.x()), (start.y(), end.y()))
    )
    wide = max(1.0, width)
    return QRectF(left, top, max(right - left, wide), max(bottom - top, wide))
