"""What runs reach on held-out tasks."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.api.tables import Table, html_table, table_of
from metaviz.runs.export.tables import evaluations_table
from metaviz.runs.model.evaluation import Judgement, stored


class Evaluation:
    """One run on a list of held-out tasks, as `metaviz evaluate` and the Benchmark page have it."""

    def __init__(self, judgement: Judgement) -> None:
        """Take what was found. Made by `evaluate`."""
        self._found = judgement
        self.run = judgement.run
        """The id of the run."""
        self.step = judgement.step
        """The meta-step of its weights."""
        self.protocol: dict[str, Any] = dict(judgement.protocol)
        """Which tasks, and how they were predicted."""
        self.measure = judgement.measure
        """What the run is judged by: accuracy or return where there is one, else the loss."""

    @property
    def per_task(self) -> Mapping[str, np.ndarray]:
        """Numbers of every task after k = 0..K inner steps, arrays (K+1, tasks), by quantity."""
        return self._found.per_task

    def values(self, name: str | None = None) -> np.ndarray:
        """Return a quantity after the method's own steps, (tasks,); by default the measure."""
        return self._found.values(name)

    def interval(self, name: str | None = None) -> tuple[float, float]:
        """Return its mean over tasks and the half-width 1.96 s / sqrt(n)."""
        return self._found.interval(name)

    def table(self) -> Table:
        """Return `evaluations.csv` of this run: a row for each task."""
        return table_of(evaluations_table([self._found]))

    def __repr__(self) -> str:
        """Say what it was judged by and what it reaches."""
        return f"Evaluation({self.run}: {self._found.measure_text()} {self._found.after_text()})"

    def _repr_html_(self) -> str:
        row = (self.run, self._found.protocol_text(), self._found.after_text())
        return html_table(["run", "tasks", self._found.measure_text()], [row])


def stored_evaluations(folder: Path) -> tuple[Evaluation, ...]:
    """Return what was stored of a run, the latest last."""
    return tuple(Evaluation(found) for found in stored(folder))


def evaluations_of(folders: Iterable[Path]) -> Table:
    """Return `evaluations.csv` of what is stored with some runs."""
    return table_of(evaluations_table([found for place in folders for found in stored(place)]))


def judge_folders(folders: Sequence[Path], protocol: Mapping[str, Any]) -> list[Evaluation]:
    """Evaluate runs, and store what is found with them. Raises: as `evaluate`."""
    from metaviz.config.options import checked
    from metaviz.config.run_config import EvaluationProtocol
    from metaviz.training.protocol import judge

    asked = checked(EvaluationProtocol, dict(protocol))
    return [Evaluation(judge(folder, asked)) for folder in folders]
