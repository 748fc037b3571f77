"""Every chart class is checked, stored, read back, and drawn by both renderers."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PySide6.QtCore import QPointF, Qt
from PySide6.QtWidgets import QApplication, QWidget

from metaviz.charts.matplotlib import Page, figure_of, quiet_matplotlib
from metaviz.charts.shapes import shapes_of
from metaviz.charts.storage import from_arrays, to_arrays
from metaviz.charts.values import (
    CHARTS,
    Axis,
    Band,
    Bars,
    Chart,
    ChartError,
    Graph,
    HeatMap,
    Histogram,
    ImageGrid,
    Lines,
    Mark,
    Panels,
    Parallel,
    Paths,
    Region,
    Scatter,
    Series,
    Slider,
    Table,
    VectorField,
)
from metaviz.gui.pages.geometry_page import GeometryTab
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.theme import DARK, LIGHT, Theme
from metaviz.runs.analysis.geometry import has_learned
from metaviz.runs.export.figures import run_figures
from metaviz.runs.model.events import Pictured
from metaviz.runs.model.record import Record
from tests.gui.test_geometry_tabs import record
from tests.unit.stored_charts import charts_of

SIZES = {"none": 0, "one": 1, "some": 5, "many": 4000}


def charts(size: str) -> list[Chart]:
    """Return a chart of every class with 0, 1, some or many numbers, some of them NaN."""
    n = SIZES[size]
    x = np.arange(float(n))
    y = np.where(x == 2, np.nan, np.sin(x) + 2)
    few = min(n, 40)
    matrix = np.resize(y, (max(1, few), 3)) if n else np.zeros((1, 1))
    series = Series("a", x, y, "a run", "method-3", "dash", 2.0, dots=3.0)
    marks = Mark("K", 1.0, label="K = 1"), Mark("level", 2.0, "y")
    plane = np.outer(x[:few], x[:few] + 1)
    bins = np.arange(4.0)
    counts = np.ones((max(1, few), 3))
    lines = Lines(
        id="lines",
        title="Lines",
        x=Axis("step", "s"),
        y=Axis("loss", log=True, limits=(0.5, 4)),
        series=(series, replace(series, name="person's", role="#123456", label="")),
        bands=(Band("a", x, y - 1, y + 1),),
        marks=marks,
        regions=(Region("late", 1, 3),),
        caption="bold: all",
    )
    slider = Slider("k", 3, 1)
    moved = Lines(id="moved", series=(Series("m", x, np.stack([y, 2 * y, 3 * y])),), slider=slider)
    bars = Series("b", x[:few], y[:few], "bars", low=y[:few] - 1, high=y[:few] + 1)
    names = tuple(f"name {place}" for place in range(few))
    return [
        lines,
        moved,
        Scatter(id="scatter", series=(replace(series, low=y - 1, high=y + 1, filled=False),)),
        Bars(id="bars", series=(bars,), names=names, notes=names),
        Bars(id="lying", series=(bars,), names=names, notes=names, lying=True),
        HeatMap(
            id="heat",
            values=matrix,
            levels=(1.0, 3.0),
            meaning="height",
            spans=(("first", 0, 1), ("rest", 1, max(1, few))),
            columns=("one", "two", "three"),
            framed=(0, 0),
            numbers=n < 50,
        ),
        Histogram(
            id="histogram",
            edges=bins,
            rows=names or ("",),
            parts=(Series("up", bins, counts, "up"), Series("down", bins, 2 * counts, "", "error")),
        ),
        ImageGrid(
            id="images",
            images=(*(np.full((4, 4), 0.5) for _ in range(few)), None, np.zeros((4, 4, 3))),
            columns=3,
            above=("class 1",),
            below=tuple(names),
            beside=("support",),
            wrong=(0,),
        ),
        Paths(id="paths", u=x[:few], v=x[:few], heights=plane, paths=(series,), meaning="loss"),
        Graph(
            id="graph",
            names=names,
            places=np.stack([x[:few], y[:few]], axis=1),
            edges=((0, few - 1),) if few else (),
        ),
        VectorField(id="field", px=x, py=y, u=np.cos(x), v=np.sin(x)),
        Table(id="table", header=("name", "value"), rows=tuple((name, "1") for name in names)),
        Parallel(
            id="parallel",
            axes=(Axis("rate", ticks=((0.0, "0.1"), (-0.1, "absent"))), Axis("loss")),
            series=tuple(
                Series(f"run {at}", np.arange(2.0), np.array([at / 40, -0.1]), role="ramp-0.5")
                for at in range(few)
            ),
            brushes=((0, 0.2, 0.8),),
        ),
        Panels(id="panels", charts=(lines, replace(moved, id="m2")), columns=2, share_x=True),
    ]


def same(one: Any, other: Any) -> bool:
    """Whether two values hold the same numbers and words."""
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other, equal_nan=True))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    return bool(one == other)


def test_there_are_at_most_twelve_classes_and_each_is_tried() -> None:
    assert len(CHARTS) <= 12
    assert {type(chart) for chart in charts("some")} == set(CHARTS)


@pytest.mark.parametrize("size", SIZES)
def test_charts_are_stored_and_read_back_whole(size: str, tmp_path) -> None:
    stored = charts(size)
    np.savez(tmp_path / "picture.npz", **to_arrays(stored))
    with np.load(tmp_path / "picture.npz", allow_pickle=False) as arrays:
        read = from_arrays(dict(arrays))
    assert len(read) == len(stored)
    for one, other in zip(stored, read, strict=True):
        assert same(one, other), one.id
    assert [chart.id for chart in charts_of(to_arrays(stored))] == [chart.id for chart in stored]


def test_damaged_newer_and_huge_charts_are_refused_in_one_sentence() -> None:
    arrays = to_arrays(charts("some"))
    text = str(arrays["charts"])
    damages = {
        text.replace('"Lines"', '"Cube"'): "knows no chart 'Cube'",
        text.replace('"version": 1', '"version": 2'): "version 2",
        text[:-9]: "damaged",
        text.replace('"array": 0', '"array": 999'): "damaged",
        text.replace("method-3", "url(x)"): "colour role",
    }
    for damaged, words in damages.items():
        assert damaged != text
        with pytest.raises(ChartError, match=words):
            from_arrays({**arrays, "charts": np.array(damaged)})
    newer = text.replace('"kind": "Lines"', '"glow": 3, "kind": "Lines"')
    assert len(from_arrays({**arrays, "charts": np.array(newer)})) == len(charts("some"))
    huge = np.broadcast_to(0.0, 5_000_000)
    with pytest.raises(ChartError, match="too much"):
        to_arrays([Lines(id="huge", series=(Series("a", huge, huge),))])


def test_what_does_not_fit_together_is_refused() -> None:
    x, y = np.arange(3.0), np.arange(2.0)
    wrong = [
        lambda: Lines(id=""),
        lambda: Lines(id="a", series=(Series("s", x, y),)),
        lambda: Lines(id="a", series=(Series("s", x, x), Series("s", x, x))),
        lambda: Lines(id="a", series=(Series("s", x, x, role="red"),)),
        lambda: Lines(id="a", series=(Series("s", x, np.stack([x, x])),)),
        lambda: Lines(id="a", bands=(Band("b", x, x, y),)),
        lambda: HeatMap(id="a", values=x, levels=(0, 1)),
        lambda: Histogram(id="a", edges=x, parts=(Series("p", x, np.ones((1, 5))),)),
        lambda: Paths(id="a", u=x, v=x, heights=np.ones((2, 3))),
        lambda: Graph(id="a", names=("n",), places=np.zeros((1, 2)), edges=((0, 1),)),
        lambda: VectorField(id="a", px=x, py=x, u=x, v=y),
        lambda: Table(id="a", header=("h",), rows=(("1", "2"),)),
        lambda: Parallel(id="a", axes=(Axis(),), series=(Series("s", x, x),)),
        lambda: Panels(id="a", charts=(Panels(id="b", charts=()),)),
        lambda: Bars(id="a", series=(Series("s", x, x),), names=("one",)),
        lambda: ImageGrid(id="a", images=(x,), columns=1),
    ]
    for make in wrong:
        with pytest.raises(ChartError) as caught:
            make()
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
@pytest.mark.parametrize("size", SIZES)
def test_the_window_draws_every_chart(qtbot, size: str, theme: Theme) -> None:
    view = ChartView("view", "A chart")
    qtbot.addWidget(view)
    view.apply_theme(theme)
    view.resize(420, 320)
    view.show()
    for chart in [*charts(size), *reversed(charts(size))]:
        view.show_chart(chart)
        picture = view.grab().toImage()
        QApplication.processEvents()
        assert not picture.isNull()
        if not isinstance(chart, Panels):
            check_items(view, chart)


def check_items(view: ChartView, chart: Chart) -> None:
    """Compare what is drawn with what the chart holds."""
    shapes = shapes_of(chart)
    assert list(view.traces) == [one.name for one in shapes.series]
    for one in shapes.series:
        x, y = view.traces[one.name].getData()
        with np.errstate(invalid="ignore"):
            wanted = np.log10(one.y) if shapes.y.log else one.y
        if len(x) == len(one.x):
            assert np.array_equal(x, one.x, equal_nan=True)
            assert np.array_equal(y, wanted, equal_nan=True)
        else:
            assert np.isin(x, one.x).all()
            assert np.nanmax(y) == np.nanmax(wanted)
    assert list(view.boxes) == [one.name for one in shapes.boxes]
    for one in shapes.boxes:
        opts = view.boxes[one.name].opts
        assert np.array_equal(opts["y1"], one.y1, equal_nan=True)
        assert np.array_equal(opts["x1"], one.x1, equal_nan=True)
    assert list(view.images) == [one.name for one in shapes.pictures]
    for one in shapes.pictures:
        assert np.array_equal(view.images[one.name].image, one.values, equal_nan=True)
    assert [item.toPlainText() for item in view.words.values()] == [w.text for w in shapes.words]
    assert set(view.marks) == {one.name for one in shapes.marks}
    assert {name: r.getRegion() for name, r in view.regions.items()} == {
        one.name: (one.low, one.high) for one in shapes.regions
    }


@pytest.mark.parametrize("size", SIZES)
def test_files_show_every_chart(size: str) -> None:
    for chart in charts(size):
        figure = figure_of(chart, Page(12, 9, 60))
        with quiet_matplotlib():
            FigureCanvasAgg(figure).draw()
        drawn = [line for axes in figure.axes for line in axes.lines]
        parts = chart.charts if isinstance(chart, Panels) else (chart,)
        for part in parts:
            for one in shapes_of(part).series:
                if 0 < len(one.x) < 2000:
                    assert any(
                        np.array_equal(line.get_ydata(), one.y, equal_nan=True) for line in drawn
                    ), (chart.id, one.name)


def test_in_files_no_legend_covers_points() -> None:
    x = np.linspace(0, 1, 50)
    points = Series("one", x, x, label="a class", width=0, dots=6)
    chart = Scatter(id="dots", x=Axis("x"), y=Axis("y"), series=(points,))
    figure = figure_of(chart, Page(12, 9, 60))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    beside = legend.get_window_extent(canvas.get_renderer())
    assert beside.x0 >= axes.get_window_extent().x1
    assert beside.x1 <= figure.bbox.x1


def test_a_slider_moves_series(qtbot) -> None:
    view = ChartView("view", "A chart")
    qtbot.addWidget(view)
    x = np.arange(3.0)
    chart = Lines(id="c", series=(Series("s", x, np.outer([1, 2, 3], x)),), slider=Slider("k", 3))
    view.show_chart(chart)
    kept = view.traces["s"]
    assert kept.getData()[1].tolist() == [0, 1, 2]
    view.show_chart(chart, place=2)
    assert view.traces["s"] is kept
    assert kept.getData()[1].tolist() == [0, 3, 6]


def test_a_view_tells_what_a_person_does(qtbot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    view = ChartView("view", "A chart", window)
    view.apply_theme(LIGHT)
    view.resize(400, 300)
    window.show()
    x = np.arange(1.0, 6.0)
    view.show_chart(Scatter(id="dots", series=(Series("s", x, x, width=0, dots=5.0),)))
    QApplication.processEvents()
    box = view.getPlotItem().getViewBox()
    spot = view.mapFromScene(box.mapViewToScene(QPointF(3, 3)))
    with qtbot.waitSignal(view.picked) as picked:
        qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    assert picked.args == ["dots", "s", 2]
    view.show_chart(HeatMap(id="heat", values=np.ones((2, 3)), levels=(0, 1), meaning="m"))
    QApplication.processEvents()
    spot = view.mapFromScene(box.mapViewToScene(QPointF(2.5, 1.5)))
    with qtbot.waitSignal(view.picked) as picked:
        qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    assert picked.args == ["heat", "map", 5]
    mark = Mark("level", 2.0, "y", movable=True)
    view.show_chart(Lines(id="lines", series=(Series("s", x, x),), x=Axis(log=True), marks=(mark,)))
    QApplication.processEvents()
    with qtbot.waitSignal(view.hovered) as hovered:
        view.scene().sigMouseMoved.emit(box.mapViewToScene(QPointF(0.5, 3)))
    assert hovered.args[0] == "lines"
    assert hovered.args[1:] == pytest.approx([10**0.5, 3])
    with qtbot.waitSignal(view.brushed) as brushed:
        box.setXRange(0.0, 1.0, padding=0)
    assert brushed.args[1:] == pytest.approx([1, 10])
    assert view.span() == pytest.approx((1, 10))
    with qtbot.waitSignal(view.dragged) as dragged:
        view.marks["level"].setValue(4.0)
        view.marks["level"].sigDragged.emit(view.marks["level"])
    assert dragged.args == ["lines", "level", 4.0]


SLICE = {
    "slice": np.array("loss"),
    **{name: np.linspace(0, 1, 5) for name in ("line_t", "line_support", "line_query")},
    **{"line_path": np.array([0.0, 1.0])},
}
PLANE = {
    **{"plane_u": np.arange(3.0), "plane_v": np.arange(2.0), "plane_support": np.ones((3, 2))},
    **{"plane_path": np.zeros((2, 2)), "plane_explained": np.array([0.9, 0.1])},
}
FAN = {
    **{"x": np.arange(4.0), "truth": np.ones((2, 4)), "predictions": np.ones((2, 6, 4))},
    **{"support_x": np.ones((2, 3)), "support_y": np.ones((2, 3))},
}
OLD = {
    "rates": ["rates", "dense", "spectrum", "condition"],
    "factors": ["factors"],
    "layers": ["factors", "masks"],
    "gates": ["gates"],
    "map": ["slopes", "mirror-weight"],
}


def test_every_old_kind_of_stored_arrays_becomes_charts() -> None:
    found = {kind: charts_of(record("a", kind).pictures[-1].arrays, "title") for kind in OLD}
    assert {kind: [chart.id for chart in drawn] for kind, drawn in found.items()} == OLD
    slices = charts_of({**SLICE, **PLANE}, "title")
    assert [chart.id for chart in slices] == ["loss-line", "loss-plane"]
    both = [chart.id for chart in charts_of({**SLICE, **FAN})]
    assert both == ["loss-line", "fan"]
    assert [chart.id for chart in charts_of(SLICE)] == ["loss-line"]
    (fan,) = charts_of(FAN, "title", trained=5)
    assert fan.slider == Slider("inner step k", 6, 5)
    assert charts_of({"x": np.zeros(3)}) == []
    for chart in [*(chart for drawn in found.values() for chart in drawn), *slices, fan]:
        with quiet_matplotlib():
            FigureCanvasAgg(figure_of(chart)).draw()
        (again,) = from_arrays(to_arrays([chart]))
        assert same(chart, again)


def test_a_methods_own_charts_are_shown_beside_others_and_exported(qtbot) -> None:
    run = Record("own-s0", {"algorithm": "own", "problem": "sinusoid", "seed": 0, "steps": 9})
    for step in (0, 9):
        x = np.arange(4.0)
        own = Lines(id="temperature", title="Temperature", series=(Series("t", x, x + step),))
        run.apply(Pictured(step, to_arrays([own])))
    assert has_learned(run)
    tab = GeometryTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.show_records([run])
    tab.show()
    assert [tab.what.itemText(at) for at in range(tab.what.count())] == ["Temperature"]
    assert tab.plot.traces["t"].getData()[1].tolist() == [9, 10, 11, 12]
    tab.picker.time.setValue(0)
    assert tab.plot.traces["t"].getData()[1].tolist() == [0, 1, 2, 3]
    exported = dict(run_figures(run, Page))
    assert list(exported) == ["geometry-temperature"]
    assert exported["geometry-temperature"].axes[0].get_title() == "own · seed 0, meta-step 9"


def test_names_of_files_are_plain_whatever_a_run_calls_its_charts() -> None:
    record = Record("r", {"algorithm": "maml", "problem": "sinusoid", "seed": 0})
    chart = HeatMap(id="../../away/x", values=np.eye(2), levels=(0.0, 1.0))
    record.apply(Pictured(0, to_arrays([chart])))
    names = [name for name, _ in run_figures(record, Page)]
    assert names == ["geometry-______away_x"]
