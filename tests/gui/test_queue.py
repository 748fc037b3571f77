"""The queue in the window: a person's clicks and keys, real worker processes, and their crashes."""

import os
import signal
import sys
import time

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtWidgets import QAbstractButton, QMessageBox

from metaviz.config.run_config import Comparison
from metaviz.gui.runs.row import Row, row_of
from metaviz.runs.storage.queue import Queue
from metaviz.runs.storage.store import list_runs, open_run
from metaviz.runs.storage.worker_process import PATIENCE_SECONDS
from metaviz.training.engine import planned_runs
from tests.gui.conftest import leave
from tests.unit.stored import begin, config, finish, train

WAIT = 60_000
ENDLESS = 1_000_000
SMALL = {"eval_tasks": 5, "eval_steps": 2, "inner_steps": 2, "meta_batch": 3}


def entries(window):
    return window.queue_controller.queue.entries()


def states(window):
    return [entry.state for entry in entries(window)]


def seeds(window):
    return [entry.config["seed"] for entry in window.queue_controller.model.entries]


def small_form(window, steps=4):
    for key, value in {**SMALL, "steps": steps}.items():
        window.form.field(key).set_value(value)


def fill(home, count, steps=3):
    """Queue runs as another program does, before a window is opened."""
    queue = Queue(home)
    for seed in range(count):
        asked = Comparison(steps=steps, seeds=(seed,), shared=SMALL, device="cpu")
        queue.add([config.model_dump(mode="json") for config in planned_runs(asked)])
    queue.close()


def press(qtbot, window, name):
    qtbot.mouseClick(window.findChild(QAbstractButton, name), Qt.MouseButton.LeftButton)


def trains(window, step=3):
    """Whether a run of the queue has come so far, as the window sees it."""
    return lambda: any(record.step >= step for record in window.follower.records.values())


def test_a_sweep_is_filled_in_queued_and_watched_to_its_end(qtbot, window, home):
    small_form(window)
    window.commands["sweep"].trigger()
    dialog = window.enqueue_commands.dialog
    row = dialog.rows[0]
    assert (row.key.currentData(), row.text.text()) == ("inner_lr", "0.001, 0.1, 5")
    assert dialog.accepting.text() == "&Queue 5"
    row.text.clear()
    qtbot.keyClicks(row.text, "0.1, 1000")
    assert not dialog.accepting.isEnabled()
    assert row.sentence.text() == (
        "Log spaced: write smallest, largest and how many, like 0.001, 0.1, 5."
    )
    row.kind.setCurrentIndex(row.kind.findData("list"))
    row.text.setText("0.1, 1000")
    dialog.seeds.setText("0-1")
    assert dialog.accepting.text() == "&Queue 4"
    listed = [dialog.table.item(place, 2).text() for place in range(dialog.table.rowCount())]
    assert listed == ["inner_lr = 0.1", "inner_lr = 1000"] * 2
    qtbot.mouseClick(dialog.estimate, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.time.text().startswith("4 runs, about "), timeout=WAIT)
    qtbot.mouseClick(dialog.accepting, Qt.MouseButton.LeftButton)
    assert window.enqueue_commands.dialog is None
    qtbot.waitUntil(
        lambda: states(window) == ["done", "diverged", "done", "diverged"], timeout=WAIT
    )
    qtbot.waitUntil(lambda: not window.queue_controller.pool.busy, timeout=WAIT)
    table = window.queue_controller.model
    assert "is not finite at step 1." in table.index(1, 7).data()
    assert table.index(0, 4).data() == "inner_lr = 0.1"
    # The runs are in the table and in the plots, though other processes trained them.
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 4, timeout=WAIT)
    qtbot.waitUntil(lambda: not window.follower.records, timeout=WAIT)
    for record in window.runs.visible_records():
        stored = open_run(home / "runs" / record.id)
        assert (record.state, record.step) == (stored.state, stored.step)
        assert record.column("step").tolist() == stored.column("step").tolist()
        assert [e.step for e in record.evaluations] == [e.step for e in stored.evaluations]
    assert window.queue_controller.dock.summary.text() == "2 of 4 done, 2 diverged"


@pytest.mark.parametrize(
    ("listed", "ticked"),
    [("nowhere", True), ("as news", True), ("before", False), ("and hid", False)],
)
def test_a_run_that_begins_is_ticked_whoever_lists_it_first(qtbot, window, home, listed, ticked):
    folder = train(config("maml"), home / "runs")
    row = row_of(open_run(folder), folder, keep=False)
    if listed == "before":
        window.reader.found.emit([row])
    elif listed != "nowhere":
        window.reader.changed.emit([row], [])
    if listed == "and hid":
        window.runs.show([row.id], visible=True)
        window.runs.show([row.id], visible=False)
    with qtbot.waitSignal(window.follower.changed, timeout=WAIT):
        window.follower.follow(folder)
    assert window.runs.find(row.id).visible is ticked


def test_a_run_that_the_library_listed_first_grows_where_it_is_followed(qtbot, window, home):
    session = begin(config("maml"), home / "runs")
    folder = session.folder

    def seen(events: int) -> Row:
        for _ in range(events):
            session.advance()
        row = row_of(open_run(folder), folder, keep=False)
        row.stored, row.stamp = True, str(events)
        return row

    window.reader.changed.emit([seen(3)], [])
    with qtbot.waitSignal(window.follower.changed, timeout=WAIT):
        window.follower.follow(folder)
    window.reader.changed.emit([seen(4)], [])
    row = window.runs.find(folder.name)
    assert not row.stale
    assert row.record is window.follower.record(row.id)
    finish(session)


def test_the_queue_is_paused_at_a_start_and_reordered_by_keys_and_by_dragging(
    qtbot, home, open_window
):
    fill(home, 4)
    window = open_window()
    assert window.queue_controller.is_paused
    assert not window.queue_controller.pool.busy
    assert window.messages.text.text() == (
        "The queue was left unfinished: 4 runs wait. Press Go in the Queue dock to go on."
    )
    panel, model = window.queue_controller.dock, window.queue_controller.model
    window.dock_layout.queue.raise_()
    panel.select([model.entries[2].id])
    panel.view.setFocus()
    for command in ("queue_up", "queue_up"):
        window.commands[command].trigger()
    assert seeds(window) == [2, 0, 1, 3]
    assert [entry.config["seed"] for entry in panel.selected()] == [2]
    assert window.commands["queue_up"].shortcut().toString() == "Alt+Up"
    assert window.commands["queue_down"].shortcut().toString() == "Alt+Down"
    window.commands["queue_down"].trigger()
    assert seeds(window) == [0, 2, 1, 3]
    dragged = model.mimeData([model.index(3, 0), model.index(3, 1)])
    move = Qt.DropAction.MoveAction
    assert model.dropMimeData(dragged, move, 1, 0, QModelIndex())
    assert seeds(window) == [0, 3, 2, 1]
    assert not model.dropMimeData(dragged, Qt.DropAction.CopyAction, 1, 0, QModelIndex())
    panel.select([model.entries[3].id])
    window.commands["queue_next"].trigger()
    assert seeds(window) == [1, 0, 3, 2]
    panel.select([model.entries[1].id, model.entries[2].id])
    window.commands["queue_remove"].trigger()
    assert seeds(window) == [1, 2]
    assert [entry.config["seed"] for entry in entries(window)] == [1, 2]


def test_keys_reach_the_queue_only_from_its_rows(qtbot, home, open_window):
    fill(home, 3)
    window = open_window()
    window.dock_layout.queue.raise_()
    view = window.queue_controller.dock.view
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow, timeout=WAIT)
    window.queue_controller.dock.select([window.queue_controller.model.entries[2].id])
    view.setFocus()
    qtbot.waitUntil(view.hasFocus, timeout=WAIT)
    qtbot.keyClick(view, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    assert seeds(window) == [0, 2, 1]
    qtbot.keyClick(view, Qt.Key.Key_Delete)
    assert seeds(window) == [0, 1]
    window.form.field("inner_lr").editor.setFocus()
    qtbot.keyClick(window.form.field("inner_lr").editor, Qt.Key.Key_Delete)
    assert seeds(window) == [0, 1]


def test_pause_and_go(qtbot, window, home):
    small_form(window, ENDLESS)
    press(qtbot, window, "form_queue")
    qtbot.waitUntil(trains(window), timeout=WAIT)
    assert window.queue_status.text().startswith("Queue: 0 of 1 done")
    assert window.commands["queue_pause"].text() == "Pause &queue"
    window.commands["queue_pause"].trigger()
    (record,) = window.follower.records.values()
    qtbot.waitUntil(lambda: record.state == "paused", timeout=WAIT)
    assert window.commands["queue_pause"].text() == "&Go"
    qtbot.waitUntil(
        lambda: window.queue_controller.model.index(0, 5).data() == "paused", timeout=WAIT
    )
    before = record.step
    window.commands["queue_pause"].trigger()
    qtbot.waitUntil(lambda: record.step > before + 2, timeout=WAIT)
    assert record.state == "running"
    assert states(window) == ["running"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_worker_that_crashes_takes_neither_the_window_nor_the_queue_down(qtbot, window, home):
    small_form(window, ENDLESS)
    press(qtbot, window, "form_queue")
    qtbot.waitUntil(trains(window), timeout=WAIT)
    small_form(window, 3)
    press(qtbot, window, "form_queue")
    (worker_process,) = window.queue_controller.pool.workers
    os.kill(worker_process.process.processId(), signal.SIGSEGV)
    qtbot.waitUntil(lambda: states(window) == ["interrupted", "done"], timeout=WAIT)
    first = entries(window)[0]
    assert first.message == (
        "The worker process ended without a word (signal 11, SIGSEGV). Resume the run, or remove "
        "it from the queue."
    )
    qtbot.waitUntil(
        lambda: window.runs.find(first.run).summary.state == "interrupted", timeout=WAIT
    )
    qtbot.waitUntil(lambda: not window.queue_controller.pool.busy, timeout=WAIT)
    # Nobody began it again by itself; a person does.
    stored = open_run(first.folder).step
    assert window.commands["queue_resume"].isEnabled()
    press(qtbot, window, "button_queue_resume")
    qtbot.waitUntil(
        lambda: (
            first.run in window.follower.records
            and window.follower.records[first.run].step > stored
        ),
        timeout=WAIT,
    )
    assert len(list_runs(home / "runs")) == 2


def test_a_worker_that_cannot_begin_is_not_begun_again_and_again(qtbot, window, monkeypatch):
    small_form(window)
    monkeypatch.setattr(
        "metaviz.gui.background.worker_processes.worker_command",
        lambda: [sys.executable, "-c", "raise SystemExit(3)"],
    )
    seen = []
    window.queue_controller.pool.changed.connect(
        lambda: seen.append(len(window.queue_controller.pool.workers))
    )
    press(qtbot, window, "form_queue")
    qtbot.waitUntil(lambda: window.queue_controller.is_paused, timeout=WAIT)
    assert window.messages.text.text() == (
        "A worker process of the queue could not begin (exit code 3); the queue is paused."
    )
    qtbot.waitUntil(lambda: not window.queue_controller.pool.busy, timeout=WAIT)
    window.queue_controller.poll()
    assert seen == [1, 0]
    assert states(window) == ["waiting"]


def test_closing_while_the_queue_works_asks_saves_and_comes_back(qtbot, open_window, home):
    window = open_window()
    small_form(window, ENDLESS)
    window.form.field("seeds").set_value("0,1")
    press(qtbot, window, "form_queue")
    qtbot.waitUntil(trains(window), timeout=WAIT)
    window.close()
    assert not window.shutdown.may_close
    box = window.findChild(QMessageBox, "close_question")
    save = next(b for b in box.buttons() if b.text() == "&Stop and save")
    began = time.monotonic()
    qtbot.mouseClick(save, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.shutdown.may_close, timeout=WAIT)
    assert time.monotonic() - began < PATIENCE_SECONDS + 5
    again = open_window()
    assert states(again) == ["interrupted", "waiting"]
    assert again.messages.text.text() == (
        "The queue was left unfinished: 1 run waits, 1 can be resumed. Press Go in the Queue dock "
        "to go on."
    )
    folder = entries(again)[0].folder
    stored = open_run(folder)
    assert stored.state == "interrupted"
    assert again.queue_controller.is_paused
    again.queue_controller.dock.select([entries(again)[0].id])
    again.commands["queue_resume"].trigger()
    assert states(again) == ["waiting", "waiting"]
    press(qtbot, again, "button_queue_pause")
    qtbot.waitUntil(trains(again, stored.step + 1), timeout=WAIT)
    notes = [note.message for note in again.follower.records[folder.name].notes]
    assert f"Resumed from the checkpoint of step {stored.step}." in notes
    leave(qtbot, again)


def test_a_queue_that_others_work_off_is_followed_and_not_begun_twice(qtbot, open_window, home):
    fill(home, 1, steps=ENDLESS)
    first = open_window()
    press(qtbot, first, "button_queue_pause")
    qtbot.waitUntil(trains(first), timeout=WAIT)
    second = open_window()
    qtbot.waitUntil(trains(second), timeout=WAIT)
    assert not second.queue_controller.pool.busy
    assert states(second) == ["running"]
    name = entries(second)[0].run
    assert second.runs.find(name).summary.state == "running"
    leave(qtbot, first)
    qtbot.waitUntil(lambda: second.runs.find(name).summary.state == "interrupted", timeout=WAIT)


def test_a_number_offers_to_be_swept(qtbot, window):
    editor = window.form.field("meta_batch").editor
    menu = editor.menu()
    next(a for a in menu.actions() if a.objectName() == "sweep_this").trigger()
    dialog = window.enqueue_commands.dialog
    assert dialog.rows[0].key.currentData() == "meta_batch"
    assert dialog.rows[0].text.text() == "12, 50, 5"
    assert dialog.accepting.text() == "&Queue 5"
    dialog.reject()
    assert window.enqueue_commands.dialog is None


def test_sweep_rows_are_checked_in_place(qtbot, window):
    window.enqueue_commands.open_sweep("outer_optimizer")
    dialog = window.enqueue_commands.dialog
    assert dialog.rows[0].text.text() == "adam, sgd"
    assert not dialog.rows[0].kind.isEnabled()
    row = dialog.add_row("inner_lr")
    assert dialog.accepting.text() == "&Queue 10"
    row.text.setText("0.1, 5000, 3")
    assert row.sentence.text().startswith("inner_lr = 5000.0 is not valid (Inner step size α)")
    assert not dialog.accepting.isEnabled()
    row.kind.setCurrentIndex(row.kind.findData("loguniform"))
    row.text.setText("0.01, 0.1, 7")
    assert dialog.accepting.text() == "&Queue 14"
    drawn = dialog.table.item(0, 2).text()
    dialog.draw.setValue(5)
    assert dialog.table.item(0, 2).text() != drawn
    dialog.seeds.setText("4-1")
    assert dialog.reason.text() == "seeds = '4-1' is not valid: write 0,1,2 or 0-4."
    dialog.seeds.setText("0")
    qtbot.mouseClick(row.remove_button, Qt.MouseButton.LeftButton)
    assert dialog.accepting.text() == "&Queue 2"
    row = dialog.add_row("inner_lr")
    row.text.setText("0.001, 0.1, 9000")
    assert dialog.reason.text() == "This sweep has 18000 runs: use at most 10000."
    dialog.reject()


def test_a_queue_that_can_only_be_read_is_shown(qtbot, open_window, home, monkeypatch):
    fill(home, 2)
    monkeypatch.setattr("os.access", lambda *_arguments: False)
    window = open_window()
    qtbot.waitUntil(lambda: states(window) == ["waiting", "waiting"], timeout=WAIT)
    assert window.queue_controller.queue.is_read_only
    assert not window.queue_controller.pool.busy
