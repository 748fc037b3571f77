"""Means and bands over runs against closed forms by numpy and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from metaviz.charts.thinning import thin, thin_band
from metaviz.runs.analysis.alignment import Sample, moments, reached, sample, value_at

STEPS = np.arange(1.0, 6.0)
RUNS = np.array([[5.0, 4, 3, 2, 1], [6.0, 2, 4, 1, 0], [4.0, 3, 5, 3, 8]])


def half(values, band):
    """Return an interval's half-width by scipy."""
    if band == "std":
        return np.std(values, axis=0, ddof=1)
    error = stats.sem(values, axis=0)
    return error * stats.t.ppf(0.975, len(values) - 1) if band == "ci95" else error


@pytest.mark.parametrize("band", ["std", "se", "ci95"])
def test_band_is_the_named_interval_of_the_mean(band):
    found = moments([Sample(STEPS, y) for y in RUNS], band)
    np.testing.assert_allclose(found.mean, RUNS.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.high - found.mean, half(RUNS, band), rtol=1e-12)
    np.testing.assert_allclose(found.mean - found.low, half(RUNS, band), rtol=1e-12)
    assert found.n.tolist() == [3] * 5


def test_range_is_from_the_smallest_to_the_largest_run():
    found = moments([Sample(STEPS, y) for y in RUNS], "range")
    np.testing.assert_array_equal(found.low, RUNS.min(axis=0))
    np.testing.assert_array_equal(found.high, RUNS.max(axis=0))


def test_shorter_run_ends_the_mean_unless_two_suffice():
    curves = [Sample(STEPS, RUNS[0]), Sample(STEPS, RUNS[1]), Sample(STEPS[:3], RUNS[2, :3])]
    np.testing.assert_array_equal(moments(curves, "std").x, STEPS[:3])
    partly = moments(curves, "ci95", partly=True)
    np.testing.assert_array_equal(partly.x, STEPS)
    assert partly.n.tolist() == [3, 3, 3, 2, 2]
    np.testing.assert_allclose(partly.mean[3:], RUNS[:2, 3:].mean(axis=0))
    np.testing.assert_allclose((partly.high - partly.mean)[3:], half(RUNS[:2, 3:], "ci95"))


def test_broken_run_is_left_out_past_its_end_only():
    broken = Sample(STEPS[:2], np.array([9.0, 90.0]), broken=True)
    found = moments([Sample(STEPS, RUNS[0]), Sample(STEPS, RUNS[1]), broken], "std")
    assert found.n.tolist() == [3, 3, 2, 2, 2]
    np.testing.assert_allclose(found.mean[:2], [20 / 3, 32.0])
    np.testing.assert_allclose(found.mean[2:], RUNS[:2, 2:].mean(axis=0))


def test_gap_of_one_run_is_a_gap_or_leaves_the_others():
    gapped = RUNS[2].copy()
    gapped[1:3] = np.nan
    curves = [Sample(STEPS, y) for y in (RUNS[0], RUNS[1], gapped)]
    assert np.isnan(moments(curves, "std").mean).tolist() == [False, True, True, False, False]
    partly = moments(curves, "std", partly=True)
    assert partly.n.tolist() == [3, 2, 2, 3, 3]
    np.testing.assert_allclose(partly.mean[1:3], RUNS[:2, 1:3].mean(axis=0))


def test_interpolation_does_not_jump_over_a_gap():
    gapped = Sample(np.arange(4.0), np.array([0.0, np.nan, 2.0, 3.0]))
    other = Sample(np.array([0.0, 0.5, 1.5, 2.5, 3.0]), np.zeros(5))
    found = moments([gapped, other], "std", partly=True)
    known = dict(zip(found.x.tolist(), found.n.tolist(), strict=True))
    assert known == {0.0: 2, 0.5: 1, 1.0: 1, 1.5: 1, 2.0: 2, 2.5: 2, 3.0: 2}


def test_lines_on_different_x_have_the_mean_line_where_both_have_data():
    one_x, other_x = np.linspace(0, 10, 7), np.linspace(2, 13, 23)
    found = moments([Sample(one_x, 3 * one_x - 1), Sample(other_x, other_x + 5)], "std")
    assert (found.x[0], found.x[-1]) == (2.0, 10.0)
    np.testing.assert_allclose(found.mean, 2 * found.x + 2, rtol=1e-12)
    expected = np.abs(2 * found.x - 6) / np.sqrt(2)
    np.testing.assert_allclose(found.high - found.mean, expected, atol=1e-12)


def test_spike_that_a_screen_would_drop_is_in_the_mean():
    x = np.arange(10_000.0)
    spiked = np.zeros(10_000)
    spiked[5003], spiked[5001], spiked[5005] = 50.0, 100.0, -100.0
    assert 50.0 not in thin(x, spiked, 200)[1]
    found = moments([Sample(x, spiked), Sample(x, np.zeros(10_000))], "std")
    assert found.mean[5003] == 25.0
    shifted = moments([Sample(x, spiked), Sample(x + 0.5, np.zeros(10_000))], "std")
    assert shifted.mean[shifted.x == 5003.0].tolist() == [25.0]


@settings(max_examples=100, deadline=None)
@given(arrays(float, st.integers(1, 40), elements=st.floats(-1e6, 1e6)), st.booleans())
def test_mean_of_one_run_is_that_run(y, partly):
    found = moments([Sample(np.arange(float(len(y))), y)], "ci95", partly=partly)
    np.testing.assert_array_equal(found.mean, y)
    assert np.isnan(found.low).all()
    assert (found.n == 1).all()


@settings(max_examples=50, deadline=None)
@given(arrays(float, (4, 12), elements=st.floats(-1e3, 1e3)), st.permutations(range(4)))
def test_order_of_runs_does_not_matter(runs, order):
    x = np.arange(12.0)
    one = moments([Sample(x, y) for y in runs], "se")
    other = moments([Sample(x, runs[place]) for place in order], "se")
    np.testing.assert_allclose(one.mean, other.mean, atol=1e-9)
    np.testing.assert_allclose(one.high, other.high, atol=1e-6)


def test_sample_drops_what_has_no_x_and_keeps_the_last_of_equal_ones():
    found = sample(np.array([0.0, 1, 1, np.nan, 2]), np.array([1.0, 2, 3, 4, np.inf]))
    np.testing.assert_array_equal(found.x, [0, 1, 2])
    np.testing.assert_array_equal(found.y, [1, 3, np.nan])


def test_level_is_reached_at_the_first_point_there_or_beyond():
    curve = Sample(np.array([10.0, 20, 30, 40]), np.array([3.0, 1.5, 2.0, 0.5]))
    assert reached(curve, 1.5, falling=True) == 20
    assert reached(curve, 1.0, falling=True) == 40
    assert np.isnan(reached(curve, 0.1, falling=True))
    assert reached(curve, 2.5, falling=False) == 10


def test_value_between_points_is_interpolated_and_none_outside():
    curve = Sample(np.array([0.0, 10.0]), np.array([1.0, 3.0]))
    assert value_at(curve, 2.5) == 1.5
    assert np.isnan(value_at(curve, 11.0))


def test_thinned_band_keeps_its_extremes():
    x = np.arange(1000.0)
    low, high = np.zeros(1000), np.ones(1000)
    low[501], high[777] = -5, 9
    places, bottom, top = thin_band(x, low, high, 50)
    assert len(places) <= 50
    assert (bottom.min(), top.max()) == (-5, 9)
