"""A method without an inner loop beside one with: every page, evaluations, files, reopening."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PySide6.QtWidgets import QCheckBox, QLabel

from metaviz.charts.values import Bars, Lines, Scatter
from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.pages.page_tabs import NAMES
from metaviz.gui.pages.protocol_dialog import ProtocolDialog
from metaviz.gui.window.export_dialog import ExportDialog
from metaviz.gui.window.main_window import MainWindow
from metaviz.runs.analysis.needs import INNER_LOOP, LEARNED, Need
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run

WAIT = 60_000
LEFT_OUT = "ProtoNet has no inner loop"
OPTIONS = {
    **{"steps": 6, "eval_every": 3, "meta_batch": 2, "eval_tasks": 3, "eval_steps": 3},
    **{"inner_steps": 2, "query_shots": 2, "strokes.channels": 4},
}


class Trained(NamedTuple):
    """A window with both runs."""

    window: MainWindow
    maml: Record
    protonet: Record


@pytest.fixture
def trained(qtbot, open_window) -> Trained:
    """Tick both methods on strokes and run them."""
    window = open_window()
    form, controller = window.form, window.controller
    form.problem_box.setCurrentIndex(form.problem_box.findData("strokes"))
    form.algorithms.tick(("maml", "protonet"))
    form._on_ticks()
    for name, value in OPTIONS.items():
        form.field(name).set_value(value)
    qtbot.waitUntil(lambda: controller.phase == "idle", timeout=WAIT)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: controller.phase == "training", timeout=WAIT)
    qtbot.waitUntil(lambda: controller.phase == "idle", timeout=WAIT)
    found = {record.algorithm: record for record in window.runs.visible_records()}
    return Trained(window, found["maml"], found["protonet"])


@pytest.fixture
def quiet(caplog) -> None:
    """Fail where something is logged as a warning or worse."""
    yield
    told = [r for when in ("setup", "call") for r in caplog.get_records(when)]
    assert [r.getMessage() for r in told if r.levelno >= logging.WARNING] == []


def remark(window: MainWindow, name: str) -> str:
    label = window.findChild(QLabel, f"{name}Remark")
    return label.text() if label.isVisible() else ""


def opened(qtbot, window: MainWindow, name: str):
    window.tabs.open_page(name)
    qtbot.wait(20)
    assert not window.grab().isNull()
    return window.tabs.current_page()


@pytest.mark.usefixtures("quiet")
def test_every_page_shows_it_or_says_why_not(qtbot, trained: Trained) -> None:
    window, maml, protonet = trained
    ids = {maml.id, protonet.id}
    page = opened(qtbot, window, "training")
    page.findChild(QCheckBox, "trainingBatches").setChecked(True)
    training = page.chart()
    assert {f"{one} post" for one in ids} <= {series.name for series in training.series}
    assert [band.name for band in training.bands] == [f"{maml.id} gap"]
    assert f"{protonet.id} pre" not in {series.name for series in training.series}
    opened(qtbot, window, "comparison")
    for name in ("inner", "convergence"):
        page = opened(qtbot, window, name)
        assert remark(window, name) == f"{LEFT_OUT}: it is not drawn here."
        for chart in page.chart().charts[:2]:
            assert {series.name for series in chart.series} <= {maml.id}
    inner = window.tabs.page("inner")
    for k in range(inner.k.maximum() + 1):
        inner.k.setValue(k)
    assert f"after {inner.k.maximum()} inner steps:" in inner.readout.text()
    geometry = opened(qtbot, window, "geometry")
    assert remark(window, "geometry") == "MAML has no learned geometry: it is not drawn here."
    for place in range(len(protonet.pictures)):
        geometry.picker.choose(place)
        assert isinstance(geometry.chart(), Scatter)
    assert len({series.name for series in geometry.chart().series}) == 3 * 5
    assert geometry.table.isHidden()
    assert not window.tabs.isTabEnabled(NAMES.index("mirror"))
    gradients = opened(qtbot, window, "gradients")
    gradients.compare.click()
    qtbot.waitUntil(lambda: gradients.result is not None, timeout=WAIT)
    assert [row.algorithm for row in gradients.result.rows] == ["maml", "protonet"]


@pytest.mark.usefixtures("quiet")
def test_alone_a_sentence_takes_the_place_of_inner_loops(qtbot, trained: Trained) -> None:
    window, maml, protonet = trained
    window.show_records([protonet])
    for name in ("inner", "convergence"):
        page = opened(qtbot, window, name)
        assert remark(window, name) == INNER_LOOP.missing
        assert page.isHidden()
    benchmark = opened(qtbot, window, "benchmark")
    assert not benchmark.vary.isEnabled()
    assert benchmark.map.chart.message == INNER_LOOP.missing
    dialog = ExportDialog(window.tabs.pages, [protonet], window)
    assert not dialog.plots["inner"].isEnabled()
    assert dialog.plots["geometry"].isEnabled()
    window.show_records([maml])
    page = opened(qtbot, window, "inner")
    assert (remark(window, "inner"), page.isVisible()) == ("", True)


@pytest.mark.usefixtures("quiet")
def test_it_is_evaluated_shown_exported_and_found_again(
    qtbot, trained: Trained, tmp_path: Path
) -> None:
    window, maml, protonet = trained
    benchmark = opened(qtbot, window, "benchmark")
    benchmark._take_protocol(EvaluationProtocol(tasks=4))
    benchmark.evaluate.click()
    qtbot.waitUntil(lambda: not benchmark._busy, timeout=WAIT)
    rows = {benchmark.table.item(row, 0).text() for row in range(benchmark.table.rowCount())}
    assert {maml.label, protonet.label} <= rows
    assert {series.name for series in benchmark.tasks.chart.series} == {maml.id}
    assert LEFT_OUT in benchmark.hint.text()
    assert [benchmark.run.itemData(at) for at in range(benchmark.run.count())] == [maml.id]
    assert LEFT_OUT in benchmark.remark.text()
    benchmark.settings.click()
    dialog = window.findChild(ProtocolDialog)
    assert f"{LEFT_OUT}: the number of inner steps is not used there." in dialog.note.text()
    dialog.reject()

    episode = opened(qtbot, window, "episode")
    for record, chart in ((protonet, Bars), (maml, Lines)):
        episode.result = None
        episode.open_task(record.id, EvaluationProtocol(tasks=4), 1)
        qtbot.waitUntil(lambda: episode.result is not None, timeout=WAIT)
        steps = record is maml
        assert episode.step.isVisible() is episode.losses.isVisible() is steps
        assert ("has no inner loop" in episode.caption.text()) is not steps
        assert isinstance(episode.path.chart, chart)
        assert ("→" in episode.status.text()) is steps
        assert not window.grab().isNull()
    episode.open_task(protonet.id, EvaluationProtocol(tasks=4), 1)
    qtbot.waitUntil(lambda: episode.result.run == protonet.id, timeout=WAIT)

    folders = {r.id: Path(r.environment["folder"]) for r in (maml, protonet)}
    export = ExportDialog(window.tabs.pages, [maml, protonet], window, folders)
    export.report.setChecked(True)
    export.folder.setText(str(tmp_path / "exported"))
    export.start()
    qtbot.waitUntil(lambda: not export._is_writing, timeout=WAIT)
    written = {path.name for path in export.written}
    figures = {"training", "comparison", "inner", "convergence", "geometry", "benchmark", "episode"}
    assert {f"{name}.png" for name in figures} <= written
    assert {"metrics.csv", "inner.csv", "evaluations.csv", "report.html"} <= written
    (report,) = (path for path in export.written if path.name == "report.html")
    commands = report.read_text(encoding="utf-8")
    assert "metaviz evaluate repeated" in commands
    assert "steps=0" not in commands  # which the command would refuse
    for record, folder in folders.items():
        again = open_run(folder)
        before = maml if record == maml.id else protonet
        assert again.traits == before.traits
        for name in ("post_query_loss", "pre_query_loss"):
            np.testing.assert_array_equal(again.column(name), before.column(name))
        assert [p.step for p in again.pictures] == [p.step for p in before.pictures]
        for kept, made in zip(again.pictures, before.pictures, strict=True):
            assert kept.arrays.keys() == made.arrays.keys()
            for key, array in made.arrays.items():
                np.testing.assert_array_equal(kept.arrays[key], array)


def test_sentences_name_few_methods_and_only_those_that_lack_something() -> None:
    def made(name: str) -> Record:
        return Record(name, {"algorithm": name, "problem": "strokes", "seed": 0})

    runs = [made(name) for name in ("maml", "protonet", "a", "b", "c")]
    need = Need(lambda record: record.algorithm == "maml", "no inner loop", "None has one.")
    assert need.left_out(runs[:1]) == ""
    assert need.left_out(runs[:3]) == "ProtoNet and a have no inner loop: they are not drawn here."
    assert need.left_out(runs).startswith("ProtoNet, a, b and 1 more have no inner loop")
    # Before its first evaluation a run may still learn something.
    assert LEARNED.left_out(runs) == ""
