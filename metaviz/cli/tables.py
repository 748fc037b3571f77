"""Tables on the terminal; 80 columns are enough for each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionSpec, Plain
from metaviz.runs.analysis.published import told_beside
from metaviz.runs.model.evaluation import Judgement
from metaviz.runs.model.gradients import GradientComparison
from metaviz.runs.model.record import Record


def console(*, stderr: bool = False) -> Console:
    """Return a console that takes brackets in names as they are, not as colours."""
    return Console(stderr=stderr, markup=False)


def print_results(records: Sequence[Record]) -> None:
    """Print what each run came to at its last evaluation."""
    table = Table(title="After adaptation to the evaluation tasks (mean ± 95 % interval)")
    for column in ("run", "seed", "state", "K", "query loss", "accuracy", "seconds"):
        table.add_column(column, justify="left" if column in {"run", "state"} else "right")
    for record in records:
        row = [record.algorithm, str(record.seed), record.state]
        if record.evaluations:
            last = record.evaluations[-1]
            k = last.trained_steps
            row.append(str(k))
            for name in ("query_loss", "query_accuracy"):
                row.append(_interval(last.curves, name, k))
        else:
            row += ["", "", ""]
        row.append(f"{record.column('seconds')[-1]:.1f}" if len(record) else "")
        table.add_row(*row)
    console().print(table)


def _interval(curves: dict[str, Any], name: str, k: int) -> str:
    if name not in curves:
        return ""
    return f"{curves[name][k]:.4g} ± {curves[f'{name}_ci95'][k]:.2g}"


_COSINES_SIDE_BY_SIDE = 7


def _cosines(result: GradientComparison, shown: slice) -> Table:
    """Return some columns of the matrix of cosines."""
    title = "Cosines between them" if shown.start == 0 else ""
    table = Table(title=title, box=None, padding=(0, 1, 0, 0))
    table.add_column("")
    for row in result.rows[shown]:
        table.add_column(row.algorithm[:9], justify="right", no_wrap=True)
    for row, line in zip(result.rows, result.cosine(), strict=True):
        cells = ("–" if np.isnan(c) else f"{c:.4f}" for c in line[shown])
        table.add_row(row.algorithm, *cells)
    return table


def print_gradients(result: GradientComparison) -> None:
    """Print lengths, residuals and costs, then the cosines between all pairs, then notes."""
    numbers = Table(
        *("algorithm", "length", "inner res.", "solver res.", "gradients", "HVPs"),
        title="Meta-gradients on one batch at one point",
    )
    for column in numbers.columns[1:]:
        column.justify = "right"
    for row in result.rows:
        residuals = [
            "" if value is None else f"{value:.2e}"
            for value in (row.inner_residual, row.solver_residual)
        ]
        counts = str(row.gradient_evaluations), str(row.hessian_vector_products)
        numbers.add_row(row.algorithm, f"{row.norm:.6g}", *residuals, *counts)
    paper = console()
    paper.print(numbers)
    paper.print("res. = residual, HVPs = Hessian-vector products; counts are over all tasks.\n")
    for first in range(0, len(result.rows), _COSINES_SIDE_BY_SIDE):
        paper.print(_cosines(result, slice(first, first + _COSINES_SIDE_BY_SIDE)))
    for row in result.rows:
        for note in row.notes:
            paper.print(f"{row.algorithm}: {note}")


def print_judgements(judgements: Sequence[Judgement]) -> None:
    """Print each run's mean, its difference to the first run, and published results beside it."""
    first = judgements[0]
    name = first.measure.replace("_", " ") + (" (%)" if first.unit > 1 else "")
    title = f"{name} on held-out tasks: mean ± 1.96 s/√n\n{first.protocol_text()}"
    table = Table(title=title)
    for title in ("run", "step", "k = 0", "after k", "minus the first", "better/worse", "p"):
        table.add_column(title, justify="left" if title == "run" else "right")
    for found in judgements:
        row = [found.run, str(found.step), found.before_text(), found.after_text()]
        apart = found is not first and found.task_list == first.task_list
        table.add_row(*row, *(found.minus(first) if apart else ()))
    paper = console()
    paper.print(table)
    paper.print("In brackets: 95 % bootstrap interval. p: two-sided sign test over tasks.")
    rows = [(found.run, *told) for found in judgements for told in told_beside(found)]
    if rows:
        title = "Published for the same data, ways and shots: not the same experiment"
        published = Table("our run", "method", "accuracy (%)", "known differences", title=title)
        for column in published.columns:
            column.overflow = "fold"
        for cells in rows:
            published.add_row(*cells)
        paper.print(published)


def print_catalogue(catalogue: Catalogue) -> None:
    """Print the algorithms and problems that can be chosen."""
    table = Table("id", "algorithm", "group", "what it does", title="Algorithms")
    for entry in catalogue.algorithms:
        table.add_row(entry.id, entry.title, entry.group, entry.summary)
    console().print(table)
    table = Table("id", "problem", "what it is", title="Problems")
    for family in catalogue.problems:
        table.add_row(family.id, family.title, family.summary)
    console().print(table)


def print_runs(records: Sequence[Record]) -> None:
    """Print one line for each run."""
    table = Table("run", "algorithm", "problem", "seed", "state", "step")
    for r in records:
        table.add_row(r.id, r.algorithm, r.problem, str(r.seed), r.state, str(r.step))
    console().print(table)


def print_presets(presets: Mapping[str, Sequence[str]]) -> None:
    """Print each preset's name, what it is and the published number."""
    table = Table("--preset", "experiment", title="Published experiments")
    table.columns[0].overflow = "fold"
    for name, (title, published) in presets.items():
        table.add_row(name, f"{title}. {published}")
    console().print(table)


def print_options(
    options: Iterable[OptionSpec], presets: Mapping[str, Mapping[str, Plain]], prefix: str
) -> None:
    """Print the keys that `--set` takes, with what each means and which values are right."""
    table = Table("--set", "default", "what it is")
    for column in table.columns:
        column.overflow = "fold"
    for spec in options:
        default = "" if spec.default is None else str(spec.default)
        what = f"{spec.description} Use {spec.range_text}."
        table.add_row(f"{prefix}{spec.name}", default, what)
    for preset, values in presets.items():
        what = ", ".join(f"{key}={value}" for key, value in values.items())
        table.add_row(f"{prefix}preset", "", f"{preset}: fills in {what}.")
    console().print(table)
