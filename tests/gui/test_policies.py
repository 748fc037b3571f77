"""A policy in the window: trained, its paths scrubbed, exported, and read from disk again."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QComboBox

from metaviz.charts.values import Paths
from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.pages.page_tabs import NAMES
from metaviz.runs.analysis.curve_charts import fan
from metaviz.runs.export.tables import inner_csv, metrics_csv
from metaviz.runs.storage.store import open_run

WAIT = 60_000
OPTIONS = {
    **{"steps": 3, "eval_every": 2, "meta_batch": 3, "eval_tasks": 4, "shots": 4},
    **{"query_shots": 6, "navigation.horizon": 5, "navigation.eval_horizon": 8},
    **{"navigation.hidden": 6},
}


def train(qtbot, window, *names: str, problem: str = "navigation") -> dict:
    form, controller = window.form, window.controller
    form.problem_box.setCurrentIndex(form.problem_box.findData(problem))
    form.algorithms.tick(names)
    form._on_ticks()
    for name, value in OPTIONS.items():
        if "." not in name or name.startswith(problem):
            form.field(name).set_value(value)
    qtbot.waitUntil(lambda: controller.phase == "idle", timeout=WAIT)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: controller.phase == "training", timeout=WAIT)
    qtbot.waitUntil(lambda: controller.phase == "idle", timeout=WAIT)
    found = {record.algorithm: record for record in window.runs.visible_records()}
    assert {record.state for record in found.values()} == {"done"}
    return found


def test_paths_are_scrubbed_exported_and_the_same_on_disk(qtbot, open_window) -> None:
    window = open_window()
    found = train(qtbot, window, "maml", "joint")
    maml = found["maml"]
    window.show_records([maml])
    window.tabs.open_page("inner")
    page = window.tabs.current_page()
    qtbot.waitUntil(lambda: isinstance(page.fan_plot.chart, Paths), timeout=WAIT)
    assert page.quantity.currentData() == "query_return"
    arrays = maml.pictures[-1].arrays
    assert arrays["paths"].shape == (4, 6, 5, 9, 2)
    page.task.setValue(3)
    for k in range(4):
        page.k.setValue(k)
        assert f"k = {k}" in page.caption.text()
        shown = {one.name: one for one in page.fan_plot._shapes.series}
        walked = np.stack([shown["chosen"].x, shown["chosen"].y], 1).reshape(5, 10, 2)
        np.testing.assert_array_equal(walked[:, :-1], arrays["paths"][k, 2].astype(np.float32))
        assert np.isnan(walked[:, -1]).all()
        for step in range(3):
            assert np.isfinite(shown[f"k{step}"].x).any() == (step < k)
        assert (shown["goal"].x[0], shown["goal"].y[0]) == tuple(arrays["goals"][2].tolist())
    means = arrays["path_returns"][:, 2].mean(1)
    assert f"return −{-means[0]:.1f} → −{-means[1]:.1f}" in page.caption.text()
    # Curves are returns; those of losses are there for who asks.
    (curve,) = page.chart().charts[0].series
    np.testing.assert_array_equal(curve.y, maml.evaluations[-1].curves["query_return"])
    np.testing.assert_allclose(curve.y, -maml.evaluations[-1].curves["query_loss"])
    again = open_run(Path(maml.environment["folder"]))
    assert fan(again, 2).caption == fan(maml, 2).caption
    for mine, stored in zip(maml.pictures, again.pictures, strict=True):
        assert mine.arrays.keys() == stored.arrays.keys()
        for name, array in mine.arrays.items():
            np.testing.assert_array_equal(array, stored.arrays[name])
    rows = list(csv.DictReader(io.StringIO(inner_csv([again]))))
    column = [float(row["query_return"]) for row in rows if row["step"] == "3"]
    np.testing.assert_allclose(column, maml.evaluations[-1].curves["query_return"], rtol=1e-6)
    window.tabs.open_page("episode")
    episode = window.tabs.current_page()
    episode.open_task(maml.id, EvaluationProtocol(tasks=4), 1)
    qtbot.waitUntil(lambda: episode.result is not None, timeout=WAIT)
    assert not episode.result.has_images
    losses = {one.name: one.y for one in episode.losses.chart.series}
    np.testing.assert_array_equal(losses["query"], episode.result.query_loss)
    steps = list(csv.DictReader(io.StringIO(metrics_csv([again]))))
    for name in ("pre_query_return", "post_query_return", "post_support_return"):
        assert all(float(row[name]) < 0 for row in steps)


def test_training_and_comparison_show_returns_first(qtbot, open_window) -> None:
    window = open_window()
    found = train(qtbot, window, "maml", "scratch")
    window.show_records(list(found.values()))
    window.tabs.open_page("training")
    page = window.tabs.current_page()
    qtbot.waitUntil(lambda: page.view.quantity == "query_return", timeout=WAIT)
    assert "query return" in page.chart().y.text
    # A person's choice stays.
    page.quantity.setCurrentIndex(page.quantity.findData("query_loss"))
    page.redraw()
    qtbot.wait(50)
    assert page.view.quantity == "query_loss"
    for name in NAMES:
        if window.tabs.isTabEnabled(NAMES.index(name)):
            window.tabs.open_page(name)
            qtbot.wait(20)
            assert not window.grab().isNull()
    window.tabs.open_page("comparison")
    chosen = window.tabs.current_page().findChild(QComboBox, "compareMeasure")
    qtbot.waitUntil(lambda: chosen.currentData() == "eval_query_return", timeout=WAIT)


@pytest.mark.parametrize("problem", ["chain", "bandit"])
def test_worlds_of_tables_draw_no_paths(qtbot, open_window, problem: str) -> None:
    window = open_window()
    found = train(qtbot, window, "maml", problem=problem)
    assert fan(found["maml"]) is None
    window.show_records([found["maml"]])
    window.tabs.open_page("inner")
    assert not window.grab().isNull()


def test_methods_that_cannot_act_say_why_in_the_form(qtbot, open_window) -> None:
    window = open_window()
    form = window.form
    form.problem_box.setCurrentIndex(form.problem_box.findData("navigation"))
    reasons = form.catalogue.unsuited(form.problem)
    assert reasons["imaml"] == (
        "iMAML solves a fixed inner objective, and the navigation problem has none."
    )
    assert {"maml", "fomaml", "reptile", "metasgd", "joint", "scratch"}.isdisjoint(reasons)
