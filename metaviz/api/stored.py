"""Stored runs: found, searched and read."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from metaviz.api.comparing import Comparison, compare_records
from metaviz.api.judging import Evaluation, evaluations_of, stored_evaluations
from metaviz.api.tables import Table, html_table, table_of
from metaviz.charts.matplotlib import Page
from metaviz.cli.folders import one_run, run_folders, runs_root
from metaviz.cli.listing import chosen_columns, items_table, search, stored_entries
from metaviz.config.options import OptionError, known_text
from metaviz.runs.analysis.comparison import ComparisonView, offered, recorded
from metaviz.runs.export.figures import comparison_figures, run_figures
from metaviz.runs.export.tables import (
    charts_table,
    geometry_table,
    inner_table,
    metrics_table,
    summary_table,
)
from metaviz.runs.model.events import Evaluated
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run as open_record
from metaviz.runs.table.columns import cell_context
from metaviz.runs.table.summary import Entry, entry_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Place = str | Path


class Run:
    """One stored run; its numbers are read when they are first asked for, and then kept."""

    def __init__(self, folder: Path, entry: Entry | None = None) -> None:
        """Take the folder of a run. Made by `open_run` and by searches."""
        self.folder = folder
        """Where it is stored."""
        self._known = entry

    @cached_property
    def record(self) -> Record:
        """Everything that is stored of the run; not frozen as the rest of this class is."""
        return open_record(self.folder)

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self._known.id if self._known is not None else self.record.id

    @property
    def label(self) -> str:
        """Its name, or algorithm and seed."""
        return self.record.label

    @property
    def algorithm(self) -> str:
        """The id of its method."""
        return self.record.algorithm

    @property
    def problem(self) -> str:
        """The id of its problem."""
        return self.record.problem

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.record.seed

    @property
    def state(self) -> str:
        """`done`, `running`, `paused`, `stopped`, `interrupted`, `diverged`, `failed`, ..."""
        return self.record.state

    @property
    def step(self) -> int:
        """How many meta-steps it has taken."""
        return self.record.step

    @property
    def config(self) -> Mapping[str, Any]:
        """Its whole configuration, as run.toml has it."""
        return self.record.config

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags that a person gave."""
        return tuple(self.record.marks.tags)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the run said while it trained."""
        return tuple(note.message for note in self.record.notes)

    @property
    def measures(self) -> tuple[str, ...]:
        """What `curve` can return: quantities of meta-batches, and of evaluations as eval_*."""
        return tuple(offered([self.record]))

    def curve(self, measure: str, axis: str = "step") -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of a quantity as it was recorded, each (n,), without smoothing.

        `eval_*` are means over the evaluation tasks after the trained number of inner steps.
        Raises: OptionError for a measure that the run has not.
        """
        if measure not in self.measures:
            sentence = f"{self.id} has no {measure!r}: {known_text(measure, self.measures)}."
            raise OptionError("measure", sentence)
        x, y = recorded(self.record, ComparisonView(measure, axis))
        return x.copy(), y.copy()

    def inner_curves(self, quantity: str = "query_loss") -> tuple[np.ndarray, np.ndarray]:
        """Return the meta-steps of the evaluations, (n,), and a quantity for each k, (n, K+1).

        Raises: OptionError where no evaluation has it.
        """
        known = [one for one in self.record.evaluations if quantity in one.curves]
        if not known:
            found = {name for one in self.record.evaluations for name in one.curves}
            sentence = f"{self.id} evaluated no {quantity!r}: {known_text(quantity, found)}."
            raise OptionError("quantity", sentence)
        most = max(len(one.curves[quantity]) for one in known)
        values = np.full((len(known), most), np.nan)
        for row, one in zip(values, known, strict=True):
            row[: len(one.curves[quantity])] = one.curves[quantity]
        return np.array([one.step for one in known]), values

    def metrics(self) -> Table:
        """Return `metrics.csv`: a row for each meta-step."""
        return table_of(metrics_table([self.record]))

    def inner(self) -> Table:
        """Return `inner.csv`: a row for each evaluation and inner step."""
        return table_of(inner_table([self.record]))

    def geometry(self) -> Table:
        """Return `geometry.csv`: what a learned geometry is like, by evaluation and layer."""
        return table_of(geometry_table([self.record]))

    def charts(self) -> Table:
        """Return `charts.csv`: a row for each point of the charts of its method."""
        return table_of(charts_table([self.record]))

    def evaluations(self) -> tuple[Evaluation, ...]:
        """Return its stored evaluations on held-out tasks, the latest last."""
        return stored_evaluations(self.folder)

    def figures(self, width_cm: float | None = None) -> "dict[str, Figure]":
        """Return what `metaviz export` draws of it, as matplotlib figures by name."""
        return figures_of([self.record], width_cm, each_run=True)

    def __repr__(self) -> str:
        """Say which run it is."""
        return f"Run({self.id})"

    def _repr_html_(self) -> str:
        (numbers,) = _html_rows([self])
        return html_table(_HEAD, [numbers])


class Runs(Sequence[Run]):
    """Some runs, in order."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """Take the runs. Made by searches and by `train`."""
        self._runs = list(runs)

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> "Runs": ...
    def __getitem__(self, place: int | slice) -> "Run | Runs":
        """Return one of them, or some."""
        return Runs(self._runs[place]) if isinstance(place, slice) else self._runs[place]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        """Go through them."""
        return iter(self._runs)

    def table(self, columns: str | None = None) -> Table:
        """Return what `metaviz runs --csv` writes; columns are keys with commas between.

        Raises: OptionError for a key that none of the runs has.
        """
        entries = [run._known or entry_of(run.record, run.folder) for run in self._runs]
        seen = cell_context(entries)
        return table_of(items_table(entries, chosen_columns(columns, entries, seen), seen))

    def summary(self) -> Table:
        """Return `summary.csv`: a row for each run, with its results and all its settings."""
        return table_of(summary_table(self._records))

    def metrics(self) -> Table:
        """Return `metrics.csv`: a row for each run and meta-step."""
        return table_of(metrics_table(self._records))

    def inner(self) -> Table:
        """Return `inner.csv`: a row for each run, evaluation and inner step."""
        return table_of(inner_table(self._records))

    def geometry(self) -> Table:
        """Return `geometry.csv`."""
        return table_of(geometry_table(self._records))

    def charts(self) -> Table:
        """Return `charts.csv`."""
        return table_of(charts_table(self._records))

    def evaluations(self) -> Table:
        """Return `evaluations.csv`: a row for each run and held-out task that is stored."""
        return evaluations_of(run.folder for run in self._runs)

    def compare(
        self,
        measure: str | None = None,
        *,
        axis: str = "step",
        interval: str = "ci95",
        smoothing: float = 0.0,
        by: Sequence[str] | None = None,
    ) -> Comparison:
        """Compare groups of these runs; see `metaviz.compare`."""
        return compare_records(
            self._records,
            measure=measure,
            axis=axis,
            interval=interval,
            smoothing=smoothing,
            by=by,
        )

    def figures(self, width_cm: float | None = None) -> "dict[str, Figure]":
        """Return what all of them are drawn in together, as matplotlib figures by name."""
        return figures_of(self._records, width_cm, each_run=False)

    @property
    def _records(self) -> list[Record]:
        return [run.record for run in self._runs]

    def __repr__(self) -> str:
        """Say how many there are."""
        return f"Runs({len(self)})"

    def _repr_html_(self) -> str:
        return html_table(_HEAD, _html_rows(self._runs))


class Store:
    """A folder of runs."""

    def __init__(self, folder: Path | None) -> None:
        """Take the folder; None is that of the window. Made by `open_store`."""
        self._asked = folder
        self.folder = runs_root(folder)
        """The folder that holds one folder for each run."""
        self.warnings: tuple[str, ...] = ()
        """What could not be read when runs were last searched."""

    def runs(self, query: str = "") -> Runs:
        """Return the runs that a search finds, like `algo:maml alpha<0.1 tag:paper`, newest first.

        The search is that of the window. Raises: OptionError for a search that is none.
        """
        entries, warnings = stored_entries(self._asked)
        self.warnings = tuple(warnings)
        found = search(entries, query)
        return Runs([Run(entry.folder, entry) for entry in found if entry.folder is not None])

    def __repr__(self) -> str:
        """Say where it is."""
        return f"Store({str(self.folder)!r})"


def open_store(folder: Place | None = None) -> Store:
    """Open a folder of runs; without one that of the window.

    It may be the folder that holds it as `runs`, as `metaviz compare --out` writes it.
    Raises: StoreError.
    """
    return Store(None if folder is None else Path(folder).expanduser())


def open_run(place: Place) -> Run:
    """Open one run by its folder, or by its id in the folder of runs. Raises: StoreError."""
    run = Run(one_run(Path(place).expanduser()))
    _ = run.record
    return run


def runs_at(places: "Place | Run | Sequence[Place | Run]") -> Runs:
    """Return runs that are given as such, by folder or by id. Raises: StoreError."""
    listed = [places] if isinstance(places, str | Path | Run) else list(places)
    found: list[Run] = []
    for place in listed:
        if isinstance(place, Run):
            found.append(place)
        else:
            found += map(Run, run_folders([Path(place).expanduser()]))
    return Runs(found)


def figures_of(
    records: Sequence[Record], width_cm: float | None, *, each_run: bool
) -> "dict[str, Figure]":
    """Return figures of runs by name, as they are exported."""

    def page(width: float) -> Page:
        return Page(width_cm or width)

    found = dict(comparison_figures(records, page))
    for record in records if each_run else ():
        found |= dict(run_figures(record, page))
    return found


_HEAD = ("run", "problem", "algorithm", "seed", "state", "step", "query loss", "accuracy")


def _html_rows(runs: Sequence[Run]) -> list[list[str]]:
    return [_html_row(run.record) for run in runs]


def _html_row(record: Record) -> list[str]:
    facts = [record.id, record.problem, record.algorithm, str(record.seed), record.state]
    last = record.evaluations[-1] if record.evaluations else None
    return [*facts, str(record.step), _end(last, "query_loss"), _end(last, "query_accuracy")]


def _end(last: Evaluated | None, name: str) -> str:
    end = np.nan if last is None else last.at(name)
    return f"{end:.4g}" if end is not None and np.isfinite(end) else ""
