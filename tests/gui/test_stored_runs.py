"""What can be done with the selected runs of the table, by clicks in the whole window."""

import math

from PySide6.QtWidgets import QCommandLinkButton, QInputDialog

from metaviz.gui.runs.divergence_dialog import DivergenceDialog
from metaviz.problems.sinusoid import Sinusoid
from metaviz.runs.storage.store import list_runs, open_run

WAIT = 20_000


def train(qtbot, window, steps):
    window.form.field("steps").set_value(steps)
    before = len(window.runs.rows)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: len(window.runs.rows) > before, timeout=WAIT)


def idle(qtbot, window):
    qtbot.waitUntil(lambda: window.controller.phase == "idle", timeout=WAIT)


def test_a_stopped_run_is_resumed_in_its_row(qtbot, window, home):
    train(qtbot, window, 100_000)
    qtbot.waitUntil(lambda: window.live.progress()[0] > 3, timeout=WAIT)
    window.table.select(window.runs.rows[0].id)
    assert not window.commands["resume"].isEnabled()
    assert window.commands["resume"].toolTip().startswith("Runs are training")
    window.commands["stop"].trigger()
    idle(qtbot, window)
    row = window.runs.rows[0]
    stopped_at = row.record.step
    window.table.select(row.id)
    assert window.commands["resume"].isEnabled()
    window.commands["resume"].trigger()
    qtbot.waitUntil(lambda: window.controller.phase == "training", timeout=WAIT)
    qtbot.waitUntil(lambda: window.runs.rows[0].record.step > stopped_at + 2, timeout=WAIT)
    assert len(window.runs.rows) == 1
    window.commands["stop"].trigger()
    idle(qtbot, window)
    stored = open_run(list_runs(home / "runs")[0])
    assert stored.column("step").tolist() == list(range(1, stored.step + 1))
    shown = window.runs.visible_records()[0]
    assert shown.column("step").tolist() == stored.column("step").tolist()
    assert [e.step for e in shown.evaluations] == [e.step for e in stored.evaluations]
    assert f"Resumed from the checkpoint of step {stopped_at}." in [n.message for n in shown.notes]


def test_a_done_run_asks_for_steps_and_is_trained_further(qtbot, window):
    train(qtbot, window, 4)
    idle(qtbot, window)
    qtbot.waitUntil(lambda: window.runs.rows[0].summary.state == "done", timeout=WAIT)
    window.table.select(window.runs.rows[0].id)
    window.commands["resume"].trigger()
    box = window.findChild(QInputDialog, "steps_question")
    assert (box.intMinimum(), box.intValue()) == (5, 8)
    box.setIntValue(9)
    box.accept()
    qtbot.waitUntil(lambda: window.controller.phase != "idle", timeout=WAIT)
    idle(qtbot, window)
    summary = window.runs.rows[0].summary
    assert (summary.state, summary.step, summary.total) == ("done", 9, 9)


def test_a_run_that_cannot_be_resumed_says_why_and_stays_in_the_table(qtbot, window, home):
    train(qtbot, window, 100_000)
    qtbot.waitUntil(lambda: window.live.progress()[0] > 3, timeout=WAIT)
    window.commands["stop"].trigger()
    idle(qtbot, window)
    for path in list_runs(home / "runs")[0].glob("checkpoint*"):
        path.unlink()
    window.table.select(window.runs.rows[0].id)
    window.commands["resume"].trigger()
    qtbot.waitUntil(window.messages.isVisible, timeout=WAIT)
    assert "has no checkpoint and cannot be resumed" in window.messages.text.text()
    idle(qtbot, window)
    assert window.runs.rows[0].summary.state == "stopped"


def test_a_run_is_repeated_and_the_log_says_that_it_is_bit_identical(qtbot, window):
    train(qtbot, window, 4)
    idle(qtbot, window)
    qtbot.waitUntil(lambda: window.runs.rows[0].summary.state == "done", timeout=WAIT)
    first = window.runs.rows[0].id
    window.table.select(first)
    window.commands["repeat"].trigger()
    qtbot.waitUntil(lambda: len(window.runs.rows) == 2, timeout=WAIT)
    idle(qtbot, window)
    notes = [note.message for note in window.runs.rows[0].record.notes]
    assert notes == [f"Bit-identical to {first} over 4 steps."]


def test_a_run_is_fine_tuned_without_the_form(qtbot, window):
    train(qtbot, window, 4)
    idle(qtbot, window)
    qtbot.waitUntil(lambda: window.runs.rows[0].summary.state == "done", timeout=WAIT)
    first = window.runs.rows[0]
    window.table.select(first.id)
    window.commands["fine_tune"].trigger()
    qtbot.waitUntil(lambda: len(window.runs.rows) == 2, timeout=WAIT)
    idle(qtbot, window)
    tuned = open_run(window.runs.rows[0].folder)
    assert tuned.parent == {"run": first.id, "kind": "fine-tune"}
    end, start = first.record.evaluations[-1], tuned.evaluations[0]
    assert start.curves["query_loss"].tolist() == end.curves["query_loss"].tolist()


def test_a_run_that_diverged_is_mended_beside_one_that_trains(qtbot, window, home, monkeypatch):
    drawn = Sinusoid.tasks

    def tasks(self, split, first, count, shape=None):
        found = drawn(self, split, first, count, shape)
        if self.seed == 1 and split == "train" and first <= 3 < first + count:
            found.query.y[3 - first] = math.inf
        return found

    monkeypatch.setattr(Sinusoid, "tasks", tasks)
    window.form.field("seeds").set_value("0,1")
    train(qtbot, window, 100_000)
    qtbot.waitUntil(window.messages.remedy.isVisible, timeout=WAIT)
    assert (
        "diverged: The query loss before adaptation of task 3 is not finite"
        in window.messages.text.text()
    )
    row = next(row for row in window.runs.rows if row.summary.seed == 1)
    assert row.folder is not None
    qtbot.waitUntil(lambda: window.runs.find(row.id).summary.state == "diverged", timeout=WAIT)
    window.table.select(row.id)
    assert window.commands["mend"].isEnabled()
    assert window.controller.phase == "training"
    window.messages.remedy.click()
    dialog = window.findChild(DivergenceDialog)
    dialog.findChild(QCommandLinkButton, "remedy_skip-task").click()
    qtbot.waitUntil(lambda: window.runs.find(row.id).record.step > 2, timeout=WAIT)
    assert window.controller.phase == "training"
    assert all(row.visible for row in window.runs.rows)
    window.commands["stop"].trigger()
    idle(qtbot, window)
    stored = open_run(row.folder)
    assert (stored.state, stored.divergence) == ("stopped", None)
    assert stored.config["amendments"][0]["skip_task"] == 3
    shown = next(r for r in window.runs.visible_records() if r.seed == 1)
    assert shown.column("step").tolist() == stored.column("step").tolist()


def test_a_run_that_diverged_before_a_restart_is_mended(qtbot, window, open_window):
    window.form.field("inner_lr").set_value(1000.0)
    train(qtbot, window, 5)
    idle(qtbot, window)
    other = open_window()
    qtbot.waitUntil(lambda: len(other.runs.rows) == 1, timeout=WAIT)
    other.table.select(other.runs.rows[0].id)
    other.commands["mend"].trigger()
    dialog = other.findChild(DivergenceDialog)
    assert dialog.findChild(QCommandLinkButton).text() == "Halve the inner step size to α = 500"
    dialog.findChild(QCommandLinkButton).click()
    qtbot.waitUntil(lambda: "α = 250" in other.messages.text.text(), timeout=WAIT)
    qtbot.waitUntil(lambda: other.runs.rows[0].summary.state == "diverged", timeout=WAIT)
