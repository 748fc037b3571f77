"""Tidy CSV tables of runs. Numbers are written by repr, never by locale."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metaviz.charts.storage import KEY, from_arrays
from metaviz.charts.tidy import tidy_rows
from metaviz.charts.values import Chart, ChartError
from metaviz.config.run_config import amendment_texts
from metaviz.files.atomic import write_text
from metaviz.files.text import printable
from metaviz.runs.analysis.comparison import (
    ComparisonView,
    GroupCurve,
    compared,
    has_several,
    usual_view,
)
from metaviz.runs.analysis.geometry import GEOMETRY_HEADER, has_geometry, has_map, summary_rows
from metaviz.runs.model.episode import Episode
from metaviz.runs.model.evaluation import Judgement, draws_of, stored
from metaviz.runs.model.events import INNER_COLUMNS
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import StoreError

METRICS_HEADER = (
    *("run", "algorithm", "problem", "seed", "step", "seconds"),
    *("gradient_evaluations", "hessian_vector_products"),
    *("pre_support_loss", "post_support_loss", "pre_query_loss", "post_query_loss"),
    *("pre_query_accuracy", "post_query_accuracy", "meta_gradient_norm"),
    *("pre_support_accuracy", "post_support_accuracy"),
    *("inner_residual", "solver_residual", "peak_memory_mb"),
)
INNER_HEADER = (
    *("run", "algorithm", "problem", "seed", "step", "k", *INNER_COLUMNS),
    *(*(f"{name}_ci95" for name in INNER_COLUMNS), "tasks"),
)
EVALUATIONS_HEADER = (
    *("run", "algorithm", "problem", "dataset", "seed", "step", "k", "split", "task_seed"),
    *("ways", "shots", "query_shots", "together", "task"),
    *("pre_query_loss", "post_query_loss", "pre_query_accuracy", "post_query_accuracy", "draws"),
)
_WHOLE = {"step", "gradient_evaluations", "hessian_vector_products"}
_RESULTS = ("support_loss", "query_loss", "query_accuracy", "gradient_norm")
_SUMMARY_HEAD = (
    *("run", "algorithm", "problem", "seed", "state", "steps", "steps_done", "seconds"),
    *("gradient_evaluations", "hessian_vector_products", "eval_step", "eval_tasks_done"),
    *("eval_k", "pre_query_loss", "pre_query_accuracy"),
    *(f"post_{name}{suffix}" for name in _RESULTS for suffix in ("", "_ci95")),
)
CHARTS_HEADER = (
    *("run", "algorithm", "problem", "seed", "step", "tasks", "task", "chart", "part", "item"),
    *("number", "place", "x", "y", "value", "low", "high", "label"),
)
COMPARISON_HEADER = (
    *("group", "measure", "axis", "x", "mean", "low", "high", "n", "interval", "smoothing"),
)
_MARKS_HEAD = ("name", "tags", "notes")

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Table:
    """A table as it is written: the names of its columns, and rows of cells, made once."""

    header: tuple[str, ...]
    rows: Iterable[Sequence[Cell]]

    def csv(self) -> str:
        """Return it as CSV."""
        return csv_text(self.header, self.rows)


def metrics_table(records: Iterable[Record]) -> Table:
    """Return `metrics.csv`: one row per run and meta-step.

    Quantities that methods measure of their own come last, in the order in which runs have them.
    """
    runs = list(records)
    header = (*METRICS_HEADER, *_own_names(runs))
    return Table(header, (row for record in runs for row in _metric_rows(record, header[4:])))


def inner_table(records: Iterable[Record]) -> Table:
    """Return `inner.csv`: one row per run, evaluation and inner step k, means over the tasks.

    `*_ci95` is the half-width of the 95 % interval of the mean over `tasks` tasks. Quantities that
    runs evaluate of their own come last, each before its half-width. Without an inner loop there
    is no k.
    """
    runs = list(records)
    found = dict.fromkeys(name for run in runs for one in run.evaluations for name in one.own)
    own = [column for name in found for column in (name, f"{name}_ci95")]
    rows = (row for record in runs for row in _inner_rows(record, own))
    return Table((*INNER_HEADER, *own), rows)


def summary_table(records: Iterable[Record]) -> Table:
    """Return `summary.csv`: one row per run with its last evaluation and all hyperparameters.

    `post_*` is the mean over evaluation tasks after `eval_k` inner steps (the number the run was
    trained with), `*_ci95` the half-width of its 95 % interval. Between the marks and the
    hyperparameters are the last numbers of quantities that runs have of their own. Without an
    inner loop there is neither a k nor a before.
    """
    runs = list(records)
    settings = [hyperparameters(record) for record in runs]
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    results = [record.own_results() for record in runs]
    own = list(dict.fromkeys(name for found in results for name in found))
    rows = (
        [
            *_summary_row(record),
            *_marks(record),
            *(found[name][1] if name in found else None for name in own),
            *(setting.get(name) for name in names),
        ]
        for record, setting, found in zip(runs, settings, results, strict=True)
    )
    return Table((*_SUMMARY_HEAD, *_MARKS_HEAD, *own, *names), rows)


def comparison_csv(records: Sequence[Record], view: ComparisonView | None = None) -> str:
    """Return `comparison.csv`, without a view of the usual one.

    That is empty where no group has several runs.
    """
    shown = view or usual_view(records)
    curves = compared(records, shown)
    if view is None and not has_several(curves):
        return ""
    return comparison_table(curves, shown).csv()


def comparison_table(curves: Iterable[GroupCurve], view: ComparisonView) -> Table:
    """Return `comparison.csv`: one row per group and point, mean and interval over its runs."""
    return Table(COMPARISON_HEADER, _comparison_rows(curves, view))


def geometry_table(records: Iterable[Record]) -> Table:
    """Return `geometry.csv`: one row per run, evaluation, layer and quantity."""
    return Table(GEOMETRY_HEADER, (row for record in records for row in summary_rows(record)))


def charts_table(records: Iterable[Record], episodes: Iterable[Episode] = ()) -> Table:
    """Return `charts.csv`: one row per point of the charts of runs' methods.

    Runs have them of every evaluation that they pictured, of the first evaluation task; `episodes`
    are tasks of these runs that were looked at. Charts that are damaged are left out.
    """
    runs = {record.id: record for record in records}
    return Table(CHARTS_HEADER, _chart_rows(runs, episodes))


def evaluations_table(judgements: Iterable[Judgement]) -> Table:
    """Return `evaluations.csv`: one row per run and held-out task; own quantities come last."""
    found = list(judgements)
    own = tuple(dict.fromkeys(n for one in found for n in one.per_task if n not in INNER_COLUMNS))
    return Table((*EVALUATIONS_HEADER, *own), (r for one in found for r in _task_rows(one, own)))


def metrics_csv(records: Iterable[Record]) -> str:
    """Return the text of `metrics.csv`."""
    return metrics_table(records).csv()


def inner_csv(records: Iterable[Record]) -> str:
    """Return the text of `inner.csv`."""
    return inner_table(records).csv()


def summary_csv(records: Iterable[Record]) -> str:
    """Return the text of `summary.csv`."""
    return summary_table(records).csv()


def geometry_csv(records: Iterable[Record]) -> str:
    """Return the text of `geometry.csv`."""
    return geometry_table(records).csv()


def charts_csv(records: Iterable[Record], episodes: Iterable[Episode] = ()) -> str:
    """Return the text of `charts.csv`."""
    return charts_table(records, episodes).csv()


def evaluations_csv(judgements: Iterable[Judgement]) -> str:
    """Return the text of `evaluations.csv`."""
    return evaluations_table(judgements).csv()


def write_tables(
    records: Sequence[Record],
    folder: Path,
    folders: Iterable[Path] = (),
    comparison: ComparisonView | None = None,
    episodes: Sequence[Episode] = (),
) -> list[Path]:
    """Write the tables into a folder and return their paths.

    Geometries and charts are written only where there are any. `folders` are those of the runs:
    evaluations on held-out tasks that are stored there are written too. `comparison` says what of
    groups of runs is compared, `episodes` are tasks that were looked at.
    Raises: StoreError with one sentence where the folder cannot be written.
    """
    tables = {
        "metrics.csv": metrics_csv(records),
        "inner.csv": inner_csv(records),
        "summary.csv": summary_csv(records),
    }
    compared_groups = comparison_csv(records, comparison)
    if compared_groups:
        tables["comparison.csv"] = compared_groups
    if any(has_geometry(record) or has_map(record) for record in records):
        tables["geometry.csv"] = geometry_csv(records)
    if has_charts(records, episodes):
        tables["charts.csv"] = charts_csv(records, episodes)
    judgements = [judgement for place in folders for judgement in stored(place)]
    if judgements:
        tables["evaluations.csv"] = evaluations_csv(judgements)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in tables.items():
            write_text(folder / name, text)
    except OSError as error:
        raise StoreError(
            f"Cannot write tables to {folder}: {error.strerror}. Choose a folder that you may "
            "write to."
        ) from error
    return [folder / name for name in tables]


def has_charts(records: Iterable[Record], episodes: Iterable[Episode] = ()) -> bool:
    """Return whether methods of runs, or on tasks that were looked at, have charts."""
    return any(KEY in item.arrays for record in records for item in record.pictures) or any(
        episode.charts for episode in episodes
    )


def safe_text(value: str) -> str:
    """Disarm text that a spreadsheet would take for a formula."""
    return f"'{value}" if value.lstrip(" ")[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a CSV table, with texts that a spreadsheet takes as texts."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_cell(name) for name in header])
    writer.writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else ""
    if isinstance(value, str):
        # The csv module leaves a lone carriage return unquoted, which would break the row.
        return printable(safe_text(value).replace("\r", "\n"))
    return repr(int(value))


def _about(record: Record) -> list[Cell]:
    return [record.id, record.algorithm, record.problem, record.seed]


def _own_names(records: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(own.id for record in records for own in record.quantities))


def _metric_rows(record: Record, names: Sequence[str]) -> Iterable[list[Cell]]:
    columns = [
        _whole(record.column(name)) if name in _WHOLE else record.column(name).tolist()
        for name in names
    ]
    about = _about(record)
    for values in zip(*columns, strict=True):
        yield [*about, *values]


def _whole(column: np.ndarray) -> list[Cell]:
    return [int(value) if math.isfinite(value) else None for value in column.tolist()]


def _inner_rows(record: Record, own: Sequence[str]) -> Iterable[list[Cell]]:
    loop = record.traits.has_inner_loop
    names = (*INNER_COLUMNS, *(f"{name}_ci95" for name in INNER_COLUMNS))
    for one in record.evaluations:
        for k in range(max(map(len, one.curves.values()), default=0)):
            about = [*_about(record), one.step, k if loop else None]
            means = (one.at(name, k) for name in names)
            yield [*about, *means, one.tasks, *(one.at(name, k) for name in own)]


def _task_rows(found: Judgement, own: Sequence[str]) -> Iterable[list[Cell]]:
    config, protocol = found.config, found.protocol
    head: list[Cell] = [found.run, config["algorithm"], config["problem"], found.dataset]
    head += [config["seed"], found.step, found.k if found.adapts else None]
    head += [protocol[name] for name in ("split", "seed", "ways", "shots", "query", "together")]
    for task in range(protocol["tasks"]):
        yield [
            *(*head, task),
            *(
                float(found.per_task[name][place, task])
                if name in found.per_task and (found.adapts or after)
                else None
                for name in ("query_loss", "query_accuracy")
                for after, place in enumerate((0, found.k))
            ),
            draws_of(protocol),
            *(
                float(found.per_task[name][found.k, task]) if name in found.per_task else None
                for name in own
            ),
        ]


def _chart_rows(runs: Mapping[str, Record], episodes: Iterable[Episode]) -> Iterator[list[Cell]]:
    for record in runs.values():
        for picture in record.pictures:
            with suppress(ChartError):
                found = from_arrays(picture.arrays)
                yield from _rows_of(record, picture.step, ("evaluation", 0), found)
    for one in episodes:
        if one.run in runs:
            about = (one.protocol.get("split", ""), one.number)
            yield from _rows_of(runs[one.run], one.step, about, one.charts)


def _rows_of(
    record: Record, step: int, task: tuple[str, int], charts: Iterable[Chart]
) -> Iterator[list[Cell]]:
    for chart in charts:
        about = [*_about(record), step, *task, chart.id]
        for row in tidy_rows(chart):
            place = [*about, row.part, row.item, row.number, row.place]
            yield [*place, row.x, row.y, row.value, row.low, row.high, row.label]


def _summary_row(record: Record) -> list[Cell]:
    def last(name: str) -> float | None:
        return float(record.column(name)[-1]) if len(record) else None

    def count(name: str) -> int | None:
        value = last(name)
        return int(value) if value is not None and np.isfinite(value) else None

    row: list[Cell] = [*_about(record), record.state, record.total_steps, record.step]
    row += [last("seconds"), count("gradient_evaluations"), count("hessian_vector_products")]
    if not record.evaluations:
        return row + [None] * (len(_SUMMARY_HEAD) - len(row))
    evaluation = record.evaluations[-1]
    loop = record.traits.has_inner_loop
    row += [evaluation.step, evaluation.tasks, evaluation.trained_steps if loop else None]
    row += [evaluation.at(n, 0) if loop else None for n in ("query_loss", "query_accuracy")]
    return row + [evaluation.at(f"{n}{suffix}") for n in _RESULTS for suffix in ("", "_ci95")]


def _marks(record: Record) -> list[Cell]:
    """Return a person's words on a run, which `_cell` disarms."""
    marks = record.marks
    return [marks.name or None, " ".join(marks.tags) or None, marks.notes or None]


def hyperparameters(record: Record) -> dict[str, Cell]:
    """Return every hyperparameter under the key that `--set` takes, and the device in use.

    Where a method was left to choose its inner loop, this says what it used.
    """
    config = record.applied
    device = record.environment.get("device", config.get("device"))
    settings: dict[str, Cell] = {"device": device, "dtype": config.get("dtype")}
    settings |= config.get("shared", {})
    own = dict(config.get("options", {}))
    loop = record.traits.has_inner_loop
    if loop and own.get("inner_lr") is None:
        own["inner_lr"] = config.get("shared", {}).get("inner_lr")
    if loop and own.get("inner_steps") is None and record.evaluations:
        own["inner_steps"] = record.evaluations[-1].trained_steps
    settings |= {f"{config['algorithm']}.{k}": v for k, v in own.items()}
    settings |= {
        f"{config['problem']}.{k}": v for k, v in config.get("problem_options", {}).items()
    }
    if amendments := amendment_texts(config):
        settings["amendments"] = "; ".join(amendments)
    return settings


def _comparison_rows(
    curves: Iterable[GroupCurve], view: ComparisonView
) -> Iterator[tuple[str | int | float, ...]]:
    """Yield the rows of `comparison.csv`; low and high are NaN where n < 2."""
    for one in curves:
        columns = (one.curve.x, one.curve.mean, one.curve.low, one.curve.high, one.curve.n)
        for x, mean, low, high, n in zip(*(c.tolist() for c in columns), strict=True):
            place = (one.group.label, view.measure, view.axis, x)
            yield *place, mean, low, high, n, view.band, view.smoothing
