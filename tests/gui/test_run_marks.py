"""The runs table by clicks and keys: search, marks, trash, columns, groups, baseline, restarts."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QColor, QGuiApplication
from PySide6.QtTest import QAbstractItemModelTester
from PySide6.QtWidgets import QInputDialog, QMessageBox

from metaviz import app, paths
from metaviz.config.catalogue import Catalogue
from metaviz.gui.runs.column_dialog import ColumnDialog
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.widgets.theme import current_theme
from metaviz.gui.window.main_window import MainWindow
from metaviz.runs.model.marks import MARKS, Marks, change_marks, read_marks
from metaviz.runs.model.styles import styles
from metaviz.runs.storage.store import list_runs, lock_run
from tests.gui.conftest import leave
from tests.unit.entries import store

WAIT = 20_000
LOSSES = {"maml": (0.30, 0.34, 0.32, 9.0), "imaml": (0.50, 0.54)}


@pytest.fixture
def root(home: Path) -> Path:
    """Four seeds of MAML, of which the last diverged, and two of iMAML."""
    folder = paths.runs_dir()
    for name, losses in LOSSES.items():
        for seed, loss in enumerate(losses):
            state = "diverged" if loss > 1 else "done"
            store(folder, name, seed, loss, state, accuracy=1 - loss if loss < 1 else 0.1)
    return folder


@pytest.fixture
def open_shelf(qapp, qtbot, home: Path, catalogue: Catalogue):
    """Open windows that list the stored runs, without an engine."""
    windows = []

    def make(count: int = 6) -> MainWindow:
        window = MainWindow(catalogue, app.load_engine, Settings(home / "metaviz.ini"))
        windows.append(window)
        fatal = QAbstractItemModelTester.FailureReportingMode.Fatal
        window.testers = [
            QAbstractItemModelTester(model, fatal)
            for model in (window.runs, window.table.tree_model)
        ]
        window.show()
        window.reader.scan(paths.runs_dir())
        qtbot.waitUntil(lambda: len(window.runs.rows) == count, timeout=WAIT)
        window.table.tree_model.flush()
        return window

    yield make
    for window in windows:
        leave(qtbot, window)
        window.deleteLater()


@pytest.fixture
def window(root, open_shelf) -> MainWindow:
    """A window with six runs."""
    return open_shelf()


def labels(window) -> list[str]:
    window.table.tree_model.flush()
    model = window.table.tree_model
    return [model.index(place, 0).data() for place in range(model.rowCount())]


def row(window, label: str):
    return next(r for r in window.runs.rows if r.label == label)


def select(window, *names: str) -> None:
    window.table.view._select({row(window, name).id for name in names}, set())
    window.table.view.setFocus()


def column(window, key: str) -> int:
    return [c.key for c in window.table.tree_model.shown].index(key)


def press(qtbot, window, key, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    qtbot.keyClick(window.table.view, key, modifier)


def answer(qtbot, window, name: str, text: str) -> None:
    qtbot.waitUntil(lambda: window.findChild(QInputDialog, name) is not None, timeout=WAIT)
    box = window.findChild(QInputDialog, name)
    box.setTextValue(text)
    box.accept()
    # The box deletes itself; the next of its name must be another.
    box.setObjectName("answered")


def saved(qtbot, folder: Path, wanted: Marks) -> None:
    qtbot.waitUntil(lambda: read_marks(folder) == wanted, timeout=WAIT)


def logged(window) -> str:
    model = window.log.view.model()
    places = [(r, c) for r in range(model.rowCount()) for c in range(model.columnCount())]
    return "\n".join(str(model.index(*place).data()) for place in places)


def test_search_filters_after_a_pause_and_escape_clears(qtbot, window):
    window.activateWindow()
    window.commands["find"].trigger()
    line = window.table.bar.search.line
    qtbot.keyClicks(line, "algo:imaml")
    qtbot.waitUntil(lambda: labels(window) == ["iMAML · seed 1", "iMAML · seed 0"], timeout=WAIT)
    qtbot.keyClick(line, Qt.Key.Key_Escape)
    assert line.text() == ""
    assert len(labels(window)) == 6


def test_a_wrong_search_is_said_and_the_last_good_one_stays(window):
    search = window.table.bar.search
    search.set_text("loss<0.4")
    assert len(labels(window)) == 3
    search.set_text("lsso<0.4")
    assert not search.mistake.isHidden()
    assert "lsso" in search.mistake.text()
    assert len(labels(window)) == 3
    search.set_text("loss<0.31")
    assert search.mistake.isHidden()
    assert len(labels(window)) == 1


def test_words_of_a_search_are_completed(qtbot, window):
    search = window.table.bar.search
    search.line.setFocus()
    qtbot.keyClicks(search.line, "seed:0 algo:i")
    assert search._words.stringList() == ["algo:imaml"]
    search._completer.activated.emit("algo:imaml")
    assert search.line.text() == "seed:0 algo:imaml"
    qtbot.waitUntil(lambda: labels(window) == ["iMAML · seed 0"], timeout=WAIT)


def test_a_question_mark_explains_the_language(qtbot, window):
    qtbot.mouseClick(window.table.bar.search.help, Qt.MouseButton.LeftButton)
    box = window.findChild(QMessageBox, "search_help")
    assert "alpha<0.1" in box.informativeText()
    box.close()


def test_a_click_stars_a_run_and_undo_takes_the_star_back(qtbot, window):
    run = row(window, "MAML · seed 0")
    index = window.table.tree_model.index_of(run.id).siblingAtColumn(column(window, "star"))
    window.table.view.scrollTo(index)
    place = window.table.view.visualRect(index).center()
    qtbot.mouseClick(window.table.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    saved(qtbot, run.folder, Marks(star=True))
    assert index.data() == "★"
    window.commands["undo"].trigger()
    saved(qtbot, run.folder, Marks())
    window.commands["redo"].trigger()
    saved(qtbot, run.folder, Marks(star=True))


def test_a_name_is_given_by_f2_and_seen_in_table_and_plots(qtbot, window):
    run = row(window, "MAML · seed 0")
    window.runs.show([run.id], visible=True)
    qtbot.waitUntil(lambda: bool(window.runs.visible_records()), timeout=WAIT)
    select(window, "MAML · seed 0")
    press(qtbot, window, Qt.Key.Key_F2)
    answer(qtbot, window, "rename_question", "Our <best>")
    saved(qtbot, run.folder, Marks(name="Our <best>"))
    assert "Our <best>" in labels(window)
    assert window.runs.visible_records()[0].label == "Our <best>"
    window.commands["undo"].trigger()
    assert "MAML · seed 0" in labels(window)
    assert window.runs.visible_records()[0].label == "MAML · seed 0"


def test_tags_of_several_runs_are_added_and_removed(qtbot, window):
    select(window, "MAML · seed 0", "MAML · seed 1")
    window.table.marks.tag.trigger()
    answer(qtbot, window, "tag_question", "paper draft")
    select(window, "MAML · seed 0", "iMAML · seed 0")
    window.table.marks.tag.trigger()
    answer(qtbot, window, "tag_question", "paper")
    assert row(window, "MAML · seed 0").marks.tags == ("paper", "draft")[:2]
    assert row(window, "iMAML · seed 0").marks.tags == ("paper",)
    select(window, "MAML · seed 0", "MAML · seed 1")
    window.table.marks.tag.trigger()
    answer(qtbot, window, "tag_question", "draft")
    assert row(window, "MAML · seed 1").marks.tags == ("draft",)
    window.table.bar.search.set_text("tag:paper")
    assert labels(window) == ["iMAML · seed 0"]


def test_notes_have_lines_and_are_found(qtbot, window):
    run = row(window, "MAML · seed 1")
    select(window, "MAML · seed 1")
    window.table.marks.note.trigger()
    answer(qtbot, window, "note_question", "first\nsecond <b>")
    saved(qtbot, run.folder, Marks(notes="first\nsecond <b>"))
    window.table.bar.search.set_text("note:second")
    assert labels(window) == ["MAML · seed 1"]


def test_a_colour_is_that_of_the_curves_and_automatic_again(qtbot, window):
    run = row(window, "MAML · seed 1")
    window.runs.show([run.id], visible=True)
    qtbot.waitUntil(lambda: bool(window.runs.visible_records()), timeout=WAIT)
    before = styles(window.runs.visible_records())[run.id].color
    select(window, "MAML · seed 1")
    wine = next(a for a in window.table.marks.colors.actions() if a.text() == "Wine")
    wine.trigger()
    assert styles(window.runs.visible_records())[run.id].color == "#882255"
    assert window.runs.styles[run.id].color == "#882255"
    saved(qtbot, run.folder, Marks(color="#882255"))
    next(a for a in window.table.marks.colors.actions() if a.text() == "Automatic").trigger()
    assert window.runs.styles[run.id].color == before


def test_trash_is_undone_redone_and_restored(qtbot, window):
    run = row(window, "MAML · seed 1")
    window.runs.show([run.id], visible=True)
    qtbot.waitUntil(lambda: bool(window.runs.visible_records()), timeout=WAIT)
    select(window, "MAML · seed 1")
    press(qtbot, window, Qt.Key.Key_Delete)
    assert "MAML · seed 1" not in labels(window)
    assert window.runs.visible_records() == []
    saved(qtbot, run.folder, Marks(trashed=True))
    window.commands["undo"].trigger()
    assert "MAML · seed 1" in labels(window)
    assert [record.id for record in window.runs.visible_records()] == [run.id]
    window.commands["redo"].trigger()
    assert "MAML · seed 1" not in labels(window)
    window.table.bar.trash.click()
    assert labels(window) == ["MAML · seed 1"]
    select(window, "MAML · seed 1")
    window.table.marks.restore.trigger()
    assert labels(window) == []
    saved(qtbot, run.folder, Marks())
    window.table.bar.trash.click()
    assert len(labels(window)) == 6


def test_deletion_for_good_asks_with_the_number_of_runs(qtbot, window, root):
    select(window, "MAML · seed 1", "MAML · seed 2")
    press(qtbot, window, Qt.Key.Key_Delete, Qt.KeyboardModifier.ShiftModifier)
    assert window.findChild(QMessageBox, "delete_question") is None
    press(qtbot, window, Qt.Key.Key_Delete)
    window.table.bar.trash.click()
    select(window, "MAML · seed 1", "MAML · seed 2")
    for button, left in (("Keep", 6), ("Delete 2 runs", 4)):
        press(qtbot, window, Qt.Key.Key_Delete, Qt.KeyboardModifier.ShiftModifier)
        box = window.findChild(QMessageBox, "delete_question")
        assert "Delete 2 runs for good?" in box.text()
        found = next(b for b in box.buttons() if b.text().replace("&", "") == button)
        found.click()  # a mouse would miss a box that is not painted yet
        box.setObjectName("answered")
        qtbot.waitUntil(lambda left=left: len(list_runs(root)) == left, timeout=WAIT)
    qtbot.waitUntil(lambda: len(window.runs.rows) == 4, timeout=WAIT)
    while window.undo_stack.canUndo():
        window.commands["undo"].trigger()
    assert len(list_runs(root)) == 4


def test_runs_that_train_are_not_trashed(qtbot, window):
    run = row(window, "MAML · seed 1")
    run.summary = replace(run.summary, state="running")
    select(window, "MAML · seed 1", "MAML · seed 2")
    press(qtbot, window, Qt.Key.Key_Delete)
    assert "MAML · seed 1" in labels(window)
    assert "MAML · seed 2" not in labels(window)
    assert not run.marks.trashed


def test_marks_that_cannot_be_saved_are_said_and_kept_in_the_window(qtbot, window):
    run = row(window, "MAML · seed 0")
    shutil.rmtree(run.folder)
    run.folder.touch()  # in the way, also of a superuser
    select(window, "MAML · seed 0")
    window.table.marks.star.trigger()
    qtbot.waitUntil(window.messages.isVisible, timeout=WAIT)
    assert "cannot be saved" in window.messages.text.text()
    assert run.marks.star


def test_columns_are_chosen_and_dragged(qtbot, window):
    window.table.bar.columns.click()
    chooser = window.findChild(ColumnDialog)
    chooser.tick("algorithm")
    chooser.tick("clip_norm")
    chooser.tick("seconds", on=False)
    chooser.accept()
    keys = [c.key for c in window.table.tree_model.shown]
    assert "algorithm" in keys
    assert "seconds" not in keys
    header = window.table.view.header()
    header.moveSection(column(window, "loss"), 1)
    qtbot.waitUntil(lambda: column(window, "loss") == 1, timeout=WAIT)
    assert window.table.tree_model.chosen[1] == "loss"


def test_only_differing_shows_exactly_what_differs(qtbot, home, open_shelf):
    folder = paths.runs_dir()
    store(folder, "maml", 0, shared={"inner_lr": 0.1, "clip_norm": 1.0}, loss=0.1)
    store(folder, "maml", 1, shared={"inner_lr": 0.2}, loss=0.2)
    store(folder, "imaml", 2, shared={"inner_lr": 0.2}, options={"prox": 2.0}, loss=0.3)
    window = open_shelf(3)
    window.table.bar.differing.click()

    def shown():
        keys = [c.key for c in window.table.tree_model.shown]
        return {key for key in keys if key in row(window, "MAML · seed 0").values or "." in key}

    assert shown() == {"inner_lr", "clip_norm", "imaml.prox"}
    lacking = window.table.tree_model.index_of(row(window, "MAML · seed 1").id)
    assert lacking.siblingAtColumn(column(window, "imaml.prox")).data() == "–"
    window.table.bar.search.set_text("algo:maml")
    assert shown() == {"inner_lr", "clip_norm"}
    window.table.bar.search.set_text("alpha=0.2")
    assert shown() == {"imaml.prox"}


def test_groups_show_mean_and_named_interval_and_name_who_diverged(qtbot, window):
    window.table.group_by(None)
    model = window.table.tree_model
    assert labels(window) == ["iMAML", "MAML"]
    maml = model.index(1, 0)
    assert model.rowCount(maml) == 4
    assert maml.siblingAtColumn(column(window, "state")).data() == "3 of 4; 1 diverged"
    loss = column(window, "loss")
    window.table.bar.interval.setCurrentIndex(window.table.bar.interval.findData("std"))
    assert model.index(1, loss).data() == "0.320 ± 0.020"
    assert model.headerData(loss, Qt.Orientation.Horizontal) == "Query loss ± SD"
    window.table.bar.interval.setCurrentIndex(window.table.bar.interval.findData("se"))
    assert model.index(1, loss).data() == "0.320 ± 0.012"
    tip = model.headerData(loss, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert "standard error" in tip
    window.table.view.expand(maml)
    window.table.tree_model.sort(loss)
    assert labels(window) == ["MAML", "iMAML"]
    assert window.table.view.isExpanded(model.index(0, 0))
    window.table.group_by(())
    assert len(labels(window)) == 6


def test_ticking_a_group_shows_its_runs(qtbot, window):
    window.table.group_by(None)
    index = window.table.tree_model.index(0, 0)
    role = Qt.ItemDataRole.CheckStateRole
    assert window.table.tree_model.setData(index, Qt.CheckState.Checked, role)
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 2, timeout=WAIT)
    window.runs.show([window.runs.visible_records()[0].id], visible=False)
    assert index.data(role) == Qt.CheckState.PartiallyChecked


def test_a_baseline_tells_better_and_worse_for_loss_and_accuracy(window):
    select(window, "iMAML · seed 0")
    window.table.view.setCurrentIndex(
        window.table.tree_model.index_of(row(window, "iMAML · seed 0").id)
    )
    window.table._baseline.trigger()
    model = window.table.tree_model

    def told(name):
        place = column(window, "delta")
        index = model.index_of(row(window, name).id).siblingAtColumn(place)
        return (
            index.data(),
            index.data(Qt.ItemDataRole.ToolTipRole),
            index.data(Qt.ItemDataRole.ForegroundRole),
        )

    theme = current_theme()
    text, tip, color = told("MAML · seed 0")
    assert text == "▼ −0.2 (−40.0 %)"
    assert "Better" in tip
    assert QColor(color) == QColor(theme.good)
    assert told("iMAML · seed 0")[0] == "baseline"
    assert "Worse" in told("iMAML · seed 1")[1]
    window.table.compare("accuracy")
    text, tip, color = told("MAML · seed 0")
    assert text == "▲ +20 (+40.0 %)"
    assert "Better" in tip
    text, tip, color = told("iMAML · seed 1")
    assert text.startswith("▼ −4 ")
    assert "Worse" in tip
    assert QColor(color) == QColor(theme.error)
    window.table.clear_baseline()
    assert "delta" not in [c.key for c in model.shown]


def test_a_group_is_a_baseline_with_welchs_interval(window):
    window.table.group_by(None)
    window.table.view.setCurrentIndex(window.table.tree_model.index(0, 0))
    window.table._baseline.trigger()
    index = window.table.tree_model.index(1, column(window, "delta"))
    assert window.table.tree_model.index(0, column(window, "delta")).data() == "baseline"
    assert index.data().startswith("▼ −0.20 ± ")
    assert "Welch" in index.data(Qt.ItemDataRole.ToolTipRole)


def test_a_restart_keeps_marks_columns_baseline_search_and_groups(qtbot, window, open_shelf):
    table = window.table
    run = row(window, "MAML · seed 0")
    select(window, "MAML · seed 0")
    table.marks.star.trigger()
    table.view.setCurrentIndex(table.tree_model.index_of(run.id))
    table._baseline.trigger()
    table.tree_model.choose(["run", "loss", "imaml.prox"], only_differing=False)
    table.bar.search.set_text("loss<0.6")
    table.group_by(("algorithm",))
    table.use_interval("se")
    leave(qtbot, window)
    again = open_shelf()
    assert again.table.bar.search.line.text() == "loss<0.6"
    assert again.table.tree_model.chosen == ["run", "loss", "imaml.prox"]
    assert again.table.tree_model.group_keys == ("algorithm",)
    assert again.table.bar.interval.currentData() == "se"
    assert again.table.tree_model.context.baseline.run == run.id
    assert again.runs.find(run.id).marks.star
    assert labels(again) == ["iMAML", "MAML"]


@pytest.mark.parametrize("state", [{}, {"columns": 3}, {"columns": [1], "group": []}])
def test_a_remembered_view_that_makes_no_sense_is_passed_over(window, state):
    before = [c.key for c in window.table.tree_model.shown]
    assert not window.table.restore(state)
    assert [c.key for c in window.table.tree_model.shown] == before


def test_two_windows_on_one_store_see_each_others_marks(qtbot, window, open_shelf, root):
    other = open_shelf()
    select(window, "MAML · seed 0")
    run = row(window, "MAML · seed 0").id
    window.table.marks.star.trigger()
    saved(qtbot, window.runs.find(run).folder, Marks(star=True))
    other.reader.rescan()
    qtbot.waitUntil(lambda: other.runs.find(run).marks.star, timeout=WAIT)
    gone = other.runs.find(run).folder
    shutil.rmtree(gone)
    fresh = store(root, "reptile", 5)
    for one in (window, other):
        one.reader.rescan()
        qtbot.waitUntil(lambda one=one: one.runs.find(fresh.name) is not None, timeout=WAIT)
        qtbot.waitUntil(lambda one=one: one.runs.find(run) is None, timeout=WAIT)
        assert labels(one)[0] == "Reptile · seed 5"


def test_unreadable_marks_are_one_warning_in_the_log(qtbot, root, open_shelf):
    (list_runs(root)[0] / MARKS).write_text("star = 3", encoding="utf-8")
    window = open_shelf()
    qtbot.waitUntil(lambda: MARKS in logged(window), timeout=WAIT)
    assert logged(window).count(MARKS) == 1


def test_a_run_that_trains_elsewhere_is_followed(qtbot, root, open_shelf):
    folder = store(root, "reptile", 9, state="")
    lock = lock_run(folder)
    window = open_shelf(7)
    assert window.runs.find(folder.name).summary.state == "running"
    lock.release()
    window.reader.rescan()
    qtbot.waitUntil(
        lambda: window.runs.find(folder.name).summary.state == "interrupted", timeout=WAIT
    )


def test_rows_are_copied_for_spreadsheets(qtbot, window):
    change_marks(row(window, "MAML · seed 0").folder, {"name": "=1+1"})
    window.reader.rescan()
    qtbot.waitUntil(lambda: "=1+1" in labels(window), timeout=WAIT)
    select(window, "=1+1", "MAML · seed 1")
    press(qtbot, window, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = QGuiApplication.clipboard().text().split("\n")
    assert lines[0].split("\t")[0] == "Run"
    assert {line.split("\t")[0] for line in lines[1:]} == {"'=1+1", "MAML · seed 1"}


def test_selection_survives_sorting_searching_and_news(window):
    select(window, "MAML · seed 1", "iMAML · seed 0")
    window.table.tree_model.sort(column(window, "loss"))
    window.table.bar.search.set_text("seed:0-1")
    assert {r.label for r in window.table.selected()} == {"MAML · seed 1", "iMAML · seed 0"}
    assert window.table.tree_model.parent(QModelIndex()) == QModelIndex()
