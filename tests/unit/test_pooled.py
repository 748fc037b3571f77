"""Interquartile means, performance profiles, and tables that are pasted elsewhere."""

import numpy as np
import pytest
from scipy import stats

from metaviz.runs.analysis.comparison import ComparisonView, compared
from metaviz.runs.analysis.pooled import iqm, iqm_end, per_task, profile_chart
from metaviz.runs.export.text_tables import text_table
from metaviz.runs.model.events import Ended, Evaluated
from metaviz.runs.model.record import Record
from tests.unit.compared import record

HEADS = ("group", "n", "loss ± 95 % CI", "empty")
ROWS = [("maml_a|b", "3", "0.36 ± 0.07", ""), ("joint", "12", "−1.2 ± 0.10", "")]


def judged(algorithm: str, tasks: np.ndarray, seed: int = 0) -> Record:
    made = record(algorithm, seed, (3.0,), every=9, state="")
    for step, values in ((0, tasks + 1), (1, tasks)):
        curves = {"query_loss": np.array([9.0, values.mean()])}
        made.apply(Evaluated(step, len(values), 1, curves, {"query_loss": values}))
    made.apply(Ended(1, "done"))
    return made


@pytest.mark.parametrize("count", [4, 40, 400])
def test_the_iqm_is_a_trimmed_mean_where_quarters_are_whole(count: int) -> None:
    values = np.random.default_rng(count).lognormal(0, 1, count)
    assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25))


def test_the_iqm_counts_values_at_the_quarters_in_part() -> None:
    # Of five values 1.25 are cut off at each end: 0.75 of the second is left.
    assert iqm(np.array([0.0, 1, 2, 3, 100])) == pytest.approx((0.75 + 2 + 0.75 * 3) / 2.5)
    assert iqm(np.array([7.0])) == 7


def test_one_wild_task_moves_the_mean_and_not_the_iqm() -> None:
    random = np.random.default_rng(0)
    runs = [judged("maml", random.normal(1, 0.1, 40), seed) for seed in range(3)]
    (one,) = compared(runs, ComparisonView())
    mean, low, high, n = iqm_end(one)
    assert (n, low < mean < high) == (3, True)
    assert 0.9 < low < high < 1.1
    pooled = np.concatenate([run.evaluations[-1].per_task["query_loss"] for run in runs])
    assert mean == pytest.approx(iqm(pooled))
    wild = runs[0].evaluations[-1].per_task["query_loss"]
    wild[3] = 1e6
    assert iqm_end(one)[0] == pytest.approx(mean, abs=0.02)
    wild[3] = np.nan
    assert np.isnan(iqm_end(one)[:3]).all()
    assert per_task(one) == []


def test_a_step_before_the_last_has_tasks_of_its_own() -> None:
    (one,) = compared([judged("maml", np.arange(4.0))], ComparisonView())
    assert per_task(one, 0)[0].tolist() == [1, 2, 3, 4]
    assert per_task(one)[0].tolist() == [0, 1, 2, 3]
    assert per_task(one, 7) == []


def test_a_profile_is_the_share_of_tasks_that_are_so_good() -> None:
    runs = [judged("maml", np.arange(0.0, 10)), judged("reptile", np.arange(10.0, 20))]
    runs.append(judged("maml", np.arange(5.0, 15), seed=1))
    chart = profile_chart(compared(runs, ComparisonView()))
    maml, reptile = chart.series
    for one, tasks in ((maml, [*range(10), *range(5, 15)]), (reptile, range(10, 20))):
        shares = [100 * np.mean(np.array(tasks) <= x) for x in one.x]
        assert one.y.tolist() == pytest.approx(shares)
    assert maml.y[-1] == reptile.y[-1] == 100
    assert "share of all tasks of all runs" in chart.caption
    batches = compared(runs, ComparisonView(measure="post_query_loss"))
    assert profile_chart(batches, "none").message == "none"


def test_a_table_is_pasted_as_text_with_numbers_to_the_right() -> None:
    assert text_table(HEADS, ROWS, "text").splitlines() == [
        "group      n  loss ± 95 % CI",
        "maml_a|b   3     0.36 ± 0.07",
        "joint     12     −1.2 ± 0.10",
    ]


def test_a_table_is_pasted_as_markdown_with_the_best_row_bold() -> None:
    assert text_table(HEADS, ROWS, "markdown", best=0).splitlines() == [
        "| group | n | loss ± 95 % CI |",
        "| --- | ---: | ---: |",
        r"| **maml_a\|b** | **3** | **0.36 ± 0.07** |",
        "| joint | 12 | −1.2 ± 0.10 |",
    ]


def test_a_table_is_pasted_as_latex_that_needs_no_further_hand() -> None:
    assert text_table(HEADS, ROWS, "latex", best=1).splitlines() == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"group & n & loss $\pm$ 95 \% CI \\",
        r"\midrule",
        r"maml\_a|b & 3 & 0.36 $\pm$ 0.07 \\",
        r"\textbf{joint} & \textbf{12} & \textbf{$-$1.2 $\pm$ 0.10} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
