"""A report in one HTML file: results, figures, settings, environment, how to repeat it."""

import base64
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metaviz import __version__
from metaviz.charts.matplotlib import Page, figure_of
from metaviz.config.options import OptionError
from metaviz.config.quantities import quantity_of, unit_of
from metaviz.config.run_config import comparison_of, to_toml
from metaviz.files.atomic import write_text
from metaviz.files.platform import plain_names
from metaviz.files.text import printable, shell_line
from metaviz.paths import resource
from metaviz.runs.analysis.benchmark import (
    compared,
    judged_runs,
    measure_text,
    newest,
    rows_of,
    same_data,
    task_lists,
)
from metaviz.runs.analysis.geometry import offered
from metaviz.runs.analysis.posterior import posterior_views
from metaviz.runs.analysis.published import published_beside
from metaviz.runs.analysis.result_charts import benchmark_chart
from metaviz.runs.export.figures import (
    USUAL_CM,
    Paper,
    comparison_figures,
    run_figures,
    save_figure,
    view_name,
)
from metaviz.runs.export.tables import charts_csv, has_charts, summary_csv
from metaviz.runs.model.evaluation import draws_of
from metaviz.runs.model.events import Evaluated
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import interval_text
from metaviz.runs.storage.store import StoreError
from metaviz.runs.table.groups import Group, grouped, value_of
from metaviz.runs.table.summary import entry_of, own_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("run", "algorithm", "problem", "state", "steps", "K", "query loss", "accuracy (%)")
_CAPTIONS = {
    "training": "Training: query loss or accuracy over meta-steps",
    "inner": "Inner loop: evaluation tasks against the inner step k",
    "convergence": "Convergence: support loss and gradient norm against k",
    "comparison": "Comparison: mean over the runs of each group, with an interval",
    "fan": "Predictions on one task",
    "mirror": "Mirror map",
    "geometry-rates": "Step sizes",
    "geometry-factors": "Factors",
    "geometry-masks": "Masks",
    "geometry-gates": "Gates",
    "geometry-slopes": "Slopes of the mirror map",
    "geometry-dense": "Preconditioner",
    "geometry-spectrum": "Eigenvalues of the preconditioner",
    "geometry-condition": "Condition number along adaptation",
}
_EMBEDDED_DPI = 110
_FILE_DPI = 300


def write_report(
    records: Sequence[Record], folders: dict[str, Path], out: Path, title: str = ""
) -> list[Path]:
    """Write a report, and beside it figures, tables and configurations; return the files.

    The tables are `results.csv`, and `charts.csv` where methods have charts.

    `folders` are those of the runs by id; evaluations that are stored there are reported too.
    Everything that comes from a run is escaped; the file has no script and loads nothing.
    Raises: StoreError where a file cannot be written.
    """
    names = labels(list(records))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        table = out.parent / "results.csv"
        write_text(table, summary_csv(list(records)))
        tables = [table]
        if has_charts(records):
            tables.append(out.parent / "charts.csv")
            write_text(tables[-1], charts_csv(records))
        commands, configs, unknown = _configurations(records, names, out.parent)
        figures, files = _figures(records, folders, names, out.parent / "figures")
        page = _render(
            title=title or out.stem.replace("-", " ").replace("_", " "),
            runs=list(names.values()),
            figures=figures,
            commands=commands + _evaluations(records, folders),
            **_methods(records),
            **_results(records, names, unknown),
            **_judged(records, folders),
            **_settings(records, names),
        )
        write_text(out, page)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"Cannot write the report to {out}: {reason}.") from error
    return [out, *tables, *configs, *files]


def _render(**values: Any) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_shown
    )
    template = environment.from_string(resource("report.html.j2").read_text(encoding="utf-8"))
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return template.render(version=__version__, written=written, **values)


def _shown(value: Any) -> Any:
    """Return what the page shows of a value, which it then escapes."""
    return printable(value) if type(value) is str else value


def _results(
    records: Sequence[Record], names: dict[str, str], unknown: list[str]
) -> dict[str, Any]:
    rows, remarks = [], list(unknown)
    results = [record.own_results() for record in records]
    own = {name: about.label for found in results for name, (about, _) in found.items()}
    for record, found in zip(records, results, strict=True):
        row = [names[record.id], record.algorithm, record.problem, record.state]
        row.append(f"{record.step} / {record.total_steps}")
        if record.evaluations:
            last = record.evaluations[-1]
            row.append(str(last.trained_steps) if record.traits.has_inner_loop else "")
            row += [_interval(last, name) for name in ("query_loss", "query_accuracy")]
        else:
            row += ["", "", ""]
        row += [interval_text(found[n][1], np.nan) if n in found else "" for n in own]
        rows.append(row)
        if record.message:
            remarks.append(f"{names[record.id]}: {record.message}")
    return {"result_columns": (*_COLUMNS, *own.values()), "results": rows, "remarks": remarks}


def _interval(last: Evaluated, name: str) -> str:
    return interval_text(*(unit_of(name) * last.at(one) for one in (name, f"{name}_ci95")))


def _methods(records: Sequence[Record]) -> dict[str, Any]:
    """Return a row for each method: mean and interval over the runs that differ in their seed only.

    Empty where no method has several runs.
    """
    groups = grouped([entry_of(record, None) for record in records])
    if not any(len(group.members) > 1 for group in groups):
        return {"method_columns": (), "methods": []}
    loss = quantity_of("query_loss").noun
    judged = [(loss, "loss"), ("accuracy (%)", "accuracy")]
    own = own_of(entry for group in groups for entry in group.members)
    judged += [(about.label, name) for name, about in own.items()]
    shown = [(title, name) for title, name in judged if any(len(g.counted(name)) for g in groups)]
    rows = []
    for group in groups:
        cells = [group.label, str(value_of(group.members[0], "problem")), group.count_text()]
        cells.append(_steps(group))
        for _, name in shown:
            found = group.spread(name, "ci95")
            cells.append(interval_text(*(unit_of(name) * v for v in (found.mean, found.half))))
        rows.append(cells)
    columns = ("method", "problem", "runs", "steps", *(title for title, _ in shown))
    return {"method_columns": columns, "methods": rows}


def _steps(group: Group) -> str:
    """Return how many meta-steps the runs of a group have taken: `2000`, or from least to most."""
    steps = sorted({entry.summary.step for entry in group.members})
    return f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"


def _judged(records: Sequence[Record], folders: dict[str, Path]) -> dict[str, Any]:
    """Return held-out results, differences within each protocol, and published rows."""
    # A run whose folder was copied is the run of that folder, whatever it was called when judged.
    judged = judged_runs(records, folders)
    found = [(one.label, one.judgement) for one in judged]
    same, left_out = compared(judged)
    published = [(name, *row) for name, judgement in found for row in published_beside(judgement)]
    return {
        "judged": [
            {
                "label": name,
                "protocol": f"{judgement.measure_text()}, "
                f"{judgement.protocol_text()}, weights of step {judgement.step}",
                "before": judgement.before_text(),
                "after": judgement.after_text(),
            }
            for name, judgement in found
        ],
        "differences": [
            {
                "protocol": group.protocol,
                "rows": [
                    (one.label, group.runs[0].label, *one.judgement.minus(group.runs[0].judgement))
                    for one in group.runs[1:]
                ],
            }
            for group in same
        ],
        "not_subtracted": [
            f"Not subtracted, as no other run's newest weights were evaluated alike: {one.label}, "
            f"{one.judgement.protocol_text()}, weights of step {one.judgement.step}."
            for one in (left_out if len({one.record for one in judged}) > 1 else ())
        ],
        "published": published,
    }


def _settings(records: Sequence[Record], names: dict[str, str]) -> dict[str, Any]:
    """Return settings in which runs differ, those that all share, and environments."""
    flat = [_flat(record.applied) for record in records]
    keys = list(dict.fromkeys(key for values in flat for key in values))
    differing, common = [], []
    for key in keys:
        cells = [values.get(key, "") for values in flat]
        if len(set(cells)) > 1:
            differing.append((key, cells))
        else:
            common.append((key, cells[0]))
    environments: list[tuple[list[str], list[tuple[str, str]]]] = []
    for record in records:
        environment = [
            (key, _command(value) if key == "command" else _text(value))
            for key, value in sorted(record.environment.items())
            # Where the window found the run says nothing to those who read the report, and
            # changes to the program fill pages; their hash stays.
            if key not in {"folder", "git_diff"}
        ]
        for known, same in environments:
            if same == environment:
                known.append(names[record.id])
                break
        else:
            environments.append(([names[record.id]], environment))
    return {"differing": differing, "common": common, "environments": environments}


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            inner = {"options": f"{config.get('algorithm', '')}.", "shared": ""}.get(key)
            if inner is None:
                inner = f"{config.get('problem', key)}." if key == "problem_options" else f"{key}."
            found |= _flat(value, prefix + inner)
        else:
            found[prefix + key] = _text(value)
    return found


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _command(value: Any) -> str:
    """Return the words of a command as a line that a shell reads."""
    return shell_line(map(str, value)) if isinstance(value, list | tuple) else _text(value)


def _configurations(
    records: Sequence[Record], names: dict[str, str], folder: Path
) -> tuple[list[str], list[Path], list[str]]:
    """Write one configuration for each run.

    Returns the commands that repeat them, the files, and what this version cannot repeat.
    """
    commands, paths, unknown = [], [], []
    files = plain_names(record.id for record in records)
    for record in records:
        try:
            comparison = comparison_of({**record.config, "amendments": ()})
        except OptionError as error:
            unknown.append(f"{names[record.id]} cannot be repeated by this version: {error}")
            continue
        path = folder / "configs" / f"{files[record.id]}.toml"
        path.parent.mkdir(exist_ok=True)
        write_text(path, to_toml(comparison))
        paths.append(path)
        if record.config.get("amendments"):  # only its folder knows when they came into force
            words = ["repeat", record.id]
        else:
            words = ["compare", "--config", f"configs/{path.name}"]
        commands.append(shell_line(["metaviz", *words, "--out", "repeated"]))
    return commands, paths, unknown


def _evaluations(records: Sequence[Record], folders: dict[str, Path]) -> list[str]:
    """Return the commands that repeat what runs were judged by, after those that train them."""
    names = {"tasks": "tasks", "split": "split", "seed": "seed", "shots": "shots"}
    names |= {"query": "query_shots", "k": "steps", "together": "together"}
    commands = []
    for judgement in (one.judgement for one in judged_runs(records, folders)):
        protocol = judgement.protocol
        values = {names[key]: value for key, value in protocol.items() if key in names}
        for absent in [name for name in ("shots", "query_shots") if values[name] == 0]:
            del values[absent]
        values["draws"] = draws_of(protocol)
        if not judgement.adapts:
            values.pop("steps", None)
        pairs = [("--set", f"{key}={_as_option(value)}") for key, value in values.items()]
        settings = [word for pair in pairs for word in pair]
        commands.append(shell_line(["metaviz", "evaluate", "repeated", *settings]))
    return list(dict.fromkeys(commands))


def _as_option(value: Any) -> str:
    """Return a value as `--set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _figures(
    records: Sequence[Record], folders: dict[str, Path], names: dict[str, str], folder: Path
) -> tuple[list[dict[str, str]], list[Path]]:
    """Draw every figure; return those of the report, and the files written beside it."""
    folder.mkdir(exist_ok=True)
    shown: list[dict[str, str]] = []
    files: list[Path] = []
    endings = plain_names(record.id for record in records)

    def keep(name: str, caption: str, figure: "Figure") -> None:
        files.extend(folder / f"{name}.{kind}" for kind in ("png", "pdf"))
        for path in files[-2:]:
            save_figure(figure, path)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=_EMBEDDED_DPI)
        data = base64.b64encode(stream.getvalue()).decode()
        shown.append({"caption": caption, "data": data})

    def paper(width_cm: float) -> Page:
        return Page(min(width_cm, 24.0), None, _FILE_DPI)

    for name, figure in comparison_figures(records, paper):
        keep(name, _CAPTIONS[name], figure)
    for name, caption, figure in _benchmarks(records, folders, paper):
        keep(name, caption, figure)
    for record in records:
        own = {view_name(view): title for view, title in offered(record).items()}
        views = posterior_views(record).items()
        own |= {view: f"What is held possible: {title}" for view, title in views}
        for name, figure in run_figures(record, paper):
            caption = f"{_CAPTIONS.get(name) or own[name]}: {names[record.id]}"
            keep(f"{name}-{endings[record.id]}", caption, figure)
    return shown, files


def _benchmarks(
    records: Sequence[Record], folders: dict[str, Path], paper: Paper
) -> "Iterator[tuple[str, str, Figure]]":
    """Yield name, caption and figure of the evaluations on each list of held-out tasks."""
    judged = judged_runs(records, folders)
    for number, (key, text) in enumerate(task_lists(judged).items(), 1):
        shown = newest(judged, key)
        rows = rows_of(shown, same_data(shown[0].judgement))
        yield (
            f"benchmark-{number}",
            f"Held-out tasks: {text}",
            figure_of(benchmark_chart(rows, measure_text(rows)), paper(USUAL_CM)),
        )
