"""What a table says of compared groups: where they end, what is best, how soon, how far apart."""

import math
from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

from metaviz.gui.pages.layouts import column, row
from metaviz.gui.widgets.controls import combo, offer, search_line, text_label
from metaviz.gui.widgets.read_table import Cell, ReadTable
from metaviz.gui.widgets.theme import Theme, curve_color, frame_rule
from metaviz.runs.analysis.alignment import BAND_TIPS, BANDS
from metaviz.runs.analysis.comparison import ComparisonView, GroupCurve, group_difference
from metaviz.runs.model.statistics import interval_text, range_text
from metaviz.runs.table.columns import duration_text

_COLUMNS = (
    ("Group", "Runs with equal values of the keys, and how many of them count"),
    ("n", "Runs that have data where the mean ends"),
    ("Final", "Mean where the curve ends; Last, while a run has not taken all of its steps"),
    ("Best", "Best value of the mean"),
    ("Best at", "Where the mean is best, on the horizontal axis"),
    ("Reaches it", "When the runs are first at the level or beyond: mean, and how many get there"),
    ("Minus the baseline", "Difference where the curves end, with Welch's 95 % interval over runs"),
)
_NONE = -1


class GroupTable(QWidget):
    """A table of groups, with a level to reach and a baseline to choose above it."""

    base_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__(parent)
        self.setObjectName("compareGroups")
        self._curves: Sequence[GroupCurve] = ()
        self._view = ComparisonView()
        self._theme: Theme | None = None
        self.base_label = ""
        """Label of the chosen baseline, empty for none."""
        self.table = ReadTable("compareTable", "Groups of runs", _COLUMNS, words=(0, 6))
        self.table.setMinimumHeight(60)
        tip = "A loss (or accuracy): the table then says when the runs are first there or beyond."
        self.level = search_line("compareLevel", "Level to reach", "none", tip)
        self.level.setMaximumWidth(110)
        self.level.textChanged.connect(self.refresh)
        tip = "The group that all others are compared with."
        self.base = combo("compareBase", "Baseline", {}, tip, letters=14)
        self.base.activated.connect(self._on_base)
        self.mistake = text_label("compareLevelMistake", wraps=False)
        choices = ("&Level to reach", self.level), ("Base&line", self.base), self.mistake
        above = row(*choices, spacing=6, stretch=self.mistake)
        column(self, above, self.table, stretch=self.table, spacing=2)

    def show_curves(
        self, curves: Sequence[GroupCurve], view: ComparisonView, theme: Theme | None
    ) -> None:
        """Show these groups."""
        self._curves, self._view, self._theme = curves, view, theme
        names = {place: one.group.label for place, one in enumerate(curves)}
        offer(self.base, {_NONE: "none", **names})
        wanted = next((p for p, name in names.items() if name == self.base_label), _NONE)
        self.base.setCurrentIndex(self.base.findData(wanted))
        self.refresh()

    def baseline(self) -> GroupCurve | None:
        """Return the group that others are compared with."""
        place = self.base.currentData()
        known = place is not None and 0 <= place < len(self._curves)
        return self._curves[place] if known else None

    def use_base(self, label: str) -> None:
        """Compare with the group of this label, once there is one."""
        self.base_label = label
        self.show_curves(self._curves, self._view, self._theme)
        self.base_changed.emit()

    @Slot()
    def refresh(self) -> None:
        """Write every cell."""
        level, wrong = self._level()
        rule = frame_rule(self._theme, wrong=wrong) if self._theme is not None else ""
        if rule != self.level.styleSheet():
            self.level.setStyleSheet(rule)
        self.mistake.setText(
            f"{self.level.text().strip()[:20]!r} is not a level: write a number." if wrong else ""
        )
        self.table.set_columns(self._heads(level))
        self.table.show_rows([self._cells(one, level) for one in self._curves])

    def _heads(self, level: float) -> list[tuple[str, str]]:
        heads = list(_COLUMNS)
        band = self._view.band
        end = "Final" if all(one.is_done for one in self._curves) else "Last"
        heads[2] = f"{end} {BANDS[band]}", f"{heads[2][1]}. {BAND_TIPS[band]}."
        if math.isfinite(level):
            sign = "≤" if all(one.falling for one in self._curves) else "≥"
            heads[5] = f"Reaches {sign} {level:g}", heads[5][1]
        return heads

    def _cells(self, one: GroupCurve, level: float) -> list[str | Cell]:
        mean, low, high, n = one.final()
        best, best_at = one.best(falling=one.falling)
        color = curve_color(one.style.color, self._theme) if self._theme is not None else None
        return [
            Cell(one.name, color=color),
            str(n),
            _interval(mean, low, high, ranged=one.band == "range"),
            _number(best),
            self._place(best_at),
            self._time(one, level),
            self._difference(one, self.baseline()),
        ]

    def _difference(self, one: GroupCurve, base: GroupCurve | None) -> Cell:
        if base is None:
            return Cell("", "Choose a baseline above.")
        if one is base:
            return Cell("baseline", "All others are compared with this group.")
        found = group_difference(one, base)
        if found is None:
            return Cell("", "One of the two has no data.")
        color = None
        if self._theme is not None and found.verdict in {"better", "worse"}:
            better = found.verdict == "better"
            color = QColor(self._theme.good if better else self._theme.error)
        return Cell(f"{found.text} {found.verdict}", found.tip, color)

    def _time(self, one: GroupCurve, level: float) -> str:
        if not math.isfinite(level):
            return ""
        found = one.time_to(level, falling=one.falling)
        runs = sum(len(curve.x) > 0 for curve in one.counting)
        if not found.n:
            return f"never (0 of {runs})"
        shown = interval_text(found.mean, found.half) if self._view.axis != "seconds" else ""
        return f"{shown or self._place(found.mean)} ({found.n} of {runs})"

    def _place(self, x: float) -> str:
        if not math.isfinite(x):
            return ""
        return duration_text(x) if self._view.axis == "seconds" else f"{x:.5g}"

    def _level(self) -> tuple[float, bool]:
        """Return the level that is asked for, NaN for none, and whether it is no number."""
        text = self.level.text().strip().replace(",", ".")
        if not text:
            return math.nan, False
        try:
            level = float(text)
        except ValueError:
            return math.nan, True
        return level, not math.isfinite(level)

    @Slot()
    def _on_base(self) -> None:
        base = self.baseline()
        self.base_label = base.group.label if base is not None else ""
        self.refresh()
        self.base_changed.emit()


def _interval(mean: float, low: float, high: float, *, ranged: bool) -> str:
    return range_text(mean, low, high) if ranged else interval_text(mean, high - mean)


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ""
