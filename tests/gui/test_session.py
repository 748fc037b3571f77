"""What comes back after a restart, a crash and a damaged file."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PySide6.QtCore import Qt

from metaviz.gui.session.session_file import BACKUP, SESSION, SessionFile
from metaviz.runs.storage.store import list_runs
from tests.gui.conftest import leave, row_of

WAIT = 30_000
ROOT = Path(__file__).parents[2]
# A whole window that trains until it is killed, and says when its session is on disk.
VICTIM = """
import os, tomllib
from pathlib import Path
from PySide6.QtCore import QTimer
from metaviz import app
from metaviz.gui.widgets.settings_file import Settings

home = Path(os.environ["METAVIZ_HOME"])
application = app.create_application(["metaviz"])
window = app.create_window(Settings(home / "metaviz.ini"))
window.show()
window.begin()
window.form.field("inner_lr").editor.setText("fast")
window.form.field("inner_lr").editor.setText("0.02")
window.form.field("steps").set_value(100000)
window.form.field("eval_tasks").set_value(20)
window.controller.worker.loaded.connect(window.training_commands.run)
told = []

def look():
    records = list(window.live.records.values())
    if not told and records and records[0].step > 2:
        told.append(window.form.field("outer_lr").editor.setText("wrong"))
        window.tabs.setCurrentIndex(2)
    session = home / "session.toml"
    if told and session.exists() and tomllib.loads(session.read_text())["runs"]["training"]:
        if tomllib.loads(session.read_text())["form"]["texts"].get("outer_lr"):
            print("ready", flush=True)
            timer.stop()

timer = QTimer()
timer.timeout.connect(look)
timer.start(50)
application.exec()
"""

# A window that is restored from 60 changed files, one after another.
CHANGED = """
import base64, os, random, re
from pathlib import Path
from metaviz import app
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.session.session import Part, Session

home = Path(os.environ["METAVIZ_HOME"])
application = app.create_application(["metaviz"])
window = app.create_window(Settings(home / "metaviz.ini"))
window.show()
window.session.save()
text = (home / "session.toml").read_text()
(state,) = re.findall('^state = "(.*)"', text, re.MULTILINE)
for change in range(60):
    generator = random.Random(change)
    data = bytearray(base64.b64decode(state))
    for place in generator.sample(range(len(data)), (1, 3, 20)[change % 3]):
        data[place] ^= generator.randrange(1, 256)
    (home / "session.toml").write_text(text.replace(state, base64.b64encode(data).decode()))
    parts = {"window": Part(window.dock_layout.state, window.dock_layout.restore)}
    session = Session(parts, home, window.settings, Notifier())
    session.restore()
    print(*session.notes, flush=True)
os._exit(0)
"""
# One start of the program, which may die where Qt reads the layout.
START = """
import os, sys
from pathlib import Path
from metaviz import app
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.window.main_window import MainWindow

if sys.argv[1] == "die":
    MainWindow.restoreState = lambda *_: os._exit(139)
application = app.create_application(["metaviz"])
window = app.create_window(Settings(Path(os.environ["METAVIZ_HOME"]) / "metaviz.ini"))
window.show()
if sys.argv[1] == "hide":
    window.dock_layout.log.hide()
window.session.begin(())
print(window.dock_layout.log.isHidden(), *window.session.notes, flush=True)
os._exit(0)
"""


def child(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout.splitlines()


def test_a_damaged_layout_never_reaches_qt(home):
    code, lines = child(CHANGED)
    assert code == 0
    assert len(lines) == 60
    assert all(line.startswith("The window's layout was left out: ") for line in lines)


def test_a_start_that_died_of_the_layout_is_followed_by_one_without_it(home):
    assert child(START, "hide") == (0, ["True"])
    assert child(START, "") == (0, ["True"])
    assert child(START, "die") == (139, [])
    left_out = "The last start ended while the window's layout was restored, so it was left out."
    assert child(START, "") == (0, [f"False {left_out}"])
    assert child(START, "") == (0, ["False"])


def test_form_views_tab_and_table_come_back(qtbot, plain_window):
    first = plain_window(plots=True)
    row_of(first.form, "Reptile").setCheckState(0, Qt.CheckState.Checked)
    first.form.field("reptile.inner_lr").editor.setText("quick")
    first.tabs.training.smoothing.setValue(30)
    first.tabs.training.axis.setCurrentIndex(1)
    first.tabs.setCurrentIndex(3)
    first.table.bar.search.set_text("loss<3")
    first.dock_layout.log.hide()
    state = first.form.state()
    leave(qtbot, first)
    second = plain_window(plots=True)
    assert second.form.state() == state
    assert "quick" in second.form.reason
    view = second.tabs.training.view
    assert (view.smoothing, view.axis) == (0.3, "seconds")
    assert second.tabs.currentIndex() == 3
    assert second.table.bar.search.line.text() == "loss<3"
    assert second.dock_layout.log.isHidden()
    assert second.undo_stack.count() == 0


def test_what_changes_is_saved_soon_without_an_end(qtbot, open_window, home):
    window = open_window()
    window.form.field("steps").set_value(77)

    def saved():
        values, _ = SessionFile(home).read()
        return values["form"]["texts"].get("steps") == "77" and values["ended"] is False

    qtbot.waitUntil(saved, timeout=WAIT)
    leave(qtbot, window)
    assert SessionFile(home).read()[0]["ended"] is True


@pytest.mark.parametrize("damage", ["", "[form", "version = 9\n", "\x00\xff"])
def test_a_damaged_session_falls_back_to_its_copy_and_says_so(qtbot, plain_window, home, damage):
    for steps in (5, 6):
        window = plain_window()
        window.form.field("steps").set_value(steps)
        leave(qtbot, window)
    (home / SESSION).write_text(damage, encoding="latin-1")
    window = plain_window()
    assert window.form.field("steps").value in {5, 6}
    assert [line.level for line in window.log.model.lines] == ["warning"]
    assert "the copy before it is used" in window.log.model.lines[0].message


def test_two_damaged_files_give_a_new_window_and_one_notice(qtbot, plain_window, home):
    for name in (SESSION, BACKUP):
        (home / name).write_text("[")
    window = plain_window()
    assert window.form.field("steps").value == 2000
    assert [line.message.count("begins as new") for line in window.log.model.lines] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "version = 1\nform = 3\nruns = 2\nviews = [1]\ntabs = 'x'\nwindow = 1\n",
        'version = 1\n[form]\nproblem = "gone"\nticked = ["who"]\n[form.texts]\n"who.x" = "1"\n',
        'version = 1\n[views.training]\ntrainingAxis = 7\ntrainingSmoothing = "x"\n'
        '[window]\ngeometry = "%%"\n[runs]\nshown = []\ntable = "{"\n',
    ],
)
def test_a_session_that_makes_no_sense_is_passed_over(plain_window, home, text):
    (home / SESSION).write_text(text)
    window = plain_window(plots=True)
    assert window.form.field("steps").value == 2000
    assert window.tabs.training.view.axis == "step"


def test_only_one_window_of_a_folder_saves_the_session(qtbot, plain_window, home):
    first, second = plain_window(), plain_window()
    second.form.field("steps").set_value(3)
    first.form.field("steps").set_value(4)
    leave(qtbot, second)
    leave(qtbot, first)
    assert SessionFile(home).read()[0]["form"]["texts"] == {"steps": "4"}


def test_what_was_kept_among_the_preferences_moves_over_once(qtbot, plain_window, home):
    from metaviz.gui.widgets.settings_file import Settings

    window = plain_window()
    old = Settings(home / "metaviz.ini")
    old.write("window/geometry", window.saveGeometry())
    old.write("window/state", window.saveState(1))
    old.write("form/comparison", 'algorithms = ["reptile"]\nsteps = 12\n')
    old.save()
    leave(qtbot, window)
    (home / SESSION).unlink()
    (home / BACKUP).unlink(missing_ok=True)
    again = plain_window()
    assert again.form.comparison().algorithms == ("reptile",)
    assert again.form.field("steps").value == 12
    assert again.settings.read("form/comparison", "") == ""
    leave(qtbot, again)
    assert plain_window().form.field("steps").value == 12


def test_a_session_that_cannot_be_saved_is_said_once(qtbot, plain_window, home):
    window = plain_window()
    (home / SESSION).mkdir()
    for _ in range(2):
        window.session.save()
    lines = window.log.model.lines
    qtbot.waitUntil(lambda: any("cannot be saved" in line.message for line in lines), timeout=WAIT)
    leave(qtbot, window)
    assert sum("cannot be saved" in line.message for line in lines) == 1


def test_after_kill_9_everything_is_back_and_runs_can_be_resumed(qtbot, open_window, home):
    with subprocess.Popen(
        [sys.executable, "-c", VICTIM],
        cwd=ROOT,
        env={**os.environ, "METAVIZ_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    ) as victim:
        try:
            assert victim.stdout is not None
            assert victim.stdout.readline().strip() == "ready"
        finally:
            victim.send_signal(signal.SIGKILL)
    assert len(list_runs(home / "runs")) == 1
    assert tomllib.loads((home / SESSION).read_text(encoding="utf-8"))["ended"] is False
    window = open_window()
    qtbot.waitUntil(window.messages.resume.isVisible, timeout=WAIT)
    told = window.messages.text.text()
    assert told == "MetaViz ended unexpectedly. 1 run was interrupted."
    assert window.form.field("inner_lr").raw == "0.02"
    assert window.form.field("outer_lr").raw == "wrong"
    assert window.tabs.currentIndex() == 2
    qtbot.waitUntil(lambda: len(window.runs.visible_records()) == 1, timeout=WAIT)
    before = window.runs.visible_records()[0].step
    qtbot.mouseClick(window.messages.resume, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.controller.phase == "training", timeout=WAIT)
    qtbot.waitUntil(lambda: bool(window.live.records), timeout=WAIT)
    (record,) = window.live.records.values()
    qtbot.waitUntil(lambda: record.step > before, timeout=WAIT)
    assert not window.messages.isVisible()


def test_a_queue_left_after_a_crash_is_told_in_the_same_message(qtbot, plain_window, home):
    window = plain_window()
    window.session.save()
    leave(qtbot, window)
    text = (home / SESSION).read_text(encoding="utf-8")
    (home / SESSION).write_text(text.replace("ended = true", "ended = false"))
    again = plain_window()
    again.queue_controller.left_unfinished.emit("The queue was left unfinished: 2 runs wait.")
    told = "MetaViz ended unexpectedly. The queue was left unfinished: 2 runs wait."
    assert again.messages.text.text() == told
    assert not again.messages.resume.isVisible()
