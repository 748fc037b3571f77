"""The window is closed at whatever moment: it ends soon, in order, and every run is right after."""

import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PySide6.QtCore import QLocale, QTimer
from PySide6.QtWidgets import QMessageBox

from metaviz import app
from metaviz.gui.window import shutdown
from metaviz.runs.storage.store import list_runs, open_run
from metaviz.training import stepping

WAIT = 20_000
MOST_SECONDS = 10
CLOSES = int(os.environ.get("METAVIZ_CLOSES", "4"))
ENDS = {"stopped", "done", "interrupted"}


def right(folder: Path) -> None:
    """Check that a run is whole: every step once, and a state that says how it ended."""
    record = open_run(folder)
    assert record.state in ENDS, record.message
    assert record.column("step").tolist() == list(range(1, record.step + 1))
    assert all(math.isfinite(value) for value in record.column("meta_gradient_norm"))


def test_closing_at_random_moments_is_quick_and_leaves_runs_right(qtbot, open_window, home):
    """METAVIZ_CLOSES=50 for the long form."""
    chance = random.Random(5)
    slowest = 0.0
    for _ in range(CLOSES):
        window = open_window()
        window.form.field("eval_tasks").set_value(100)
        window.form.field("eval_every").set_value(5)
        window.form.algorithms.tick(("maml", "reptile"))
        window.form.field("steps").set_value(1_000_000)
        window.commands["run"].trigger()
        qtbot.wait(chance.choice((0, chance.randrange(30), chance.randrange(1500))))
        if chance.random() < 0.3:
            window.commands["pause"].trigger()
        if chance.random() < 0.2:
            window.tabs.setCurrentIndex(1)
        began = time.monotonic()
        if window.controller.busy:
            window.close()
            box = window.shutdown.question
            save = next(b for b in box.buttons() if "Stop and save" in b.text().replace("&", ""))
            save.click()
        else:
            window.shutdown.begin()
        qtbot.waitUntil(lambda window=window: window.shutdown.may_close, timeout=WAIT)
        slowest = max(slowest, time.monotonic() - began)
        assert window.shutdown.question is None
    assert slowest < MOST_SECONDS, f"closing took {slowest:.1f} s"
    folders = list_runs(home / "runs")
    assert folders
    for folder in folders:
        right(folder)
    again = open_window()
    qtbot.waitUntil(lambda: len(again.runs.rows) == len(folders), timeout=WAIT)
    assert {row.summary.state for row in again.runs.rows} <= ENDS


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to be caught")
def test_processes_that_are_told_to_end_exit_with_0_and_killed_ones_leave_runs_readable(
    home: Path,
) -> None:
    (home / "metaviz.ini").write_text("")
    code = (
        "import os, sys\n"
        "from PySide6.QtCore import QTimer\n"
        "from metaviz import app\n"
        "make = app.create_window\n"
        "def create(preferences):\n"
        "    window = make(preferences)\n"
        "    window.controller.worker.loaded.connect(window.training_commands.run)\n"
        "    window.controller.worker.started.connect(\n"
        "        lambda _: print('training', flush=True))\n"
        "    return window\n"
        "app.create_window = create\n"
        "sys.exit(app.run_window(['metaviz']))\n"
    )
    chance = random.Random(2)
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "METAVIZ_HOME": str(home), "QT_QPA_PLATFORM": "offscreen"},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        time.sleep(chance.random())
        began = time.monotonic()
        process.send_signal(how)
        ended = process.wait(60)
        process.stdout.close()
        if how == signal.SIGKILL:
            assert ended == -signal.SIGKILL
        else:
            assert ended == 0
            assert time.monotonic() - began < MOST_SECONDS
    folders = list_runs(home / "runs")
    assert len(folders) == 3
    for folder in folders:
        right(folder)


def test_worker_that_does_not_stop_can_be_waited_for_or_left(qtbot, window, monkeypatch):
    there, go_on = threading.Event(), threading.Event()
    real = stepping.sharded_meta_gradient

    def slow(*arguments, **others):
        there.set()
        go_on.wait(60)
        return real(*arguments, **others)

    monkeypatch.setattr(stepping, "sharded_meta_gradient", slow)
    window.shutdown._wait_timer.setInterval(50)
    assert shutdown.PATIENCE_MS == 1000 * MOST_SECONDS
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: len(window.runs.rows) == 1, timeout=WAIT)
    qtbot.waitUntil(there.is_set, timeout=WAIT)
    forced = []
    window.shutdown.forced.connect(lambda: forced.append(True))
    window.shutdown.begin()

    def answer(text: str) -> None:
        qtbot.waitUntil(lambda: window.shutdown.question is not None, timeout=WAIT)
        box = window.shutdown.question
        assert isinstance(box, QMessageBox)
        assert "can be resumed" in box.informativeText()
        next(b for b in box.buttons() if b.text().replace("&", "") == text).click()

    answer("Keep waiting")
    assert not forced
    answer("Quit now")
    assert forced
    go_on.set()
    qtbot.waitUntil(lambda: window.shutdown.may_close, timeout=WAIT)


def test_second_window_is_told_that_the_store_is_in_use(home):
    lock, sentence = app.claim_store()
    assert sentence == ""
    other, told = app.claim_store()
    assert str(home) in told
    assert told.startswith("Another MetaViz window uses ")
    lock.release()
    again, sentence = app.claim_store()
    assert sentence == ""
    again.release()
    other.release()


def test_second_window_cannot_change_a_run_that_the_first_one_trains(qtbot, window, open_window):
    window.form.field("steps").set_value(1_000_000)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: window.live.progress()[0] > 3, timeout=WAIT)
    other = open_window()
    qtbot.waitUntil(lambda: len(other.runs.rows) == 1, timeout=WAIT)
    assert other.runs.rows[0].summary.state == "running"
    other.table.select(other.runs.rows[0].id)
    assert not other.commands["resume"].isEnabled()
    other.controller.resume([other.runs.rows[0].folder], None)
    qtbot.waitUntil(other.messages.isVisible, timeout=WAIT)
    assert "another" in other.messages.text.text().lower()
    before = window.live.progress()[0]
    qtbot.waitUntil(lambda: window.live.progress()[0] > before, timeout=WAIT)


def test_home_that_cannot_be_written_opens_a_window_that_says_so(qtbot, open_window, monkeypatch):
    monkeypatch.setenv("METAVIZ_HOME", "/proc/nowhere")
    window = open_window(path=Path("/proc/nowhere/metaviz.ini"))
    assert app.claim_store()[1] == ""
    window.commands["run"].trigger()
    qtbot.waitUntil(window.messages.isVisible, timeout=WAIT)
    assert "Cannot write runs to /proc/nowhere/runs" in window.messages.text.text()
    lines = [line.text() for line in window.log.model.lines]
    assert any("Preferences cannot be saved" in line for line in lines)


def test_form_and_files_agree_where_the_system_writes_decimal_commas(qtbot, open_window, home):
    usual = QLocale()
    QLocale.setDefault(QLocale("de_DE"))
    try:
        window = open_window()
        field = window.form.field("inner_lr")
        field.set_value(0.5)
        window.form.field("steps").set_value(2)
        window.form.field("eval_tasks").set_value(20)
        assert window.form.comparison().shared["inner_lr"] == 0.5
        window.commands["run"].trigger()
        qtbot.waitUntil(lambda: len(window.runs.rows) == 1, timeout=WAIT)
        qtbot.waitUntil(lambda: window.controller.phase == "idle", timeout=WAIT)
        (folder,) = list_runs(home / "runs")
        assert open_run(folder).config["shared"]["inner_lr"] == 0.5
        window.session.save()
        again = open_window()
        assert again.form.comparison().shared["inner_lr"] == 0.5
    finally:
        QLocale.setDefault(usual)


def test_nothing_is_left_running(qtbot, window):
    QTimer.singleShot(0, window.shutdown.begin)
    qtbot.waitUntil(lambda: window.shutdown.may_close, timeout=WAIT)
    assert not window.controller.thread_.isRunning()
