"""The Predict page: a person drops pictures and sees what a run takes them for."""

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent

from metaviz.charts.values import ImageGrid, Lines, Table
from metaviz.gui.pages.predict_page import PredictTab
from metaviz.runs.analysis.prediction_charts import prediction_chart
from metaviz.training.prediction.examples import given_arrays, read_given
from metaviz.training.prediction.predict import predict_given
from tests.unit.stored import config, train
from tests.unit.test_predict_run import drawn, strokes

WAIT = 60_000


@pytest.fixture(scope="module")
def maml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strokes("maml", tmp_path_factory.mktemp("maml"))


def drop(field, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    place, buttons = QPointF(5, 5), Qt.MouseButton.LeftButton
    action, keys = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    field.dropEvent(QDropEvent(place, action, data, buttons, keys))


def test_dropped_pictures_are_predicted_by_the_run_that_is_ticked(
    qtbot, open_window, maml: Path, tmp_path: Path
) -> None:
    support, query, _ = drawn(maml, tmp_path)
    window = open_window()
    qtbot.waitUntil(lambda: window.controller.phase == "idle", timeout=WAIT)
    window.drop_handler.show_runs(maml)
    qtbot.waitUntil(lambda: bool(window.runs.visible_records()), timeout=WAIT)
    window.tabs.open_page("predict")
    page = window.tabs.predict
    assert not page.ask_button.isEnabled()
    drop(page.support, support)
    drop(page.query, *sorted(query.iterdir()))
    assert page.query.label.text() == "Query: 000.png, 001.png and 7 more"
    qtbot.waitUntil(page.ask_button.isEnabled, timeout=WAIT)
    page.ask_button.click()
    qtbot.waitUntil(lambda: page.result is not None, timeout=WAIT)
    expected = predict_given(maml, read_given([support], "s"), read_given([query], "q"))
    assert np.array_equal(page.result.probabilities, expected.probabilities)
    assert page.step.value() == expected.k == 2
    assert page.at.text() == "k = 2 of 2"
    chart = page.grid.chart
    assert isinstance(chart, ImageGrid)
    answers = [f"…{name[-6:]}" for name in expected.answers()]
    assert [text.rpartition(" ")[0] for text in chart.below] == answers
    page.step.setValue(0)
    shares = expected.probabilities[0].max(1)
    assert page.grid.chart.shares == tuple(map(float, shares))
    page.number.setValue(3)
    path = page.path.chart
    assert isinstance(path, Lines)
    assert {tuple(one.y) for one in path.series} == {
        tuple(expected.probabilities[:, 2, c]) for c in range(3)
    }
    assert "transductive" in page.remarks.text()
    assert page.tables()["predict.csv"].count("\n") == 1 + 3 * 9
    drop(page.query, tmp_path / "none.png")
    page.ask_button.click()
    qtbot.waitUntil(lambda: "does not exist" in page.status.text(), timeout=WAIT)
    assert page.ask_button.isEnabled()


def test_known_classes_frame_what_is_wrong_and_numbers_are_a_table(
    qtbot, maml: Path, tmp_path: Path
) -> None:
    support, _, _ = drawn(maml, tmp_path)
    given = read_given([support], "support")
    found = predict_given(maml, given, given)
    page = PredictTab()
    qtbot.addWidget(page)
    page.show_result(found)
    pairs = zip(found.answers(), found.truth(), strict=True)
    wrong = [n for n, (answer, truth) in enumerate(pairs) if answer != truth]
    assert list(prediction_chart(found, found.k).wrong) == wrong
    assert "right where the class is known" in page.status.text()
    run = train(config("maml"), tmp_path / "r")
    x = np.linspace(-1, 1, 4)
    numbers = predict_given(run, given_arrays("s", x, x[:, None]), given_arrays("q", x, None))
    page.show_result(numbers)
    table = page.grid.chart
    assert isinstance(table, Table)
    assert table.header == ("name", "output0")
    assert len(table.rows) == 4
