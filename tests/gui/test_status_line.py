"""The status line while training: device, threads, rate, share of the limit, time left."""

import numpy as np
import pytest
from PySide6.QtWidgets import QLabel

from metaviz.gui.background import training_worker as worker
from metaviz.gui.window import status_line
from metaviz.gui.window.status_line import RateMeter
from metaviz.runs.model.events import STEP_COLUMNS
from metaviz.runs.model.record import Record
from metaviz.runs.model.speed import Gauge
from metaviz.training.machine import FILE, limit
from tests.gui.conftest import WAIT


def record(name: str, step: int, seconds: float) -> Record:
    made = Record(name, {"algorithm": name})
    values = [np.nan] * len(STEP_COLUMNS)
    values[STEP_COLUMNS.index("seconds")] = seconds
    made.append_row(step, values)
    return made


def test_rates_are_those_of_the_last_looks():
    tally = RateMeter()
    assert tally.rate() is None
    tally.add([record("a", 10, 1.0)])
    assert tally.rate() is None
    tally.add([record("a", 30, 2.0), record("b", 5, 7.0)])
    assert tally.rate() == pytest.approx(20)
    tally.add([record("a", 30, 2.0), record("b", 15, 8.0)])
    assert tally.rate() == pytest.approx(15)
    assert tally.rate({"b": 100.0}) == pytest.approx(1000)
    assert tally.rate({}) is None
    tally.forget()
    assert tally.rate() is None


def test_the_line_tells_of_training_and_goes_with_it(qtbot, window, home, monkeypatch):
    monkeypatch.setattr(worker, "GAUGE_SECONDS", 0.0)
    limit.cache_clear()
    line = window.findChild(QLabel, "pace_line")
    assert not line.isVisible()
    window.form.field("steps").set_value(1_000_000)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: bool(line._gauges), timeout=WAIT)
    ((name, gauge),) = line._gauges.items()
    assert name in window.live.records
    assert gauge.operations > 1e6
    assert gauge.limit > 1e8
    assert (home / FILE).exists()
    qtbot.waitUntil(lambda: "of the limit" in line.text() and "left" in line.text(), timeout=WAIT)
    assert line.isVisible()
    parts = line.text().split(" · ")
    assert parts[:2] == ["maml", "CPU, 1 worker × 1 thread"]
    assert parts[2].endswith(" steps/s")
    assert 0 < float(parts[3].split()[0]) < 100
    assert "Multiplying large matrices" in line.toolTip()
    assert "Meta-steps are eager: one operation after another." in line.toolTip()
    window.commands["pause"].trigger()
    qtbot.waitUntil(lambda: line.text().endswith("Paused"), timeout=WAIT)
    window.controller.stop()
    qtbot.waitUntil(lambda: window.controller.phase == "idle", timeout=WAIT)
    assert not line.isVisible()
    assert line.text() == ""


def test_a_run_that_cannot_be_gauged_trains_on(qtbot, window, monkeypatch):
    from metaviz.training.session import Session

    def fail(_session):
        raise RuntimeError("no clock")

    monkeypatch.setattr(worker, "GAUGE_SECONDS", 0.0)
    monkeypatch.setattr(Session, "gauge", fail)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: window.controller.busy, timeout=WAIT)
    qtbot.waitUntil(lambda: window.controller.phase == "idle", timeout=WAIT)
    (found,) = window.live.records.values()
    assert found.state == "done"


def test_the_line_names_an_engine_that_is_not_the_usual(window):
    window.resize(1600, 640)
    line = window.status_line
    window.live.records = {name: record(name, 10, 1.0) for name in ("a", "b")}
    line._gauges = {"a": Gauge(10**9, 2e11, "compiled"), "b": Gauge(10**9, 2e11, "eager")}
    line.refresh()
    assert line.text().endswith("1 worker × 1 thread · compiled")
    assert "Meta-steps are compiled: translated to machine code" in line.toolTip()
    assert "Meta-steps are eager: " in line.toolTip()
    line._gauges = {"a": Gauge(10**9, 2e11, "captured, 5 seeds as one batch")}
    line.refresh()
    assert "captured, 5 seeds as one batch" in line.text()
    assert "Meta-steps are captured, 5 seeds as one batch: replayed" in line.toolTip()


@pytest.mark.parametrize("width", [1024, 700, 400])
def test_the_line_is_never_cut(qtbot, window, width):
    window.resize(width, 640)
    line = window.status_line
    long = record("metacurvature", 10, 1.0)
    long.environment = {"device": "cpu", "shards": 16, "threads": 1}
    window.live.records = {"metacurvature": long}
    line._gauges = {"metacurvature": Gauge(10**9, 2e11)}
    line._rates.add([long])
    line._rates.add([record("metacurvature", 20, 1.5)])
    window.queue_status.setText("Queue: 10 of 20 done, 1 failed, about 3 h 20 min")
    line._time_left = lambda: "10:23:45 left"
    line.show()
    line.refresh()
    qtbot.wait(10)
    assert line.text().endswith("10:23:45 left")
    assert line.fontMetrics().horizontalAdvance(line.text()) <= line.width()
    assert line.geometry().right() <= window.statusBar().width()
    assert status_line.place_text(long.environment) in line.toolTip()
