"""What a table says of compared groups: where they end, what is best, how soon, how far apart."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QColor, QGuiApplication
from PySide6.QtWidgets import QWidget

from metaviz.gui.pages.compare_plot import Ready
from metaviz.gui.pages.layouts import column, row
from metaviz.gui.widgets.controls import (
    combo,
    menu_button,
    offer,
    search_line,
    text_label,
    tool_button,
)
from metaviz.gui.widgets.read_table import Cell, ReadTable
from metaviz.gui.widgets.theme import Theme, frame_rule, role_color
from metaviz.runs.analysis.alignment import BAND_TIPS, BANDS
from metaviz.runs.analysis.comparison import ComparisonView, GroupCurve, group_difference
from metaviz.runs.analysis.pooled import IQM_BAND_TIP, IQM_TIP, End
from metaviz.runs.analysis.verdict import Verdict
from metaviz.runs.export.text_tables import KINDS, Kind, text_table
from metaviz.runs.model.statistics import interval_text, range_text
from metaviz.runs.table.columns import duration_text, in_order

_COLUMNS = (
    ("Group", "Runs with equal values of the keys, and how many of them count"),
    ("n", "Runs that have data there"),
    ("Final", "Where all runs of all groups have taken their steps"),
    ("Best", "Best value of the mean. It was chosen after the fact: a lucky one looks good"),
    ("Best at", "Where the mean is best, on the horizontal axis"),
    ("Reaches it", "When the runs are first at the level or beyond: mean, and how many get there"),
    ("Difference to …", "Difference there, with Welch’s 95 % interval over runs"),
)
_NONE = -1
_WORDS = (0, 6)
_APART = 6


class GroupTable(QWidget):
    """A table of groups, with a level to reach and a baseline to choose above it."""

    base_changed = Signal()

    def __init__(self, statistic: QWidget, parent: QWidget | None = None) -> None:
        """Show nothing yet; `statistic` chooses what is shown of where groups end."""
        super().__init__(parent)
        self.setObjectName("compareGroups")
        self._curves: Sequence[GroupCurve] = ()
        self._view = ComparisonView()
        self._verdict = Verdict()
        self._ends: Sequence[End] = ()
        self._theme: Theme | None = None
        self._sorted: tuple[int, bool] | None = None
        """The column that orders the rows, and whether the largest is on top."""
        self.base_label = ""
        """Label of the chosen baseline, empty for none."""
        self.table = ReadTable("compareTable", "Groups of runs", _COLUMNS, words=_WORDS)
        self.table.setMinimumHeight(60)
        self.table.horizontalHeader().setSectionsClickable(True)
        self.table.horizontalHeader().sectionClicked.connect(self._on_head)
        tip = "A loss, or an accuracy in per cent: when runs are first there or beyond."
        self.level = search_line("compareLevel", "Target loss or accuracy", "none", tip)
        self.level.setMaximumWidth(110)
        self.level.textChanged.connect(self.refresh)
        tip = "The group that all others are compared with."
        self.base = combo("compareBase", "Baseline", {}, tip, letters=14)
        self.base.activated.connect(self._on_base)
        self.mistake = text_label("compareLevelMistake", wraps=False)
        self.copy = tool_button("compareCopy", "Copy table", "Copy what the table shows.")
        menu = menu_button(self.copy)
        for kind, title in KINDS.items():
            menu.addAction(f"As {title}").triggered.connect(partial(self._copy, kind))
        choices = ("Tar&get", self.level), ("Base&line", self.base), statistic, self.copy
        above = row(*choices, self.mistake, spacing=6, stretch=self.mistake)
        column(self, above, self.table, stretch=self.table, spacing=2)

    def show_curves(self, ready: Ready, theme: Theme | None) -> None:
        """Show these groups."""
        self._curves, self._view, self._theme = ready.curves, ready.view, theme
        self._verdict, self._ends = ready.verdict, ready.ends
        self._show_names()

    def as_text(self, kind: Kind) -> str:
        """Return the table as it is shown."""
        level, _ = self._level()
        order = self._order(level)
        rows = [[_text(cell) for cell in self._cells(place, level)] for place in order]
        best = self._verdict.best
        place = order.index(best) if best in order else None
        heads = [title for title, _ in self._heads(level)]
        return text_table(heads, rows, kind, words=_WORDS, best=place)

    def baseline(self) -> GroupCurve | None:
        """Return the group that others are compared with."""
        place = self.base.currentData()
        known = place is not None and 0 <= place < len(self._curves)
        return self._curves[place] if known else None

    def use_base(self, label: str) -> None:
        """Compare with the group of this label, once there is one."""
        self.base_label = label
        self._show_names()
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
        self.table.show_rows([self._cells(place, level) for place in self._order(level)])

    def _show_names(self) -> None:
        names = {place: one.group.label for place, one in enumerate(self._curves)}
        offer(self.base, {_NONE: "none", **names})
        wanted = next((p for p, name in names.items() if name == self.base_label), _NONE)
        self.base.setCurrentIndex(self.base.findData(wanted))
        self.refresh()

    def _heads(self, level: float) -> list[tuple[str, str]]:
        heads = list(_COLUMNS)
        heads[2] = self._end_head()
        base = self.baseline()
        if base is not None:
            heads[_APART] = f"Difference to {base.group.label}", heads[_APART][1]
        if math.isfinite(level):
            sign = "≤" if all(one.falling for one in self._curves) else "≥"
            heads[5] = f"Reaches {sign} {level:g}", heads[5][1]
        return heads

    def _end_head(self) -> tuple[str, str]:
        where, end, tip = self._verdict.at, "Final", _COLUMNS[2][1]
        if where is not None:
            end = f"Latest ({'step ' * (self._view.axis == 'step')}{self._place(where)})"
            tip = "The last place that all groups have; final once all runs have taken their steps"
        if self._view.statistic == "iqm":
            return f"{end} IQM [95 % CI]", f"{tip}. {IQM_TIP}. {IQM_BAND_TIP}."
        band = self._view.band
        return f"{end} {BANDS[band]}", f"{tip}. {BAND_TIPS[band]}."

    def _cells(self, place: int, level: float) -> list[str | Cell]:
        one = self._curves[place]
        mean, low, high, n = self._ends[place]
        best, best_at = one.best(falling=one.falling)
        color = role_color(one.style.role, self._theme) if self._theme is not None else None
        ranged = one.band == "range" or self._view.statistic == "iqm"
        name, tip = one.name, ""
        if one.transductive:
            name += " · transductive"
            tip = f"{one.name}: predictions of a task’s query examples depend on each other"
        shown: list[str | Cell] = [
            Cell(name, tip, color),
            str(n),
            _interval(*(one.unit * value for value in (mean, low, high)), ranged=ranged),
            _number(one.unit * best),
            self._place(best_at),
            self._time(one, level),
            self._difference(one, self.baseline()),
        ]
        is_best = place == self._verdict.best and len(self._curves) > 1
        return [_bold(cell) for cell in shown] if is_best else shown

    def _order(self, level: float) -> list[int]:
        """Return the places of groups from top to bottom."""
        places = list(range(len(self._curves)))
        if self._sorted is None:
            return places
        at, descending = self._sorted
        return in_order([self._value(place, at, level) for place in places], descending=descending)

    def _value(self, place: int, at: int, level: float) -> Any:
        """Return what a cell sorts by, None where there is nothing."""
        one, base = self._curves[place], self.baseline()
        if at == 0:
            return one.group.label.casefold()
        apart = None
        if base is not None and one is not base:
            apart = group_difference(one, base, self._verdict.at)
        values = (
            float(self._ends[place][3]),
            self._ends[place][0],
            *one.best(falling=one.falling),
            one.time_to(level / one.unit, falling=one.falling).mean,
            math.nan if apart is None else apart.absolute,
        )
        return None if math.isnan(values[at - 1]) else values[at - 1]

    @Slot(int)
    def _on_head(self, at: int) -> None:
        """Sort by a column, then the other way round, then as the plot names the groups."""
        known = self._sorted if self._sorted is not None and self._sorted[0] == at else None
        self._sorted = (at, False) if known is None else None if known[1] else (at, True)
        header = self.table.horizontalHeader()
        header.setSortIndicatorShown(self._sorted is not None)
        if self._sorted is not None:
            down = self._sorted[1]
            order = Qt.SortOrder.DescendingOrder if down else Qt.SortOrder.AscendingOrder
            header.setSortIndicator(at, order)
        self.refresh()

    def _copy(self, kind: Kind, *_checked: object) -> None:
        QGuiApplication.clipboard().setText(self.as_text(kind))

    def _difference(self, one: GroupCurve, base: GroupCurve | None) -> Cell:
        if base is None:
            return Cell("", "Choose a baseline above.")
        if one is base:
            return Cell("baseline", "All others are compared with this group.")
        found = group_difference(one, base, self._verdict.at)
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
        found = one.time_to(level / one.unit, falling=one.falling)
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


def _text(cell: str | Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def _bold(cell: str | Cell) -> Cell:
    return replace(Cell(cell) if isinstance(cell, str) else cell, bold=True)


def _interval(mean: float, low: float, high: float, *, ranged: bool) -> str:
    return range_text(mean, low, high) if ranged else interval_text(mean, high - mean)


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ""
