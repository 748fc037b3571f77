"""Undo and redo of what a person sets in form, toolbars and table, by clicks and keys."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox

from metaviz.config.run_config import Comparison
from metaviz.gui.runs.row import Row
from metaviz.gui.widgets import undo as undoing
from metaviz.runs.model.record import Record
from metaviz.runs.table.summary import summarise
from tests.gui.conftest import row_of

CTRL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def window(plain_window):
    return plain_window(plots=True)


def undo(window):
    window.commands["undo"].trigger()


def redo(window):
    window.commands["redo"].trigger()


def type_into(qtbot, field, text):
    field.editor.setFocus()
    field.editor.selectAll()
    qtbot.keyClicks(field.editor, text)


def test_typing_into_a_field_is_one_edit_that_is_named(qtbot, window):
    field = window.form.field("inner_lr")
    type_into(qtbot, field, "0.05")
    assert window.undo_stack.count() == 1
    assert window.commands["undo"].text() == "&Undo inner step size α = 0.05"
    undo(window)
    assert field.raw == "0.01"
    assert not window.commands["undo"].isEnabled()
    redo(window)
    assert field.raw == "0.05"


def test_edits_that_do_not_follow_closely_are_two(qtbot, window, monkeypatch):
    monkeypatch.setattr(undoing, "CLOSE_SECONDS", -1.0)
    field = window.form.field("steps")
    field.set_value(7)
    field.set_value(8)
    assert window.undo_stack.count() == 2
    undo(window)
    assert field.value == 7


def test_edits_of_two_fields_do_not_merge(window):
    window.form.field("steps").set_value(7)
    window.form.field("inner_steps").set_value(3)
    window.form.field("steps").set_value(9)
    assert window.undo_stack.count() == 3
    undo(window)
    assert window.form.field("steps").value == 7
    assert window.form.field("inner_steps").value == 3


def test_going_back_within_one_edit_leaves_nothing_to_undo(window):
    field = window.form.field("steps")
    field.set_value(7)
    field.set_value(2000)
    assert window.undo_stack.count() == 0


def test_text_that_is_wrong_comes_back_as_it_was(window, monkeypatch):
    monkeypatch.setattr(undoing, "CLOSE_SECONDS", -1.0)
    field = window.form.field("inner_lr")
    field.editor.setText("fast")
    assert field.error
    field.editor.setText("0.5")
    undo(window)
    assert field.raw == "fast"
    assert "fast" in field.error
    undo(window)
    assert (field.raw, field.error) == ("0.01", "")


def test_ctrl_z_in_a_field_takes_back_the_whole_edit_once(qtbot, window):
    window.form.field("steps").set_value(7)
    field = window.form.field("inner_lr")
    type_into(qtbot, field, "0.05")
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=20_000)
    qtbot.keyClick(field.editor, Qt.Key.Key_Z, CTRL)
    assert field.raw == "0.01"
    assert window.form.field("steps").value == 7
    qtbot.keyClick(field.editor, Qt.Key.Key_Z, CTRL)
    assert window.form.field("steps").value == 2000


def test_a_new_edit_after_undo_drops_what_could_be_redone(window):
    window.form.field("steps").set_value(7)
    window.form.field("shots").set_value(3)
    undo(window)
    window.form.field("inner_steps").set_value(2)
    assert not window.commands["redo"].isEnabled()
    undo(window)
    undo(window)
    assert window.form.comparison() == Comparison()


def test_problem_ticks_and_reset_are_one_edit_each(window):
    form = window.form
    start = form.state()
    row_of(form, "Reptile").setCheckState(0, Qt.CheckState.Checked)
    assert window.commands["undo"].text() == "&Undo tick Reptile"
    form.field("reptile.inner_lr").set_value(0.3)
    before = form.state()
    form.problem_box.setCurrentIndex(form.problem_box.findData("omniglot"))
    assert window.commands["undo"].text() == "&Undo problem Omniglot"
    window.commands["reset_form"].trigger()
    assert window.commands["undo"].text() == "&Undo reset all settings"
    assert window.undo_stack.count() == 4
    undo(window)
    undo(window)
    assert form.state() == before
    assert form.field("reptile.inner_lr").value == 0.3
    undo(window)
    undo(window)
    assert form.state() == start
    for _ in range(3):
        redo(window)
    assert form.problem.id == "omniglot"


def test_a_configuration_is_one_edit(window, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'algorithms = ["imaml"]\nsteps = 3\n[options.imaml]\nprox = 3.5\n'
    )
    window.files.read_configuration(tmp_path / "mine.toml")
    assert window.commands["undo"].text() == "&Undo configuration mine"
    undo(window)
    assert window.form.comparison() == Comparison()
    redo(window)
    assert window.form.comparison().options == {"imaml": {"prox": 3.5}}


def test_toolbars_are_undone_and_what_a_program_sets_is_not(qtbot, window):
    training = window.tabs.training
    training.batches.setChecked(True)
    training.smoothing.setValue(10)
    assert window.undo_stack.count() == 0
    log_y = window.findChild(QCheckBox, "trainingLogY")
    log_y.click()
    axis = window.findChild(QComboBox, "trainingAxis")
    qtbot.keyClick(axis, Qt.Key.Key_Down)
    assert window.commands["undo"].text() == "&Undo view: horizontal axis"
    for _ in range(3):
        qtbot.keyClick(training.smoothing, Qt.Key.Key_Right)
    assert window.undo_stack.count() == 3
    assert training.view.smoothing == 0.13
    undo(window)
    assert training.view.smoothing == 0.1
    undo(window)
    undo(window)
    assert (training.view.axis, training.view.log_y) == ("step", False)
    redo(window)
    assert training.view.log_y


def test_shown_runs_are_undone(window):
    for name in ("a", "b"):
        config = {"algorithm": name, "problem": "sinusoid", "seed": 0, "steps": 3}
        record = Record(name, config, {})
        window.runs.add(
            [Row(name, None, config, summarise(record, 0.0), record=record)], first=True
        )
    window.runs.show(["a"], visible=True)
    assert window.undo_stack.count() == 0
    window.table.select("b")
    window.table._only()
    assert window.runs.shown() == {"b"}
    undo(window)
    assert window.runs.shown() == {"a"}
    redo(window)
    assert window.runs.shown() == {"b"}


def test_a_restart_of_the_form_is_no_edit(window):
    window.form.show_state(window.form.state().__class__("omniglot", ("reptile",)), "")
    assert window.undo_stack.count() == 0
    window.form.field("steps").set_value(5)
    undo(window)
    assert window.form.problem.id == "omniglot"
