"""How long it will take is told by how fast it was of late."""

import pytest

from metaviz.gui.window import toolbar


@pytest.fixture
def bar(plain_window, monkeypatch):
    """Return the bar of a window that trains, and a way to move its clock."""
    clock = [0.0]
    monkeypatch.setattr(toolbar.time, "monotonic", lambda: clock[0])
    made = plain_window().toolbar
    made.show_phase("starting")
    made.show_phase("training")

    def after(seconds: float, done: int, *, waiting: bool = False) -> str:
        clock[0] += seconds
        made.show_progress(done, 1000, paused=False, waiting=waiting)
        return made.time_left.text()

    return after


def test_time_left_is_that_of_the_last_looks(bar):
    assert bar(0, 0) == ""
    assert bar(1, 10) == ""  # too early to tell
    assert bar(4, 50) == "1:35 left"
    for done in range(60, 460, 10):
        told = bar(0.5, done)
    assert told == "0:28 left"  # 20 steps a second, and no longer 10


def test_what_is_compiled_has_no_time_left_and_does_not_count(bar):
    bar(0, 0)
    assert bar(60, 1, waiting=True) == ""
    assert bar(60, 1, waiting=True) == ""
    bar(0.5, 2)
    assert bar(4, 42) == "1:36 left"


def test_the_bar_tells_what_runs_do_before_their_first_and_after_their_last_step(plain_window):
    made = plain_window().toolbar
    made.show_phase("starting")
    made.show_phase("training")
    made.show_progress(0, 1000, paused=False, doing="evaluating 600 tasks")
    assert made.time_left.text() == "Evaluating 600 tasks…"
    made.show_progress(1000, 1000, paused=False, doing="evaluating 600 tasks")
    assert made.time_left.text() == "Evaluating 600 tasks…"


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
