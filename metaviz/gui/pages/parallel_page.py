"""The page of hyperparameters: parallel coordinates of the shown runs against a result."""

from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QLabel, QWidget

from metaviz.config.quantities import quantity_of
from metaviz.gui.pages.layouts import column, row
from metaviz.gui.pages.parallel_plot import ParallelPlot
from metaviz.gui.widgets.controls import combo, connect_controls, named, offer, tool_button
from metaviz.runs.analysis.parallel import parallel_axes
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.table.columns import Columns
from metaviz.runs.table.summary import Entry, entry_of, own_of

EMPTY = "Tick runs in the table below: every run becomes a line over what they differ in."
SAME = "The shown runs have the same hyperparameters: tick runs that differ."
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
        self.plot = ParallelPlot(self)
        self.result = combo("parallelResult", "Result of the last axis", _RESULTS)
        self.count = named(QLabel(), "parallelCount")
        tip = "Choose all runs again, in the table, too. (Esc)"
        self.clear = tool_button("parallelClear", "Clear brushes", tip)
        above = row(("Coloured by", self.result), self.count, None, self.clear, spacing=6)
        column(self, above, self.plot, stretch=self.plot, spacing=2)
        connect_controls(self.refresh, self.result)
        self.clear.clicked.connect(self.plot.clear_brushes)
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
        named = {one.id: self._labels.get(one.id, one.label) for one in entries}
        self.plot.show_runs(axes, named, result, same if entries else EMPTY)
        self._count()

    @Slot()
    def _count(self) -> None:
        total, left = len(self._entries), int(self.plot.left().sum())
        self.clear.setEnabled(bool(self.plot.brushes))
        self.count.setText(f"{left} of {total} runs" if self.plot.brushes else f"{total} runs")
