"""Lines of the log that are about one run name it, whichever way they come."""

import ast
import logging
from pathlib import Path

from metaviz.gui.background.training_worker import StartedRun
from metaviz.gui.widgets.log_dock import LogHandler
from metaviz.runs.model.events import Noted
from metaviz.runs.model.record import Record
from metaviz.runs.storage.queue import Queue
from metaviz.runs.storage.store import create_run

WAIT = 20_000
GUI = Path(__file__).parents[2] / "metaviz" / "gui"
CONFIG = {
    "algorithm": "maml",
    "problem": "sinusoid",
    "seed": 3,
    "steps": 10,
    "shared": {},
    "options": {},
    "problem_options": {},
}


def about(window, word):
    """Return run and id of each line that holds a word."""
    lines = window.log.model.lines
    return [(line.run, line.run_id) for line in lines if word in line.message]


def test_notes_of_a_run_that_trains_here_name_it(plain_window, tmp_path):
    window = plain_window()
    worker = window.controller.worker
    worker.started.emit([StartedRun(Record("maml-1", CONFIG), tmp_path / "maml-1")])
    worker.progressed.emit([("maml-1", Noted(2, "warning", "mind the step"))])
    worker.ended.emit("maml-1", "failed", "out of memory")
    handler = LogHandler()
    handler.bridge.logged.connect(window.log.add_logged)
    logging.getLogger("metaviz.test").addHandler(handler)
    logging.getLogger("metaviz.test").error("a traceback", extra={"run": "maml-1"})
    logging.getLogger("metaviz.test").removeHandler(handler)
    for word in ("mind the step", "out of memory", "a traceback"):
        assert about(window, word) == [("MAML · seed 3", "maml-1")], word


def test_notes_of_a_followed_run_name_it(qtbot, plain_window, tmp_path):
    window = plain_window()
    writer = create_run(tmp_path, CONFIG, {})
    window.follower.follow(writer.folder)
    qtbot.waitUntil(lambda: writer.id in window.follower.records, timeout=WAIT)
    writer.append(Noted(0, "info", "a slow step"))
    writer.commit()
    qtbot.waitUntil(lambda: bool(about(window, "a slow step")), timeout=WAIT)
    assert about(window, "a slow step") == [("MAML · seed 3", writer.id)]
    window.follower.follow(tmp_path / "nowhere")
    qtbot.waitUntil(lambda: bool(about(window, "nowhere")), timeout=WAIT)
    assert about(window, "nowhere") == [("nowhere", "nowhere")]
    writer.close()


def test_ends_of_queued_runs_name_them(qtbot, plain_window, tmp_path, home):
    window = plain_window()
    window.queue_controller.open()
    queue = Queue(home)
    ended, lost = queue.add([CONFIG, CONFIG])
    for entry, name in ((ended, "maml-1"), (lost, "maml-2")):
        queue.claim(f"worker-of-{name}")
        queue.begun(entry, name, tmp_path / name)
    queue.mark(ended, "done", "")
    queue._database.execute("UPDATE entries SET pid = 0")
    queue.close()
    pool = window.queue_controller.pool
    pool.event_received.emit(
        {"event": "ended", "entry": ended, "state": "done", "message": "All well."}
    )
    pool.crashed.emit("signal 9", True)
    assert about(window, "All well.") == [("MAML · seed 3", "maml-1")]
    assert about(window, "signal 9") == [("MAML · seed 3", "maml-2")]


def test_every_line_is_about_the_program_or_names_its_run():
    found = []
    for path in GUI.glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("log.add",)):
                found.append((path.name, node.lineno, len(node.args)))
    assert len(found) > 5
    assert [one for one in found if one[2] not in {2, 4}] == []
