"""The stored queue: its order, its states, and what several processes, clocks and damage do."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from metaviz.config.options import OptionError
from metaviz.runs.storage import queue as stored
from metaviz.runs.storage.queue import Queue
from metaviz.runs.storage.store import StoreError
from metaviz.runs.storage.worker_process import ENDED, WorkerLock
from tests.unit.stored import config, train

ROOT = Path(__file__).parents[2]
CLAIM_ALL = """
import sys
from pathlib import Path
from metaviz.runs.storage.queue import Queue
queue = Queue(Path(sys.argv[1]))
sys.stdin.readline()
while (entry := queue.claim(sys.argv[2])) is not None:
    print(entry.id, flush=True)
"""
HOLD = """
import sys
from pathlib import Path
from metaviz.runs.storage.queue import Queue
from metaviz.runs.storage.worker_process import WorkerLock
home = Path(sys.argv[1])
lock = WorkerLock(home)
print(Queue(home).claim(lock.name).id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def queue(home):
    made = Queue(home)
    yield made
    made.close()


def fill(queue, count):
    return queue.add([{"algorithm": "maml", "seed": number} for number in range(count)])


def order(queue):
    return [entry.id for entry in queue.entries()]


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_entries_keep_their_order_and_their_configuration(queue, home):
    ids = queue.add([{"algorithm": "maml", "shared": {"inner_lr": 0.1}}, {}], "a sweep")
    ids += fill(queue, 2)
    with closing(Queue(home)) as again:
        found = again.entries()
    assert [entry.id for entry in found] == ids
    assert found[0].config == {"algorithm": "maml", "shared": {"inner_lr": 0.1}}
    assert [entry.sweep for entry in found] == ["a sweep", "a sweep", "", ""]
    assert {entry.state for entry in found} == {"waiting"}


def test_adding_is_whole_or_not_at_all(queue):
    fill(queue, 1)

    class BreaksOff(list):
        def __iter__(self):
            yield {"algorithm": "maml"}
            raise RuntimeError("the program ends here")

    with pytest.raises(RuntimeError):
        queue.add(BreaksOff([1]))
    with pytest.raises(TypeError):
        queue.add([{"algorithm": "maml"}, {"algorithm": object()}])
    assert len(queue.entries()) == 1


def test_a_full_disk_in_the_middle_of_adding_leaves_nothing(queue):
    queue._database.execute(
        "CREATE TRIGGER full BEFORE INSERT ON entries WHEN NEW.config = '3' "
        "BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
    )
    with pytest.raises(StoreError, match=r"cannot be used: database or disk is full\.$"):
        queue.add([1, 2, 3])
    assert queue.entries() == []


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda q, i: q.shift([i[2]], -1), "02134"),
        (lambda q, i: q.shift([i[2]], 1), "01324"),
        (lambda q, i: q.shift([i[0], i[1]], -1), "01234"),
        (lambda q, i: q.shift([i[1], i[2]], -1), "12034"),
        (lambda q, i: q.shift([i[3], i[4]], 1), "01234"),
        (lambda q, i: q.shift([i[1], i[3]], 1), "02143"),
        (lambda q, i: q.move([i[4], i[1]], 0), "14023"),
        (lambda q, i: q.move([i[0]], 3), "12034"),
        (lambda q, i: q.move([i[0], i[2]], 99), "13402"),
        (lambda q, i: q.run_next([i[3]]), "30124"),
        (lambda q, i: q.run_next([i[0]]), "01234"),
    ],
)
def test_entries_are_moved(queue, change, wanted):
    ids = fill(queue, 5)
    change(queue, ids)
    assert "".join(str(ids.index(name)) for name in order(queue)) == wanted


def test_run_next_goes_behind_what_is_over_and_what_runs(queue):
    ids = fill(queue, 4)
    queue.claim("somebody")
    queue.run_next([ids[3]])
    assert order(queue) == [ids[0], ids[3], ids[1], ids[2]]
    assert queue.claim("somebody").id == ids[3]


def test_entries_are_claimed_in_order_and_not_while_the_queue_is_paused(queue, home):
    ids = fill(queue, 2)
    queue.set_paused(paused=True)
    with closing(Queue(home)) as again:
        assert again.paused
        assert again.claim("somebody") is None
        again.set_paused(paused=False)
    assert [queue.claim("somebody").id, queue.claim("somebody").id] == ids
    assert queue.claim("somebody") is None


def test_two_processes_never_claim_the_same_entry(queue, home):
    ids = fill(queue, 60)
    hands = [start(CLAIM_ALL, home, name) for name in ("one", "other")]
    for hand in hands:
        hand.stdin.write("go\n")
        hand.stdin.flush()
    claimed = [[int(line) for line in hand.communicate(timeout=60)[0].split()] for hand in hands]
    assert sorted(claimed[0] + claimed[1]) == ids
    assert all(part == sorted(part) for part in claimed)


def test_an_entry_whose_process_was_killed_is_interrupted_and_not_claimed_again(queue, home):
    ids = fill(queue, 2)
    hand = start(HOLD, home)
    assert int(hand.stdout.readline()) == ids[0]
    assert queue.recover() == []
    assert queue.entries()[0].state == "running"
    hand.kill()
    hand.communicate(timeout=60)
    assert queue.recover() == [ids[0]]
    entry = queue.entries()[0]
    assert (entry.state, entry.message) == ("interrupted", ENDED)
    assert queue.claim("somebody").id == ids[1]
    assert queue.claim("somebody") is None
    assert list((home / "queue-workers").iterdir()) == []


def test_a_run_that_had_ended_when_its_worker_died_is_not_called_interrupted(queue, home):
    folder = train(config("maml", steps=1), home / "runs")
    (name,) = fill(queue, 1)
    lock = WorkerLock(home)
    queue.claim(lock.name)
    queue.begun(name, folder.name, folder)
    lock._lock.release()  # as the system does when the process ends
    queue.recover()
    assert [(e.state, e.run, e.folder) for e in queue.entries()] == [("done", folder.name, folder)]


def test_retry_forgets_the_run_and_resume_keeps_it(queue, home):
    ids = fill(queue, 3)
    for name in ids:
        queue.claim("somebody")
        queue.begun(name, f"run{name}", home / "runs" / f"run{name}")
    queue.mark(ids[0], "failed", "The reason.")
    queue.mark(ids[1], "interrupted", "The reason.")
    assert queue.retry([ids[0], ids[2]]) == 1
    assert queue.resume([ids[0], ids[1], ids[2]]) == 1
    states = [(e.state, e.run, e.message) for e in queue.entries()]
    assert states == [
        ("waiting", "", ""),
        ("waiting", f"run{ids[1]}", ""),
        ("running", f"run{ids[2]}", ""),
    ]


def test_what_runs_is_neither_removed_nor_cleared(queue):
    ids = fill(queue, 5)
    for state in ("done", "diverged", "interrupted", None):
        name = queue.claim("somebody").id
        if state:
            queue.mark(name, state)
    assert queue.clear() == 2
    assert order(queue) == ids[2:]
    assert queue.remove(ids) == 2
    assert order(queue) == [ids[3]]


def test_a_clock_set_back_changes_nothing(queue, monkeypatch):
    ids = fill(queue, 2)
    monkeypatch.setattr("time.time", lambda: 0.0)
    ids += fill(queue, 2)
    assert order(queue) == ids
    assert [queue.claim("somebody").id for _ in ids] == ids


@pytest.mark.parametrize("damage", ["noise", "torn", "empty"])
def test_a_damaged_queue_is_put_aside(home, damage):
    with closing(Queue(home)) as queue:
        fill(queue, 400)
    path = home / stored.QUEUE
    whole = path.read_bytes()
    torn = whole[:4096] + os.urandom(len(whole) - 4096)
    path.write_bytes({"noise": os.urandom(5000), "torn": torn, "empty": b""}[damage])
    with closing(Queue(home)) as queue:
        assert queue.entries() == []
        fill(queue, 1)
        assert len(queue.entries()) == 1
        note = queue.note
    if damage != "empty":  # which is what a new database looks like
        assert "it was put aside as queue.db.damaged-1, and a new one was begun." in note
        assert (home / "queue.db.damaged-1").stat().st_size >= 5000


def test_an_entry_that_cannot_be_read_is_kept_and_shown_as_empty(queue):
    fill(queue, 2)
    queue._database.execute("UPDATE entries SET config = '{' WHERE id = 1")
    assert [entry.config for entry in queue.entries()] == [{}, {"algorithm": "maml", "seed": 1}]


def test_the_queue_of_a_later_version_is_left_alone(queue, home):
    fill(queue, 1)
    queue._database.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match=r"cannot be used: a later version of MetaViz wrote it\."):
        Queue(home)
    assert len(queue.entries()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_access_is_one_sentence(home):
    home.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StoreError, match=r"The queue in .* cannot be used: .*\.$"):
        Queue(home)
    home.chmod(stat.S_IRWXU)


def test_a_queue_that_cannot_be_written_is_one_sentence(queue):
    queue._database.execute("PRAGMA query_only=ON")
    with pytest.raises(StoreError, match="cannot be used: attempt to write a readonly database"):
        fill(queue, 1)
    assert queue.entries() == []


def test_a_home_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "home").write_text("not a folder", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be used: File exists"):
        Queue(tmp_path / "home")


def test_changes_of_others_are_noticed(queue, home):
    before = queue.version
    assert queue.version == before
    with closing(Queue(home)) as other:
        fill(other, 1)
    assert queue.version != before


def test_a_run_that_goes_on_in_its_folder_is_noticed_by_others(queue, home):
    (name,) = fill(queue, 1)
    queue.claim("somebody")
    queue.begun(name, "run", home)
    with closing(Queue(home)) as other:
        before = other.version
        queue.begun(name, "run", home)
        assert other.version != before


def test_synchronous_is_full(queue):
    assert queue._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert queue._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_stored_configurations_are_plain_json(queue, home):
    fill(queue, 1)
    with closing(sqlite3.connect(home / stored.QUEUE)) as database:
        ((text,),) = database.execute("SELECT config FROM entries").fetchall()
    assert json.loads(text) == {"algorithm": "maml", "seed": 0}


@pytest.fixture
def frozen(tmp_path):
    """Return what shows a folder where nothing can be written, not even by root."""
    mounted = []

    def freeze(folder):
        place = tmp_path / f"frozen{len(mounted)}"
        place.mkdir()
        for command in (
            ["mount", "--bind", str(folder), str(place)],
            ["mount", "-o", "remount,bind,ro", str(place)],
        ):
            if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
                pytest.skip("nothing can be mounted")
        mounted.append(place)
        return place

    yield freeze
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("left", ["", "a log", "a lost column"])
def test_a_queue_in_a_read_only_home_is_listed(home, frozen, left):
    with closing(Queue(home)) as queue:
        fill(queue, 3)
        queue.claim("somebody")
        if left == "a log":  # as a program leaves it that was killed
            for file in list(home.glob("queue.db*")):
                shutil.copy(file, home / f"kept-{file.name}")
        wanted = [(entry.config, entry.state) for entry in queue.entries()]
    for file in home.glob("kept-*"):
        file.replace(home / file.name.removeprefix("kept-"))
    if left == "a lost column":
        with closing(sqlite3.connect(home / stored.QUEUE)) as database:
            database.execute("ALTER TABLE entries DROP COLUMN sweep")
            database.commit()
    place = frozen(home)
    before = sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*"))
    with closing(Queue(place)) as queue:
        assert queue.is_read_only
        assert [(entry.config, entry.state) for entry in queue.entries()] == wanted
        assert queue.counts()["waiting"] == 2
        assert queue.paused is False
        assert queue.recover() == []
        assert queue.version == queue.version
        told = f"The queue in {place / stored.QUEUE} can only be read ("
        assert queue.note.startswith(told)
        assert "set METAVIZ_HOME to a folder that you may write to" in queue.note
        for change in (
            lambda: fill(queue, 1),
            lambda: queue.set_paused(paused=True),
            lambda: queue.claim("somebody"),
            lambda: queue.remove([1]),
        ):
            with pytest.raises(StoreError, match=r"cannot be used: .*METAVIZ_HOME"):
                change()
    assert sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*")) == before


def test_a_read_only_home_with_a_damaged_queue_or_none_says_how_to_go_on(home, frozen):
    home.mkdir(parents=True, exist_ok=True)
    place = frozen(home)
    with pytest.raises(StoreError, match="set METAVIZ_HOME to a folder that you may write to"):
        Queue(place)
    (home / stored.QUEUE).write_bytes(os.urandom(5000))
    with pytest.raises(StoreError, match=r"is not a database.* set METAVIZ_HOME to a folder"):
        Queue(place)


def on_features(seed=0, **options):
    """Return a run on features of a backbone that somebody has to train first."""
    chosen = {"pretrained": "auto", "backbone": "miniimagenet-5way-1shot-classifier", **options}
    run = config("qiao", train_ways=3)
    return {**run.model_dump(mode="json"), "seed": seed, "problem_options": chosen}


def test_a_run_waits_for_its_backbone_which_comes_first_and_once(queue):
    first = queue.add([on_features(0), on_features(0), on_features(1)])
    later = queue.add([on_features(0)])
    entries = queue.entries()
    assert [entry.config["algorithm"] for entry in entries] == [
        *("classifier", "qiao", "qiao", "classifier", "qiao", "qiao")
    ]
    assert [entry.config["seed"] for entry in entries] == [0, 0, 0, 1, 1, 0]
    assert [entry.id for entry in entries if entry.config["algorithm"] == "qiao"] == [
        *first,
        *later,
    ]
    parent = entries[0]
    assert parent.config["options"]["batch_size"] == 256
    claimed = [queue.claim("one"), queue.claim("one")]
    assert [entry.config["algorithm"] for entry in claimed] == ["classifier", "classifier"]
    assert queue.claim("one") is None
    queue.mark(parent.id, "done")
    ready = [queue.claim("one").id for _ in range(3)]
    assert ready == [*first[:2], *later]
    assert queue.claim("one") is None


def test_a_run_fails_with_the_sentence_of_its_backbone(queue):
    (child,) = queue.add([on_features()])
    (other,) = fill(queue, 1)
    parent = queue.claim("one")
    queue.mark(parent.id, "failed", "The disk is full.")
    assert queue.claim("one").id == other
    (found,) = [entry for entry in queue.entries() if entry.id == child]
    assert found.state == "failed"
    assert found.message == (
        f"The training of its backbone, entry {parent.id}, has failed: The disk is full."
    )
    queue.retry([parent.id, child])
    assert queue.claim("one").id == parent.id
    assert queue.claim("one") is None


def test_a_stopped_backbone_is_waited_for(queue):
    (child,) = queue.add([on_features()])
    parent = queue.claim("one")
    queue.mark(parent.id, "stopped")
    assert queue.claim("one") is None
    queue.resume([parent.id])
    assert queue.claim("one").id == parent.id
    queue.mark(parent.id, "done")
    assert queue.claim("one").id == child


def test_settings_that_train_no_classifier_are_refused(queue, tmp_path):
    (tmp_path / "maml.toml").write_text('problem = "images"\nalgorithms = ["maml"]\n')
    for name in ("", "nonsense.toml", str(tmp_path / "maml.toml")):
        with pytest.raises(OptionError):
            queue.add([on_features(backbone=name)])
    assert queue.entries() == []


def test_a_queue_of_before_learns_of_needs(home, queue):
    fill(queue, 1)
    queue.close()
    with closing(sqlite3.connect(home / "queue.db")) as database:
        database.execute("DROP TABLE needs")
    again = Queue(home)
    again.add([on_features()])
    assert [entry.config["algorithm"] for entry in again.entries()] == [
        "maml",
        "classifier",
        "qiao",
    ]
    again.close()
