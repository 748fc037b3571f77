"""The three remarks after the demo, and what Welcome tells of the last runs."""

import re

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QPushButton, QWidget

from metaviz.gui.guide.tour import REMARKS, SEEN, beside
from metaviz.gui.runs.row import Row
from metaviz.runs.model.record import Record
from metaviz.runs.table.summary import summarise

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def window(plain_window):
    return plain_window(plots=True)


def press(qtbot, window, name) -> None:
    qtbot.mouseClick(window.findChild(QPushButton, name), LEFT)


def in_window(widget: QWidget) -> QRect:
    return QRect(widget.mapTo(widget.window(), QPoint()), widget.size())


@pytest.mark.parametrize("size", [(1024, 640), (1366, 768), (1600, 1000)])
def test_no_remark_covers_what_it_points_at(qtbot, window, size) -> None:
    window.resize(*size)
    window.tour.start()
    callout = window.tour.callout
    for remark in REMARKS:
        qtbot.waitUntil(callout.isVisible)
        assert callout.title.text() == remark.title
        target = window.tabs.page(remark.page).findChild(QWidget, remark.target)
        qtbot.waitUntil(target.isVisible)
        qtbot.waitUntil(lambda t=target: callout.frame.geometry().contains(in_window(t)))
        assert not callout.geometry().intersects(in_window(target)), remark.target
        assert window.rect().contains(callout.geometry())
        press(qtbot, window, "callout_next")
    assert not callout.isVisible()


def test_remarks_come_once_and_can_be_asked_for_again(qtbot, window) -> None:
    window.welcome.demo_over.emit()
    callout = window.tour.callout
    qtbot.waitUntil(callout.isVisible)
    assert window.tabs.current_page() is window.tabs.training
    press(qtbot, window, "callout_close")
    assert not callout.isVisible()
    assert window.settings.read(SEEN, False)
    window.welcome.demo_over.emit()
    assert not callout.isVisible()
    window.commands["tour"].trigger()
    qtbot.waitUntil(callout.isVisible)
    qtbot.keyClick(callout, Qt.Key.Key_Escape)
    assert not callout.isVisible()


def test_a_remark_leads_into_the_guide_and_goes_with_its_page(qtbot, window) -> None:
    window.tour.start()
    qtbot.waitUntil(window.tour.callout.isVisible)
    press(qtbot, window, "callout_more")
    assert window.guide.guide.address == REMARKS[0].address
    window.tabs.open_page("gradients")
    assert not window.tour.callout.isVisible()


def test_every_remark_leads_to_a_topic(window) -> None:
    assert all(window.guide.library.topic(remark.address) for remark in REMARKS)


@pytest.mark.parametrize("target", [(0, 0, 100, 100), (500, 300, 100, 40), (200, 0, 800, 590)])
def test_a_place_beside_does_not_cover(target) -> None:
    room, size = QRect(0, 0, 1000, 600), QSize(180, 120)
    place = QRect(beside(QRect(*target), size, room), size)
    assert room.contains(place)
    assert not place.intersects(QRect(*target))


def test_the_demo_ends_with_the_remarks_only_where_it_is_done(window) -> None:
    over: list[bool] = []
    window.welcome.demo_over.connect(lambda: over.append(True))
    finished = window.controller.worker.finished
    finished.emit()
    assert not over
    record = a_run("maml", 0.36)
    for state, wanted in (("failed", 0), ("done", 1)):
        window.welcome._in_demo = True
        record.state = state
        window.runs.add([row(record, 5.0)], first=True)
        window.runs.show_only(["maml"])
        finished.emit()
        assert len(over) == wanted


def a_run(name: str, loss: float) -> Record:
    config = {"algorithm": "maml", "problem": "sinusoid", "seed": 0, "steps": 3}
    record = Record(name, config, {})
    record.state = "done"
    return record


def row(record: Record, started: float, **numbers: float) -> Row:
    summary = summarise(record, started)
    for name, value in numbers.items():
        object.__setattr__(summary, name, value)
    return Row(record.id, None, record.config, summary, record=record)


def test_last_runs_tell_problem_result_state_and_date_newest_first(window) -> None:
    old = row(a_run("old", 0.4), 1_700_000_000.0, loss=0.361, loss_ci95=0.07)
    new = row(a_run("new", 0.4), 1_700_100_000.0, loss=np.nan, accuracy=0.973, accuracy_ci95=0.004)
    window.runs.add([old, new], first=True)
    window.commands["welcome"].trigger()
    first, second = (window.findChild(QPushButton, f"welcome_run_{at}") for at in (0, 1))
    assert first.property("run") == "new"
    assert "accuracy 97.30 ± 0.40 %" in first.text()
    assert "Sinusoid regression  –  query loss 0.361 ± 0.070  –  done" in second.text()
    assert re.search(r"2023-11-1\d \d\d:\d\d$", second.text())
    assert second.text() in second.accessibleName()
