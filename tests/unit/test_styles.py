"""What distinguishes runs in every plot: colours and dashes."""

from itertools import permutations

import numpy as np
import pytest
from matplotlib.figure import Figure
from PySide6.QtGui import QColor

from metaviz.charts.matplotlib import figure_of
from metaviz.charts.storage import from_arrays, to_arrays
from metaviz.charts.values import DASHES, ChartError, Lines, Mark, Series
from metaviz.gui.plotting.pens import line_pen
from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import ends, styles


def record(run: str, algorithm: str, seed: int) -> Record:
    return Record(run, {"algorithm": algorithm, "problem": "sinusoid", "seed": seed}, {})


def test_a_seed_has_one_dash_whatever_order_the_runs_are_in() -> None:
    runs = [
        record("a", "maml", 0),
        record("b", "maml", 1),
        record("c", "reptile", 1),
        record("d", "reptile", 2),
    ]
    found = {
        tuple((run, style.dash) for run, style in sorted(styles(order).items()))
        for order in permutations(runs)
    }
    assert found == {(("a", "solid"), ("b", "dash"), ("c", "dash"), ("d", "dot"))}


def test_runs_of_one_algorithm_and_seed_are_told_apart() -> None:
    runs = [record("a", "maml", 0), record("b", "maml", 0), record("c", "maml", 1)]
    assert {run: style.dash for run, style in styles(runs[::-1]).items()} == {
        "a": "solid",
        "b": "dash",
        "c": "dot",
    }
    assert styles([]) == {}


def test_eight_seeds_of_one_algorithm_are_told_apart_by_both_renderers() -> None:
    runs = [record(f"r{seed}", "maml", seed) for seed in range(8)]
    dashes = [style.dash for style in styles(runs).values()]
    assert len(set(dashes)) == 8
    x = np.arange(3.0)
    chart = Lines(id="eight", series=tuple(Series(d, x, x, d, dash=d, width=2.0) for d in dashes))
    lines = drawn_lines(figure_of(chart))
    assert len({repr(line._dash_pattern) for line in lines}) == 8  # type: ignore[attr-defined]
    pens = [line_pen(QColor("black"), 2.0, dash) for dash in dashes]
    assert len({(pen.style(), tuple(pen.dashPattern())) for pen in pens}) == 8


def drawn_lines(figure: Figure) -> list[object]:
    return [line for axes in figure.axes for line in axes.lines]


@pytest.mark.parametrize("part", ["series", "marks"])
def test_a_dash_that_nothing_can_draw_is_refused(part: str) -> None:
    x = np.arange(2.0)
    wrong = Series("a", x, x, dash="wavy") if part == "series" else Mark("a", 1.0, dash="wavy")
    with pytest.raises(ChartError, match="'a' has the dash 'wavy': use solid, dash, "):
        Lines(id="x", **{part: (wrong,)})  # type: ignore[arg-type]
    stored = to_arrays([Lines(id="x", series=(Series("a", x, x, dash="dash"),))])
    stored["charts"] = np.array(str(stored["charts"]).replace('"dash": "dash"', '"dash": "wavy"'))
    with pytest.raises(ChartError):
        from_arrays(stored)
    assert set(DASHES) > {"solid", "dash", "dot", "dashdot"}  # as charts of earlier versions have


def test_more_seeds_than_dashes_are_numbered_in_legends_and_at_their_ends() -> None:
    runs = [record(f"r{seed}", "maml", seed) for seed in range(9)]
    found = styles([*runs, record("other", "reptile", 0)])
    marks = {run: style.mark for run, style in found.items() if style.mark}
    assert marks == {"r0": " [1]", "r8": " [2]"}
    assert len(set(found.values())) == 10
    heights = (np.array([2.0, np.nan]), np.array([np.nan]), np.array([5.0]))
    looks = (found["r8"], found["r0"], found["r1"])
    assert ends(zip(looks, heights, strict=True)) == ((2.0, "2"),)
