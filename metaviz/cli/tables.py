"""Tables on the terminal; 80 columns are enough for each."""

import os
from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionSpec, Plain
from metaviz.config.quantities import unit_of
from metaviz.config.run_config import RunConfig, presets
from metaviz.files.text import one_line, printable
from metaviz.problems.inspection import Inspection
from metaviz.runs.analysis.benchmark import steps_text
from metaviz.runs.analysis.curves import judged_by_returns
from metaviz.runs.analysis.published import published_beside
from metaviz.runs.model.evaluation import Judgement
from metaviz.runs.model.events import Evaluated
from metaviz.runs.model.gradients import GradientComparison
from metaviz.runs.model.prediction import Predicted
from metaviz.runs.model.record import Record
from metaviz.runs.model.speed import Speed, place_text
from metaviz.runs.model.statistics import interval_text
from metaviz.runs.storage.queue import Entry
from metaviz.runs.table.columns import duration_text
from metaviz.runs.table.differences import differing_texts

_COSINES_SIDE_BY_SIDE = 7
_MOST_ROWS = 60
_AFTER_FIRST = range(1, 100)


class _Terminal(Console):
    """Writes what strangers named as they are, without what would steer a terminal."""

    def render_str(self, text: str, *arguments: Any, **named: Any) -> Text:
        """Return the letters of a text, with its control characters as numbers."""
        return super().render_str(printable(text), *arguments, **named)

    def on_broken_pipe(self) -> None:
        """End in silence where whoever read the output has gone, as `head` does."""
        raise BrokenPipeError


class _Words(TextColumn):
    def render(self, task: Task) -> Text:
        """Return the words of one bar."""
        return Text(one_line(self.text_format.format(task=task)))


def console(*, stderr: bool = False) -> Console:
    """Return a console that takes brackets in names as they are, not as colours."""
    return _Terminal(stderr=stderr, markup=False)


def progress_bars(*texts: str) -> Progress:
    """Return bars for standard error, each with its name before it and these texts behind it."""
    behind = (_Words(text) for text in texts)
    columns = (_Words("{task.description}"), BarColumn(), *behind, TimeRemainingColumn())
    return Progress(*columns, console=console(stderr=True))


def table(
    columns: Sequence[str],
    rows: Iterable[Iterable[str]],
    title: str = "",
    *,
    right: Container[int] = (),
    fold: Container[int] = (),
) -> Table:
    """Return a table; `right` and `fold` number columns to align right, and to wrap."""
    found = Table(title=title or None)
    for place, name in enumerate(columns):
        found.add_column(
            name,
            justify="right" if place in right else "left",
            overflow="fold" if place in fold else "ellipsis",
        )
    for row in rows:
        found.add_row(*row)
    return found


def print_results(records: Sequence[Record]) -> None:
    """Print what each run came to at its last evaluation."""
    rows = []
    names = ("query_loss", "query_accuracy")
    if judged_by_returns(records):
        names = ("pre_query_return", "query_return")
    for record in records:
        row = [record.algorithm, str(record.seed), record.state]
        if record.evaluations:
            last = record.evaluations[-1]
            row.append(str(last.trained_steps) if record.traits.has_inner_loop else "")
            row += [_result(last, name) for name in names]
        else:
            row += ["", "", ""]
        row.append(duration_text(record.column("seconds")[-1]) if len(record) else "")
        rows.append(row)
    titles = {"query_accuracy": "accuracy (%)", "pre_query_return": "return before"}
    shown = [titles.get(name, name.replace("_", " ")) for name in names]
    columns = ("algorithm", "seed", "state", "K", *shown, "duration")
    counts = {record.evaluations[-1].tasks for record in records if record.evaluations}
    tasks = f"{counts.pop()} evaluation tasks" if len(counts) == 1 else "the evaluation tasks"
    title = f"After adaptation to {tasks} of the seed (mean ± 1.96 s/√n over tasks)"
    console().print(table(columns, rows, title, right={1, 3, 4, 5, 6}))


def _result(last: Evaluated, name: str) -> str:
    """Return a mean of an evaluation with its interval; `pre_` is that before adaptation."""
    base, k = name.removeprefix("pre_"), 0 if name.startswith("pre_") else None
    found = (last.at(each, k) for each in (base, f"{base}_ci95"))
    return interval_text(*(unit_of(base) * value for value in found))


def _cosines(result: GradientComparison, shown: slice) -> Table:
    """Return some columns of the matrix of cosines."""
    title = "Cosines between them" if shown.start == 0 else ""
    found = Table("", title=title, box=None, padding=(0, 1, 0, 0))
    for row in result.rows[shown]:
        found.add_column(row.algorithm[:9], justify="right", no_wrap=True)
    for row, line in zip(result.rows, result.cosine(), strict=True):
        cells = ("–" if np.isnan(c) else f"{c:.4f}" for c in line[shown])
        found.add_row(row.algorithm, *cells)
    return found


def print_gradients(result: GradientComparison) -> None:
    """Print lengths, residuals and costs, then the cosines between all pairs, then notes."""
    rows = []
    for row in result.rows:
        both = (row.inner_residual, row.solver_residual)
        residuals = [_figure(value, ".2e") for value in both]
        counts = str(row.gradient_evaluations), str(row.hessian_vector_products)
        rows.append((row.algorithm, f"{row.norm:.6g}", *residuals, *counts))
    columns = ("algorithm", "length", "inner res.", "solver res.", "gradients", "HVPs")
    title = "Meta-gradients on one batch at one point"
    paper = console()
    paper.print(table(columns, rows, title, right=_AFTER_FIRST))
    paper.print("res. = residual, HVPs = Hessian-vector products; counts are over all tasks.\n")
    for first in range(0, len(result.rows), _COSINES_SIDE_BY_SIDE):
        paper.print(_cosines(result, slice(first, first + _COSINES_SIDE_BY_SIDE)))
    for row in result.rows:
        for note in row.notes:
            paper.print(f"{row.algorithm}: {note}")


def print_probabilities(classes: Sequence[int], probabilities: Sequence[Sequence[float]]) -> None:
    """Print the most probable class, and the probabilities, of each query example."""
    names = [str(name) for name in classes]
    rows = [
        (str(row), names[int(np.argmax(shares))], *(f"{share:.4f}" for share in shares))
        for row, shares in enumerate(probabilities)
    ]
    title = "Probabilities of query examples, by row of the file, for each class"
    columns = ("query", "answer", *names)
    console().print(table(columns, rows, title, right=_AFTER_FIRST))


def print_predicted(found: Predicted) -> None:
    """Print what a run predicts for each query example after its steps, and how often it is right.

    Of regressions that are the outputs.
    """
    k = f" after k = {found.k}" if found.has_steps else ""
    if found.probabilities is None:
        rows = [
            (name, *(f"{value:.6g}" for value in values))
            for name, values in zip(found.names, found.query.outputs[found.k], strict=True)
        ]
        columns = ("query", *(f"output {n}" for n in range(found.query.outputs.shape[2])))
        console().print(table(columns, rows, f"Outputs of {found.label}{k}", right=_AFTER_FIRST))
        return
    shares = found.probabilities[found.k]
    named = zip(found.names, found.answers(), shares, strict=True)
    rows = [(name, answer, *(f"{share:.4f}" for share in each)) for name, answer, each in named]
    title = f"Probabilities of query examples by {found.label}{k}, for each class"
    columns = ("query", "answer", *found.classes)
    console().print(table(columns, rows, title, right=range(2, 100), fold=range(2)))
    share = found.accuracy()
    if share is not None:
        known = sum(truth is not None for truth in found.truth())
        console().print(f"{share:.1%} right of {known} whose class is known.")


def print_judgements(judgements: Sequence[Judgement]) -> None:
    """Print each run's mean, its difference to the first run, and published results beside it."""
    first = judgements[0]
    # Of methods without an inner loop no k is told.
    adapting = next((one for one in judgements if one.adapts), first)
    asked = adapting.protocol_text(steps_text(judgements))
    title = f"{first.measure_text()} on held-out tasks: mean ± 1.96 s/√n\n{asked}"
    unlike = len({found.measure for found in judgements}) > 1
    if unlike:
        title = f"held-out tasks: mean ± 1.96 s/√n\n{asked}"
    measured, others = [], []
    for found in judgements:
        what = [found.measure_text()] if unlike else []
        row = [found.run, *what, str(found.step), found.before_text(), found.after_text()]
        alike = (found.task_list, found.measure) == (first.task_list, first.measure)
        apart = found is not first and alike
        measured.append((*row, *(found.minus(first) if apart else ())))
        if not alike:
            others.append(f"{found.run}: {found.dataset}, {found.protocol_text()}.")
    told = ("run", *(("measure",) if unlike else ()), "step", "k = 0", "after k")
    columns = (*told, "minus the first", "better/worse", "p")
    paper = console()
    paper.print(table(columns, measured, title, right=_AFTER_FIRST))
    paper.print(
        "In brackets: 95 % bootstrap interval. p: two-sided sign test over tasks, without those "
        "where both are equal or one is not a number."
    )
    if others:
        paper.print("Nothing is subtracted from results on other tasks: " + " ".join(others))
    rows = [(found.run, *row) for found in judgements for row in published_beside(found)]
    if rows:
        title = "Published for the same data, ways and shots: not the same experiment"
        names = ("our run", "method", "accuracy (%)", "known differences")
        paper.print(table(names, rows, title, fold=range(4)))


def print_catalogue(catalogue: Catalogue) -> None:
    """Print the algorithms and problems that can be chosen."""
    methods = [(e.id, e.title, e.group, e.summary) for e in catalogue.algorithms]
    problems = [(e.id, e.title, e.summary) for e in catalogue.problems]
    paper = console()
    paper.print(table(("id", "algorithm", "group", "what it does"), methods, "Algorithms"))
    paper.print(table(("id", "problem", "what it is"), problems, "Problems"))


def print_runs(records: Sequence[Record]) -> None:
    """Print one line for each run."""
    columns = ("run", "algorithm", "problem", "seed", "state", "step")
    rows = ((r.id, r.algorithm, r.problem, str(r.seed), r.state, str(r.step)) for r in records)
    console().print(table(columns, rows))


def print_presets() -> None:
    """Print each preset's name, what it is and the published number."""
    rows = []
    for name, path in presets().items():
        title, published = path.read_text("utf-8").splitlines()[:2]
        rows.append((name, f"{title.removeprefix('# ')}. {published.removeprefix('# ')}"))
    console().print(table(("--preset", "experiment"), rows, "Published experiments", fold={0}))


def print_options(
    options: Iterable[OptionSpec],
    prefix: str,
    by_problem: Mapping[str, Mapping[str, Plain]] = MappingProxyType({}),
    presets: Mapping[str, Mapping[str, Plain]] = MappingProxyType({}),
    *,
    only: str | None = None,
    empty: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Print the keys that `--set` takes, with what each means and which values are right.

    `by_problem` holds defaults that replace the general ones; those of the problem `only` stand in
    their place, and otherwise beside them. `empty` says what an option without a value comes to.
    """
    rows = []
    for spec in options:
        what = f"{spec.description} Use {spec.range_text}."
        own = {
            name: values[spec.name] for name, values in by_problem.items() if spec.name in values
        }
        if only is not None:
            default = _option_text(own.get(only, spec.default)) or empty.get(spec.name, "")
        else:
            others = {name: value for name, value in own.items() if value != spec.default}
            plain = _option_text(spec.default) or empty.get(spec.name, "")
            default = "\n".join([plain, *_default_lines(others)])
        rows.append((f"{prefix}{spec.name}", default, what))
    for preset, values in presets.items():
        what = ", ".join(f"{key}={value}" for key, value in values.items())
        rows.append((f"{prefix}preset", "", f"{preset}: fills in {what}."))
    title = "default" if only is None else f"default for {only}"
    console().print(table(("--set", title, "what it is"), rows, fold=range(3)))


def _option_text(value: Plain) -> str:
    return "" if value is None else str(value).lower() if value in {True, False} else str(value)


def _default_lines(own: Mapping[str, Plain]) -> list[str]:
    """Return a line for each value with the problems that have it."""
    problems: dict[str, list[str]] = {}
    for name, value in own.items():
        problems.setdefault(_option_text(value), []).append(name)
    return [f"{text} ({', '.join(names)})" for text, names in problems.items()]


def print_sweep(configs: Sequence[RunConfig], keys: Sequence[str]) -> None:
    """Print the runs with what is varied, the first ones only where there are many."""
    texts = differing_texts([config.model_dump(mode="json") for config in configs])
    rows = [
        (str(place), config.algorithm, str(config.seed), text or ", ".join(keys))
        for place, (config, text) in enumerate(zip(configs, texts, strict=True), 1)
    ]
    if len(rows) > _MOST_ROWS:
        rows[_MOST_ROWS:] = [("", f"… and {len(rows) - _MOST_ROWS} more", "", "")]
    columns = ("", "algorithm", "seed", "what is varied")
    console().print(table(columns, rows, f"{len(configs)} runs"))


def print_inspection(found: Inspection) -> None:
    """Write what a data set holds: its splits in numbers, and what to know of them."""
    out = console()
    out.print(f"{found.dataset}, kept as: {found.layout}")
    rows = []
    for split, classes in found.splits.items():
        counts = sorted({min(classes.values()), max(classes.values())}) if classes else []
        of_each = "-".join(map(str, counts))
        rows.append((split, str(len(classes)), str(sum(classes.values())), of_each))
    out.print(table(("Split", "Classes", "Images", "Per class"), rows, right={1, 2, 3}))
    for remark in found.remarks or ("Nothing was left out or guessed.",):
        out.print(remark[:1].upper() + remark[1:], soft_wrap=True)


def print_entries(entries: Sequence[Entry]) -> None:
    """Print the queue in order."""
    rows = []
    texts = differing_texts([entry.config for entry in entries])
    for place, (entry, text) in enumerate(zip(entries, texts, strict=True), 1):
        names = (str(entry.config.get(key, "?")) for key in ("algorithm", "problem", "seed"))
        rows.append((str(place), *names, text, entry.state, entry.message or entry.run))
    columns = ("", "algorithm", "problem", "seed", "what differs", "state", "run or reason")
    console().print(table(columns, rows, fold={4, 5, 6}))


def print_speeds(speeds: Sequence[Speed]) -> None:
    """Print one table per problem, then what the columns mean and what there is to note."""
    paper = console()
    for problem in dict.fromkeys(found.problem for found in speeds):
        group = [found for found in speeds if found.problem == problem]
        paper.print(_speeds(problem, group))
    paper.print(
        "steps/s: meta-steps per second, median. GFLOP: counted operations of one meta-step. "
        "limit: operations per second as a share of those of large matrix products with as many "
        "threads, the fastest between two rounds. products: the time that the step's own matrix "
        "products and convolutions take alone, as a share of the step's. MiB: peak memory over "
        "that before the first step."
    )
    for found in speeds:
        if found.slower is not None:
            ratio = f"MetaViz is {found.slower:.2f} times as fast as {found.library}"
            apart = f"(float64 meta-gradients differ by {found.apart:.0e})"
            paper.print(f"{found.problem}, {found.algorithm}: {ratio} {apart}.")
        if found.note:
            paper.print(f"{found.problem}, {found.name}: {found.note}")


def _speeds(problem: str, group: Sequence[Speed]) -> Table:
    ours = next((found for found in group if found.ours), group[0])
    limits = [found.limit for found in group if found.ours and found.limit]
    limit = f", limit {limits[0] / 1e9:.0f} GFLOP/s" if limits else ""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    title = f"{problem}: {place_text(ours.environment)}, {ours.dtype}{limit}{load}"
    columns = ("", "steps/s", "quartiles", "GFLOP", "limit", "products", "MiB")
    return table(columns, map(_cells, group), title, right=_AFTER_FIRST)


def _cells(found: Speed) -> list[str]:
    count = found.operations
    return [
        found.name,
        _figure(found.rate),
        "–".join(_figure(quartile) for quartile in found.quartiles() or ()),
        _figure(None if count is None else count / 1e9),
        _percent(found.share_of_limit),
        _percent(found.share_of_products),
        _figure(found.peak_mb),
    ]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2g} %"


def _figure(value: float | None, form: str = ".3g") -> str:
    return "" if value is None else format(value, form)
