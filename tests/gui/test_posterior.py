"""What methods hold possible, in the window: trained, every chart opened, exported, read again."""

from pathlib import Path

import numpy as np
import pytest

from metaviz.charts.matplotlib import Page
from metaviz.charts.posterior import IDS
from metaviz.charts.storage import from_arrays
from metaviz.charts.values import Chart, Lines, Panels, Scatter
from metaviz.gui.pages.page_tabs import NAMES
from metaviz.gui.window.main_window import MainWindow
from metaviz.runs.analysis.posterior import posterior_chart_of
from metaviz.runs.export.figures import run_figures
from metaviz.runs.storage.store import open_run

WAIT = 120_000
OPTIONS = {"steps": 4, "eval_every": 2, "meta_batch": 2, "eval_tasks": 6, "mixture.hidden": 8}


def trained(qtbot, window: MainWindow, problem: str, methods: tuple[str, ...], **options) -> None:
    """Tick methods on a problem and run them."""
    form, controller = window.form, window.controller
    form.problem_box.setCurrentIndex(form.problem_box.findData(problem))
    form.algorithms.tick(methods)
    form._on_ticks()
    for name, value in options.items():
        form.field(name).set_value(value)
    qtbot.waitUntil(lambda: controller.phase == "idle", timeout=WAIT)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: controller.phase == "training", timeout=WAIT)
    qtbot.waitUntil(lambda: controller.phase == "idle", timeout=WAIT)


def choose(qtbot, box, value: str) -> None:
    box.setCurrentIndex(box.findData(value))
    assert box.currentData() == value
    qtbot.wait(10)


def same(one: Chart, other: Chart) -> bool:
    """Return whether two charts hold the same numbers."""
    assert isinstance(one, Lines | Scatter)
    assert isinstance(other, Lines | Scatter)
    return all(
        np.array_equal(a.x, b.x) and np.array_equal(a.y, b.y)
        for a, b in zip(one.series, other.series, strict=True)
    )


@pytest.fixture
def window(qtbot, open_window) -> MainWindow:
    """Train PLATIPUS, LLAMA and MAML on sinusoids and lines."""
    window = open_window()
    assert not window.tabs.isTabEnabled(NAMES.index("posterior"))
    trained(qtbot, window, "mixture", ("platipus", "llama", "maml"), **OPTIONS)
    return window


def test_every_chart_opens_at_every_evaluation_and_is_read_again(qtbot, window) -> None:
    records = {record.algorithm: record for record in window.runs.visible_records()}
    assert window.tabs.isTabEnabled(NAMES.index("posterior"))
    window.tabs.open_page("posterior")
    page = window.tabs.page("posterior")
    offered = {page.picker.run.itemData(at) for at in range(page.picker.run.count())}
    assert offered == {records[name].id for name in ("platipus", "llama")}
    for method in ("platipus", "llama"):
        record = records[method]
        choose(qtbot, page.picker.run, record.id)
        assert [page.what.itemData(at) for at in range(page.what.count())] == list(IDS)
        again = open_run(Path(record.environment["folder"]))
        for place in range(3):
            page.picker.choose(place)
            for name in IDS:
                choose(qtbot, page.what, name)
                shown = page.chart()
                assert isinstance(shown, Panels)
                assert shown.charts[0].id == name
                stored = posterior_chart_of(again, place, name)
                assert stored is not None
                assert same(shown.charts[0], stored)
                assert not page.plot.grab().isNull()
    fan = posterior_chart_of(records["platipus"], -1, IDS[0])
    assert isinstance(fan, Lines)
    assert len([one for one in fan.series if one.name.startswith("sample")]) == 20


def test_quantities_are_drawn_over_training(qtbot, window) -> None:
    records = {record.algorithm: record for record in window.runs.visible_records()}
    window.tabs.open_page("posterior")
    page = window.tabs.page("posterior")
    choose(qtbot, page.picker.run, records["platipus"].id)
    for name, runs in {
        "coverage_95": ("platipus", "llama"),
        "kl": ("platipus",),
        "information": ("llama",),
        "log_determinant": ("llama",),
    }.items():
        choose(qtbot, page.quantity, name)
        lines = page.chart().charts[1]
        assert {one.name for one in lines.series} == {records[run].id for run in runs}
    choose(qtbot, page.quantity, "coverage_95")
    (mine,) = (s for s in page.chart().charts[1].series if s.name == records["platipus"].id)
    told = [one.at("coverage_95") for one in records["platipus"].evaluations]
    assert mine.y.tolist() == told


def test_figures_hold_the_charts_and_the_learned_page_does_not(qtbot, window) -> None:
    records = {record.algorithm: record for record in window.runs.visible_records()}
    names = [name for name, _ in run_figures(records["platipus"], Page)]
    assert set(IDS) <= set(names)
    assert not window.tabs.isTabEnabled(NAMES.index("geometry"))


def test_classes_have_reliability_and_no_fans(qtbot, open_window) -> None:
    window = open_window()
    options = {"steps": 1, "eval_every": 1, "eval_tasks": 3, "ways": 3, "query_shots": 3}
    small = {"strokes.channels": 4, "meta_batch": 2, "platipus.samples": 2}
    trained(qtbot, window, "strokes", ("platipus", "llama"), **options, **small)
    records = {record.algorithm: record for record in window.runs.visible_records()}
    assert {record.state for record in records.values()} == {"done"}
    charts = from_arrays(
        next(p.arrays for p in records["platipus"].pictures if "charts" in p.arrays)
    )
    assert [chart.id for chart in charts] == list(IDS[-2:])
    window.tabs.open_page("posterior")
    page = window.tabs.page("posterior")
    choose(qtbot, page.picker.run, records["llama"].id)
    choose(qtbot, page.quantity, "log_determinant")
    assert page.what.count() == 0
    assert isinstance(page.chart(), Panels)
    assert not page.plot.grab().isNull()
