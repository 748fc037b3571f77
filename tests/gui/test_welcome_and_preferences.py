"""Welcome page, preferences, notices, log and shortcuts, by clicks and keys."""

import logging
from collections import Counter

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QMessageBox, QPushButton, QWidget

from metaviz.config.run_config import read_comparison
from metaviz.gui.runs.row import Row
from metaviz.gui.widgets.preferences import Preferences, read_preferences
from metaviz.gui.widgets.theme import DARK, LIGHT, current_theme
from metaviz.gui.window.notifications import DesktopNotifier, summary_text
from metaviz.gui.window.shortcut_dialog import every_key
from metaviz.paths import resource
from metaviz.runs.model.record import Record
from metaviz.runs.table.summary import summarise
from tests.gui.conftest import leave

WAIT = 60_000
LEFT = Qt.MouseButton.LeftButton


def add_run(window, name):
    config = {"algorithm": name, "problem": "sinusoid", "seed": 0, "steps": 3}
    record = Record(name, config, {})
    window.runs.add([Row(name, None, config, summarise(record, 0.0), record=record)], first=True)


def press(qtbot, window, name):
    qtbot.mouseClick(window.findChild(QPushButton, name), LEFT)


# Welcome


def test_welcome_gives_way_to_shown_runs_and_can_be_closed(qtbot, plain_window):
    window = plain_window()
    welcome = window.welcome
    assert welcome.page.isVisible()
    add_run(window, "maml")
    press(qtbot, window, "welcome_run_0")
    assert window.runs.shown() == {"maml"}
    assert window.tabs.isVisible()
    window.runs.tick(["maml"], visible=False)
    assert welcome.page.isVisible()
    press(qtbot, window, "welcome_close")
    assert window.tabs.isVisible()
    window.commands["welcome"].trigger()
    assert welcome.page.isVisible()


def test_the_demo_is_started_and_shown(qtbot, open_window):
    window = open_window()
    press(qtbot, window, "welcome_demo")
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 3, timeout=WAIT)
    records = window.runs.visible_records()
    assert {record.algorithm for record in records} == {"maml", "fomaml", "reptile"}
    qtbot.waitUntil(lambda: all(record.step > 0 for record in records), timeout=WAIT)
    assert window.tabs.isVisible()
    assert window.commands["undo"].text() == "&Undo 30-second demo"


def test_the_reproduction_tells_its_time_and_asks_before_queueing(qtbot, open_window):
    window = open_window()
    press(qtbot, window, "welcome_reproduction")
    qtbot.waitUntil(lambda: window.findChild(QMessageBox) is not None, timeout=WAIT)
    box = window.findChild(QMessageBox, "reproduction_question")
    assert box.text().startswith("2 runs, about ")
    assert not window.queue_controller.model.entries
    window.queue_controller.queue.set_paused(paused=True)
    queue = next(b for b in box.buttons() if b.text() == "&Queue")
    window.queue_controller._start_workers = lambda: None  # what waits is not to be trained here
    qtbot.mouseClick(queue, LEFT)
    qtbot.waitUntil(lambda: len(window.queue_controller.model.entries) == 2, timeout=WAIT)
    asked = [entry.config for entry in window.queue_controller.model.entries]
    assert {config["steps"] for config in asked} == {70_000}


def test_the_published_settings_are_those_of_the_paper():
    comparison = read_comparison(resource("sinusoid-5shot-published.toml"))
    shared = comparison.shared
    assert (shared["inner_lr"], shared["inner_steps"], shared["shots"]) == (0.01, 1, 5)


# Preferences


def test_preferences_apply_at_once_are_kept_and_reset(qtbot, plain_window):
    window = plain_window()
    window.commands["preferences"].trigger()
    dialog = window.preferences.dialog
    fields = dialog.form.fields
    fields["theme"].set_value("dark")
    assert current_theme() == DARK
    fields["device"].set_value("cpu")
    assert window.form.field("device").value == "cpu"
    fields["welcome"].editor.click()
    assert window.tabs.isVisible()
    fields["confirm_close"].editor.click()
    fields["notify"].editor.click()
    assert not window.shutdown.asks
    assert not window.desktop_notifier.is_on
    fields["log_level"].set_value("error")
    window.log.add("warning", "passed over")
    assert not window.log.model.lines
    assert logging.getLogger("metaviz").level == logging.ERROR
    fields["autosave"].editor.setText("1")
    assert fields["autosave"].error
    fields["autosave"].editor.setText("45")
    dialog.reject()
    leave(qtbot, window)
    again = plain_window()
    kept = read_preferences(again.settings)
    assert (kept.theme, kept.device, kept.autosave, kept.welcome) == ("dark", "cpu", 45, False)
    assert again.tabs.isVisible()
    again.commands["reset_form"].trigger()
    assert again.form.field("device").value == "cpu"
    again.commands["preferences"].trigger()
    press(qtbot, again, "preferences_defaults")
    assert read_preferences(again.settings) == Preferences()
    assert again.welcome.is_shown
    assert logging.getLogger("metaviz").level == logging.INFO
    again.theme_menu.choose("light")
    assert current_theme() == LIGHT


def test_a_preference_that_makes_no_sense_is_as_by_default(plain_window):
    window = plain_window()
    window.settings.write("window/theme", "pink")
    window.settings.write("session/seconds", 1)
    assert read_preferences(window.settings) == Preferences()


# Notices


class FakeTray:
    def __init__(self):
        self.messages = []

    def showMessage(self, title, message):  # noqa: N802 - a name of Qt's
        self.messages.append(message)


@pytest.fixture
def notices(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    window.active = False
    made = DesktopNotifier(window, lambda: window.active, FakeTray())
    made.window = window
    return made


def test_ends_of_runs_are_summed_up_in_one_message(qtbot, notices):
    with qtbot.waitSignal(notices.shown, timeout=WAIT):
        for state in ("done", "diverged", "done", "done"):
            notices.on_run_ended("x", state, "")
    assert notices._tray.messages == ["3 runs done, 1 diverged"]


def test_the_next_message_waits_until_five_seconds_are_over(qtbot, notices, monkeypatch):
    with qtbot.waitSignal(notices.shown, timeout=WAIT):
        notices.on_run_ended("x", "done", "")
    notices.on_queue_event({"event": "ended", "state": "failed"})
    notices.on_queue_emptied()
    assert notices._timer.isActive()
    assert notices._timer.interval() > 3000
    notices._timer.start(0)
    qtbot.waitUntil(lambda: len(notices._tray.messages) == 2, timeout=WAIT)
    assert notices._tray.messages[1] == "1 run failed; the queue is empty"


def test_nothing_is_told_to_an_active_window_or_when_off(qtbot, notices):
    notices.window.active = True
    notices.on_run_ended("x", "done", "")
    assert not notices._timer.isActive()
    notices.window.active, notices.is_on = False, False
    notices.on_run_ended("x", "done", "")
    assert not notices._timer.isActive()
    notices.is_on = True
    with qtbot.waitSignal(notices.shown, timeout=WAIT) as told:
        notices.on_run_ended("x", "aborted", "")
    assert told.args == ["1 run aborted"]


def test_no_end_gives_no_sentence():
    assert summary_text(Counter()) == ""
    assert summary_text(Counter(done=2, failed=1)) == "2 runs done, 1 failed"


# Log


def test_log_filters_by_level_run_and_text_and_copies(qtbot, plain_window):
    log = plain_window().log
    log.add("info", "first step", "MAML · seed 0", "a")
    log.add("warning", "slow step", "MAML · seed 0", "a")
    log.add("error", "broken", "Reptile · seed 0", "b")
    log.run.setCurrentIndex(log.run.findData("MAML · seed 0"))
    assert log.proxy.rowCount() == 2
    qtbot.keyClicks(log.search, "SLOW step")
    assert log.proxy.rowCount() == 1
    log.copy()
    assert "slow step" in QGuiApplication.clipboard().text()
    log.search.clear()
    log.run.setCurrentIndex(0)
    log.level.setCurrentText("error")
    assert log.proxy.rowCount() == 1


def test_log_follows_the_end_unless_scrolled_up(qtbot, plain_window):
    window = plain_window()
    window.dock_layout.log.raise_()
    log, bar = window.log, window.log.view.verticalScrollBar()
    for number in range(200):
        log.add("info", f"line {number}")
    qtbot.waitUntil(lambda: bar.maximum() > 0 and bar.value() == bar.maximum(), timeout=WAIT)
    bar.setValue(3)
    log.add("info", "one more")
    assert bar.value() == 3


def test_a_line_of_the_log_leads_to_its_run(qtbot, plain_window):
    window = plain_window()
    add_run(window, "maml")
    add_run(window, "reptile")
    window.table.tree_model.flush()
    window.log.add("info", "done", "MAML · seed 0", "maml")
    window.log.view.selectRow(0)
    window.log._jump()
    assert [row.id for row in window.table.selected()] == ["maml"]


# Shortcuts


def test_shortcuts_are_those_of_the_actions_and_can_be_searched(qtbot, plain_window):
    window = plain_window()
    listed = every_key(window)
    told = {(key.place, key.what): key.keys for key in listed}
    assert told["Edit", "Command palette"] == "Ctrl+K, Ctrl+Shift+P"
    assert told["Queue", "Move up"] == "Alt+Up"
    assert told["Help", "Help on what has the keyboard"] == "F1"
    assert any(key.what == "Star" for key in listed)
    for action in window.commands.all():
        if not action.shortcut().isEmpty():
            assert any(action.shortcut().toString() in key.keys for key in listed)
    window.commands["shortcuts"].trigger()
    dialog = window.findChild(QDialog, "shortcuts_dialog")
    qtbot.keyClicks(dialog.line, "Ctrl+K")
    assert dialog.shown() == [("Command palette", "Ctrl+K, Ctrl+Shift+P")]
    dialog.line.clear()
    assert len(dialog.shown()) == len(listed)


# Names


@pytest.mark.parametrize("command", ["palette", "shortcuts", "preferences", "about"])
def test_everything_reachable_in_dialogs_has_names(plain_window, command):
    window = plain_window()
    window.commands[command].trigger()
    (dialog,) = [d for d in window.findChildren(QDialog) if d.isVisible()]
    assert dialog.accessibleName() or dialog.windowTitle()
    assert _nameless(dialog) == []
    dialog.reject()


def test_everything_on_welcome_page_and_docks_has_names(plain_window):
    window = plain_window()
    add_run(window, "maml")
    window.welcome.update_page()
    assert _nameless(window.welcome.page) == []
    docks = (window.dock_layout.form, window.dock_layout.table, window.dock_layout.log)
    assert all(dock.accessibleName() for dock in docks)
    assert _nameless(window.log) == []


def _nameless(root):
    return [
        repr(widget)
        for widget in root.findChildren(QWidget)
        if widget.focusPolicy() != Qt.FocusPolicy.NoFocus
        and not widget.objectName().startswith("qt_")
        and type(widget.parent()).__name__ not in {"QComboBoxPrivateContainer", "QFrame"}
        and type(widget).__name__ != "QComboBoxPrivateContainer"
        and not (widget.accessibleName() and widget.objectName())
    ]
