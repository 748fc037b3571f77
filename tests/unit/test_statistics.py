"""Means, intervals, ranges and thinning against independent calculations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metaviz.charts.thinning import thin
from metaviz.runs.model.statistics import (
    interval_text,
    mean_and_ci95,
    range_text,
    range_with_bands,
    robust_range,
)

RNG = np.random.default_rng(0)


def test_interval_is_that_of_scipy() -> None:
    values = RNG.normal(3, 2, (4, 50))
    mean, half = mean_and_ci95(values)
    low, high = stats.norm.interval(
        0.95, loc=values.mean(1), scale=stats.sem(values, axis=1, ddof=1)
    )
    assert mean == pytest.approx((low + high) / 2, rel=1e-12)
    assert half == pytest.approx((high - low) / 2, rel=3e-5)
    assert half == pytest.approx(1.96 * stats.sem(values, axis=1), rel=1e-12)
    assert mean_and_ci95(values.T, axis=0)[1] == pytest.approx(half, rel=1e-12)


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    mean, half = mean_and_ci95(RNG.normal(1, 3, (4000, 100)))
    assert np.mean(np.abs(mean - 1) <= half) == pytest.approx(0.95, abs=0.015)


def test_interval_of_one_task_is_unknown_and_of_infinity_is_quiet() -> None:
    mean, half = mean_and_ci95(np.array([[2.0]]))
    assert mean == 2
    assert np.isnan(half)
    mean, half = mean_and_ci95(np.array([1.0, np.inf]))
    assert np.isinf(mean)
    assert np.isnan(half)


@given(st.integers(0, 3000), st.integers(2, 500), st.integers(0, 10**6))
def test_thin_keeps_extremes_ends_and_order(count: int, points: int, seed: int) -> None:
    x = np.arange(float(count))
    y = np.random.default_rng(seed).normal(size=count)
    thin_x, thin_y = thin(x, y, points)
    assert len(thin_x) == len(thin_y) <= max(points + 4, 6)
    assert (np.diff(thin_x) >= 0).all()
    assert np.array_equal(y[thin_x.astype(int)], thin_y)
    if count:
        assert (thin_y.min(), thin_y.max()) == (y.min(), y.max())
        assert (thin_x[0], thin_x[-1]) == (0, count - 1)


@given(st.integers(1, 3000), st.integers(1, 200), st.integers(0, 10**6))
def test_thin_keeps_the_range_of_every_pixel_column(count: int, pixels: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    y = random.normal(size=count)
    y[random.random(count) < 0.2] = np.nan
    kept = thin(np.arange(float(count)), y, 2 * pixels)[0].astype(int)
    if count <= 2 * pixels:
        assert len(kept) == count
        return
    column = np.arange(count) // -(-count // pixels)
    for place in range(column[-1] + 1):
        here, left = y[column == place], y[kept[column[kept] == place]]
        if np.isfinite(here).any():
            assert (np.nanmin(left), np.nanmax(left)) == (np.nanmin(here), np.nanmax(here))
    assert max(np.bincount(column[kept[1:-1]])) <= 2
    assert len(kept) <= 2 * pixels + 2


def test_thin_keeps_a_spike_in_the_last_part() -> None:
    y = np.zeros(2009)
    y[-2] = 100
    assert thin(np.arange(2009.0), y, 1000)[1].max() == 100


def test_thin_lives_with_gaps() -> None:
    y = RNG.normal(size=5000)
    y[1000:1500] = np.nan
    y[4990:] = np.nan
    _, thin_y = thin(np.arange(5000.0), y, 400)
    assert (np.nanmin(thin_y), np.nanmax(thin_y)) == (np.nanmin(y), np.nanmax(y))
    assert np.isnan(thin_y).any()


def test_robust_range_cuts_rare_spikes() -> None:
    values = np.concatenate([np.linspace(0, 1, 1001), [1e9, -1e9, np.nan, np.inf]])
    low, high = robust_range([values]) or (0, 0)
    assert low == pytest.approx(0.01 - 0.049, abs=0.005)
    assert high == pytest.approx(0.99 + 0.049, abs=0.005)


def test_robust_range_on_a_logarithmic_axis_is_positive() -> None:
    values = np.concatenate([np.logspace(-3, 0, 1001), [-5.0, 0.0]])
    low, high = robust_range([values], log=True) or (0, 0)
    assert 5e-4 < low < 1.1e-3
    assert 0.9 < high < 1.4


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_robust_range_of_a_constant_has_room(value: float) -> None:
    low, high = robust_range([np.full(5, value)]) or (0, 0)
    assert low < value < high


def test_robust_range_without_values_is_none() -> None:
    assert robust_range([np.array([np.nan])]) is None
    assert robust_range([np.array([-1.0])], log=True) is None


def test_robust_range_of_huge_values_on_a_logarithmic_axis_is_finite() -> None:
    low, high = robust_range([np.full(5, 1e300)], log=True) or (0, 0)
    assert 0 < low < 1e300 <= high < np.inf


def test_robust_range_keeps_the_best_curve_in_sight() -> None:
    good, bad = np.linspace(1, 0.1, 200), np.linspace(3, 2, 5000)
    low, high = robust_range([good, bad]) or (0, 0)
    assert low < good.min()
    assert high > bad.max()


def test_bands_get_room_but_do_not_press_the_means_flat() -> None:
    mean = np.linspace(1.0, 2.0, 50)
    inner = robust_range([mean])
    assert inner is not None
    narrow = range_with_bands([mean], [mean - 0.1, mean + 0.1])
    assert narrow is not None
    assert narrow[0] < 0.9
    assert narrow[1] > 2.1
    low, high = range_with_bands([mean], [mean - 100, mean + 100]) or (0.0, 0.0)
    span = 4 * (inner[1] - inner[0])
    assert (low, high) == pytest.approx((inner[0] - span, inner[1] + span))
    assert range_with_bands([mean], [np.full(50, np.nan)]) == inner
    logs = range_with_bands([mean], [mean / 1e9, mean], log=True)
    inner_log = robust_range([mean], log=True)
    assert logs is not None
    assert inner_log is not None
    assert logs[0] == pytest.approx(inner_log[0] * (inner_log[0] / inner_log[1]) ** 4)
    assert range_with_bands([], []) is None


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.3862, 0.049, "0.386 ± 0.049"),
        (3.706, 0.3, "3.71 ± 0.30"),
        (1033.3, 570.0, "1030 ± 570"),
        (0.99962, 0.0996, "1.00 ± 0.10"),
        (-0.00865, 0.0337, "−0.009 ± 0.034"),
        (73.354, 0.81, "73.35 ± 0.81"),
        (0.5, math.nan, "0.5"),
        (1.0, 0.0, "1 ± 0"),
        (1e-5, 2e-6, "(1.00 ± 0.20)e-05"),
        (3e8, 1e7, "(3.00 ± 0.10)e+08"),
        (5e-324, 5e-324, "(4.9 ± 4.9)e-324"),
        (math.inf, math.nan, "∞"),
        (math.nan, 1.0, ""),
    ],
)
def test_an_interval_has_two_digits_and_its_mean_ends_where_it_does(
    mean: float, half: float, text: str
) -> None:
    assert interval_text(mean, half) == text


def test_an_uneven_interval_is_written_like_an_even_one() -> None:
    assert range_text(0.3862, 0.3108, 0.4471) == "0.386 [0.311, 0.447]"
    assert range_text(0.3862, math.nan, math.nan) == "0.3862"
    assert range_text(1e-7, 1e-8, 3e-7) == "1.00e-07 [1.00e-08, 3.00e-07]"
    assert interval_text(0.25, 0.1, sign=True) == "+0.25 ± 0.10"
    assert interval_text(-0.25, 0.1, sign=True) == "−0.25 ± 0.10"
