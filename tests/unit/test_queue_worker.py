"""Worker processes: they train what the queue says, and nothing that befalls one stops the rest."""

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import closing

import pytest

from metaviz.runs.storage.queue import Queue
from metaviz.runs.storage.store import list_runs, open_run
from metaviz.runs.storage.worker_process import worker_command, worker_environment
from metaviz.training.queue_worker import Orders, QueueWorker
from tests.unit.stored import assert_same, config, train

PATIENCE = 60
ENDLESS = 1_000_000


def plain(asked):
    return asked.model_dump(mode="json")


class Happenings(list):
    """What a worker in this process said."""

    def __call__(self, happening):
        self.append(happening)


def work(home, *, orders=None):
    """Work the queue off in this process."""
    said = Happenings()
    QueueWorker(home, home / "runs", orders or Orders(), said).work()
    return said


@pytest.fixture
def queue(home):
    made = Queue(home)
    yield made
    made.close()


class Process:
    """A worker process, and what it says."""

    def __init__(self, home):
        self.process = subprocess.Popen(
            worker_command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**worker_environment(), "METAVIZ_HOME": str(home)},
        )

    def until(self, event):
        for line in self.process.stdout:
            happening = json.loads(line)
            if happening["event"] == event:
                return happening
        raise AssertionError(f"The worker ended without saying {event}.")

    def tell(self, order):
        self.process.stdin.write(f"{order}\n".encode())
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return code


@pytest.fixture
def process(home):
    made = Process(home)
    yield made
    made.process.kill()
    made.process.wait()
    for stream in (made.process.stdin, made.process.stdout):
        stream.close()


def train_until(home, step):
    """Wait until the run of the queue has come so far; return its folder."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        folders = list_runs(home / "runs")
        if folders and open_run(folders[-1]).step >= step:
            return folders[-1]
        time.sleep(0.02)
    raise AssertionError("The run does not train.")


def go_on_for_a_while(queue, home, name, folder):
    """Resume an entry in this process, and stop it once it has taken some more steps."""
    assert queue.resume([name]) == 1
    step = open_run(folder).step + 2
    orders = Orders()

    def stop():
        until = time.monotonic() + PATIENCE
        while open_run(folder).step < step and time.monotonic() < until:
            time.sleep(0.02)
        orders.give("stop")

    watch = threading.Thread(target=stop)
    watch.start()
    work(home, orders=orders)
    watch.join(PATIENCE)
    assert open_run(folder).step >= step


def test_queued_runs_have_the_bits_of_others_and_bad_ones_do_not_block(queue, home, tmp_path):
    good, other = config("metasgd", steps=5), config("maml", steps=4)
    wild = good.model_copy(update={"shared": good.shared.model_copy(update={"inner_lr": 1000.0})})
    diverging = plain(wild) | {"algorithm": "maml", "options": {"inner_steps": 20}}
    wrong = plain(good) | {"options": {"nosuch": 1}}
    unreadable = {"algorithm": "maml"}
    ids = queue.add([plain(good), diverging, wrong, unreadable, plain(other)])
    said = work(home)
    found = queue.entries()
    assert [entry.state for entry in found] == ["done", "diverged", "failed", "failed", "done"]
    assert "is not finite at step 1." in found[1].message
    assert found[2].message.startswith("There is no option metasgd.nosuch; known: ")
    assert found[3].message.startswith("Its settings cannot be read: problem")
    assert_same(found[0].folder, train(good, tmp_path))
    assert_same(found[4].folder, train(other, tmp_path))
    assert open_run(found[1].folder).state == "diverged"
    ends = [(s["entry"], s["state"]) for s in said if s["event"] == "ended"]
    assert ends == [(name, entry.state) for name, entry in zip(ids, found, strict=True)]
    assert not list((home / "queue-workers").iterdir())


def test_runs_that_cannot_be_stored_pause_the_queue(queue, home):
    (home / "runs").write_text("not a folder", encoding="utf-8")
    queue.add([plain(config("maml", steps=1))] * 3)
    work(home)
    assert [entry.state for entry in queue.entries()] == ["failed", "waiting", "waiting"]
    assert queue.entries()[0].message.startswith("Cannot write runs to ")
    assert queue.entries()[0].message.endswith("so that the others do not fail too.")
    assert queue.paused


def test_a_broken_off_run_goes_on_to_the_same_bits(queue, home, tmp_path):
    asked = config("metasgd", steps=30)
    queue.add([plain(asked)])
    orders = Orders()

    class QuitsOnce(Happenings):
        def __call__(self, happening):
            if happening["event"] == "begun":
                orders.give("quit")

    QueueWorker(home, home / "runs", orders, QuitsOnce()).work()
    (entry,) = queue.entries()
    assert entry.state == "interrupted"
    assert open_run(entry.folder).state == "interrupted"
    assert queue.resume([entry.id]) == 1
    work(home)
    (entry,) = queue.entries()
    assert entry.state == "done"
    assert list_runs(home / "runs") == [entry.folder]
    assert_same(entry.folder, train(asked, tmp_path))


def test_an_entry_whose_run_was_finished_elsewhere_is_done(queue, home):
    folder = train(config("maml", steps=2), home / "runs")
    (name,) = queue.add([plain(config("maml", steps=2))])
    queue.claim("somebody")
    queue.begun(name, folder.name, folder)
    queue.mark(name, "interrupted")
    queue.resume([name])
    work(home)
    assert [entry.state for entry in queue.entries()] == ["done"]


@pytest.mark.slow
def test_a_killed_worker_leaves_a_run_that_goes_on_and_the_rest_goes_on_too(queue, home, process):
    long, short = config("maml", steps=ENDLESS), config("maml", steps=3)
    (first, second) = queue.add([plain(long), plain(short)])
    folder = train_until(home, 5)
    os.kill(process.process.pid, signal.SIGKILL)
    assert process.process.wait(PATIENCE) == -signal.SIGKILL
    stored = open_run(folder)
    assert stored.state == "interrupted"
    assert stored.column("step").tolist() == list(range(1, stored.step + 1))
    assert queue.recover() == [first]
    work(home)
    assert [entry.state for entry in queue.entries()] == ["interrupted", "done"]
    go_on_for_a_while(queue, home, first, folder)
    again = open_run(folder)
    assert again.state == "stopped"
    assert any(note.message.startswith("Resumed from the checkpoint") for note in again.notes)
    assert queue.entries()[1].id == second


@pytest.mark.slow
def test_a_worker_whose_parent_is_gone_saves_and_leaves(queue, home, process):
    (name,) = queue.add([plain(config("maml", steps=ENDLESS))])
    folder = train_until(home, 5)
    began = time.monotonic()
    assert process.end() == 0
    assert time.monotonic() - began < PATIENCE / 2
    (entry,) = queue.entries()
    assert (entry.id, entry.state) == (name, "interrupted")
    stored = open_run(folder)
    assert stored.state == "interrupted"
    go_on_for_a_while(queue, home, name, folder)
    note = f"Resumed from the checkpoint of step {stored.step}."
    assert note in [n.message for n in open_run(folder).notes]


@pytest.mark.slow
def test_orders_pause_resume_stop_and_abort(queue, home, process):
    queue.add([plain(config("maml", steps=ENDLESS))] * 2)
    process.until("begun")
    folder = train_until(home, 2)
    process.tell("pause")
    until = time.monotonic() + PATIENCE
    while open_run(folder).state != "paused" and time.monotonic() < until:
        time.sleep(0.02)
    step = open_run(folder).step
    time.sleep(0.3)
    assert (open_run(folder).state, open_run(folder).step) == ("paused", step)
    process.tell("resume")
    train_until(home, step + 2)
    process.tell("stop")
    assert process.until("ended")["state"] == "stopped"
    process.until("begun")
    process.tell("nonsense\nabort")
    assert process.until("ended")["state"] == "aborted"
    assert process.process.wait(PATIENCE) == 0
    with closing(Queue(home)) as again:
        assert [entry.state for entry in again.entries()] == ["stopped", "aborted"]
    assert {open_run(f).state for f in list_runs(home / "runs")} == {"stopped", "aborted"}
