"""The page of hyperparameters: parallel coordinates of the shown runs against a result."""

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

from metaviz.config.quantities import quantity_of
from metaviz.gui.pages.layouts import column, row
from metaviz.gui.pages.parallel_plot import ParallelPlot
from metaviz.gui.widgets.controls import combo, named, offer, tool_button
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.parallel import parallel_axes
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.table.columns import Columns
from metaviz.runs.table.summary import Entry, entry_of, own_of

EMPTY = "Tick runs in the table below: every run becomes a line over what they differ in."
_RESULTS = {
    "loss": quantity_of("query_loss").label,
    "accuracy": "Accuracy",
    "seconds": quantity_of("seconds").label,
}
_FEW = 2


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
        self._theme: Theme | None = None
        self.plot = ParallelPlot(self)
        self.result = combo("parallelResult", "Result of the last axis", _RESULTS)
        self.count = named(PlainLabel(), "parallelCount")
        tip = "Choose all runs again, in the table, too. (Esc)"
        self.clear = tool_button("parallelClear", "Clear brushes", tip)
        self.clear.setEnabled(False)
        above = row(("Coloured by", self.result), self.count, None, self.clear, spacing=6)
        column(self, above, self.plot, stretch=self.plot, spacing=2)
        self.result.currentIndexChanged.connect(self.refresh)
        self.clear.clicked.connect(self.plot.clear)
        self.plot.brushed.connect(self._on_brushed)

    def show_records(self, records: Sequence[Record]) -> None:
        """Show these runs."""
        self._entries = [entry_of(record, None) for record in records]
        self._labels = labels(records)
        own = own_of(self._entries).values()
        offer(self.result, _RESULTS | {quantity.id: quantity.label for quantity in own})
        self.refresh()

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        self.plot.apply_theme(theme)
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Draw the axes anew."""
        entries = self._entries
        axes = parallel_axes(
            entries,
            self.result.currentData(),
            self._columns.spec,
            lambda key: self._columns.column(key).title,
        )
        message = "" if entries else EMPTY
        if entries and len(axes) < _FEW:
            message = "The shown runs have the same hyperparameters: tick runs that differ."
        runs = [(one.id, self._labels.get(one.id, one.label)) for one in entries]
        self.plot.show_runs(axes, runs, self._colors(axes[-1].places), message)
        self._count()

    def _colors(self, places: np.ndarray) -> list[QColor]:
        """Return a colour per run, from the lowest result to the highest; grey without one."""
        theme = self._theme
        if theme is None:
            return [QColor() for _ in places]
        low, high = _ENDS[theme.name]
        return [_between(low, high, p) if p >= 0 else QColor(theme.muted) for p in places.tolist()]

    @Slot(object)
    def _on_brushed(self, ids: object) -> None:
        self._count()
        self.brushed.emit(ids)

    def _count(self) -> None:
        total, left = len(self._entries), int(self.plot.chosen().sum())
        self.clear.setEnabled(bool(self.plot.brushes))
        self.count.setText(f"{left} of {total} runs" if self.plot.brushes else f"{total} runs")


_ENDS = {"light": ("#0b5fb0", "#d98200"), "dark": ("#5db0ff", "#ffb638")}
"""Colours of the lowest and the highest result, told apart also without red and green."""


def _between(low: str, high: str, share: float) -> QColor:
    one, other = QColor(low), QColor(high)
    parts = [
        round((1 - share) * a + share * b)
        for a, b in zip(one.getRgb()[:3], other.getRgb()[:3], strict=True)  # type: ignore[index]
    ]
    return QColor(*parts)
