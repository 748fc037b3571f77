"""Smoothing against the naive loop, at once and piece by piece."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from metaviz.runs.analysis.curves import TrainingView, training_curves
from metaviz.runs.analysis.smoothing import (
    GrowingMean,
    Smoother,
    faded,
    few_points_text,
    smooth,
)
from metaviz.runs.model.events import STEP_COLUMNS
from metaviz.runs.model.record import Record

RNG = np.random.default_rng(0)


def naive(values: np.ndarray, weight: float) -> np.ndarray:
    total, share, found = 0.0, 0.0, []
    for value in values:
        known = bool(np.isfinite(value))
        total = weight * total + (1 - weight) * (value if known else 0)
        share = weight * share + (1 - weight) * known
        found.append(total / share if share else np.nan)
    return np.array(found)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.9, 0.99])
def test_smooth_is_the_naive_loop(weight: float) -> None:
    values = RNG.normal(size=300)
    assert smooth(values, weight) == pytest.approx(naive(values, weight), rel=1e-9)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 5000])
def test_the_sum_is_that_of_scipys_filter(count: int) -> None:
    values, before = RNG.normal(size=(2, count)), RNG.normal(size=2)
    found, carried = faded(values, 0.97, before)
    for row in range(2):
        kernel = ([1.0], [1.0, -0.97])
        expected, _ = lfilter(*kernel, values[row], zi=[0.97 * before[row]])
        assert found[row] == pytest.approx(expected, rel=1e-12, abs=1e-12)
        full = count // 64 * 64
        assert carried[row] == (found[row, full - 1] if full else before[row])


def test_smooth_is_the_formula_where_there_are_no_gaps() -> None:
    values = RNG.normal(size=20)
    power = 0.7 ** np.arange(20)[::-1]
    expected = (power * values).sum() * 0.3 / (1 - 0.7**20)
    assert smooth(values, 0.7)[-1] == pytest.approx(expected, rel=1e-12)


def test_smooth_goes_on_after_gaps() -> None:
    values = RNG.normal(size=100)
    values[[0, 1, 7, 8, 9, 50]] = np.nan
    values[60] = np.inf
    found = smooth(values, 0.8)
    assert np.isnan(found[:2]).all()
    assert found[2] == pytest.approx(values[2])
    assert found == pytest.approx(naive(values, 0.8), rel=1e-9, nan_ok=True)


@given(st.floats(-1e6, 1e6), st.floats(0, 0.999), st.integers(0, 200))
def test_smooth_keeps_a_constant(value: float, weight: float, count: int) -> None:
    found = smooth(np.full(count, value), weight)
    assert found == pytest.approx(np.full(count, value), rel=1e-9, abs=1e-12)


def test_smooth_of_nothing_but_gaps_is_gaps() -> None:
    assert np.isnan(smooth(np.full(5, np.nan), 0.9)).all()


@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=6), st.floats(0, 0.999), st.integers(0, 999)
)
def test_a_growing_curve_has_the_bits_of_a_whole_one(
    lengths: list[int], weight: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=sum(lengths))
    values[random.random(len(values)) < 0.1] = np.nan
    mean = GrowingMean(weight)
    for end in np.cumsum(lengths):
        found = mean.follow(values[:end])
        assert found.tobytes() == smooth(values[:end], weight).tobytes()


def grown(record: Record, steps: int) -> Record:
    for _ in range(steps):
        record.append_row(record.step + 1, list(RNG.random(len(STEP_COLUMNS))))
    return record


def run(name: str = "a") -> Record:
    return Record(name, {"algorithm": "maml", "problem": "sinusoid", "seed": 0, "steps": 9})


def followed(smoother: Smoother, record: Record, weight: float) -> np.ndarray:
    name = "post_query_loss"
    return smoother.follow((record, name, 1), record.column(name), weight)


def test_a_smoother_follows_records_as_they_grow_and_as_they_are_replaced() -> None:
    smoother, name = Smoother(), "post_query_loss"
    record = run()
    for _ in range(5):
        found = followed(smoother, grown(record, 150), 0.9)
        assert np.array_equal(found, smooth(record.column(name), 0.9))
    assert np.array_equal(followed(smoother, record, 0.5), smooth(record.column(name), 0.5))
    other = grown(run(), 900)
    assert np.array_equal(followed(smoother, other, 0.5), smooth(other.column(name), 0.5))
    every = other.column(name)[::3]
    assert np.array_equal(smoother.follow((other, name, 3), every, 0.5), smooth(every, 0.5))
    shorter = grown(run(), 10)
    assert np.array_equal(followed(smoother, shorter, 0.5), smooth(shorter.column(name), 0.5))


def test_a_smoother_touches_only_what_is_new() -> None:
    smoother, name = Smoother(), "post_query_loss"
    record = grown(run(), 500)
    followed(smoother, record, 0.9)
    before = followed(smoother, record, 0.9)
    record.column(name)[:400] = -1.0
    after = followed(smoother, grown(record, 1), 0.9)
    assert np.array_equal(after[:500], before)


def test_curves_are_those_of_a_fresh_smoother_and_old_runs_are_forgotten() -> None:
    smoother, records = Smoother(), [run("a"), run("b")]
    for _ in range(3):
        for record in records:
            grown(record, 50)
        known = training_curves(records, TrainingView(batches=True), smoother)
        fresh = training_curves(records, TrainingView(batches=True))
        for one, other in zip(known, fresh, strict=True):
            assert np.array_equal(one.post, other.post)
            assert np.array_equal(one.pre, other.pre)
    training_curves(records[:1], TrainingView(batches=True), smoother)
    assert {name for name, _ in smoother._known} == {"a"}


@pytest.mark.parametrize(
    ("weight", "points", "told"),
    [
        (0.9, [3, 40], " (over about 10 points, where a curve has 3)"),
        (0.9, [10, 40], ""),
        (0.99, [60], " (over about 100 points, where a curve has 60)"),
        (0.5, [2], ""),
        (0.0, [1], ""),
        (0.9, [], ""),
    ],
)
def test_smoothing_over_more_points_than_there_are_is_told(
    weight: float, points: list[int], told: str
) -> None:
    assert few_points_text(weight, points) == told
