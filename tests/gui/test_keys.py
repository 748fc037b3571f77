"""By keys alone: letters that do not clash, Tab from field to field, Enter in every dialog."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QKeySequence, QStatusTipEvent
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QLabel,
    QPushButton,
    QSlider,
    QTabWidget,
    QWidget,
)

from metaviz.config.options import OptionError
from metaviz.gui.pages.compare_page import WAITING
from metaviz.gui.pages.page_registry import VIEWS
from metaviz.gui.pages.protocol_dialog import ProtocolDialog
from metaviz.gui.plotting.plot_menu import _table
from metaviz.gui.runs.column_dialog import ColumnDialog
from metaviz.gui.runs.divergence_dialog import DivergenceDialog
from metaviz.gui.widgets.commands import COMMANDS
from metaviz.gui.widgets.controls import JumpSlider
from metaviz.gui.widgets.key_bindings import KeyBindings
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.window.main_window import MainWindow
from metaviz.runs.model.events import Divergence, Remedy
from metaviz.runs.model.record import Record
from tests.gui.key_clashes import clashes, letter, of_menus, texts

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def window(plain_window) -> MainWindow:
    return plain_window(plots=True)


# Letters


def test_letters_of_the_window_do_not_clash_on_any_page(window) -> None:
    assert clashes(texts(window)) == {}, "Welcome"
    window.welcome.leave()
    for view in VIEWS:
        page = window.tabs.page(view.id)
        for _ in states(page):
            found = clashes([*texts(page), *outside(window, page)])
            assert found == {}, view.id


def test_letters_of_the_form_do_not_clash_whatever_is_chosen(window, catalogue) -> None:
    window.welcome.leave()
    window.form.algorithms.tick(tuple(entry.id for entry in catalogue.algorithms))
    for problem in catalogue.problems:
        window.form.problem_box.setCurrentIndex(window.form.problem_box.findData(problem.id))
        assert clashes(texts(window)) == {}, problem.id
    window.messages.show_divergence("It diverged.", "maml")
    window.messages.show_interrupted("It was cut off.", can_resume=True)
    window.messages.copy.setVisible(True)
    window.messages.remedy.setVisible(True)
    assert clashes(texts(window)) == {}


@pytest.mark.parametrize("paused", [False, True])
def test_letters_within_menus_do_not_clash(window, paused) -> None:
    from metaviz.gui.widgets.theme import current_theme

    window.commands.show_paused(current_theme(), paused=paused)
    assert of_menus(window) == {}


def states(page: QWidget) -> Iterator[None]:
    """Show whatever a page's choices and inner tabs show, one after another."""
    yield
    for tabs in page.findChildren(QTabWidget):
        for at in range(tabs.count()):
            tabs.setCurrentIndex(at)
            yield
    for box in page.findChildren(QComboBox):
        for at in range(box.count()):
            box.setCurrentIndex(at)
            yield
    for button in page.findChildren(QPushButton):
        if letter(button.text()):
            button.setVisible(True)
    yield


def outside(window: MainWindow, page: QWidget) -> list[str]:
    """Return the texts of the window that are there whatever page is in front."""
    window.tabs.setVisible(False)
    found = list(texts(window))
    window.tabs.setVisible(True)
    return found


# Tab


def test_tab_goes_from_field_to_field_also_past_a_changed_one(qtbot, window) -> None:
    window.activateWindow()
    form = window.form
    rate, steps = form.field("inner_lr"), form.field("inner_steps")
    rate.set_value(0.5)
    assert rate._reset.isVisibleTo(form)
    rate.editor.setFocus()
    qtbot.waitUntil(rate.editor.hasFocus)
    qtbot.keyClick(rate.editor, Qt.Key.Key_Tab)
    assert steps.editor.hasFocus()
    qtbot.keyClick(steps.editor, Qt.Key.Key_Backtab)
    assert rate.editor.hasFocus()
    window.commands["reset_field"].trigger()
    assert not rate.is_changed


def test_a_wrong_value_moves_no_field(qtbot, window) -> None:
    form = window.form
    window.activateWindow()
    rate, steps = form.field("inner_lr"), form.field("inner_steps")
    rate.editor.setFocus()
    qtbot.waitUntil(rate.editor.hasFocus)
    before = steps.editor.mapTo(form, QPoint())
    rate.editor.selectAll()
    qtbot.keyClicks(rate.editor, "-1")
    sentence = form.findChild(QLabel, "error_inner_lr")
    qtbot.waitUntil(sentence.isVisible)
    assert sentence.text() == rate.error
    assert rate.error
    assert steps.editor.mapTo(form, QPoint()) == before
    assert rate.editor.toolTip() == rate.error
    qtbot.mouseClick(steps.editor, LEFT)
    assert steps.editor.hasFocus()
    qtbot.waitUntil(lambda: not sentence.isVisible())
    assert steps.editor.mapTo(form, QPoint()) == before
    with pytest.raises(OptionError):
        form.comparison()


# Enter


def remedy_dialog(window: MainWindow) -> QDialog:
    found = Divergence("query_loss", 3, None, (Remedy("clip", "Clip", {}),))
    return DivergenceDialog("maml", Path(), "It diverged.", found, window)


DIALOGS: dict[str, tuple[Callable[[MainWindow], QDialog | None], str]] = {
    "preferences": (lambda w: opened(w, "preferences"), "preferences_close"),
    "shortcuts": (lambda w: opened(w, "shortcuts"), "shortcuts_close"),
    "about": (lambda w: opened(w, "about"), "about_dialog_close"),
    "sweep": (lambda w: opened(w, "sweep"), "sweep_queue"),
    "export": (lambda w: opened(w, "export"), "exportButton"),
    "protocol": (lambda w: ProtocolDialog(w.tabs.benchmark.protocol, window_of(w)), ""),
    "columns": (
        lambda w: ColumnDialog(
            [w.table.columns.column(key) for key in ("run", "loss")], ["run"], w
        ),
        "columns_ok",
    ),
    "table": (lambda w: _table(w, w.tabs.training.chart()), "plot_table_close"),
}


def opened(window: MainWindow, command: str) -> QDialog:
    window.commands[command].setEnabled(True)
    window.commands[command].trigger()
    (dialog,) = [one for one in window.findChildren(QDialog) if one.isVisible()]
    return dialog


def window_of(window: MainWindow) -> QWidget:
    return window


@pytest.mark.parametrize("name", DIALOGS)
def test_enter_does_what_a_dialog_is_for_and_its_letters_do_not_clash(window, name) -> None:
    make, wanted = DIALOGS[name]
    dialog = make(window)
    dialog.show()
    buttons = dialog.findChildren(QPushButton)
    (default,) = [button for button in buttons if button.isDefault()]
    assert not wanted or default.objectName() == wanted
    others = [one.text() for one in buttons if one.autoDefault() and one is not default]
    assert others == [], "each would be pressed by Enter while it has the keyboard"
    assert clashes(texts(dialog)) == {}
    dialog.close()


def test_after_an_estimate_enter_queues_the_sweep(qtbot, window) -> None:
    dialog = opened(window, "sweep")
    qtbot.mouseClick(dialog.findChild(QPushButton, "sweep_estimate"), LEFT)
    focused = QApplication.focusWidget()
    assert focused is None or focused.objectName() != "sweep_cancel"
    assert dialog.accepting.isDefault()
    dialog.close()


# Signs of life


def test_the_status_bar_keeps_its_sentence_while_buttons_are_pointed_at(qtbot, window) -> None:
    window.show_status("Ready: CPU")
    QApplication.sendEvent(window, QStatusTipEvent("Train the ticked algorithms."))
    assert window.statusBar().currentMessage() == "Ready: CPU"


def test_compare_waits_for_runs_that_train(window) -> None:
    page = window.tabs.compare
    record = Record("a", {"algorithm": "maml", "problem": "sinusoid", "seed": 0, "steps": 9}, {})
    page._records = [record]
    assert page._absent() == WAITING
    record.state = "done"
    assert page._absent() != WAITING


def test_a_slider_goes_to_where_it_is_clicked(qtbot) -> None:
    slider = JumpSlider(Qt.Orientation.Horizontal)
    qtbot.addWidget(slider)
    slider.setRange(0, 10)
    slider.resize(220, 24)
    slider.show()
    assert isinstance(slider, QSlider)
    qtbot.mouseClick(slider, LEFT, pos=QPoint(110, 12))
    assert slider.value() == 5
    qtbot.mouseClick(slider, LEFT, pos=QPoint(215, 12))
    assert slider.value() == 10


# Keys that a person chooses


def editor(window: MainWindow):
    opened(window, "preferences")
    dialog = window.preferences.dialog
    dialog.pages.setCurrentWidget(dialog.keys)
    return dialog.keys


def test_keys_are_changed_kept_and_reset(qtbot, window) -> None:
    keys = editor(window)
    keys.choose("guide")
    assert keys.edit.keySequence().isEmpty()
    keys.edit.setKeySequence(QKeySequence("Ctrl+Alt+G"))
    assert keys.told.text() == ""
    qtbot.mouseClick(keys.assign, LEFT)
    guide = window.commands["guide"]
    assert guide.shortcut().toString() == "Ctrl+Alt+G"
    assert guide.toolTip().endswith("(Ctrl+Alt+G)")
    assert KeyBindings(window.commands, window.settings, window).is_changed("guide")
    again = Settings(window.settings._path)
    assert again.read("keys/guide", "") == "Ctrl+Alt+G"
    qtbot.mouseClick(keys.reset, LEFT)
    assert guide.shortcuts() == []
    assert window.settings.read("keys/guide", "") == ""


def test_a_conflict_is_told_before_keys_are_taken_from_another_command(qtbot, window) -> None:
    keys = editor(window)
    keys.choose("guide")
    keys.edit.setKeySequence(QKeySequence("Ctrl+K"))
    assert keys.told.text() == "“Command palette” has these keys; it will have none."
    assert window.commands["palette"].shortcuts()[0].toString() == "Ctrl+K"
    qtbot.mouseClick(keys.assign, LEFT)
    assert [one.toString() for one in window.commands["palette"].shortcuts()] == ["Ctrl+Shift+P"]
    assert window.commands["guide"].shortcut().toString() == "Ctrl+K"
    keys.edit.setKeySequence(QKeySequence("F2"))
    assert keys.told.text() == "“Rename” has these keys: choose others."
    assert not keys.assign.isEnabled()
    qtbot.mouseClick(keys.reset_all, LEFT)
    assert window.commands["palette"].shortcut().toString() == "Ctrl+K"
    assert window.commands["guide"].shortcuts() == []


def test_chosen_keys_are_there_after_a_restart_and_none_is_a_choice(plain_window) -> None:
    first = plain_window()
    bindings = KeyBindings(first.commands, first.settings, first)
    bindings.assign("find", [])
    bindings.assign("run", [QKeySequence("Ctrl+J")])
    second = plain_window()
    assert second.commands["find"].shortcuts() == []
    assert second.commands["run"].shortcut().toString() == "Ctrl+J"
    second.training_commands.update_actions()
    assert "Ctrl+Return" not in second.commands["run"].toolTip()


def test_usual_keys_are_the_platforms_where_it_has_some(window) -> None:
    standard = QKeySequence.keyBindings(QKeySequence.StandardKey.Undo)[0]
    assert window.commands["undo"].shortcuts() == [standard]
    assert all(
        window.commands[command.name].shortcuts() == command.sequences for command in COMMANDS
    )
