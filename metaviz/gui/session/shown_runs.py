"""Which runs are shown: those of the last session are shown again as soon as they are found."""

import json
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject, Slot

from metaviz.gui.runs.live_runs import LiveRuns
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.runs.runs_dock import RunsDock


class ShownRuns(QObject):
    """Remembers the shown runs, those that train, and how their table is looked at."""

    def __init__(self, runs: RunListModel, live: LiveRuns, table: RunsDock) -> None:
        """Await no runs."""
        super().__init__(runs)
        self._runs, self._live, self._table = runs, live, table
        self._awaited: frozenset[str] = frozenset()
        runs.ticked.connect(self._forget_awaited)

    @property
    def is_complete(self) -> bool:
        """Whether every run of the last session that is still there is in the plots."""
        return not self._awaited and len(self._runs.visible_records()) == len(self._runs.shown())

    def state(self) -> dict[str, Any]:
        """Return ids and the table's state as values that TOML can hold."""
        live = self._live.records.values()
        return {
            "shown": sorted(self._runs.shown() | self._awaited),
            "training": sorted(record.id for record in live if not record.ended),
            "table": json.dumps(self._table.state()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Await what was shown. Raises: ValueError where the table's state cannot be read."""
        self._awaited = frozenset(map(str, state.get("shown", ())))
        if text := state.get("table"):
            self._table.restore(json.loads(str(text)))

    def take_found(self, ids: list[str]) -> list[str]:
        """Return which of these runs, found just now, were shown in the last session."""
        again = [name for name in ids if name in self._awaited]
        self._awaited -= frozenset(again)
        return again

    @Slot()
    def _forget_awaited(self) -> None:
        """Prefer a person's ticks to those of the last session."""
        self._awaited = frozenset()
