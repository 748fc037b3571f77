"""What a sweep varies: every text is a range or one sentence, and runs are not multiplied."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError
from metaviz.config.run_config import Comparison
from metaviz.config.sweep import (
    MAX_RUNS,
    Axis,
    Estimate,
    duration,
    parse_axis,
    parse_range,
    plan_sweep,
)
from metaviz.paths import resource

CATALOGUE = Catalogue.model_validate_json(resource("catalogue.json").read_text(encoding="utf-8"))
BOTH = Comparison(algorithms=("maml", "imaml"), seeds=(0, 1))


def sweep(*over: str, of: Comparison = BOTH, seed: int = 0):
    return plan_sweep(of, [parse_axis(text, seed) for text in over], CATALOGUE)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.01, 0.03,0.1", (0.01, 0.03, 0.1)),
        ("lin(0.1, 1, 4)", (0.1, 0.4, 0.7, 1.0)),
        ("lin(1, 0, 3)", (1.0, 0.5, 0.0)),
        ("log(0.001, 0.1, 3)", (0.001, 0.01, 0.1)),
        ("log(2, 2, 5)", (2.0,)),
        ("lin(3, 9, 1)", (3.0,)),
        ("adam, sgd", ("adam", "sgd")),
        ("true,false", (True, False)),
        ("5,5,1", (5, 1)),
    ],
)
def test_a_range_gives_its_values(text, values):
    assert parse_range("x", text) == Axis("x", values)


def test_random_values_are_the_same_again_and_others_for_each_seed_and_key():
    drawn = parse_range("inner_lr", "loguniform(1e-4, 1e-1, 200)", 7).values
    assert drawn == parse_range("inner_lr", "loguniform(1e-4, 1e-1, 200)", 7).values
    assert drawn != parse_range("inner_lr", "loguniform(1e-4, 1e-1, 200)", 8).values
    assert drawn != parse_range("outer_lr", "loguniform(1e-4, 1e-1, 200)", 7).values
    assert all(1e-4 <= value <= 1e-1 for value in drawn)
    # Half of them lie below the geometric mean of the ends, not below the arithmetic one.
    assert 70 < sum(value < math.sqrt(1e-5) for value in drawn) < 130


def test_grids_multiply_and_random_axes_are_drawn_together():
    found = sweep("inner_lr=0.1,0.2", "outer_lr=uniform(0.1,1,4)", "sinusoid.noise=uniform(0,1,4)")
    points = list(found.points("maml"))
    assert len(points) == 8
    pairs = {(point["outer_lr"], point["sinusoid.noise"]) for point in points}
    assert len(pairs) == 4
    assert found.count == 8 * 2 * 2


def test_an_option_of_one_algorithm_does_not_multiply_the_others():
    runs = sweep("imaml.prox=1,2,4", "inner_lr=0.01,0.1").runs()
    assert sum(run.algorithm == "maml" for run in runs) == 2 * 2
    assert sum(run.algorithm == "imaml" for run in runs) == 6 * 2
    assert {run.options.get("prox") for run in runs if run.algorithm == "imaml"} == {1, 2, 4}
    assert all("prox" not in run.options for run in runs if run.algorithm == "maml")


def test_runs_hold_what_is_varied_and_what_was_set():
    base = Comparison(
        algorithms=("maml",), seeds=(3, 1), shared={"shots": 7}, problem_options={"hidden": 8}
    )
    runs = sweep("steps=10,20", "outer_optimizer=adam,sgd", "clip_norm=none,2", of=base).runs()
    assert [run.seed for run in runs] == [3] * 8 + [1] * 8
    assert {(r.steps, r.shared.outer_optimizer, r.shared.clip_norm) for r in runs} == {
        (steps, name, clip) for steps in (10, 20) for name in ("adam", "sgd") for clip in (None, 2)
    }
    assert {(r.shared.shots, r.problem_options["hidden"]) for r in runs} == {(7, 8)}
    listed = [
        (name, seed, point["steps"])
        for name, seed, point in sweep(
            "steps=10,20", "outer_optimizer=adam,sgd", "clip_norm=none,2", of=base
        ).listed()
    ]
    assert listed == [(run.algorithm, run.seed, run.steps) for run in runs]


def test_whole_numbers_are_rounded_and_not_repeated():
    found = sweep("inner_steps=lin(1,3,9)")
    assert [point["inner_steps"] for point in found.points("maml")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ("inner_lr=lin(-1,1,3)", "inner_lr = -1.0 is not valid (Inner step size α): use a number"),
        ("inner_lr=adam", "inner_lr = adam is not valid (Inner step size α): use a number above 0"),
        ("inner_lr=log(0,1,3)", "a logarithmic range needs ends above 0."),
        ("inner_lr=uniform(1,1,3)", "the first number must be the smaller one."),
        ("inner_lr=lin(0,1,0)", f"the count goes from 1 to {MAX_RUNS}."),
        ("inner_lr=lin(1,2)", "is not valid: write 0.01, 0.03, 0.1 or lin(0.1, 1, 5)"),
        ("inner_lr=cubic(1,2,3)", "'cubic' is none of lin, log, uniform, loguniform."),
        ("inner_lr=", "inner_lr = nothing is not valid: write"),
        ("inner_lr", "--over 'inner_lr' is not KEY=RANGE, like inner_lr=0.01,0.1."),
        ("seeds=0,1", "Seeds are not varied by a range: write them as seeds."),
        ("nosuch=1", "There is no option 'nosuch' to vary; known: steps, "),
        ("imaml.prxo=1", " (did you mean imaml.prox?)."),
        ("imaml.nosuch=1", "There is no option 'imaml.nosuch' to vary; known: imaml.inner_lr"),
        ("metasgd.clip_norm=1", "metasgd is not among the algorithms."),
        ("dtype=float16", "dtype = float16 is not valid (Precision): use one of float32, float64."),
        (f"inner_lr=lin(1,2,{MAX_RUNS})", f"This sweep has {MAX_RUNS * 4} runs: use at most "),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(over, sentence):
    with pytest.raises(OptionError) as refused:
        sweep(over)
    assert sentence in str(refused.value)


def test_axes_that_do_not_go_together_are_refused():
    with pytest.raises(OptionError, match="inner_lr is varied twice"):
        sweep("inner_lr=1", "inner_lr=2")
    with pytest.raises(OptionError, match="inner_lr has 2, outer_lr has 3: use one number"):
        sweep("inner_lr=uniform(0,1,2)", "outer_lr=uniform(0,1,3)")


KEYS = st.sampled_from(["inner_lr", "inner_steps", "imaml.prox", "outer_optimizer", "steps", "x."])
NUMBERS = st.one_of(st.floats(), st.integers(), st.text(max_size=5)).map(str)
CALLS = st.builds(
    lambda name, parts: f"{name}({','.join(parts)})",
    st.sampled_from(["lin", "log", "uniform", "loguniform", "LOG", "x", ""]),
    st.lists(NUMBERS, max_size=4),
)
TEXTS = st.one_of(st.text(max_size=40), CALLS, st.lists(NUMBERS, max_size=5).map(",".join))


@settings(max_examples=400, deadline=None)
@given(key=KEYS, text=TEXTS)
@example(key="inner_lr", text="lin(-1e308, 1e308, 3)")
@example(key="inner_lr", text="1" * 5000)
@example(key="inner_steps", text=str(10**400))
@example(key="inner_lr", text="log(1e-320, 1e300, 4)")
@example(key="inner_lr", text="uniform(0, 1, 1_0)")
def test_any_text_gives_valid_runs_or_one_sentence(key, text):
    try:
        found = sweep(f"{key}={text}")
    except OptionError as error:
        assert str(error).endswith(".")
        return
    if found.count < 50:
        assert len(found.runs()) == found.count


def test_an_estimate_is_shared_among_workers_but_no_run_is_divided():
    told = Estimate(runs=4, seconds=4000, longest=1500)
    assert told.with_workers(1) == 4000
    assert told.with_workers(2) == 2000
    assert told.with_workers(8) == 1500
    assert told.text(1) == "4 runs, about 67 min with one worker"
    assert [duration(s) for s in (0.2, 59, 90, 7200, 400_000)] == [
        "1 s",
        "59 s",
        "2 min",
        "2.0 h",
        "4.6 days",
    ]


def test_settings_of_inner_loops_do_not_multiply_methods_without_one():
    asked = Comparison(problem="strokes", algorithms=("protonet", "maml"))
    planned = sweep("inner_lr=0.1,0.4", "protonet.scale=1,10", of=asked).runs()
    found = [(run.algorithm, run.shared.inner_lr, run.options.get("scale")) for run in planned]
    assert sorted(found, key=str) == [
        ("maml", 0.1, None),
        ("maml", 0.4, None),
        ("protonet", 0.4, 1.0),
        ("protonet", 0.4, 10.0),
    ]
