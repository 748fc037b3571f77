"""Numbers that only some runs have, and runs without an inner loop, in everything that lists runs.

No plugin is there that knows their quantities: all meaning comes from what is stored.
"""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metaviz.config.quantities import QUANTITIES, Quantity, primary_of
from metaviz.config.traits import Traits
from metaviz.runs.analysis.benchmark import Choice, Judged, rows_of, worst_tasks
from metaviz.runs.analysis.comparison import (
    MEASURES,
    ComparisonView,
    compared,
    group_difference,
    measure_title,
    offered,
    usual_view,
)
from metaviz.runs.analysis.convergence import convergence
from metaviz.runs.analysis.curves import InnerView, inner_curves
from metaviz.runs.analysis.parallel import parallel_axes
from metaviz.runs.export.html_report import write_report
from metaviz.runs.export.tables import evaluations_csv, inner_csv, metrics_csv, summary_csv
from metaviz.runs.export.tensorboard import scalars
from metaviz.runs.model.evaluation import Judgement
from metaviz.runs.model.events import STEP_COLUMNS, Ended, Evaluated, Stepped
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import Style
from metaviz.runs.storage.store import create_run, open_last, open_run
from metaviz.runs.storage.tail import Follower
from metaviz.runs.table.columns import CellContext, Columns
from metaviz.runs.table.groups import grouped
from metaviz.runs.table.index import Index
from metaviz.runs.table.search import QueryError, completions, parse
from metaviz.runs.table.summary import Entry, entry_of
from metaviz.training.divergence import DivergenceMonitor
from tests.unit.entries import config, store

ENTROPY = Quantity("entropy", "Entropy of predictions", "nats", "larger")


def stepped(step: int, *own: Quantity) -> Stepped:
    values: dict[str, float | None] = dict.fromkeys(STEP_COLUMNS, float(step))
    for name in STEP_COLUMNS:
        if name.startswith("pre_") or name.endswith("residual"):
            values[name] = None
    values |= {quantity.id: step / 4 for quantity in own}
    return Stepped(step, values, np.ones(1), np.empty(0), own)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Store a run without an inner loop, which measured its entropy at the second step of three."""
    traits = Traits(inner_loop="none", quantities=("entropy",))
    asked = config("prototypes", shared={"inner_steps": 5, "inner_lr": 0.01, "eval_steps": 10})
    writer = create_run(tmp_path, asked, {"device": "cpu"}, traits=traits)
    for step in (1, 2, 3):
        writer.append(stepped(step, *[ENTROPY] * (step == 2)))
    curves = {"support_loss": np.array([0.4]), "query_loss": np.array([0.6])}
    curves |= {"query_loss_ci95": np.array([0.1]), "reach": np.array([7.0])}
    writer.append(Evaluated(3, 4, 0, curves, {"query_loss": np.full(4, 0.6)}))
    writer.append(Ended(3, "done"))
    writer.close()
    return writer.folder


@pytest.fixture
def record(folder: Path) -> Record:
    return open_run(folder)


@pytest.fixture
def usual(tmp_path: Path) -> Record:
    return open_run(store(tmp_path, "maml"))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def entries(folder: Path, cache: Path) -> list[Entry]:
    """Return what an index finds beside a folder, after it has forgotten what it read."""
    for _ in range(2):
        index = Index(cache / "index.db")
        found = [entry for batch in index.scan(folder.parent) for entry in batch.entries]
        index.close()
    return found


def test_the_store_keeps_what_a_method_is_and_what_it_measured(
    folder: Path, record: Record, usual: Record
) -> None:
    assert "entropy" not in QUANTITIES
    assert record.traits == Traits(inner_loop="none", quantities=("entropy",))
    assert usual.traits == Traits()
    last, _ = open_last(folder)
    assert record.own_results() == last.own_results()
    assert record.own_results()["entropy"] == (ENTROPY, 0.5)
    assert record.own_results()["reach"][1] == 7.0
    followed = Record(record.id, record.config)
    follower = Follower(folder, followed)
    for event in follower.poll().events:
        followed.apply(event)
    follower.close()
    assert followed.own_results() == record.own_results()
    evaluated = followed.evaluations[-1]
    assert (evaluated.trained_steps, evaluated.at("query_loss")) == (0, 0.6)
    assert np.isnan(evaluated.at("gradient_norm"))


def test_tables_have_own_numbers_and_leave_empty_what_does_not_apply(
    record: Record, usual: Record
) -> None:
    assert [row["entropy"] for row in rows(metrics_csv([record, usual]))] == ["", "0.5", "", "", ""]
    mine, other = rows(summary_csv([record, usual]))
    assert (mine["entropy"], mine["reach"], other["entropy"]) == ("0.5", "7.0", "")
    assert (mine["post_query_loss"], mine["post_query_loss_ci95"]) == ("0.6", "0.1")
    for name in ("eval_k", "pre_query_loss", "post_gradient_norm", "inner_lr", "inner_steps"):
        assert mine[name] == ""
    assert not any("inner" in name and value for name, value in mine.items())
    assert (other["eval_k"], other["inner_lr"]) == ("1", "0.1")
    inner = rows(inner_csv([record, usual]))
    assert (inner[0]["k"], inner[0]["query_loss"], inner[0]["reach"]) == ("", "0.6", "7.0")
    assert [row["k"] for row in inner[1:]] == ["0", "1", "2"]
    found = {tag: value for tag, _, _, value in scalars(record)}
    assert (found["train/entropy"], found["evaluation/reach"]) == (0.5, 7.0)
    assert "evaluation/gradient_norm" not in found


def test_columns_and_searches_know_what_listed_runs_have(
    folder: Path, usual: Record, tmp_path: Path
) -> None:
    found = entries(folder, tmp_path)
    mine = next(entry for entry in found if entry.id == folder.name)
    columns = Columns()
    known = {column.key: column for column in columns.known(found)}
    assert known["entropy"].title == columns.column("entropy").title
    assert known["entropy"].title == "Entropy of predictions (nats)"
    cells = {entry.id: known["entropy"].text(entry) for entry in found}
    assert cells == {mine.id: "0.5", usual.id: ""}
    assert not {"inner_lr", "inner_steps", "eval_steps"} & mine.values.keys()
    assert (mine.summary.inner_steps, mine.summary.loss) == (0, 0.6)
    (group,) = grouped([mine])
    assert CellContext().group_text(known["entropy"], group) == "0.5"
    keys = [key for entry in found for key in entry.keys]
    assert [entry.id for entry in found if parse("entropy<1", keys).matches(entry)] == [mine.id]
    assert not any(parse("entropy>1", keys).matches(entry) for entry in found)
    assert completions("entr", found) == ["entropy<"]
    with pytest.raises(QueryError, match="is no key"):
        parse("entropy<1", [key for entry in found for key in entry.values])


def test_an_index_keeps_own_quantities_with_their_meaning(folder: Path, tmp_path: Path) -> None:
    (kept,) = entries(folder, tmp_path)
    read = entry_of(open_run(folder), folder, kept.summary.started)
    assert repr((kept.summary, kept.values)) == repr((read.summary, read.values))
    assert kept.summary.own[0] == (ENTROPY, 0.5)


def test_comparisons_offer_own_quantities_with_their_meaning(record: Record, usual: Record) -> None:
    runs = [record, usual]
    own = [name for name in offered(runs) if name not in MEASURES]
    assert own == ["entropy", "eval_reach"]
    assert usual_view([record]).measure == "eval_query_loss"
    view = ComparisonView(measure="entropy")
    (mine,) = compared([record], view)
    assert measure_title(view, [mine]) == "entropy of predictions (nats), batch mean"
    assert (mine.last().tolist(), mine.falling) == ([0.5], False)
    reach = compared([record], ComparisonView(measure="eval_reach"))[0]
    assert reach.last().tolist() == [7.0]


def test_better_of_a_quantity_decides_differences(record: Record) -> None:
    lower = Record("lower", config("maml"))
    lower.apply(Stepped(2, {"entropy": 0.25}, np.ones(1), np.ones(1), (ENTROPY,)))
    lower.apply(Ended(2, "done"))
    base, mine = compared([record, lower], ComparisonView(measure="entropy"))
    apart = group_difference(mine, base)
    assert apart is not None
    assert (apart.verdict, apart.absolute) == ("worse", -0.25)
    assert apart.tip == "Worse: higher entropy of predictions (nats) is better."
    norms = compared([record, usual_norm()], ComparisonView(measure="meta_gradient_norm"))
    apart = group_difference(*norms)
    assert apart is not None
    assert apart.verdict == "different"


def usual_norm() -> Record:
    made = Record("norm", config("maml"))
    made.apply(stepped(1))
    made.apply(Ended(1, "done"))
    return made


def test_parallel_axes_end_in_an_own_quantity(record: Record, usual: Record) -> None:
    runs = [entry_of(one, None) for one in (record, usual)]
    axis = parallel_axes(runs, "entropy", lambda _key: None, str)[-1]
    assert (axis.key, axis.title, axis.absent) == ("entropy", "Entropy of predictions (nats)", True)
    assert (axis.places[0], "0.5") in axis.ticks


def test_reports_show_own_quantities_and_no_inner_loop(
    record: Record, usual: Record, tmp_path: Path
) -> None:
    out = tmp_path / "report" / "report.html"
    write_report([record], {}, out)
    text = out.read_text()
    assert "Entropy of predictions (nats)" in text
    assert ">0.5<" in text
    assert "inner_lr" not in text
    assert ">0.01<" not in text


def test_a_run_without_an_inner_loop_is_not_among_those_that_converge(
    record: Record, usual: Record
) -> None:
    alone, both = convergence([usual], 0.7), convergence([record, usual], 0.7)
    # Two curves that look alike are numbered on all pages; else nothing differs.
    assert [replace(one, label=alone[0].label) for one in both] == alone
    assert both[0].label.startswith(alone[0].label)
    assert inner_curves([record], InnerView()) == []
    twin = open_run_with(record, inner_lr=0.5)
    assert "inner_lr" not in labels([record, twin])[record.id]


def open_run_with(record: Record, **shared: float) -> Record:
    asked = config("prototypes", shared=shared)
    return Record("other", asked, traits=record.traits)


def test_judged_without_steps_there_is_no_before() -> None:
    protocol = {"tasks": 2, "split": "test", "shots": 5, "query": 5, "together": True, "seed": 0}
    per_task = {"query_loss": np.array([[1.0, 2.0]]), "support_loss": np.array([[1.0, 1.0]])}
    asked = {"algorithm": "prototypes", "problem": "sinusoid", "seed": 0}
    protocol |= {"k": 0, "ways": 1}
    found = Judgement("r", "r", asked, 3, 0, protocol, "sinusoid", per_task)
    assert (found.before_text(), found.after_text()) == ("", "1.50 ± 0.98")
    assert "k =" not in found.protocol_text()
    judged = [Judged("r", "r", Style("#000000", "solid"), found)]
    row = rows_of(judged, Choice(dataset="none"))[0]
    assert (row.before, row.details) == (None, "step 3")
    assert worst_tasks(judged) == []
    lines = rows(evaluations_csv([found]))
    assert [(line["k"], line["pre_query_loss"]) for line in lines] == [("", "")] * 2
    assert [line["post_query_loss"] for line in lines] == ["1.0", "2.0"]


def test_runs_are_judged_by_their_primary_quantity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert primary_of(["support_loss", "gradient_norm"]) is None
    assert primary_of(["support_loss", "query_loss"]).id == "query_loss"  # type: ignore[union-attr]
    back = Quantity("episode_return", "Return", better="larger", per="task", primary=3)
    monkeypatch.setitem(QUANTITIES, back.id, back)
    assert primary_of(["query_accuracy", "episode_return", "query_loss"]) == back
    made = Record("r", config("maml"))
    names = ("query_loss", "episode_return")
    made.apply(Evaluated(1, 2, 0, {name: np.array([1.0]) for name in names}))
    assert entry_of(made, None).summary.primary == "episode_return"
    assert usual_view([made]).measure == "eval_episode_return"
    monitor = DivergenceMonitor(first=1.0)
    for values, good in (([1.0, np.nan], True), ([np.nan, np.nan], False)):
        per_task = {"episode_return": np.array(values)}
        assert monitor.is_good(Evaluated(1, 2, 0, {}, per_task)) is good
