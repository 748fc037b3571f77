"""Groups of runs compared, as on the Compare page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metaviz.api.tables import Table, html_table, table_of
from metaviz.charts.matplotlib import Page, figure_of
from metaviz.config.options import OptionError, known_text
from metaviz.runs.analysis.alignment import BANDS, Band
from metaviz.runs.analysis.comparison import (
    AXES,
    ComparisonView,
    compared,
    offered,
    usual_measure,
)
from metaviz.runs.analysis.curve_charts import comparison_chart
from metaviz.runs.export.tables import Cell, comparison_table
from metaviz.runs.export.tables import Table as Written
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import number_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Comparison:
    """One mean curve with an interval for each group of runs."""

    def __init__(self, records: Sequence[Record], view: ComparisonView) -> None:
        """Take runs and what is compared. Made by `compare`."""
        self._curves, self._view = compared(records, view), view
        self.measure = view.measure
        """What is compared, by its id."""
        self.groups = tuple(one.group.label for one in self._curves)
        """What the groups are called."""

    def table(self) -> Table:
        """Return `comparison.csv`: a row for each group and point."""
        return table_of(comparison_table(self._curves, self._view))

    def final(self) -> Table:
        """Return where the groups end: mean, low, high and the number of runs."""
        ends = [one.final() for one in self._curves]
        found: list[tuple[Cell, ...]] = [
            (name, *end) for name, end in zip(self.groups, ends, strict=True)
        ]
        return table_of(Written(("group", "mean", "low", "high", "n"), found))

    def figure(self, width_cm: float = 16.0) -> "Figure":
        """Return the curves as a matplotlib figure, as the Compare page exports them."""
        return figure_of(comparison_chart(self._curves, self._view), Page(width_cm))

    def __repr__(self) -> str:
        """Name the measure and the groups."""
        return f"Comparison({self.measure}: {', '.join(self.groups)})"

    def _repr_html_(self) -> str:
        rows = []
        for name, one in zip(self.groups, self._curves, strict=True):
            *ends, count = one.final()
            rows.append([name, *map(number_text, ends), str(count)])
        return html_table(["group", f"{self.measure}, mean", "low", "high", "runs"], rows)


def compare_records(
    records: Sequence[Record],
    *,
    measure: str | None,
    axis: str,
    interval: str,
    smoothing: float,
    by: Sequence[str] | None,
) -> Comparison:
    """Compare groups of runs. Raises: OptionError, see `compare`."""
    known = offered(records)
    for name, value, choices in (
        ("measure", measure or usual_measure(known), known),
        ("axis", axis, AXES),
        ("interval", interval, BANDS),
    ):
        if value not in choices:
            sentence = f"{name} = {value!r} is not valid: {known_text(value, choices)}."
            raise OptionError(name, sentence)
    if not 0 <= smoothing < 1:
        raise OptionError(
            "smoothing", f"smoothing = {smoothing} is not valid: use 0 to less than 1."
        )
    band: Band = interval  # type: ignore[assignment]
    keys = None if by is None else tuple(by)
    view = ComparisonView(measure or usual_measure(known), axis, band, smoothing, keys)
    return Comparison(records, view)
