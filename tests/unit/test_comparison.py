"""Groups of runs compared: which runs, which numbers, and what is written of them."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text
from scipy import stats

from metaviz.charts.matplotlib import Page, figure_of
from metaviz.runs.analysis.comparison import (
    AXES,
    ComparisonView,
    compared,
    difference_at,
    group_difference,
    offered,
    usual_view,
    why_no_curve,
)
from metaviz.runs.analysis.curve_charts import comparison_chart, inner_chart
from metaviz.runs.analysis.curves import InnerView
from metaviz.runs.analysis.smoothing import smooth
from metaviz.runs.export.figures import comparison_figures
from metaviz.runs.export.tables import comparison_csv, write_tables
from metaviz.runs.model.events import Evaluated
from tests.unit.compared import record

STEP = ComparisonView(measure="post_query_loss")


def test_runs_that_differ_in_their_seed_only_are_one_curve():
    runs = [record(seed=seed, curve=(3, 2 + seed, 1)) for seed in range(3)]
    found = compared([*runs, record("reptile", 0)], STEP)
    assert [one.name for one in found] == ["MAML (3 runs)", "Reptile (1 run)"]
    np.testing.assert_array_equal(found[0].curve.mean, [3, 3, 1])
    half = stats.sem([2, 3, 4]) * stats.t.ppf(0.975, 2)
    np.testing.assert_allclose(found[0].curve.high[1] - 3, half)
    assert found[0].legend.endswith("± 95 % CI")
    assert "±" not in found[1].legend


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_is_smoothed_says_so_in_figures_and_tables(seeds):
    runs = [record(seed=seed) for seed in range(seeds)]
    for smoothing in (0.0, 0.75):
        view = replace(STEP, smoothing=smoothing)
        drawn = figure_of(comparison_chart(compared(runs, view), view), Page())
        told = [" ".join(text.get_text().split()) for text in drawn.findobj(Text)]
        assert any("smoothed, weight 0.75" in text for text in told) == (smoothing > 0)
        rows = csv.DictReader(io.StringIO(comparison_csv(runs, view)))
        assert {row["smoothing"] for row in rows} == {repr(smoothing)}


def test_an_end_is_final_where_all_runs_that_count_are_done():
    done, more = record(seed=0), record(seed=1, state="stopped")
    broken = record(seed=2, state="diverged")
    assert compared([done, broken], STEP)[0].is_done
    assert not compared([done, more], STEP)[0].is_done


def test_groups_of_one_algorithm_are_told_apart_by_dash():
    found = compared([record(inner_lr=0.1), record(inner_lr=0.5)], STEP)
    assert len({one.style.color for one in found}) == 1
    assert len({one.style.dash for one in found}) == 2


def test_run_that_diverged_is_counted_and_enters_no_mean():
    runs = [record(seed=0), record(seed=1), record(seed=2, curve=(1e300,), state="diverged")]
    (found,) = compared(runs, STEP)
    assert found.name == "MAML (2 of 3 runs, 1 diverged)"
    assert found.curve.n.tolist() == [2, 2, 2]
    assert found.curve.mean.tolist() == compared(runs[:2], STEP)[0].curve.mean.tolist()
    assert found.last().tolist() == [1, 1]


def test_group_whose_runs_all_broke_is_named_without_numbers():
    broken = [record("reptile", s, curve=(7,), state="diverged") for s in range(2)]
    runs = [record(seed=0), record(seed=1), *broken]
    found = compared(runs, STEP)
    assert [one.name for one in found] == ["MAML (2 runs)", "Reptile (0 of 2 runs, 2 diverged)"]
    assert np.isnan(found[1].final()[0])
    assert group_difference(found[1], found[0]) is None
    assert found[1].time_to(2.0, falling=True).n == 0
    assert figure_of(comparison_chart(found, STEP)).axes
    assert "reptile" not in comparison_csv(runs, STEP)


def test_a_run_that_repeats_another_is_no_further_sample():
    runs = [record(seed=0), record(seed=1, curve=(3, 3, 2))]
    for run in runs:
        run.evaluations.append(evaluated(run))
    again = record(seed=0)
    again.id = "again"
    again.evaluations.append(evaluated(runs[0]))
    (found,) = compared([*runs, again], STEP)
    assert found.name == "MAML (2 of 3 runs, 1 repeated)"
    assert found.curve.n.tolist() == [2, 2, 2]
    assert found.curve.mean.tolist() == compared(runs, STEP)[0].curve.mean.tolist()


def evaluated(run):
    loss = float(run.column("post_query_loss")[-1])
    curves = {"query_loss": np.array([9.0, loss]), "query_loss_ci95": np.array([0.1, 0.1])}
    return Evaluated(run.step, 4, 1, curves)


def test_evaluations_of_unequal_distance_are_interpolated():
    runs = [
        record(seed=0, curve=range(12, 0, -1), every=2),
        record(seed=1, curve=[5] * 12, every=3),
    ]
    (found,) = compared(runs, ComparisonView())
    np.testing.assert_array_equal(found.curve.x, [3, 4, 6, 8, 9, 10, 12])
    np.testing.assert_allclose(found.curve.mean, ((13 - found.curve.x) + 5) / 2)


@pytest.mark.parametrize(("axis", "per_step"), [("seconds", 2.0), ("gradient_evaluations", 6.0)])
def test_evaluations_stand_at_what_they_had_cost(axis, per_step):
    (found,) = compared([record(seed=1, every=1)], ComparisonView(axis=axis))
    np.testing.assert_allclose(found.curve.x, per_step * np.arange(1, 4))


def test_every_axis_can_be_drawn_against():
    for axis in AXES:
        run = record()
        run.resolved["per_step"] = {"episodes": 4, "images_seen": 80}
        (found,) = compared([run], ComparisonView("post_query_loss", axis))
        assert np.isfinite(found.curve.mean).all(), axis


def test_every_run_is_smoothed_before_the_mean():
    curves = np.array([[3.0, 1, 2, 5], [0.0, 4, 4, 1]])
    runs = [record(seed=seed, curve=curve) for seed, curve in enumerate(curves)]
    (found,) = compared(runs, ComparisonView("post_query_loss", smoothing=0.7))
    expected = np.mean([smooth(curve, 0.7) for curve in curves], axis=0)
    np.testing.assert_allclose(found.curve.mean, expected)


def test_time_to_a_level_is_over_the_runs_that_get_there():
    curves = [(3, 2, 1, 0.5), (3, 0.9, 2, 2), (3, 3, 3, 3)]
    (found,) = compared([record(seed=s, curve=c) for s, c in enumerate(curves)], STEP)
    time = found.time_to(1.0, falling=True)
    assert (time.n, time.mean) == (2, 2.5)
    np.testing.assert_allclose(time.half, stats.sem([3, 2]) * stats.t.ppf(0.975, 1))
    assert found.time_to(0.1, falling=True).n == 0


def test_best_and_final_are_those_of_the_mean():
    (found,) = compared([record(curve=(3, 0.5, 1))], STEP)
    assert found.best(falling=True) == (0.5, 2.0)
    assert found.best(falling=False) == (3.0, 1.0)
    assert found.final()[0] == 1.0


def test_difference_to_the_baseline_is_welchs():
    mine = [record("maml", s, (3, last)) for s, last in enumerate((1.0, 1.2, 1.1))]
    base = [record("reptile", s, (3, last)) for s, last in enumerate((2.0, 2.5))]
    one, other = compared([*mine, *base], STEP)
    found = group_difference(one, other)
    test = stats.ttest_ind([1.0, 1.2, 1.1], [2.0, 2.5], equal_var=False)
    interval = test.confidence_interval(0.95)
    assert found.half > abs(found.absolute)
    assert found.verdict == "no clear difference"
    np.testing.assert_allclose(found.absolute, -1.15)
    np.testing.assert_allclose(2 * found.half, interval.high - interval.low, rtol=1e-6)
    assert difference_at(one, other, 1.0) == 0.0


def test_only_what_was_recorded_is_offered():
    assert offered([record()]) == ["eval_query_loss", "eval_support_loss", "post_query_loss"]
    assert usual_view([record(every=9)]).measure == "post_query_loss"


def test_table_holds_the_numbers_of_the_curves():
    runs = [record(seed=seed, curve=(3, 2 + seed)) for seed in range(2)]
    rows = list(csv.DictReader(io.StringIO(comparison_csv(runs, STEP))))
    (found,) = compared(runs, STEP)
    for name in ("x", "mean", "low", "high"):
        told = [float(row[name]) for row in rows]
        np.testing.assert_array_equal(told, getattr(found.curve, name))
    assert [(row["group"], row["n"], row["interval"]) for row in rows] == [
        ("MAML", "2", "ci95")
    ] * 2


def test_single_runs_write_no_comparison(tmp_path):
    alone = write_tables([record()], tmp_path / "a")
    several = write_tables([record(seed=0), record(seed=1)], tmp_path / "b")
    assert "comparison.csv" not in [path.name for path in alone]
    assert "comparison.csv" in [path.name for path in several]


def test_groups_whose_runs_all_broke_say_why_nothing_is_drawn():
    broken = [record("reptile", 0, curve=(7, 8), state="diverged")]
    found = compared(broken, STEP)
    told = why_no_curve(found, STEP)
    assert told.startswith("There is no mean: runs that diverged or failed do not count in one. ")
    assert "Reptile (0 of 1 run, 1 diverged)." in told
    chart = comparison_chart(found, STEP)
    assert chart.message == told
    drawn = figure_of(chart, Page()).findobj(Text)
    assert any("do not count" in text.get_text().replace("\n", " ") for text in drawn)
    singles = replace(STEP, members=True)
    assert comparison_chart(compared(broken, singles), singles).message == ""
    healthy = compared([*broken, record(seed=0)], STEP)
    assert comparison_chart(healthy, STEP).message == ""
    assert comparison_chart([], STEP, message="Tick runs.").message == "Tick runs."


def test_a_band_alone_never_decides_on_a_range():
    two = [record("maml", seed, (0.30, 0.25, 0.2 + 0.02 * seed)) for seed in (0, 1)]
    view = ComparisonView("post_query_loss", robust=False)
    (axes,) = figure_of(comparison_chart(compared(two, view), view), Page()).axes
    low, high = axes.get_ylim()
    assert 0.18 < low < 0.21
    assert 0.3 <= high < 0.32


def test_many_groups_of_one_algorithm_are_numbered():
    runs = [record(inner_lr=0.1 + place) for place in range(9)]
    found = compared([*runs, record("reptile")], STEP)
    maml = [one for one in found if one.name.startswith("MAML")]
    assert len({one.style for one in maml}) == 9
    assert {one.style.dash for one in found} == {"solid"}
    assert maml[0].legend.endswith(" [1]")
    chart = comparison_chart(found, STEP)
    assert [text for _, text in chart.right] == [str(place) for place in range(1, 10)]
    few = compared(
        [record(inner_lr=0.1, outer_lr=0.1 + place) for place in range(7)] + runs[1:2], STEP
    )
    assert len({one.style.dash for one in few}) == 8
    assert comparison_chart(few, STEP).right == ()


def test_runs_over_one_number_have_sequential_colours():
    runs = [record(inner_lr=rate) for rate in (0.3, 0.01, 0.1)]
    found = {one.group.label: one.style for one in compared(runs, STEP)}
    assert list(found) == ["MAML · α = 0.3", "MAML · α = 0.01", "MAML · α = 0.1"]
    assert [style.role for style in found.values()] == ["ramp-1.000", "ramp-0.000", "ramp-0.500"]
    assert len({style.dash for style in found.values()}) == 3
    two = compared([*runs[:2], record("reptile")], STEP)
    assert {one.style.role for one in two} == {"method-0", "method-2"}
    figure_of(comparison_chart(compared(runs, STEP), STEP), Page())


def test_captions_name_bands_and_marks_only_where_there_are_some():
    runs = [record(seed=0)]
    told = inner_chart(runs, InnerView()).caption
    dotted = "dotted: as many steps as in training"
    assert told == f"lines: means over 5 tasks; bands: 95 % intervals of the means; {dotted}"
    assert "grey" not in inner_chart(runs, InnerView(), shaded=True).caption
    assert "bands" not in inner_chart(runs, InnerView(show_interval=False)).caption
    longer = record(seed=1)
    last = longer.evaluations[-1]
    curves = {name: np.append(values, values[-1]) for name, values in last.curves.items()}
    longer.evaluations[-1] = replace(last, curves=curves, tasks=9)
    told = inner_chart([*runs, longer], InnerView(), shaded=True).caption
    assert told.startswith("lines: means over 5 or 9 tasks")
    assert told.endswith("grey: more inner steps than in training")
    one_seed = ComparisonView("post_query_loss")
    alone = [record(seed=0), record(seed=1, curve=(3,), state="stopped")]
    assert "band" in comparison_chart(compared(alone, one_seed), one_seed).caption
    broken = [record(seed=seed, state="diverged") for seed in (0, 1)]
    assert "band" not in comparison_chart(compared(broken, one_seed), one_seed).caption


def test_smoothing_of_short_curves_is_told():
    view = replace(STEP, smoothing=0.9)
    chart = comparison_chart(compared([record(seed=0)], view), view)
    told = "; smoothed, weight 0.9 (over about 10 points, where a curve has 3)"
    assert chart.caption.endswith(told)
    assert "points" not in comparison_chart(compared([record(seed=0)], STEP), STEP).caption


def test_figure_names_interval_and_n_and_draws_the_means():
    runs = [record(seed=seed, curve=(3, 2 + seed, 1)) for seed in range(3)]
    view = ComparisonView("post_query_loss", band="se")
    figure = figure_of(comparison_chart(compared(runs, view), view), Page())
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [3, 3, 1])
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text() == "MAML (3 runs) ± SE"
    assert "s / √n" in legend.get_title().get_text().replace("\n", " ")
    names = [name for name, _ in comparison_figures(runs, Page)]
    assert "comparison" in names


def test_an_interval_of_two_runs_does_not_press_the_means_flat():
    two = [record("maml", seed, (0.30, 0.25, 0.2 + 0.02 * seed)) for seed in (0, 1)]
    view = ComparisonView("post_query_loss")
    chart = comparison_chart(compared(two, view), view)
    low, high = chart.y.limits
    assert 0.15 < low < 0.21
    assert 0.3 < high < 0.35
    # The band itself is drawn as it is.
    assert chart.bands[0].high[-1] == pytest.approx(0.21 + 0.01 * stats.t.ppf(0.975, 1))
    assert chart.caption.endswith("bands of two runs may leave the axis")
    three = compared([*two, record("maml", 2, (0.30, 0.25, 0.28))], view)
    low, high = comparison_chart(three, view).y.limits
    assert low < three[0].curve.low[-1]
    assert high > three[0].curve.high[-1]


def test_groups_of_a_sweep_have_the_colours_of_a_ramp_in_its_order():
    rates = (0.1, 0.001, 0.03, 1)
    curves = compared([record(inner_lr=rate) for rate in rates], STEP)
    places = {rate: one.style.color for rate, one in zip(rates, curves, strict=True)}
    assert [places[rate] for rate in sorted(rates)] == [
        *("ramp-0.000", "ramp-0.333", "ramp-0.667", "ramp-1.000")
    ]
    assert len({one.style.dash for one in curves}) == 4
    assert {one.role for one in comparison_chart(curves, STEP).series} == set(places.values())
    two = compared([record(inner_lr=0.1), record(inner_lr=1.0)], STEP)
    assert [one.style.dash for one in two] == ["solid", "dash"]
    other = [record(inner_lr=rate, meta_batch=batch) for rate, batch in ((1, 2), (2, 3), (3, 4))]
    assert len({one.style.color for one in compared(other, STEP)}) == 1
