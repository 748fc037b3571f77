"""How long it will take is told by how fast it was of late."""

import re
import time

import numpy as np
import pytest

from metaviz.gui.runs.time_left import TimeLeft, evaluations_left
from metaviz.runs.model.events import STEP_COLUMNS, Stepped, Waiting
from metaviz.runs.model.record import Record


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def run_of(total: int, **shared: int) -> Record:
    return Record("a", {"algorithm": "maml", "steps": total, "shared": shared})


def go(record: Record, step: int, seconds: float) -> None:
    values = [np.nan] * len(STEP_COLUMNS)
    values[STEP_COLUMNS.index("seconds")] = seconds
    record.append_row(step, values)


def test_time_left_is_that_of_the_last_looks():
    record, left = run_of(1000), TimeLeft()
    assert left.seconds([record]) is None
    for step, seconds in ((0, 0.0), (10, 1.0)):
        go(record, step, seconds)
        left.note([record])
    assert left.seconds([record]) is None  # too early to tell
    go(record, 50, 5.0)
    left.note([record])
    assert left.seconds([record]) == pytest.approx(95)
    for place, step in enumerate(range(60, 460, 10)):
        go(record, step, 5.5 + place / 2)
        left.note([record])
    assert left.seconds([record]) == pytest.approx(27.5)  # 20 steps a second, and no longer 10


def test_time_left_counts_evaluations_by_how_long_the_last_ones_took(clock):
    record, left = run_of(1000, eval_every=100), TimeLeft()
    for step, seconds in ((1, 0.1), (50, 5.0)):
        go(record, step, seconds)
        left.note([record])
    left.evaluation_began("a")
    clock[0] += 3.0
    left.evaluation_ended("a")
    assert evaluations_left(record) == 10
    assert left.seconds([record]) == pytest.approx(95 + 30)
    record.state = "done"
    assert left.seconds([record]) is None


@pytest.mark.parametrize(("step", "number"), [(0, 4), (99, 4), (100, 3), (301, 1), (350, 0)])
def test_evaluations_left_end_with_the_one_after_the_last_step(step, number):
    record = run_of(350, eval_every=100)
    go(record, step, 1.0)
    assert evaluations_left(record) == number
    record.resolved["evaluation"] = {"tasks": 3, "steps": [0, 100, 200, 300, 350]}
    assert evaluations_left(record) == number


def test_the_bar_tells_what_runs_do_before_their_first_and_after_their_last_step(plain_window):
    made = plain_window().toolbar
    made.show_phase("starting")
    made.show_phase("training")
    made.show_doing("reading images, 3 of 9")
    assert made.time_left.text() == "Reading images, 3 of 9"
    doing = "evaluating, 40 of 600 tasks"
    for done in (0, 1000):
        made.show_progress(done, 1000, None, paused=False, doing=doing)
        assert made.time_left.text() == "Evaluating, 40 of 600 tasks"


def test_what_is_compiled_has_no_time_left_and_does_not_count(plain_window):
    live, record = plain_window().live, run_of(1000)
    live.records = {"a": record}
    for step, seconds in ((1, 0.1), (50, 5.0)):
        record.apply(Stepped(step, {"seconds": seconds}, np.zeros(1), np.zeros(1)))
        told = live.seconds_left()
    assert told == pytest.approx(95)
    record.apply(Waiting(50, "compiling the meta-step"))
    assert live.seconds_left() is None
    record.apply(Stepped(60, {"seconds": 6.0}, np.zeros(1), np.zeros(1)))
    assert live.seconds_left() == pytest.approx(94)


def test_what_takes_a_moment_only_is_not_told(plain_window, clock):
    made = plain_window().toolbar
    made.show_phase("starting")
    made.show_phase("training")
    made.show_progress(5, 1000, 95.0, paused=False)
    assert made.time_left.text() == "1:35 left"
    clock[0] += 0.5
    made.show_progress(5, 1000, 95.0, paused=False, doing="evaluating, 2 of 9 tasks")
    assert made.time_left.text() == "1:35 left"
    clock[0] += 1.0
    made.show_progress(5, 1000, 94.0, paused=False, doing="evaluating, 3 of 9 tasks")
    assert made.time_left.text() == "Evaluating, 3 of 9 tasks, 1:34 left"


def test_an_evaluation_tells_how_many_tasks_are_done(qtbot, window):
    window.form.field("eval_tasks").set_value(2000)
    window.commands["run"].trigger()
    pattern = re.compile(r"evaluating, (\d+) of 2000 tasks")
    qtbot.waitUntil(
        lambda: (found := pattern.fullmatch(window.live.doing)) is not None and int(found[1]) > 0,
        timeout=60_000,
    )


def test_run_brings_training_to_the_front_and_the_title_tells_how_far_it_is(qtbot, window):
    window.tabs.open_page("comparison")
    assert window.windowTitle() == "Sinusoid regression – MetaViz"
    titles: list[str] = []
    window.windowTitleChanged.connect(titles.append)
    window.commands["run"].trigger()
    for phase in ("training", "idle"):
        qtbot.waitUntil(lambda phase=phase: window.controller.phase == phase, timeout=60_000)
    assert window.windowTitle() == "Sinusoid regression – MetaViz"
    assert window.tabs.current_page() is window.tabs.training
    assert "0 % – Sinusoid regression – MetaViz" in titles
