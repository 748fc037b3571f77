"""The pages of learned geometries show what the pictures of a run hold."""

import csv
import io

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QSlider,
    QSpinBox,
    QTableView,
    QWidget,
)

from metaviz.charts.matplotlib import Page, figure_of
from metaviz.charts.stored import geometry_chart
from metaviz.gui.pages.geometry_page import NOT_NOW, GeometryTab
from metaviz.gui.pages.mirror_map_page import TOO_LARGE, MirrorTab
from metaviz.gui.pages.page_tabs import NAMES, Tabs
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.theme import DARK, LIGHT, Theme, curve_color
from metaviz.runs.analysis.geometry import (
    GEOMETRY_HEADER,
    has_geometry,
    has_map,
    map_history,
    map_warnings,
    offered,
)
from metaviz.runs.export.figures import save_figure
from metaviz.runs.export.tables import geometry_csv
from metaviz.runs.model.events import Pictured
from metaviz.runs.model.record import Record

STEPS = (0, 50, 100)
K = 4
PAGE = Page(width_cm=12.0, height_cm=8.0, dpi=50)


def record(algorithm: str, kind: str, seed: int = 0, *, evaluations: int = 3) -> Record:
    """A record of known numbers: whatever is learned grows with the evaluation."""
    made = Record(
        f"{algorithm}-s{seed}",
        {"algorithm": algorithm, "problem": "sinusoid", "seed": seed, "steps": 100},
    )
    for place, step in enumerate(STEPS[:evaluations]):
        # Other pictures come between.
        made.apply(Pictured(step, {"x": np.zeros(3)}))
        made.apply(
            Pictured(step, _summary(place) | {"geometry": np.array(kind)} | _KINDS[kind](place))
        )
    return made


def _summary(place: int) -> dict[str, np.ndarray]:
    return {
        "summary_layer": np.array(["layer1", "layer2"]),
        "summary_quantity": np.array(["mean", "=mean"]),
        "summary_value": np.array([place / 3, np.nan]),
    }


def _whole(place: int) -> dict[str, np.ndarray]:
    return {
        "dense": (np.eye(4) * (1 + place)).astype(np.float16),
        "dense_size": np.array(40),
        "spectrum": np.array([100.0, 10.0, 1.0 + place]),
        "condition_plain": np.full(K + 1, 1000.0),
        "condition_shaped": np.full(K + 1, 100.0 / 10**place),
    }


def _rates(place: int) -> dict[str, np.ndarray]:
    rates = np.array([[0.1, 0.2, 0.3, 0.4], [-0.1 * place, 0.1, np.nan, np.nan]])
    share = np.array([0.0, 0.5 if place else 0.0])
    tensors = np.array(["layer1.weight", "layer1.bias"])
    found = {"tensors": tensors, "rates": rates.astype(np.float32), "negative": share}
    return found | (_whole(place) if place else {})


def _factors(place: int) -> dict[str, np.ndarray]:
    return {
        "factor_names": np.array(["M_in", "diagonal"]),
        "factor_0": np.array([[1.0, -place], [0.0, 1.0], [0.5, 0.5]]),
        "factor_1": np.full((1, 5), 1.0 + place),
    }


def _layers(place: int) -> dict[str, np.ndarray]:
    masks = np.array([[0.25, 0.5, 0.75], [0.1 * place, 1.0, np.nan]])
    return _factors(place) | {
        "mask_names": np.array(["layer1", "layer2"]),
        "mask_probabilities": masks,
    }


def _gates(place: int) -> dict[str, np.ndarray]:
    schedule = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    return {
        "forget": np.full((K, 5), 0.9) + schedule * place,
        "input": np.full((K, 5), 0.01),
        "plain_input": np.array(0.02),
    }


COORDINATES = np.array([3, 8, 20, 30])
LAYERS = np.array(["layer1", "layer2", "layer1", "layer2"])


def _map(place: int) -> dict[str, np.ndarray]:
    slope = np.array([1.0, 1.0 + place, 1.0 - 0.5 * place, 1.0])
    visited = np.arange(2 * (K + 1) * 4).reshape(2, K + 1, 4) / 10
    return {
        "coordinates": COORDINATES,
        "layers": LAYERS,
        "slope": slope.astype(np.float32),
        "shift": np.array([0.0, 0.5, 0.0, 0.0]),
        "z_start": np.array([0.1, 0.2, 0.3, 0.4]),
        "visited": visited.astype(np.float16),
        "total": np.array(1761),
        "smallest_slope": np.array(slope.min()),
        "moved_share": np.array(0.04 if place else 0.0),
        "asymmetry": np.array(0.1 * place),
        "symmetric_eigenvalue": np.array(np.nan),
    }


_KINDS = {"rates": _rates, "factors": _factors, "layers": _layers, "gates": _gates, "map": _map}
RUNS = {"rates": "metasgd", "factors": "metacurvature", "layers": "mtnet", "gates": "metalstm"}


def shown(qtbot, tab: QWidget, records: list[Record], theme: Theme = LIGHT) -> None:
    qtbot.addWidget(tab)
    tab.apply_theme(theme)
    tab.resize(900, 560)
    tab.show_records(records)
    tab.show()
    QApplication.processEvents()


def choose(tab: GeometryTab, view: str) -> None:
    place = tab.what.findData(view)
    assert place >= 0, view
    tab.what.setCurrentIndex(place)


def heights(tab: GeometryTab) -> list[list[float]]:
    return [list(bars.opts["y1"] - bars.opts["y0"]) for bars in tab.plot.boxes.values()]


# What is read from records.


def test_kinds_are_told_apart() -> None:
    assert has_map(record("mirror", "map"))
    assert list(offered(record("mirror", "map"))) == ["slopes"]
    assert has_geometry(record("metasgd", "rates"))
    bare = Record("maml-s0", {"algorithm": "maml", "problem": "sinusoid", "seed": 0, "steps": 1})
    bare.apply(Pictured(0, {"x": np.zeros(3)}))
    assert not has_map(bare)
    assert not has_geometry(bare)
    assert map_history(bare) is None


def test_views_are_offered_by_what_was_pictured() -> None:
    found = {kind: list(offered(record(name, kind))) for kind, name in RUNS.items()}
    assert found == {
        "rates": ["rates", "dense", "spectrum", "condition"],
        "factors": ["factors"],
        "layers": ["factors", "masks"],
        "gates": ["gates"],
    }


def test_map_history_groups_coordinates_by_layer() -> None:
    history = map_history(record("mirror", "map"))
    assert history is not None
    assert history.coordinates.tolist() == [3, 20, 8, 30]
    assert history.spans() == [("layer1", 0, 2), ("layer2", 2, 4)]
    assert history.slopes.tolist() == [[1, 1, 1, 1], [1, 0.5, 2, 1], [1, 0, 3, 1]]
    assert history.sampled_text() == "4 of 1761 weights are shown"
    point = history.point(1, 2)
    assert point is not None
    assert (point.slope, point.shift, point.start) == (2.0, 0.5, 0.2)
    assert point.adapted == pytest.approx([1.7, 3.7], abs=1e-3)
    assert point.at(1.0) == 2.5
    assert point.histogram()[0].sum() == 2 * (K + 1)


def test_slopes_of_other_coordinates_are_unknown() -> None:
    run = record("mirror", "map")
    run.pictures[1].arrays["coordinates"] = COORDINATES + 1
    history = map_history(run)
    assert history is not None
    assert np.isnan(history.slopes[0]).all()
    assert history.point(0, 0) is None
    assert history.point(1, 0) is not None


def test_map_warnings_name_falling_and_unmoved_maps() -> None:
    history = map_history(record("mirror", "map"))
    assert history is not None
    falling, unmoved = map_warnings(history, 2)
    assert "At meta-step 100 1 of the 4 slopes shown is not positive" in falling
    assert unmoved.startswith("Most of the map has never moved: 4 %")
    assert len(map_warnings(history, 1)) == 1
    early = map_history(record("mirror", "map", evaluations=2))
    assert early is not None
    assert map_warnings(early, 1) == []


def counted(arrays: dict[str, np.ndarray], *, log: bool) -> tuple[np.ndarray, ...]:
    """Return edges, and counts of positive and negative step sizes by tensor."""
    chart = geometry_chart(arrays, "rates", -1, log=log)
    return chart.edges, *(part.y for part in chart.parts)


def test_histograms_count_every_rate_once_and_split_at_zero() -> None:
    picture = record("metasgd", "rates").pictures[-1]
    edges, positive, negative = counted(picture.arrays, log=False)
    assert positive.sum(axis=1).tolist() == [4, 1]
    assert negative.sum(axis=1).tolist() == [0, 1]
    assert np.abs(edges).min() == 0
    assert (negative[1][edges[:-1] >= 0] == 0).all()
    edges, _, negative = counted(picture.arrays, log=True)
    assert edges[[0, -1]] == pytest.approx(np.log10([0.1, 0.4]), abs=1e-6)
    assert negative.sum() == 1


def test_histograms_of_equal_rates_and_of_none_exist() -> None:
    picture = record("metasgd", "rates").pictures[-1]
    picture.arrays["rates"] = np.full((2, 3), 0.01)
    assert counted(picture.arrays, log=False)[1].sum() == 6
    picture.arrays["rates"] = np.zeros((2, 3))
    assert counted(picture.arrays, log=True)[1].sum() == 0


def test_csv_reads_back() -> None:
    text = geometry_csv([record("metasgd", "rates"), record("mirror", "map")])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == GEOMETRY_HEADER
    assert len(rows) == 2 * 3 * 2
    assert rows[2] == {
        "run": "metasgd-s0",
        "algorithm": "metasgd",
        "step": "50",
        "layer": "layer1",
        "quantity": "mean",
        "value": repr(1 / 3),
    }
    assert rows[1]["value"] == ""
    assert rows[1]["quantity"] == "'=mean"


# The geometry page.


def test_rates_are_drawn_and_scrubbed(qtbot) -> None:
    tab = GeometryTab()
    shown(qtbot, tab, [record("metasgd", "rates")])
    assert tab.picker.step_text.text() == "100"
    # Two tensors, positive below negative; the tallest bar of a row is 0.8 high.
    tallest = [np.reshape(color, (2, -1)).max(axis=1) for color in heights(tab)]
    assert np.stack(tallest, axis=1).ravel() == pytest.approx([0.8, 0.0, 0.8, 0.8])
    low = np.reshape(tab.plot.boxes["positive"].opts["y0"], (2, -1))
    assert (low == [[0.0], [-1.0]]).all()
    described = tab.plot.accessibleDescription()
    assert described.endswith("layer1.weight 0 % negative; layer1.bias 50 % negative")
    tab.part.setCurrentIndex(tab.part.findData("1"))
    assert [sum(row) for row in heights(tab)] == [1, 1]
    tab.picker.time.setValue(0)
    assert tab.picker.step_text.text() == "0"
    assert "layer1.bias 0 % negative" in tab.plot.accessibleDescription()
    tab.log.click()
    assert [sum(row) for row in heights(tab)] == [1, 0]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_factors_are_drawn_around_zero(qtbot, theme: Theme) -> None:
    tab = GeometryTab()
    shown(qtbot, tab, [record("metacurvature", "factors")], theme)
    image = tab.plot.images["map"]
    assert image.isVisible()
    assert image.image.tolist() == [[1, -2], [0, 1], [0.5, 0.5]]
    assert tab.plot.bar.levels() == (-2, 2)
    middle = image.lut[len(image.lut) // 2]
    assert np.abs(np.array(middle[:3]) - tab.plot.backgroundBrush().color().getRgb()[:3]).max() <= 4
    tab.part.setCurrentIndex(1)
    assert image.image.tolist() == [[3] * 5]
    tab.picker.time.setValue(0)
    assert image.image.tolist() == [[1] * 5]
    assert not tab.log.isVisible()


def test_masks_are_bars(qtbot) -> None:
    tab = GeometryTab()
    shown(qtbot, tab, [record("mtnet", "layers")])
    assert tab.what.itemText(0) == "Transforms T"
    choose(tab, "masks")
    assert heights(tab) == [[0.25, 0.5, 0.75]]
    tab.part.setCurrentIndex(1)
    assert heights(tab)[0] == pytest.approx([0.2, 1.0])


def test_gates_are_lines_with_bands(qtbot) -> None:
    tab = GeometryTab()
    shown(qtbot, tab, [record("metalstm", "gates")])
    plot = tab.plot
    assert plot.traces["median"].getData()[1].tolist() == [0.9] * K
    assert plot.traces["plain"].getData()[1].tolist() == [1.0] * K
    corners = plot.bands["90"].polygon().boundingRect()
    assert (corners.top(), corners.bottom()) == pytest.approx((0.5, 1.3))
    assert plot.bands["50"].polygon().boundingRect().top() == pytest.approx(0.7)
    tab.part.setCurrentIndex(1)
    assert plot.traces["median"].getData()[1].tolist() == [0.01] * K
    assert plot.traces["plain"].getData()[1].tolist() == [0.02] * K
    assert [key.text for key in plot.legend.keys] == ["input gate", "gradient descent"]


def test_slopes_of_large_maps_are_summed_up_by_tensor(qtbot) -> None:
    run = record("mirror", "map")
    rows = [("a.weight", 0.5, 1.0, 3.0), ("a.bias", 0.9, 1.0, 1.1)]
    names = ("smallest slope", "mean slope", "largest slope")
    picture = run.pictures[-1].arrays
    picture["summary_layer"] = np.array([row[0] for row in rows for _ in names])
    picture["summary_quantity"] = np.array([*names, *names])
    picture["summary_value"] = np.array([value for row in rows for value in row[1:]])
    tab = GeometryTab()
    shown(qtbot, tab, [run])
    assert tab.what.currentData() == "slopes"
    means = tab.plot.traces["means"].getData()
    assert [list(values) for values in means] == [[1.0, 1.0], [0.0, -1.0]]
    ends = tab.plot.traces["ranges"].getData()[0]
    assert ends[[0, 1, 3, 4]].tolist() == [0.5, 3.0, 0.9, 1.1]
    assert "a.weight 0.5 to 3" in tab.plot.accessibleDescription()
    chart = tab.chart()
    assert chart is not None
    figure = figure_of(chart, PAGE)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["a.weight", "a.bias"]


def test_diagonal_can_be_left_out(qtbot) -> None:
    tab = GeometryTab()
    shown(qtbot, tab, [record("metasgd", "rates")])
    choose(tab, "dense")
    assert tab.diagonal.isVisible()
    tab.diagonal.setChecked(True)
    assert not tab.plot.images["map"].image.any()
    choose(tab, "rates")
    assert not tab.diagonal.isVisible()


def test_whole_preconditioner_spectrum_and_condition(qtbot) -> None:
    tab = GeometryTab()
    shown(qtbot, tab, [record("metasgd", "rates")])
    choose(tab, "dense")
    assert np.array_equal(tab.plot.images["map"].image, 3 * np.eye(4))
    # Four cells stand for forty weights.
    image = tab.plot.images["map"]
    assert image.mapRectToParent(image.boundingRect()).width() == 40
    choose(tab, "spectrum")
    assert tab.plot.traces["spectrum"].getData()[1] == pytest.approx([2, 1, np.log10(3)])
    choose(tab, "condition")
    lines = tab.plot.traces
    assert lines["condition_plain"].getData()[1].tolist() == [3] * (K + 1)
    assert lines["condition_shaped"].getData()[1].tolist() == [0] * (K + 1)
    assert [key.text for key in tab.plot.legend.keys] == ["without P", "with P"]
    tab.picker.time.setValue(0)
    assert tab.plot._message.text() == NOT_NOW
    tab.picker.time.setValue(1)
    assert tab.plot.traces["condition_shaped"].getData()[1].tolist() == [1] * (K + 1)
    assert not tab.plot._message.isVisible()


def test_summary_follows_time(qtbot, qtmodeltester) -> None:
    tab = GeometryTab()
    shown(qtbot, tab, [record("metasgd", "rates")])
    cells = [tab.table.model().index(0, column).data() for column in range(3)]
    assert cells == ["layer1", "mean", "0.6667"]
    tab.picker.time.setValue(1)
    assert tab.table.model().index(0, 2).data() == "0.3333"
    assert tab.table.model().index(0, 2).data(Qt.ItemDataRole.ToolTipRole) == repr(1 / 3)
    qtmodeltester.check(tab.table.model())


def test_geometry_page_changes_runs_and_stays_at_the_newest(qtbot) -> None:
    tab = GeometryTab()
    grown = record("metasgd", "rates", evaluations=2)
    shown(qtbot, tab, [grown, record("metalstm", "gates"), record("mirror", "map")])
    assert [tab.picker.run.itemText(i) for i in range(tab.picker.run.count())] == [
        "Meta-SGD · seed 0",
        "Meta-LSTM · seed 0",
        "Mirror descent · seed 0",
    ]
    assert tab.picker.steps == [0, 50]
    grown.apply(record("metasgd", "rates").pictures[-1])
    tab.refresh()
    assert tab.picker.step_text.text() == "100"
    tab.picker.run.setCurrentIndex(1)
    assert tab.what.currentData() == "gates"
    tab.show_records([])
    assert "Meta-SGD" in tab.plot._message.text()
    assert tab.chart() is None


# The mirror page.


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_slopes_are_drawn_over_training(qtbot, theme: Theme) -> None:
    tab = MirrorTab()
    shown(qtbot, tab, [record("mirror", "map")], theme)
    assert tab.map.images["map"].image.T.tolist() == [[1, 1, 1, 1], [1, 0.5, 2, 1], [1, 0, 3, 1]]
    low, high = tab.map.bar.levels()
    assert (low + high) / 2 == 1
    assert tab.sampled.text() == "4 of 1761 weights are shown"
    assert [text for _, text in tab.map.getPlotItem().getAxis("left")._tickLevels[0]] == [
        "layer1",
        "layer2",
    ]
    assert tab.map.marks["time"].value() == 2.5
    tab.picker.time.setValue(1)
    assert tab.map.marks["time"].value() == 1.5
    assert "from 0.5 to 2" in tab.map.accessibleDescription()


def test_curve_of_a_chosen_weight(qtbot) -> None:
    tab = MirrorTab()
    shown(qtbot, tab, [record("mirror", "map")])
    tab.row.setValue(3)
    tab.picker.time.setValue(1)
    x, y = tab.curve.traces["map"].getData()
    assert y == pytest.approx(2 * x + 0.5)
    assert tab.curve.traces["identity"].getData()[1] == pytest.approx(x)
    assert tab.curve.traces["start"].getData()[0] == pytest.approx([0.2])
    assert tab.curve.traces["start"].getData()[1] == pytest.approx([0.9])
    assert tab.curve.traces["adapted"].getData()[0] == pytest.approx([1.7, 3.7], abs=1e-3)
    assert tab.weight.text() == "layer2, weight 8 of 1761"
    assert "map, slope 2" in [key.text for key in tab.curve.legend.keys]
    heights = [point.y() for point in tab.curve.bands["visited"].polygon()]
    assert sum(height > min(heights) for height in heights) > 2
    assert tab.map.marks["row"].value() == 2.5


def test_click_on_the_picture_chooses_weight_and_time(qtbot) -> None:
    tab = MirrorTab()
    shown(qtbot, tab, [record("mirror", "map")])
    box = tab.map.getPlotItem().getViewBox()
    for wanted in ((1, 0), (3, 1)):
        scene = box.mapViewToScene(QPointF(wanted[1] + 0.5, wanted[0] + 0.5))
        qtbot.mouseClick(
            tab.map.viewport(), Qt.MouseButton.LeftButton, pos=tab.map.mapFromScene(scene)
        )
        assert (tab.row.value() - 1, tab.picker.place) == wanted


def test_diagnostics_over_training(qtbot) -> None:
    tab = MirrorTab()
    runs = [record("mirror", "map"), record("mirror", "map", 1)]
    shown(qtbot, tab, runs)
    x, y = tab.diagnostics.traces["mirror-s0"].getData()
    assert x.tolist() == list(STEPS)
    assert y.tolist() == [1, 0.5, 0]
    assert [key.text for key in tab.diagnostics.legend.keys] == [
        "Mirror descent · seed 0",
        "Mirror descent · seed 1",
    ]
    tab.diagnostic.setCurrentIndex(tab.diagnostic.findData("moved_share"))
    assert tab.diagnostics.traces["mirror-s1"].getData()[1].tolist() == [0, 0.04, 0.04]
    tab.diagnostic.setCurrentIndex(tab.diagnostic.findData("symmetric_eigenvalue"))
    assert tab.diagnostics._message.text() == TOO_LARGE


def test_badge_warns(qtbot) -> None:
    tab = MirrorTab()
    shown(qtbot, tab, [record("mirror", "map")])
    assert "not positive" in tab.badge.text()
    assert "Most of the map has never moved" in tab.badge.text()
    tab.picker.time.setValue(0)
    assert "not positive" not in tab.badge.text()
    tab.show_records([record("mirror", "map", evaluations=2)])
    assert not tab.badge.isVisible()


def test_empty_mirror_page_says_what_to_do(qtbot) -> None:
    tab = MirrorTab()
    shown(qtbot, tab, [record("metasgd", "rates")])
    assert "Tick Mirror descent" in tab.map._message.text()
    assert tab.chart() is None


def test_page_out_of_sight_is_drawn_when_it_comes_to_the_front(qtbot) -> None:
    tab = MirrorTab()
    qtbot.addWidget(tab)
    tab.apply_theme(LIGHT)
    tab.show_records([record("mirror", "map")])
    assert not tab.map.images
    assert tab.chart() is not None
    tab.show()
    assert tab.map.images["map"].image.shape == (4, 3)


# Both.


@pytest.mark.parametrize("view", ["rates", "dense", "spectrum", "condition", "factors", "masks"])
def test_every_view_is_exported(qtbot, tmp_path, view: str) -> None:
    tab = GeometryTab()
    kind = "layers" if view in {"factors", "masks"} else "rates"
    shown(qtbot, tab, [record(RUNS[kind], kind)])
    choose(tab, view)
    chart = tab.chart()
    assert chart is not None
    figure = figure_of(chart, PAGE)
    assert "meta-step 100" in figure.axes[0].get_title()
    for ending in ("png", "svg"):
        save_figure(figure, tmp_path / f"figure.{ending}")
        assert (tmp_path / f"figure.{ending}").stat().st_size > 1000


def test_exported_numbers_are_those_shown(qtbot, tmp_path) -> None:
    gates = GeometryTab()
    shown(qtbot, gates, [record("metalstm", "gates")])
    drawn = figure_of(gates.chart(), PAGE)
    assert drawn.axes[0].lines[0].get_ydata().tolist() == [0.9] * K
    mirror = MirrorTab()
    shown(qtbot, mirror, [record("mirror", "map")])
    mirror.row.setValue(3)
    mirror.picker.time.setValue(1)
    figure = figure_of(mirror.chart(), PAGE)
    slopes, curve = figure.axes[:2]
    assert slopes.images[0].get_array().shape == (4, 3)
    assert curve.get_title() == "layer2, weight 8\nslope 2"
    save_figure(figure, tmp_path / "mirror.pdf")
    assert (tmp_path / "mirror.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("tab_type", [GeometryTab, MirrorTab])
def test_all_that_is_reachable_has_a_name_and_a_tip(qtbot, tab_type: type[QWidget]) -> None:
    tab = tab_type()
    shown(qtbot, tab, [record("metasgd", "rates"), record("mirror", "map")])
    kinds = (QComboBox, QSlider, QSpinBox, QCheckBox, QTableView, ChartView)
    controls = [widget for widget in tab.findChildren(QWidget) if isinstance(widget, kinds)]
    assert len(controls) >= 6
    for widget in controls:
        assert widget.objectName(), repr(widget)
        assert widget.accessibleName(), repr(widget)
        assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus, repr(widget)
        assert widget.toolTip() or isinstance(widget, ChartView), repr(widget)


@pytest.fixture
def tabs(qtbot) -> Tabs:
    made = Tabs()
    qtbot.addWidget(made)
    made.resize(900, 560)
    made.begin(LIGHT)
    made.show()
    return made


def test_pages_open_with_the_runs_that_fill_them(tabs: Tabs) -> None:
    geometry, mirror = NAMES.index("geometry"), NAMES.index("mirror")
    disabled = [place for place in range(tabs.count()) if not tabs.isTabEnabled(place)]
    assert disabled == [geometry, mirror, NAMES.index("posterior")]
    assert "Meta-SGD" in tabs.tabToolTip(geometry)
    tabs.show_records([record("metasgd", "rates")])
    assert tabs.isTabEnabled(geometry)
    assert not tabs.isTabEnabled(mirror)
    tabs.show_records([record("mirror", "map")])
    assert tabs.isTabEnabled(mirror)
    assert "Tick" not in tabs.tabToolTip(mirror)
    tabs.setCurrentIndex(mirror)
    assert tabs.current_page() is tabs.pages[mirror]
    tabs.show_records([])
    assert not tabs.isTabEnabled(mirror)
    assert tabs.currentIndex() != mirror


def test_page_opens_at_the_first_evaluation_of_a_running_run(tabs: Tabs) -> None:
    run = record("metasgd", "rates", evaluations=0)
    tabs.show_records([run])
    tabs.refresh()
    place = NAMES.index("geometry")
    assert not tabs.isTabEnabled(place)
    run.apply(record("metasgd", "rates").pictures[1])
    tabs.refresh()
    assert tabs.isTabEnabled(place)


def test_only_the_page_in_front_is_drawn(tabs: Tabs) -> None:
    tabs.show_records([record("mirror", "map"), record("metasgd", "rates")])
    place = NAMES.index("mirror")
    geometry, mirror = tabs.pages[NAMES.index("geometry")], tabs.pages[place]
    assert isinstance(geometry, GeometryTab)
    assert isinstance(mirror, MirrorTab)
    assert not mirror.map.images
    tabs.setCurrentIndex(place)
    assert mirror.map.images
    assert heights(geometry) == []
    tabs.apply_theme(DARK)
    assert mirror.curve.traces["start"]._dots.color() == curve_color("#0072B2", DARK)
