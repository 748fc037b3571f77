"""How methods decide, on the Learned and Episode pages: opened, scrubbed, exported, reopened."""

import csv
from pathlib import Path

import numpy as np
import pytest

from metaviz.charts.storage import from_arrays, to_arrays
from metaviz.charts.tidy import tidy_rows
from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.window.export_dialog import ExportDialog
from metaviz.gui.window.main_window import MainWindow
from metaviz.runs.export.tables import charts_csv
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run
from metaviz.training.protocol import episode
from tests.gui.conftest import trained_window
from tests.oracle.engine import FEATURES

WAIT = 60_000
CHARTS = {
    "protonet": ["embedding", "similarity"],
    "leo": ["latent"],
    "qiao": ["embedding"],
    "gidaris": ["similarity", "attention"],
    "bauer": ["prior"],
    "tpn": ["propagation", "propagation-steps"],
}
OPTIONS = {
    **{"steps": 2, "eval_every": 1, "meta_batch": 2, "eval_tasks": 2, "eval_steps": 3},
    **{"query_shots": 2, "features.path": str(FEATURES), "features.held_out": "test"},
}


@pytest.fixture
def window(qtbot, open_window) -> MainWindow:
    """Train all of them on features."""
    return trained_window(qtbot, open_window(), "features", CHARTS, OPTIONS)


def same(one: list, other: list) -> bool:
    arrays, others = to_arrays(one), to_arrays(other)
    return arrays.keys() == others.keys() and all(
        np.array_equal(arrays[key], others[key], equal_nan=arrays[key].dtype.kind == "f")
        for key in arrays
    )


def every_learned_chart(qtbot, window: MainWindow, runs: dict[str, Record]) -> None:
    window.tabs.open_page("geometry")
    learned = window.tabs.page("geometry")
    for method, ids in CHARTS.items():
        record = runs[method]
        learned.picker.run.setCurrentIndex(learned.picker.run.findData(record.id))
        qtbot.waitUntil(lambda record=record: learned.picker.record is record, timeout=WAIT)
        for place in range(3):
            learned.picker.choose(place)
            for at, name in enumerate(ids):
                learned.what.setCurrentIndex(at)
                assert learned.chart().id == name
                slider = learned.chart().slider
                assert learned.scrubbed.place.isVisible() is (slider is not None)
                assert not learned.grab().isNull()


def every_episode_chart(qtbot, window: MainWindow, runs: dict[str, Record]) -> None:
    window.tabs.open_page("episode")
    page = window.tabs.page("episode")
    for method, ids in CHARTS.items():
        record = runs[method]
        page.open_task(record.id, EvaluationProtocol(tasks=4), 2)
        qtbot.waitUntil(
            lambda r=record: page.result is not None and page.result.run == r.id, timeout=WAIT
        )
        assert page.what.isVisible()
        assert [page.what.itemData(at) for at in range(page.what.count())] == ["", *ids]
        for name in ids:
            page.what.setCurrentIndex(page.what.findData(name))
            assert page.stack.currentWidget() is page.own
            assert (page.chart().id, page.own.view.chart.id) == (name, name)
            assert page.chart().title.endswith("task 2")
            assert not page.grab().isNull()
        page.what.setCurrentIndex(0)
        assert page.stack.currentWidget() is page.fit


def test_charts_of_any_task_are_shown_scrubbed_exported_and_found_again(
    qtbot, window: MainWindow, tmp_path: Path
) -> None:
    runs = {record.algorithm: record for record in window.runs.visible_records()}
    assert {record.state for record in runs.values()} == {"done"}
    every_learned_chart(qtbot, window, runs)
    every_episode_chart(qtbot, window, runs)
    page = window.tabs.page("episode")
    assert page.result.run == runs["tpn"].id
    page.what.setCurrentIndex(page.what.findData("propagation-steps"))
    shades = []
    for place in (0, 1, 21):
        page.own.place.setValue(place)
        assert page.chart().slider.start == place
        nodes = [page.own.view.traces[f"node {at}"] for at in range(15)]
        shades.append([node._dots.color().name() for node in nodes])
    assert page.own.at.text() == "21 of 21"
    labelled = [sum(one != page._theme.muted for one in row) for row in shades]
    assert labelled[0] == 5  # the support examples alone
    assert labelled[2] == 15

    folders = {r.id: Path(r.environment["folder"]) for r in runs.values()}
    dialog = ExportDialog(window.tabs.pages, list(runs.values()), window, folders)
    dialog.folder.setText(str(tmp_path))
    dialog.report.setChecked(True)
    dialog.start()
    qtbot.waitUntil(lambda: not dialog._is_writing, timeout=WAIT)
    assert {"charts.csv", "episode.png"} <= {path.name for path in dialog.written}
    text = (tmp_path / "charts.csv").read_text(encoding="utf-8")
    assert (tmp_path / "report" / "charts.csv").exists()
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["chart"] for row in rows} == {name for ids in CHARTS.values() for name in ids}
    looked_at = [row for row in rows if row["tasks"] == "test"]
    assert {(row["algorithm"], row["task"]) for row in looked_at} == {("tpn", "2")}
    wanted = [row for chart in page.result.charts for row in tidy_rows(chart)]
    assert [row["item"] for row in looked_at] == [row.item for row in wanted]
    assert [row["value"] for row in looked_at] == [
        "" if row.value is None else repr(row.value) for row in wanted
    ]

    again = [open_run(folder) for folder in folders.values()]
    for record in again:
        shown = runs[record.algorithm]
        for kept, made in zip(record.pictures, shown.pictures, strict=True):
            assert same(from_arrays(kept.arrays), from_arrays(made.arrays))
    assert charts_csv(again, [page.result]) == text
    protocol = EvaluationProtocol.model_validate({"tasks": 4})
    repeated = episode(folders[runs["tpn"].id], protocol, 2)
    assert same(list(repeated.charts), list(page.result.charts))
