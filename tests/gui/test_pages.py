"""Pages are made when somebody looks at them, or while nothing trains; they look as they should."""

import pytest
from PySide6.QtWidgets import QCheckBox, QComboBox

from metaviz.gui.pages.inner_loop_page import InnerTab
from metaviz.gui.pages.page_tabs import NAMES
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.runs.row import Row
from metaviz.gui.session.session_file import SessionFile
from metaviz.gui.widgets.theme import DARK
from metaviz.gui.window import page_preloader
from metaviz.runs.model.record import Record
from metaviz.runs.table.summary import summarise
from tests.gui.conftest import WAIT, leave


def made(window) -> set[str]:
    return set(window.tabs.made_pages())


def tick(window, name: str) -> Record:
    config = {"algorithm": name, "problem": "sinusoid", "seed": 0, "steps": 3}
    record = Record(name, config, {})
    window.runs.add([Row(name, None, config, summarise(record, 0.0), record=record)], first=True)
    window.runs.show([name], visible=True)
    return record


def chosen(window) -> QComboBox:
    return window.findChild(QComboBox, "convergenceRun")


def test_only_the_page_in_front_is_made_at_first(plain_window) -> None:
    window = plain_window(plots=True)
    assert made(window) == {"training"}
    window.tabs.open_page("inner")
    assert made(window) == {"training", "inner"}


def test_the_page_of_the_last_session_is_made_at_first(qtbot, plain_window) -> None:
    first = plain_window(plots=True)
    first.tabs.open_page("convergence")
    leave(qtbot, first)
    second = plain_window()
    assert second.tabs.currentIndex() == NAMES.index("convergence")
    assert made(second) == set()
    third = plain_window(plots=True)
    assert made(third) == {"convergence"}


def test_asking_for_pages_makes_them_once_and_in_order(plain_window) -> None:
    window = plain_window(plots=True)
    episode = window.tabs.episode
    front = window.tabs.currentIndex()
    pages = window.tabs.pages
    assert [page.export_name for page in pages] == list(NAMES)
    assert pages[NAMES.index("episode")] is episode
    assert window.tabs.pages == pages
    assert window.tabs.currentIndex() == front
    assert window.tabs.count() == len(NAMES)
    assert not window.tabs.isTabEnabled(NAMES.index("geometry"))


def test_a_page_made_later_shows_runs_and_theme(plain_window) -> None:
    window = plain_window(plots=True)
    record = tick(window, "maml")
    window.tabs.apply_theme(DARK)
    page = window.tabs.page("inner")
    assert isinstance(page, InnerTab)
    assert page._records == [record]
    plots = page.findChildren(ChartView)
    assert plots
    assert {plot.backgroundBrush().color().name() for plot in plots} == {DARK.background}


def test_a_page_made_behind_the_front_one_draws_many_runs_only_when_seen(plain_window) -> None:
    window = plain_window(plots=True)
    records = [tick(window, name) for name in "abcde"]
    page = window.tabs.page("inner")
    assert page._records == []
    window.tabs.open_page("inner")
    assert {record.id for record in page._records} == {record.id for record in records}


def test_a_page_made_later_can_be_undone(qtbot, plain_window) -> None:
    window = plain_window(plots=True)
    window.tabs.open_page("inner")
    box = window.findChild(QCheckBox, "innerLogY")
    before = box.isChecked()
    assert window.undo_stack.count() == 0
    box.click()
    window.commands["undo"].trigger()
    assert box.isChecked() is before


def test_the_view_of_a_page_that_was_not_opened_outlives_sessions(qtbot, plain_window) -> None:
    first = plain_window(plots=True)
    log_y = first.tabs.page("inner").log_y
    log_y.setChecked(not log_y.isChecked())
    wanted = log_y.isChecked()
    leave(qtbot, first)
    second = plain_window(plots=True)
    tick(second, "maml")
    assert made(second) == {"training"}
    leave(qtbot, second)
    third = plain_window(plots=True)
    assert "inner" not in made(third)
    assert third.tabs.page("inner").log_y.isChecked() is wanted
    assert third.undo_stack.count() == 0


@pytest.mark.parametrize("early", [True, False])
def test_the_run_that_was_chosen_on_a_page_comes_back_among_many(
    qtbot, plain_window, early
) -> None:
    names = list("abcdef")
    first = plain_window(plots=True)
    for name in names:
        tick(first, name)
    first.tabs.open_page("convergence")
    chosen(first).setCurrentIndex(4)
    wanted = chosen(first).currentData()
    first.tabs.open_page("training")
    leave(qtbot, first)
    second = plain_window(plots=True)
    if early:
        second.tabs.page("convergence")
    for name in names:
        assert second.shown_runs.take_found([name]) == [name]
        tick(second, name)
    second.tabs.page("convergence")  # behind the front one, without runs yet
    views = second.session.values(ended=False)["views"]
    assert views["convergence"]["convergenceRun"] == wanted
    second.tabs.open_page("convergence")
    assert chosen(second).currentData() == wanted
    assert second.undo_stack.count() == 0


def test_a_session_saved_before_any_page_was_made_keeps_all_views(
    qtbot, plain_window, home
) -> None:
    first = plain_window(plots=True)
    first.tabs.training.smoothing.setValue(30)
    first.tabs.open_page("inner")
    leave(qtbot, first)
    before, _ = SessionFile(home).read()
    leave(qtbot, plain_window())
    after, _ = SessionFile(home).read()
    assert after["views"] == before["views"]
    assert after["tabs"] == {"current": "inner", "groups": {"adapt": "inner", "train": "training"}}


def test_pages_are_made_one_by_one_once_nothing_trains(qtbot, open_window, monkeypatch) -> None:
    monkeypatch.setattr(page_preloader, "PAUSE_MS", 20)
    window = open_window()
    counts = []
    window.tabs.made.connect(lambda _: counts.append(len(made(window))))
    assert window.tabs.missing()
    window.form.field("steps").set_value(100_000)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: window.controller.phase == "training", timeout=WAIT)
    before = made(window)
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 1, timeout=WAIT)
    record = window.runs.visible_records()[0]
    qtbot.waitUntil(lambda: record.step > 20, timeout=WAIT)
    assert made(window) == before
    window.controller.stop()
    qtbot.waitUntil(lambda: not window.tabs.missing(), timeout=WAIT)
    assert window.controller.phase == "idle"
    assert counts == list(range(len(NAMES) - len(counts) + 1, len(NAMES) + 1))
    qtbot.waitUntil(lambda: not window.page_preloader._timer.isActive(), timeout=WAIT)


@pytest.mark.parametrize("name", ["geometry", "mirror"])
def test_a_page_that_cannot_be_opened_is_made_closed(plain_window, name) -> None:
    window = plain_window(plots=True)
    place = NAMES.index(name)
    tip = window.tabs.tabToolTip(place)
    window.tabs.page(name)
    assert not window.tabs.isTabEnabled(place)
    assert window.tabs.tabToolTip(place) == tip
    assert window.tabs.currentIndex() == 0
