"""A person's clicks in the whole window, with the real engine."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QGuiApplication, QImage
from PySide6.QtWidgets import QAbstractButton, QMessageBox, QWidget

from metaviz import app
from metaviz.charts.matplotlib import Page, figure_of
from metaviz.gui.background.excepthook import ExceptionHook
from metaviz.gui.widgets.log_dock import LogHandler
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.widgets.theme import DARK, LIGHT, current_theme
from metaviz.gui.window.about_dialog import diagnostics
from metaviz.runs.export.figures import save_figure
from metaviz.runs.export.tables import write_tables
from metaviz.runs.storage.store import list_runs, open_run
from tests.gui.conftest import leave, row_of

WAIT = 20_000


def phase(window, *wanted):
    return lambda: window.controller.phase in wanted


def run(qtbot, window):
    before = len(window.runs.rows)
    window.commands["run"].trigger()
    qtbot.waitUntil(phase(window, "training", "paused"), timeout=WAIT)
    # The rows hear of the runs one event later than the phase does.
    qtbot.waitUntil(lambda: len(window.runs.rows) > before, timeout=WAIT)


def finish(qtbot, window):
    qtbot.waitUntil(phase(window, "idle"), timeout=WAIT)


def answer(qtbot, window, name, text):
    qtbot.waitUntil(lambda: window.findChild(QMessageBox, name) is not None, timeout=WAIT)
    box = window.findChild(QMessageBox, name)
    button = next(b for b in box.buttons() if b.text().replace("&", "") == text)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_two_ticked_algorithms_train_and_are_stored(qtbot, window, home):
    row_of(window.form, "Reptile").setCheckState(0, Qt.CheckState.Checked)
    assert window.form.help_strip.count.text() == "2 runs: 2 algorithms × 1 seed"
    qtbot.mouseClick(window.findChild(QAbstractButton, "button_run"), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(phase(window, "training"), timeout=WAIT)
    finish(qtbot, window)
    stored = [open_run(folder) for folder in list_runs(home / "runs")]
    assert {(r.algorithm, r.state, r.step) for r in stored} == {
        ("maml", "done", 20),
        ("reptile", "done", 20),
    }
    assert [r.summary.step for r in window.runs.rows] == [20, 20]
    assert len(window.runs.visible_records()) == 2


def test_pause_step_resume_stop(qtbot, window):
    window.form.field("steps").set_value(100_000)
    run(qtbot, window)
    record = window.runs.visible_records()[0]
    qtbot.waitUntil(lambda: record.step > 2, timeout=WAIT)
    window.commands["pause"].trigger()
    qtbot.waitUntil(phase(window, "paused"), timeout=WAIT)
    # The record hears of it one event later than the phase does.
    qtbot.waitUntil(lambda: record.state == "paused", timeout=WAIT)
    assert window.commands["pause"].text() == "Res&ume"
    before = record.step
    window.commands["step"].trigger()
    qtbot.waitUntil(lambda: record.step == before + 1, timeout=WAIT)
    assert window.controller.phase == "paused"
    window.commands["pause"].trigger()
    qtbot.waitUntil(lambda: record.step > before + 3, timeout=WAIT)
    window.commands["stop"].trigger()
    finish(qtbot, window)
    assert record.state == "stopped"
    assert open_run(window.runs.rows[0].folder).step == record.step


def test_step_while_training_pauses(qtbot, window):
    window.form.field("steps").set_value(100_000)
    run(qtbot, window)
    window.commands["step"].trigger()
    qtbot.waitUntil(phase(window, "paused"), timeout=WAIT)


def test_abort_asks_first(qtbot, window):
    window.form.field("steps").set_value(100_000)
    run(qtbot, window)
    window.commands["abort"].trigger()
    answer(qtbot, window, "abort_question", "Keep training")
    assert window.controller.phase == "training"
    qtbot.waitUntil(lambda: window.findChild(QMessageBox, "abort_question") is None)
    window.commands["abort"].trigger()
    answer(qtbot, window, "abort_question", "Abort")
    finish(qtbot, window)
    assert window.runs.rows[0].summary.state == "aborted"


def test_closing_while_training_can_be_cancelled(qtbot, window):
    window.form.field("steps").set_value(100_000)
    run(qtbot, window)
    window.close()
    answer(qtbot, window, "close_question", "Cancel")
    assert window.isVisible()
    assert window.controller.phase == "training"


def test_closing_while_training_stops_and_saves(qtbot, window, home):
    window.form.field("steps").set_value(100_000)
    run(qtbot, window)
    qtbot.waitUntil(lambda: window.live.progress()[0] > 3, timeout=WAIT)
    with qtbot.waitSignal(window.closed, timeout=WAIT):
        window.close()
        answer(qtbot, window, "close_question", "Stop and save")
    assert not window.controller.thread_.isRunning()
    assert not window.reader.thread_.isRunning()
    (folder,) = list_runs(home / "runs")
    stored = open_run(folder)
    assert (stored.state, stored.step > 3) == ("stopped", True)
    assert (folder / "checkpoint.pt").exists()


def test_finish_first_closes_when_the_runs_are_done(qtbot, window, home):
    window.form.field("steps").set_value(60)
    run(qtbot, window)
    with qtbot.waitSignal(window.closed, timeout=WAIT):
        window.close()
        answer(qtbot, window, "close_question", "Finish first")
    assert open_run(list_runs(home / "runs")[0]).state == "done"


def test_bad_value_disables_run_with_a_sentence(window):
    window.form.field("inner_lr").editor.setText("-1")
    assert not window.commands["run"].isEnabled()
    reason = window.form.help_strip.reason.text()
    assert reason == (
        "Inner step size α: “-1” is not valid; use a number above 0 and at most 1000."
    )
    assert window.commands["run"].toolTip() == reason
    window.form.field("inner_lr").editor.setText("0,02")
    assert window.commands["run"].isEnabled()
    assert window.form.comparison().shared["inner_lr"] == 0.02


def test_refusal_of_the_engine_reaches_the_window(qtbot, window):
    window.form.field("sinusoid.x_low").set_value(9.0)
    window.commands["run"].trigger()
    qtbot.waitUntil(window.messages.isVisible, timeout=WAIT)
    assert "x_low = 9 must be below" in window.messages.text.text()
    qtbot.waitUntil(phase(window, "idle"), timeout=WAIT)


def test_runs_folder_that_cannot_be_written_is_said(qtbot, window, home):
    (home / "runs").write_text("in the way")
    window.commands["run"].trigger()
    qtbot.waitUntil(window.messages.isVisible, timeout=WAIT)
    assert "Cannot write runs to" in window.messages.text.text()
    finish(qtbot, window)
    assert window.commands["run"].isEnabled()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_diverging_run_does_not_stop_the_others(qtbot, window):
    window.form.field("inner_lr").set_value(1000.0)
    window.form.algorithms.tick(("maml", "scratch"))
    window.form.field("scratch.inner_lr").set_value(0.01)
    run(qtbot, window)
    finish(qtbot, window)
    states = {row.summary.algorithm: row.summary.state for row in window.runs.rows}
    assert states == {"maml": "diverged", "scratch": "done"}
    assert window.messages.isVisible()
    assert "not finite" in window.messages.text.text()


def test_earlier_runs_are_listed_but_hidden(qtbot, window, open_window):
    run(qtbot, window)
    finish(qtbot, window)
    other = open_window()
    qtbot.waitUntil(lambda: other.runs.rowCount() == 1, timeout=WAIT)
    assert other.runs.visible_records() == []
    other.runs.show([other.runs.rows[0].id], visible=True)
    qtbot.waitUntil(lambda: len(other.runs.visible_records()) == 1, timeout=WAIT)
    assert other.runs.visible_records()[0].step == 20


def test_settings_of_a_run_fill_the_form(qtbot, window):
    window.form.algorithms.tick(("imaml",))
    window.form.field("steps").set_value(2)
    window.form.field("imaml.prox").set_value(3.5)
    window.form.field("seeds").set_value("4")
    asked = window.form.comparison()
    run(qtbot, window)
    finish(qtbot, window)
    window.commands["reset_form"].trigger()
    assert window.form.comparison() != asked
    window.table.select(window.runs.rows[0].id)
    window.table.settings_requested.emit(window.table.selected()[0].config)
    assert window.form.comparison() == asked


def test_theme_switch_recolours_and_is_remembered(qtbot, window):
    dark = window.findChild(QAction, "action_theme_dark")
    dark.trigger()
    assert current_theme() == DARK
    qtbot.waitUntil(lambda: window.palette().window().color().name() == DARK.window)
    assert window.settings.read("window/theme", "") == "dark"
    window.findChild(QAction, "action_theme_light").trigger()
    assert current_theme() == LIGHT


def test_space_pauses_where_no_widget_wants_it(qtbot, window):
    window.form.field("steps").set_value(100_000)
    run(qtbot, window)
    qtbot.keyClick(window, Qt.Key.Key_Space)
    qtbot.waitUntil(phase(window, "paused"), timeout=WAIT)
    editor = window.form.field("seeds").editor
    qtbot.keyClick(editor, Qt.Key.Key_Space)
    assert window.controller.phase == "paused"


def test_layout_and_form_survive_a_restart(qtbot, window, open_window, home):
    window.form.field("inner_steps").set_value(7)
    window.dock_layout.log.hide()
    with qtbot.waitSignal(window.closed, timeout=WAIT):
        window.close()
    again = open_window()
    assert again.form.comparison().shared == {
        "inner_steps": 7,
        "eval_tasks": 20,
        "eval_every": 10,
    }
    assert again.dock_layout.log.isHidden()
    again.commands["reset_layout"].trigger()
    assert not again.dock_layout.log.isHidden()


def test_configuration_round_trips_through_toml(window, tmp_path):
    window.form.algorithms.tick(("maml", "imaml"))
    window.form.field("seeds").set_value("0-2")
    window.form.field("imaml.cg_steps").set_value(3)
    asked = window.form.comparison()
    window.files.write_configuration(tmp_path / "c.toml")
    window.commands["reset_form"].trigger()
    window.files.read_configuration(tmp_path / "c.toml")
    assert window.form.comparison() == asked
    assert not window.messages.isVisible()


def test_configuration_with_an_unknown_option_leaves_the_form(window, tmp_path):
    before = window.form.comparison()
    (tmp_path / "c.toml").write_text("[options.maml]\nspeed = 3\n")
    window.files.read_configuration(tmp_path / "c.toml")
    assert "maml.speed" in window.messages.text.text()
    assert window.form.comparison() == before


def test_commands_have_tips_and_unique_shortcuts(window):
    keys = []
    for action in window.commands.all():
        assert action.text(), action.objectName()
        assert action.statusTip(), action.objectName()
        if not action.shortcut().isEmpty():
            keys.append(action.shortcut().toString())
    assert len(keys) == len(set(keys))


def test_everything_reachable_has_names(window):
    window.form.algorithms.tick(tuple(e.id for e in window.form.catalogue.algorithms))
    nameless = [
        repr(widget)
        for widget in window.findChildren(QWidget)
        if widget.focusPolicy() != Qt.FocusPolicy.NoFocus
        and not widget.objectName().startswith("qt_")
        and not (widget.accessibleName() and widget.objectName())
        and _ours(widget)
    ]
    assert nameless == []


def _ours(widget):
    """Qt names the inner parts of its own widgets, and pages have their own tests."""
    kind = type(widget).__name__
    if kind in {"QTabBar", "QComboBoxListView", "QComboBoxPrivateContainer", "QMenu", "QMenuBar"}:
        return False
    parents = []
    parent = widget
    while parent is not None:
        parents.append(type(parent).__name__)
        parent = parent.parentWidget()
    return "QStackedWidget" not in parents and "ChoiceBox" not in parents[1:]


def test_uncaught_exception_is_shown_and_can_be_copied(window):
    failures = ExceptionHook()
    failures.raised.connect(window.messages.show_error)
    error = LookupError("no such shelf")
    failures.report(type(error), error, None)
    assert window.messages.isVisible()
    assert "no such shelf" in window.messages.text.text()
    window.messages.copy.click()
    assert "LookupError: no such shelf" in QGuiApplication.clipboard().text()


def test_python_log_reaches_the_log_dock_by_level(window):
    handler = LogHandler()
    handler.bridge.logged.connect(window.log.add_logged)
    logger = logging.getLogger("metaviz.test")
    logger.addHandler(handler)
    logger.warning("mind the step")
    logger.removeHandler(handler)
    window.log.level.setCurrentText("warning")
    assert window.log.proxy.rowCount() == 1
    window.log.copy()
    assert "mind the step" in QGuiApplication.clipboard().text()


def test_broken_engine_is_said_and_the_form_survives(open_window):
    def loader():
        raise ImportError("torch is not installed")

    window = open_window(loader)
    assert window.controller.phase == "broken"
    assert "torch is not installed" in window.messages.text.text()
    assert not window.commands["run"].isEnabled()
    assert window.form.comparison().algorithms == ("maml",)


def test_preferences_that_cannot_be_written_last_until_the_end(tmp_path):
    (tmp_path / "file").write_text("")
    preferences = Settings(tmp_path / "file" / "metaviz.ini")
    preferences.write("window/theme", "dark")
    preferences.save()
    assert preferences.read("window/theme", "system") == "dark"
    assert "cannot be saved" in preferences.note


def test_diagnostics_name_torch_without_importing_it(qapp):
    text = diagnostics("CPU")
    assert "torch 2" in text
    assert "device CPU" in text


@pytest.mark.parametrize("command", ["about", "shortcuts"])
def test_help_dialogs_open(window, command):
    window.commands[command].trigger()
    dialog = window.findChild(QWidget, f"{command}_dialog")
    assert dialog.isVisible()
    dialog.close()


def test_copied_plot_is_a_picture(qtbot, window):
    run(qtbot, window)
    finish(qtbot, window)
    window.commands["copy_plot"].trigger()
    assert not QGuiApplication.clipboard().image().isNull()


def test_hidden_settings_take_no_room(window):
    assert window.form.field("ways").editor.isHidden()
    assert not window.findChild(QAbstractButton, "reset_ways").sizePolicy().retainSizeWhenHidden()


def test_window_can_be_drawn_without_a_display(qtbot, window, tmp_path):
    run(qtbot, window)
    finish(qtbot, window)
    app.render_window(tmp_path / "pictures" / "window.png", window.runs.visible_records())
    picture = QImage(str(tmp_path / "pictures" / "window.png"))
    assert picture.width() >= 1000


def test_meta_gradients_of_the_ticked_algorithms_are_shown(qtbot, window):
    window.form.algorithms.tick(("maml", "fomaml"))
    window.tabs.requests.gradients_requested.emit(None, 0)
    qtbot.waitUntil(lambda: window.tabs.gradients.result is not None, timeout=WAIT)
    rows = window.tabs.gradients.result.rows
    assert [row.algorithm for row in rows] == ["maml", "fomaml"]


def test_view_is_remembered_between_starts(qtbot, open_window) -> None:
    first = open_window()
    first.tabs.training.smoothing.setValue(30)
    first.tabs.training.axis.setCurrentIndex(1)
    leave(qtbot, first)
    second = open_window()
    assert second.tabs.training.view == first.tabs.training.view
    assert second.tabs.training.view.axis == "seconds"
    assert second.tabs.training.view.smoothing == 0.3


def test_tab_key_follows_the_form_from_top_to_bottom(window):
    window.form.algorithms.tick(("imaml", "maml"))
    window.form._on_ticks()
    window.form.section("maml").section.set_open(True)
    names, widget = [], window.form.problem_box
    for _ in range(400):
        names.append(widget.objectName())
        widget = widget.nextInFocusChain()
    wanted = ["problem", "algorithms", "field_steps", "field_inner_lr", "fold_more"]
    wanted += ["fold_problem_sinusoid", "fold_maml", "field_maml_inner_lr", "fold_imaml"]
    places = [names.index(name) for name in wanted]
    assert places == sorted(places)


def test_shown_runs_are_shown_again(qtbot, open_window, tmp_path):
    first = open_window(path=tmp_path / "settings.ini")
    qtbot.waitUntil(phase(first, "idle"), timeout=WAIT)
    first.form.field("steps").set_value(3)
    run(qtbot, first)
    finish(qtbot, first)
    shown = [record.id for record in first.runs.visible_records()]
    assert len(shown) == 1
    leave(qtbot, first)
    second = open_window(path=tmp_path / "settings.ini")
    qtbot.waitUntil(lambda: bool(second.runs.visible_records()), timeout=WAIT)
    assert [record.id for record in second.runs.visible_records()] == shown


def test_a_message_goes_when_the_form_is_changed(window):
    window.messages.show_error("Something is wrong.")
    assert not window.messages.isHidden()
    window.form.field("steps").set_value(7)
    assert window.messages.isHidden()


def test_a_learned_geometry_is_seen_exported_and_found_again(qtbot, open_window, tmp_path):
    window = open_window(path=tmp_path / "settings.ini")
    qtbot.waitUntil(phase(window, "idle"), timeout=WAIT)
    window.form.algorithms.tick(("mirror", "metacurvature"))
    window.form._on_ticks()
    for name, value in (("steps", 4), ("eval_every", 2), ("meta_batch", 2), ("eval_tasks", 3)):
        window.form.field(name).set_value(value)
    places = {page.export_name: place for place, page in enumerate(window.tabs.pages)}
    assert not window.tabs.isTabEnabled(places["mirror"])
    run(qtbot, window)
    finish(qtbot, window)
    shown = {record.algorithm: record for record in window.runs.visible_records()}
    kinds = {"mirror": "map", "metacurvature": "factors"}
    for name, kind in kinds.items():
        assert [str(p.arrays["geometry"]) for p in shown[name].pictures] == [kind] * 3
    window.resize(1200, 800)
    assert not window.tabs.isTabEnabled(places.pop("posterior"))  # neither method draws samples
    places.pop("predict")  # is of pictures that a person drops
    for name, place in places.items():
        assert window.tabs.isTabEnabled(place)
        window.tabs.setCurrentIndex(place)
        qtbot.wait(50)
        assert not window.grab().isNull()
        if name not in {"gradients", "benchmark", "episode"}:
            figure = figure_of(window.tabs.pages[place].chart(), Page(14.0))
            save_figure(figure, tmp_path / f"{name}.png")
            assert (tmp_path / f"{name}.png").stat().st_size > 5000
    picker = window.tabs.page("mirror").picker
    picker.time.setValue(0)
    assert picker.place == 0
    assert picker.step_text.text().startswith("0")
    write_tables(list(shown.values()), tmp_path)
    header, *rows = (tmp_path / "geometry.csv").read_text(encoding="utf-8").splitlines()
    assert header == "run,algorithm,step,layer,quantity,value"
    assert {row.split(",")[1] for row in rows} == {"mirror", "metacurvature"}
    for record in shown.values():
        again = open_run(Path(record.environment["folder"]))
        for kept, made in zip(again.pictures, record.pictures, strict=True):
            for key, array in made.arrays.items():
                np.testing.assert_array_equal(kept.arrays[key], array)
