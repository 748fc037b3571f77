"""How fast inner loops converge, against sums that can be done by hand."""

import math

import numpy as np
import pytest

from metaviz.charts.stored import slice_charts
from metaviz.runs.analysis.convergence import (
    convergence,
    fitted_rate,
    steps_to,
)
from metaviz.runs.analysis.curve_charts import loss_slice
from metaviz.runs.model.events import Evaluated, Pictured
from metaviz.runs.model.record import Record


def evaluated(name: str, losses: np.ndarray, trained: int) -> Record:
    """A run with one evaluation of the support loss."""
    record = Record(name, {"algorithm": name, "problem": "sinusoid", "seed": 0, "steps": 1})
    curves = {}
    for quantity in ("support_loss", "gradient_norm"):
        curves |= {quantity: losses, f"{quantity}_ci95": 0.1 * losses}
    record.apply(Evaluated(1, 5, trained, curves))
    return record


def test_steps_are_interpolated() -> None:
    assert steps_to(np.array([4.0, 2.0, 1.0]), 3.0) == 0.5
    assert steps_to(np.array([4.0, 2.0, 1.0]), 1.0) == 2
    assert steps_to(np.array([4.0, 2.0]), 5.0) == 0
    assert math.isnan(steps_to(np.array([4.0, 2.0]), 1.0))
    assert steps_to(np.array([np.inf, 1.0]), 2.0) == 1


def test_rate_of_an_exponential_is_its_factor() -> None:
    assert fitted_rate(3.0 * 0.7 ** np.arange(6)) == pytest.approx(0.7, rel=1e-12)
    assert math.isnan(fitted_rate(np.array([1.0, -1.0])))
    assert math.isnan(fitted_rate(np.array([1.0, np.inf])))


def test_numbers_of_several_runs_share_their_last_step() -> None:
    short = evaluated("maml", 2.0 * 0.5 ** np.arange(4), 2)
    long = evaluated("mirror", 2.0 * 0.25 ** np.arange(9), 2)
    one, two = convergence([short, long], 0.5)
    assert (one.label, one.start) == ("MAML · seed 0", 2.0)
    assert one.steps_to_loss == 2
    assert two.steps_to_loss == 1
    assert one.area == pytest.approx(1.5 + 0.75 + 0.375)
    assert two.area == pytest.approx((2 + 0.5) / 2 + (0.5 + 0.125) / 2 + (0.125 + 0.03125) / 2)
    assert (one.rate, two.rate) == pytest.approx((0.5, 0.25))


def test_a_plane_of_negative_losses_is_coloured_as_it_is() -> None:
    t = np.linspace(0, 1, 3)
    for plane, wanted in (
        (np.array([[1.0, 100.0]]), [[0.0, 2.0]]),
        (np.array([[-1.0, 100.0]]), [[-1.0, 100.0]]),
    ):
        line = {"line_t": t, "line_support": t, "line_query": t, "line_path": t}
        about = {"plane_path": np.zeros((3, 2)), "plane_explained": np.array([0.9, 0.1])}
        axes = {"plane_u": t[:1], "plane_v": t[:2], "plane_support": plane}
        _, chart = slice_charts({**line, **about, **axes})
        assert chart is not None
        heights, meaning = chart.heights, chart.meaning
        assert heights.tolist() == wanted
        assert meaning.startswith("log") == (plane.min() > 0)


def test_slice_of_an_earlier_evaluation() -> None:
    record = evaluated("maml", np.ones(3), 2)
    assert loss_slice(record, "x") is None
    for step in (0, 10):
        t = np.linspace(-0.5, 1.5, 5)
        arrays = {"slice": np.array("loss"), "line_t": t, "line_support": t + step}
        arrays |= {"line_query": t, "line_path": np.array([0.0, 1.0])}
        record.apply(Pictured(step, arrays))
    last, first = loss_slice(record, "x"), loss_slice(record, "x", 0)
    assert last is not None
    assert first is not None
    assert (last[0].title, first[0].title) == ("x, meta-step 10", "x, meta-step 0")
    assert last[1] is None
    assert last[0].series[0].y == pytest.approx(first[0].series[0].y + 10)
