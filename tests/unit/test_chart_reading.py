"""The numbers under the pointer are points that were measured."""

import numpy as np
import pytest

from metaviz.charts.reading import Reading, reading_text, readings
from metaviz.charts.values import Axis, Band, Lines, Series

X = np.array([0.0, 10.0, 20.0, 40.0])


def chart(*more: Series) -> Lines:
    after = Series("0 after", X, np.array([4.0, np.nan, 2.0, 1.0]), "MAML")
    before = Series("0 before", X, np.array([4.0, 4.0, 4.0, 4.0]))
    band = Band("0 band", X, after.y - 0.5, after.y + 0.5)
    gap = Band("0 gap", X, after.y, before.y)
    return Lines(id="lines", x=Axis("meta-step"), series=(after, before, *more), bands=(gap, band))


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (1.0, Reading("MAML", 0.0, 4.0, 3.5, 4.5)),
        (12.0, Reading("MAML", 20.0, 2.0, 1.5, 2.5)),  # at 10 nothing was measured
        (39.0, Reading("MAML", 40.0, 1.0, 0.5, 1.5)),
    ],
)
def test_the_nearest_measured_point_is_read_with_its_interval(x: float, found: Reading) -> None:
    assert readings(chart(), x, 0.1) == [found]


def test_a_line_that_ended_long_ago_is_not_read() -> None:
    short = Series("1 after", np.array([0.0, 1.0]), np.array([5.0, 6.0]), "Reptile")
    assert [one.name for one in readings(chart(short), 0.5, 0.1)] == ["MAML", "Reptile"]
    assert [one.name for one in readings(chart(short), 30.0, 0.1)] == ["MAML"]


def test_readings_are_written_with_their_place() -> None:
    other = Series("1", np.array([0.0, 9.0, 19.0]), np.array([1.0, 2.0, 3.0]), "Reptile")
    shown = chart(other)
    assert reading_text(shown, readings(shown, 0.0, 1.0)) == (
        "meta-step 0\nMAML: 4 [3.5, 4.5]\nReptile: 1"
    )
    assert reading_text(shown, readings(shown, 19.5, 1.0)) == (
        "meta-step\nMAML at 20: 2 [1.5, 2.5]\nReptile at 19: 3"
    )
    assert reading_text(shown, []) == ""


def test_of_many_lines_the_first_are_written_and_the_others_counted() -> None:
    many = Lines(id="many", series=tuple(Series(f"{n}", X, X, f"run {n}") for n in range(20)))
    lines = reading_text(many, readings(many, 10.0, 1.0)).splitlines()
    assert len(lines) == 14
    assert lines[-1] == "and 8 more"
