"""Twelve runs are queued, the power goes, the program starts again: the story of an evening."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton

from metaviz.runs.storage.store import list_runs, open_run

WAIT = 120_000
STEPS = 400
# A person's evening, in a process that can be killed together with its worker.
EVENING = """
import sys
from PySide6.QtCore import QTimer
from metaviz import app

make = app.create_window

def create(preferences):
    window = make(preferences)
    window.controller.worker.loaded.connect(lambda _info: QTimer.singleShot(0, window, queue))

    def queue():
        for key, value in {values}.items():
            window.form.field(key).set_value(value)
        window.form.algorithms.tick(("maml", "fomaml", "reptile", "joint"))
        window.form.field("reptile.inner_lr").set_value(1000.0)
        window.commands["queue"].trigger()
        watch.start(20)

    def look():
        entries = window.queue_controller.queue.entries()
        states = [entry.state for entry in entries]
        records = window.follower.records
        under_way = [records[e.run] for e in entries if e.state == "running" and e.run in records]
        is_time = states.count("done") >= 2 and any(0 < r.step < {half} for r in under_way)
        if is_time or not {"waiting", "running"} & set(states):  # too late beats never
            print(*states, flush=True)
            watch.stop()

    watch = QTimer(window)
    watch.timeout.connect(look)
    return window

app.create_window = create
sys.exit(app.run_window(["metaviz"]))
"""
VALUES = {
    "steps": STEPS,
    "seeds": "0-2",
    "eval_tasks": 6,
    "eval_steps": 2,
    "eval_every": 10,
    "inner_steps": 2,
    "meta_batch": 4,
    "sinusoid.hidden": 8,
}


def press(qtbot, window, name: str) -> None:
    qtbot.mouseClick(window.findChild(QAbstractButton, name), Qt.MouseButton.LeftButton)


def column(window, key: str) -> int:
    return [c.key for c in window.table.tree_model.shown].index(key)


def evening(home) -> list[str]:
    """Queue twelve runs and cut the power while they train; return the states of the queue."""
    code = EVENING.replace("{values}", repr(VALUES)).replace("{half}", str(STEPS // 2))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "METAVIZ_HOME": str(home), "QT_QPA_PLATFORM": "offscreen"},
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        return process.stdout.readline().split()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def check_end(entries) -> None:
    """Check that what could be done is done, whole, and that the rest says why not."""
    assert [e.state for e in entries if e.config["algorithm"] == "reptile"] == ["diverged"] * 3
    assert [e.state for e in entries].count("done") == 9
    for entry in entries:
        record = open_run(entry.folder)
        assert record.column("step").tolist() == list(range(1, record.step + 1))
        if entry.state == "diverged":
            assert "at step 1. What may help: " in entry.message
        else:
            assert record.step == STEPS


def final_losses(entries, algorithm: str) -> np.ndarray:
    runs = [open_run(e.folder) for e in entries if e.config["algorithm"] == algorithm]
    last = [record.evaluations[-1] for record in runs]
    return np.array([e.curves["query_loss"][e.trained_steps] for e in last])


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_twelve_runs_survive_a_power_cut_and_are_compared(qtbot, home, open_window):
    before = evening(home)
    assert len(before) == 12
    qtbot.waitUntil(lambda: all(open_run(f).ended for f in list_runs(home / "runs")), timeout=WAIT)
    committed = {folder: len(open_run(folder)) for folder in list_runs(home / "runs")}
    assert 2 < len(committed) < 12

    # The queue is as it was, but for the run that was under way, and begins nothing by itself.
    window = open_window()
    queue = window.queue_controller.queue
    states = [entry.state for entry in queue.entries()]
    assert [s.replace("running", "interrupted") for s in before] == states
    assert states.count("interrupted") == 1
    assert "1 can be resumed" in window.messages.text.text()
    assert window.queue_controller.is_paused
    assert not window.queue_controller.pool.busy
    (broken_off,) = (e for e in queue.entries() if e.state == "interrupted")
    assert committed[broken_off.folder] > 0

    window.queue_controller.dock.select([broken_off.id])
    window.commands["queue_resume"].trigger()
    press(qtbot, window, "button_queue_pause")
    qtbot.waitUntil(
        lambda: {e.state for e in queue.entries()} <= {"done", "diverged"}, timeout=2 * WAIT
    )
    entries = queue.entries()
    check_end(entries)
    assert len(list_runs(home / "runs")) == 12

    # In the table: seeds as groups, a baseline, and who is better by how much.
    qtbot.waitUntil(lambda: len(window.runs.rows) == 12, timeout=WAIT)
    qtbot.waitUntil(
        lambda: {r.summary.state for r in window.runs.rows} == {"done", "diverged"}, timeout=WAIT
    )
    window.table.group_by(None)
    model = window.table.tree_model
    model.flush()
    names = [model.index(place, 0).data() for place in range(model.rowCount())]
    assert sorted(names) == ["FOMAML", "Joint training", "MAML", "Reptile"]
    reptile = model.index(names.index("Reptile"), column(window, "state"))
    assert reptile.data() == "0 of 3; 3 diverged"
    window.table.view.setCurrentIndex(model.index(names.index("Joint training"), 0))
    window.table._baseline.trigger()
    model.flush()
    names = [model.index(place, 0).data() for place in range(model.rowCount())]
    told = model.index(names.index("MAML"), column(window, "delta")).data()
    mine, other = (final_losses(entries, name).mean() for name in ("maml", "joint"))
    assert f"{100 * (mine / other - 1):+.1f}".replace("-", "−") in told
    assert ("▼" if mine < other else "▲") in told
