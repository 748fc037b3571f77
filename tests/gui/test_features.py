"""LEO on features in the window: trained, every page opened, its codes scrubbed, reopened."""

import logging
from pathlib import Path

import numpy as np
import pytest

from metaviz.charts.values import Scatter
from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.pages.page_tabs import NAMES
from metaviz.runs.storage.store import open_run
from tests.oracle.engine import FEATURES

WAIT = 60_000
OPTIONS = {
    **{"steps": 4, "eval_every": 2, "meta_batch": 2, "eval_tasks": 3, "eval_steps": 3},
    **{"query_shots": 2, "features.path": str(FEATURES), "features.held_out": "test"},
}


@pytest.fixture
def quiet(caplog) -> None:
    """Fail where something is logged as a warning or worse."""
    yield
    told = [r for when in ("setup", "call") for r in caplog.get_records(when)]
    assert [r.getMessage() for r in told if r.levelno >= logging.WARNING] == []


@pytest.mark.usefixtures("quiet")
def test_leo_shows_its_codes_and_every_page_opens(qtbot, open_window) -> None:
    window = open_window()
    form, controller = window.form, window.controller
    form.problem_box.setCurrentIndex(form.problem_box.findData("features"))
    form.algorithms.tick(("leo", "protonet", "qiao"))
    form._on_ticks()
    for name, value in OPTIONS.items():
        form.field(name).set_value(value)
    qtbot.waitUntil(lambda: controller.phase == "idle", timeout=WAIT)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: controller.phase == "training", timeout=WAIT)
    qtbot.waitUntil(lambda: controller.phase == "idle", timeout=WAIT)
    found = {record.algorithm: record for record in window.runs.visible_records()}
    assert {record.state for record in found.values()} == {"done"}
    leo = found["leo"]
    for name in NAMES:
        if window.tabs.isTabEnabled(NAMES.index(name)):
            window.tabs.open_page(name)
            qtbot.wait(20)
            assert not window.grab().isNull()
    window.show_records([leo])
    window.tabs.open_page("geometry")
    page = window.tabs.current_page()
    seen = []
    for place in range(len(leo.pictures)):
        page.picker.choose(place)
        chart = page.chart()
        assert isinstance(chart, Scatter)
        assert chart.id == "latent"
        paths = [series for series in chart.series if series.name.startswith("path")]
        assert len(paths) == 5
        seen.append(np.concatenate([series.x for series in paths]))
    assert len(seen) == 3
    assert not np.array_equal(seen[0], seen[-1])
    window.tabs.open_page("episode")
    episode = window.tabs.current_page()
    episode.open_task(leo.id, EvaluationProtocol(tasks=4), 1)
    qtbot.waitUntil(lambda: episode.result is not None, timeout=WAIT)
    assert not window.grab().isNull()
    again = open_run(Path(leo.environment["folder"]))
    for mine, stored in zip(leo.pictures, again.pictures, strict=True):
        for name, array in mine.arrays.items():
            assert np.array_equal(array, stored.arrays[name], equal_nan=array.dtype.kind == "f")
