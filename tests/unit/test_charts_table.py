"""`charts.csv`: every number of every class of chart has its row."""

import csv
import io

import numpy as np
import pytest

from metaviz.charts.storage import to_arrays
from metaviz.charts.tidy import TidyRow, tidy_rows
from metaviz.charts.values import (
    CHARTS,
    Axis,
    Band,
    Bars,
    Chart,
    Graph,
    HeatMap,
    Histogram,
    ImageGrid,
    Lines,
    Panels,
    Parallel,
    Paths,
    Scatter,
    Series,
    Slider,
    Table,
    VectorField,
)
from metaviz.runs.export.tables import CHARTS_HEADER, charts_csv, write_tables
from metaviz.runs.model.events import Pictured
from metaviz.runs.model.record import Record

X = np.array([0.0, 1.0])
LINE = Series("a", X, X + 0.5, "A")
GRAPH = Graph(
    id="g",
    names=("p", "q"),
    places=np.array([[1.0, 2.0], [3.0, 4.0]]),
    edges=((0, 1),),
    states=(("method-0", "muted"), ("method-0", "method-3")),
    slider=Slider("step", 2),
)
ROWS: list[tuple[Chart, list[TidyRow]]] = [
    (
        Lines(id="l", series=(LINE,), bands=(Band("b", X, X - 1, X + 1),)),
        [
            TidyRow("a", 0, x=0, y=0.5, label="A"),
            TidyRow("a", 1, x=1, y=1.5, label="A"),
            TidyRow("b", 0, x=0, low=-1, high=1),
            TidyRow("b", 1, x=1, low=0, high=2),
        ],
    ),
    (
        Lines(
            id="l",
            series=(Series("a", X[:1], np.array([[5.0], [6.0]])),),
            slider=Slider("k", 2),
        ),
        [TidyRow("a", 0, 0, 0, 5), TidyRow("a", 0, 1, 0, 6)],
    ),
    (
        Scatter(id="s", series=(Series("a", X[:1], X[1:], low=X[:1], high=X[1:] * 3),)),
        [TidyRow("a", 0, x=0, y=1, low=0, high=3)],
    ),
    (
        Bars(id="b", series=(LINE,), names=("one", "two")),
        [TidyRow("a", 0, x=0, y=0.5, label="one"), TidyRow("a", 1, x=1, y=1.5, label="two")],
    ),
    (
        HeatMap(
            id="h",
            values=np.array([[1.0, 2.0], [3.0, 4.0]]),
            levels=(1, 4),
            spans=(("class 2", 1, 2),),
            columns=("1", "2"),
        ),
        [
            TidyRow("cell", 0, x=0, y=0, value=1, label="1"),
            TidyRow("cell", 1, x=1, y=0, value=2, label="2"),
            TidyRow("class 2", 2, x=0, y=1, value=3, label="1"),
            TidyRow("class 2", 3, x=1, y=1, value=4, label="2"),
        ],
    ),
    (
        Histogram(
            id="h", edges=np.arange(3.0), parts=(Series("p", X, np.array([[7, 8]])),), rows=("r",)
        ),
        [
            TidyRow("p", 0, y=0, value=7, low=0, high=1, label="r"),
            TidyRow("p", 1, y=0, value=8, low=1, high=2, label="r"),
        ],
    ),
    (
        ImageGrid(id="i", images=(None, np.ones((2, 2))), columns=2, below=("", "3"), shares=()),
        [TidyRow("image", 1, x=1, y=0, label="3")],
    ),
    (
        Paths(id="p", u=X[:1], v=X, heights=np.array([[4.0, 5.0]]), paths=(Series("w", X, X),)),
        [
            TidyRow("w", 0, x=0, y=0),
            TidyRow("w", 1, x=1, y=1),
            TidyRow("heights", 0, x=0, y=0, value=4),
            TidyRow("heights", 1, x=0, y=1, value=5),
        ],
    ),
    (
        GRAPH,
        [
            TidyRow("node", 0, 0, 1, 2, 1, label="p"),
            TidyRow("node", 1, 0, 3, 4, None, label="q"),
            TidyRow("node", 0, 1, 1, 2, 1, label="p"),
            TidyRow("node", 1, 1, 3, 4, 4, label="q"),
            TidyRow("edge", 0, x=0, y=1),
        ],
    ),
    (
        VectorField(id="v", px=X[:1], py=X[1:], u=X[:1], v=X[1:]),
        [TidyRow("u", 0, x=0, y=1, value=0), TidyRow("v", 0, x=0, y=1, value=1)],
    ),
    (
        Table(id="t", header=("n", "m"), rows=(("1", "2"),)),
        [TidyRow("n", 0, label="1"), TidyRow("m", 0, label="2")],
    ),
    (
        Parallel(id="p", axes=(Axis("rate"), Axis("loss")), series=(LINE,)),
        [TidyRow("a", 0, x=0, y=0.5, label="rate"), TidyRow("a", 1, x=1, y=1.5, label="loss")],
    ),
    (
        Panels(id="p", charts=(Table(id="t", header=("n",), rows=(("1",),)),)),
        [TidyRow("n", 0, label="1", part="t")],
    ),
]


@pytest.mark.parametrize(("chart", "rows"), ROWS, ids=lambda one: type(one).__name__)
def test_a_chart_is_one_row_for_each_point(chart: Chart, rows: list[TidyRow]) -> None:
    assert list(tidy_rows(chart)) == rows


def test_every_class_of_chart_has_rows() -> None:
    assert {type(chart) for chart, _ in ROWS} == set(CHARTS)


def run(name: str) -> Record:
    return Record(name, {"algorithm": "tpn", "problem": "features", "seed": 4, "steps": 9})


def test_the_table_has_every_evaluation_and_leaves_out_what_is_damaged(tmp_path) -> None:
    whole, damaged, without = run("whole"), run("damaged"), run("without")
    for step in (0, 9):
        line = Lines(id="own", series=(Series("a", X[:1], X[:1] + step),))
        whole.apply(Pictured(step, to_arrays([line])))
    damaged.apply(Pictured(0, {**to_arrays([GRAPH]), "charts": np.array("{}")}))
    rows = list(csv.reader(io.StringIO(charts_csv([whole, damaged, without]))))
    assert rows == [
        list(CHARTS_HEADER),
        _line("0", "0.0"),
        _line("9", "9.0"),
    ]
    assert "charts.csv" in {path.name for path in write_tables([whole, without], tmp_path)}
    assert "charts.csv" not in {path.name for path in write_tables([without], tmp_path / "none")}


def _line(step: str, height: str) -> list[str]:
    place = [step, "evaluation", "0", "own", "", "a", "0", ""]
    return ["whole", "tpn", "features", "4", *place, "0.0", height, "", "", "", ""]
