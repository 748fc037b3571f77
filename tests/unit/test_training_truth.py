"""What the Training page draws is what was measured, of all methods alike."""

from dataclasses import replace

import numpy as np
import pytest

from metaviz.charts.values import Lines
from metaviz.config.traits import Traits
from metaviz.runs.analysis.curve_charts import training_chart
from metaviz.runs.analysis.curves import TrainingView
from metaviz.runs.model.events import STEP_COLUMNS, Evaluated
from metaviz.runs.model.marks import Marks
from metaviz.runs.model.record import Record
from metaviz.runs.model.statistics import robust_range

STEPS = 400
BATCHES = TrainingView(batches=True, robust=False)


def record(
    algorithm: str, before: np.ndarray, after: np.ndarray, *, seed: int = 0, every: int = 1
) -> Record:
    """Make a run whose losses before adaptation were read at every so many meta-steps."""
    shared = {"reading_every": every}
    config = {"algorithm": algorithm, "problem": "sinusoid", "seed": seed, "shared": shared}
    made = Record(f"{algorithm}-s{seed}", config | {"steps": STEPS})
    for place, (high, low) in enumerate(zip(before, after, strict=True)):
        read = place % every == 0
        # Plain MAML knows its loss after adaptation at every step; others only where they are read.
        known = {"post_query_loss": low} if read or algorithm == "maml" else {}
        values = {"seconds": float(place), **known, **({"pre_query_loss": high} if read else {})}
        made.append_row(place + 1, [values.get(name, np.nan) for name in STEP_COLUMNS])
    return made


def evaluate(run: Record, step: int, losses: list[float]) -> None:
    curve = np.array(losses)
    run.apply(Evaluated(step, 20, 2, {"query_loss": curve, "query_loss_ci95": 0 * curve}))


def drawn(chart: Lines, name: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = (one for one in chart.series if one.name == name)
    return found.x, found.y


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("algorithm", ["maml", "reptile"])
def test_after_is_never_drawn_above_before_where_it_was_below(
    algorithm: str, every: int, weight: float
) -> None:
    random = np.random.default_rng(0)
    after = 2.0 * np.exp(-np.arange(STEPS) / 50) + random.lognormal(0, 1, STEPS)
    run = record(algorithm, after + 0.01, after, every=every)
    chart = training_chart([run], replace(BATCHES, smoothing=weight))
    (x, high), (other, low) = (drawn(chart, f"{run.id} {state}") for state in ("pre", "post"))
    assert np.array_equal(x, other)
    assert np.array_equal(x, np.arange(1, STEPS + 1, every))
    assert (low < high).all()


def test_of_a_pair_of_which_one_is_missing_neither_is_drawn() -> None:
    random = np.random.default_rng(1)
    before, after = 2 + random.random(STEPS), random.random(STEPS)
    before[7], after[9] = np.nan, np.nan
    run = record("maml", before, after)
    chart = training_chart([run], replace(BATCHES, smoothing=0.9))
    for name in ("pre", "post", "raw"):
        x, y = drawn(chart, f"{run.id} {name}")
        assert set(x[~np.isfinite(y)]) == {8, 10}


def test_equal_noise_is_drawn_equal_however_often_methods_are_read() -> None:
    random = np.random.default_rng(2)
    after = 1 + random.random(STEPS)
    runs = [record(name, after + 1, after, every=10) for name in ("maml", "reptile")]
    chart = training_chart(runs, replace(BATCHES, smoothing=0.9))
    for state in ("pre", "post", "raw"):
        (_, one), (_, other) = (drawn(chart, f"{run.id} {state}") for run in runs)
        assert np.array_equal(one, other)
    often = record("maml", after + 1, after, every=1)
    chart = training_chart([often, runs[1]], replace(BATCHES, smoothing=0.9))
    assert np.array_equal(drawn(chart, "maml-s0 post")[1], drawn(chart, "reptile-s0 post")[1])
    assert "batches of every 10th meta-step" in chart.caption
    assert "mean of the last 100 meta-steps or so" in chart.caption


def test_no_line_reaches_beyond_its_last_reading() -> None:
    run = record("reptile", np.full(25, 2.0), np.ones(25), every=10)
    chart = training_chart([run], BATCHES)
    assert {one.x[-1] for one in chart.series} == {21}


def test_evaluations_are_means_over_seeds_before_and_after_adaptation() -> None:
    flat = np.ones(STEPS)
    runs = [record("maml", flat, flat, seed=seed) for seed in (0, 1)]
    for seed, run in enumerate(runs):
        evaluate(run, 0, [4.0 + seed, 4.0, 3.5])
        evaluate(run, 100, [3.0 + seed, 2.0, 1.0 + 2 * seed])
    broken = record("maml", flat, flat, seed=2)
    evaluate(broken, 0, [9.0, 9.0, 9.0])
    broken.state = "diverged"
    chart = training_chart([*runs, broken], TrainingView())
    name = "MAML (2 of 3 runs, 1 diverged)"
    assert drawn(chart, f"{name} after")[1].tolist() == [3.5, 2.0]
    assert drawn(chart, f"{name} before")[1].tolist() == [4.5, 3.5]
    bands = {band.name.removeprefix(f"{name} "): band for band in chart.bands}
    assert bands["gap"].high.tolist() == [4.5, 3.5]
    # Student's t with one degree of freedom: 12.706 s / sqrt(2), s = sqrt(2).
    assert bands["band"].high[1] - 2.0 == pytest.approx(12.706, rel=1e-4)
    assert chart.right == ((2.0, "after"), (3.5, "before"))
    assert chart.series[-1].label == name
    assert "after 2 inner steps" in chart.caption


def test_a_method_without_an_inner_loop_has_no_state_before_adaptation() -> None:
    run = record("protonet", np.full(9, np.nan), np.ones(9))
    run = replace(run, traits=Traits(inner_loop="none"))
    run.apply(Evaluated(0, 20, 0, {"query_loss": np.array([2.0])}))
    chart = training_chart([run], TrainingView())
    assert [one.name for one in chart.series] == ["ProtoNet · seed 0 after"]
    assert "before" not in chart.caption


def test_a_run_that_diverged_is_drawn_as_far_as_it_went() -> None:
    run = record("maml", np.ones(9), np.ones(9))
    evaluate(run, 0, [4.0, 3.0, 2.0])
    run.state = "diverged"
    chart = training_chart([run], TrainingView())
    assert drawn(chart, "MAML · seed 0 after")[1].tolist() == [2.0]


def test_one_run_that_goes_astray_does_not_press_the_others_flat() -> None:
    usual = [np.linspace(2, 1, 50) + shift for shift in (0.0, 0.1, 0.2)]
    wild = np.linspace(2, 17_000, 50)
    low, high = robust_range([*usual, wild]) or (0, 0)
    assert low < 1
    assert 2.2 < high < 10
    assert robust_range(usual) == pytest.approx((0.94, 2.24), abs=0.01)


def test_runs_to_which_a_person_gave_one_name_stay_two_lines() -> None:
    flat = np.ones(9)
    runs = [record("maml", flat, flat), record("reptile", flat, flat)]
    for run in runs:
        evaluate(run, 0, [4.0, 3.0, 2.0])
        run.marks = Marks(name="mine", color="#123456")
    names = [one.name for one in training_chart(runs, TrainingView()).series]
    assert len(set(names)) == len(names) == 4


def test_of_many_lines_none_is_called_bold_or_thin() -> None:
    flat = np.ones(9)
    runs = [record(f"method{number}", flat, flat) for number in range(9)]
    for run in runs:
        evaluate(run, 0, [4.0, 3.0, 2.0])
    chart = training_chart(runs, TrainingView())
    assert {one.width for one in chart.series} == {1.0}
    assert "bold" not in chart.caption
    assert "after 2 inner steps; pale: before adaptation; shaded" in chart.caption
    few = training_chart(runs[:8], TrainingView())
    assert {one.width for one in few.series} == {1.0, 2.0}
    assert "bold: after 2 inner steps; thin: before adaptation; shaded" in few.caption
    assert "before" not in training_chart(runs, TrainingView(show_pre=False)).caption
