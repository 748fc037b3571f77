"""How the runs table is looked at, as plain values that the preferences keep."""

from typing import TYPE_CHECKING, Any

from metaviz.runs.table.baseline import read_baseline
from metaviz.runs.table.columns import Sight
from metaviz.runs.table.groups import INTERVALS

if TYPE_CHECKING:
    from metaviz.gui.runs.runs_dock import RunsTable

_RESULTS = ("loss", "accuracy")


def write_state(table: "RunsTable") -> dict[str, Any]:
    """Return columns, widths, search, grouping, interval and baseline."""
    arrangement = table.arrangement
    seen = arrangement.sight
    return {
        "columns": arrangement.chosen,
        "differing": arrangement.only_differing,
        "widths": table.view.widths,
        "search": table.bar.search.line.text(),
        "group": arrangement.group_keys,
        "interval": seen.interval,
        "result": seen.result,
        "baseline": seen.baseline.to_text(),
    }


def read_state(table: "RunsTable", state: dict[str, Any]) -> None:
    """Look at the table as it was; a value of another type than was written raises TypeError."""
    arrangement = table.arrangement
    columns, group, widths = state["columns"], state["group"], state["widths"]
    for keys in (columns, group or []):
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise TypeError("keys are a list of texts")
    interval, result = state["interval"], state["result"]
    if interval not in INTERVALS or result not in _RESULTS:
        raise TypeError("there is no such interval or result")
    table.view.widths = {str(key): int(width) for key, width in widths.items()}
    baseline = read_baseline(str(state["baseline"]))
    table.bar.show_interval(interval)
    table.bar.show_result(result)
    arrangement.sight = Sight(interval, baseline, result)
    differing = bool(state["differing"])
    arrangement.choose(columns, only_differing=differing)
    table.bar.differing.setChecked(differing)
    table.group_by(None if group is None else tuple(group))
    table.bar.search.set_text(str(state["search"]))
