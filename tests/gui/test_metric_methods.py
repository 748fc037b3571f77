"""Metric methods in the window: trained, every chart of each opened, scrubbed, read again."""

from pathlib import Path

import pytest

from metaviz.charts.storage import from_arrays
from metaviz.charts.values import Bars, Chart, Graph, HeatMap, Panels, Scatter
from metaviz.gui.pages.page_tabs import NAMES
from metaviz.gui.window.main_window import MainWindow
from metaviz.runs.storage.store import open_run
from tests.gui.conftest import trained_window

WAIT = 120_000
CHARTS: dict[str, dict[str, type[Chart]]] = {
    "matching": {"similarity": HeatMap, "embedding": Scatter},
    "relation": {"similarity": HeatMap, "embedding": Scatter},
    "tpn": {"propagation": Panels, "propagation-steps": Graph},
    "r2d2": {"similarity": HeatMap, "embedding": Scatter},
    "siamese": {"similarity": HeatMap, "embedding": Scatter},
    "tadam": {"modulation": Panels, "embedding": Scatter},
    "snail": {"attention": Panels},
    "csn": {"similarity": HeatMap, "shift": Bars},
}
OPTIONS = {
    **{"steps": 2, "eval_every": 1, "meta_batch": 2, "eval_tasks": 2, "ways": 3, "shots": 2},
    **{"query_shots": 2, "strokes.channels": 4},
}


@pytest.fixture
def window(qtbot, open_window) -> MainWindow:
    """Tick all of them on strokes and run them."""
    return trained_window(qtbot, open_window(), "strokes", CHARTS, OPTIONS)


def test_every_chart_opens_at_every_evaluation_and_is_read_again(qtbot, window: MainWindow) -> None:
    records = {record.algorithm: record for record in window.runs.visible_records()}
    assert records.keys() == CHARTS.keys()
    assert {record.state for record in records.values()} == {"done"}
    window.tabs.open_page("geometry")
    geometry = window.tabs.page("geometry")
    assert window.tabs.isTabEnabled(NAMES.index("geometry"))
    for method, expected in CHARTS.items():
        record = records[method]
        geometry.picker.run.setCurrentIndex(geometry.picker.run.findData(record.id))
        qtbot.waitUntil(lambda record=record: geometry.picker.record is record, timeout=WAIT)
        views = [geometry.what.itemData(at) for at in range(geometry.what.count())]
        assert [view.removeprefix("chart ") for view in views] == list(expected), method
        for place in range(3):
            geometry.picker.choose(place)
            for at, kind in enumerate(expected.values()):
                geometry.what.setCurrentIndex(at)
                qtbot.waitUntil(lambda kind=kind: isinstance(geometry.chart(), kind), timeout=WAIT)
                qtbot.wait(10)
                assert not geometry.plot.grab().isNull()
        again = open_run(Path(record.environment["folder"]))
        for kept, shown in zip(again.pictures, record.pictures, strict=True):
            assert kept.arrays.keys() == shown.arrays.keys()
            assert [chart.id for chart in from_arrays(kept.arrays)] == list(expected)
    assert all(record.traits.transductive for record in records.values())  # by the batch
