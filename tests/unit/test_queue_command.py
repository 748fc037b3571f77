"""`metaviz sweep` and `metaviz queue`: what a person queues is trained, and what failed is told."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from metaviz.config.run_config import RunConfig
from metaviz.runs.storage.queue import Queue
from metaviz.runs.storage.store import list_runs, open_run
from metaviz.training.estimate import estimate, probe
from tests.unit.command_line import TINY, compare, metaviz, numbers, refusal
from tests.unit.stored import config

ROOT = Path(__file__).parents[2]
SWEEP = ("sweep", "--device", "cpu", *TINY)
PATIENCE = 60


def entries(home):
    with closing(Queue(home)) as queue:
        return queue.entries()


@contextmanager
def working_off():
    """Run `metaviz queue run`; whatever fails, it does not outlive the test.

    A shell starts background jobs with Ctrl+C ignored, and a process inherits that.
    """
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from metaviz.cli.main import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "queue", "run"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_dry_run_prints_the_runs_and_their_time_and_queues_nothing(home):
    over = ("--over", "inner_lr=log(0.01,0.1,2)", "--over", "imaml.prox=1,2")
    done = metaviz(*SWEEP, "--algorithms", "maml,imaml", "--steps", "3", *over, "--dry-run")
    assert done.code == 0, done.error
    assert "6 runs" in done.out
    assert "inner_lr = 0.1, imaml.prox = 2" in done.out
    assert done.out.rstrip().splitlines()[-1].startswith("6 runs, about ")
    assert done.out.rstrip().endswith(" with one worker.")
    assert not (home / "queue.db").exists()


@pytest.mark.slow
def test_a_sweep_is_queued_and_worked_off_and_exit_code_1_tells_of_failures(home, tmp_path):
    over = ("--over", "inner_lr=0.01,1000", "--over", "imaml.prox=2")
    asked = ("--algorithms", "maml,imaml", "--steps", "3", "--seeds", "0,1")
    assert metaviz(*SWEEP, *asked, *over).code == 0
    assert [entry.state for entry in entries(home)] == ["waiting"] * 8
    done = metaviz("queue", "run", "--workers", "2")
    assert done.code == 1
    assert done.error.count("diverged: ") == 4
    found = entries(home)
    states = {(e.config["algorithm"], e.config["shared"]["inner_lr"]): e.state for e in found}
    assert states == {
        ("maml", 0.01): "done",
        ("imaml", 0.01): "done",
        ("maml", 1000): "diverged",
        ("imaml", 1000): "diverged",
    }
    # The same configuration trained by the comparison has the same numbers.
    out = tmp_path / "same"
    compare(out, *asked, "--set", "inner_lr=0.01", "--set", "imaml.prox=2")
    exported = tmp_path / "queued"
    folders = [e.folder for e in found if e.state == "done"]
    assert metaviz("export", *folders, "--out", exported).code == 0
    assert sorted(numbers(exported)) == sorted(numbers(out))
    listed = metaviz("queue", "list")
    assert listed.out.count("diverged") == 4
    assert metaviz("queue", "retry", "1").out == "1 queued again.\n"
    assert [entry.state for entry in entries(home)].count("waiting") == 1
    assert metaviz("queue", "clear").out == "Cleared 7; the runs themselves stay.\n"
    assert len(list_runs(home / "runs")) == 8
    assert metaviz("queue", "run").code == 0
    assert metaviz("queue", "run").error == "Nothing waits in the queue.\n"


def add(home, count):
    with closing(Queue(home)) as queue:
        return queue.add(
            [config("maml", steps=1).model_dump(mode="json") | {"seed": n} for n in range(count)]
        )


def test_entries_are_named_by_their_places(home):
    ids = add(home, 5)
    assert metaviz("queue", "move", "4", "5", "--to", "2").code == 0
    assert [e.id for e in entries(home)] == [ids[n] for n in (0, 3, 4, 1, 2)]
    assert metaviz("queue", "next", "3").code == 0
    assert [e.id for e in entries(home)] == [ids[n] for n in (4, 0, 3, 1, 2)]
    assert metaviz("queue", "remove", "1", "2").out == "2 removed.\n"
    assert [e.id for e in entries(home)] == [ids[n] for n in (3, 1, 2)]
    assert refusal("queue", "next", "4") == "There is no entry 4: the queue has 3 of them."
    listed = json.loads(metaviz("queue", "list", "--json").out)
    assert [(row["state"], row["config"]["seed"]) for row in listed] == [
        ("waiting", 3),
        ("waiting", 1),
        ("waiting", 2),
    ]


def test_a_paused_queue_says_so_and_begins_nothing(home):
    add(home, 1)
    assert metaviz("queue", "pause").code == 0
    done = metaviz("queue", "run")
    assert (done.code, done.error) == (
        1,
        "The queue is paused: `metaviz queue go` lets it go on.\n",
    )
    assert "The queue is paused" in metaviz("queue", "list").out
    assert metaviz("queue", "go").code == 0
    assert "paused" not in metaviz("queue", "list").out
    assert [entry.state for entry in entries(home)] == ["waiting"]


def test_comparisons_are_added_from_files_all_or_none(home, tmp_path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('algorithms = ["maml", "reptile"]\nseeds = [0, 1]\nsteps = 3\n', "utf-8")
    bad.write_text('algorithms = ["nosuch"]\n', "utf-8")
    assert "There is no algorithm 'nosuch'" in refusal("queue", "add", good, bad)
    assert metaviz("queue", "add", good).out == "Queued 4 runs.\n"
    assert [(e.config["algorithm"], e.config["seed"]) for e in entries(home)] == [
        ("maml", 0),
        ("reptile", 0),
        ("maml", 1),
        ("reptile", 1),
    ]
    assert RunConfig.model_validate(entries(home)[0].config).steps == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--over|inner_lr=2000", "inner_lr = 2000 is not valid (Inner step size α): use a number"),
        ("--over|nosuch=1", "There is no option 'nosuch' to vary; known: "),
        ("--over|inner_lr=lin(1,2,20000)", "the count goes from 1 to 10000."),
        ("--algorithms|nosuch", "There is no algorithm 'nosuch'; known: "),
        ("--problem|nosuch", "There is no problem 'nosuch'; known: "),
        ("--workers|0", "0 is not a whole number from 1 to 64."),
    ],
)
def test_a_sweep_that_is_wrong_is_refused_before_anything_is_queued(home, arguments, sentence):
    assert sentence in refusal("sweep", *arguments.split("|"))
    assert not (home / "queue.db").exists()


@pytest.mark.slow
def test_ctrl_c_stops_keeps_and_lets_resume(home):
    with closing(Queue(home)) as queue:
        queue.add([config("maml", steps=1_000_000).model_dump(mode="json")] * 2)
    with working_off() as process:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            folders = list_runs(home / "runs")
            if folders and open_run(folders[0]).step > 3:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Stopped: what was trained until now is kept." in said
    assert [entry.state for entry in entries(home)] == ["interrupted", "waiting"]
    assert metaviz("queue", "resume").out == "1 will go on.\n"
    assert [entry.state for entry in entries(home)] == ["waiting", "waiting"]


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_run_told(home):
    with closing(Queue(home)) as queue:
        queue.add(
            [
                config("maml", steps=1_000_000).model_dump(mode="json"),
                config("maml", steps=1).model_dump(mode="json"),
            ]
        )
    with working_off() as process:
        until = time.monotonic() + PATIENCE
        worker = 0
        while time.monotonic() < until and not worker:
            folders = list_runs(home / "runs")
            if folders and open_run(folders[0]).step > 3:
                with closing(Queue(home)) as queue:
                    ((worker,),) = queue._database.execute(
                        "SELECT pid FROM entries WHERE state = 'running'"
                    )
            time.sleep(0.05)
        os.kill(worker, signal.SIGKILL)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "interrupted: The worker process ended without a word (signal 9, SIGKILL" in said
    assert [entry.state for entry in entries(home)] == ["interrupted", "done"]


def test_the_estimate_counts_steps_and_evaluations_and_stores_nothing(home):
    short, long = config("maml", steps=100), config("maml", steps=20_000)
    told = estimate([short, long, long.model_copy(update={"seed": 9})])
    assert told.runs == 3
    assert told.longest > 0
    # All three cost the same per step, and are timed by one probe.
    assert told.seconds == pytest.approx(2.005 * told.longest, rel=0.05)
    assert not home.joinpath("runs").exists()
    found = probe(short)
    rare = short.model_copy(
        update={"shared": short.shared.model_copy(update={"eval_every": 10**6})}
    )
    # Steps 0, 3, ..., 99 and the last are evaluated, of the other the first and the last.
    saved = found.seconds(short) - found.seconds(rare)
    assert saved == pytest.approx(33 * short.shared.eval_tasks * found.task)


def test_an_estimate_can_be_called_off():
    def tired(_line):
        raise InterruptedError("Cancelled.")

    with pytest.raises(InterruptedError):
        estimate([config("maml")], tired)


DAMAGES = {
    "steps": '{"version": 1, "steps": "x"}',
    "steps_only": ("steps", "x"),
    "many_steps": ("steps", 10**30),
    "seed": ("seed", -1),
    "algorithm": ("algorithm", ["maml"]),
    "version": ("version", "one"),
    "device": ("device", 3),
    "dtype": ("dtype", {}),
    "tf32": ("tf32", "yes"),
    "shared": ("shared", []),
    "step size": ("shared", {"inner_lr": "big"}),
    "batch": ("shared", {"meta_batch": -4}),
    "options": ("options", {"inner_steps": {}}),
    "amendments": ("amendments", [7]),
    "no JSON": "{",
    "a list": "[]",
}


def damage(home: Path, changed: str | tuple[str, object], *, at: int = 1) -> None:
    with closing(sqlite3.connect(home / "queue.db")) as database, database:
        (text,) = database.execute("SELECT config FROM entries WHERE id = ?", (at,)).fetchone()
        if isinstance(changed, tuple):
            name, value = changed
            text = json.dumps({**json.loads(text), name: value})
        else:
            text = changed
        database.execute("UPDATE entries SET config = ? WHERE id = ?", (text, at))


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_entry_is_told_and_its_neighbour_is_whole(home, name):
    with closing(Queue(home)) as queue:
        queue.add([config("maml", steps=2).model_dump(mode="json")] * 2)
    damage(home, DAMAGES[name])
    listed = metaviz("queue", "list")
    assert listed.code == 0, listed.error
    assert listed.error == "What was stored of entry 1 is damaged: remove it.\n"
    first, second = entries(home)
    assert (first.state, first.config) == ("waiting", {})
    assert first.message == "What was stored of this entry is damaged."
    assert (second.state, second.config["steps"]) == ("waiting", 2)


def test_the_neighbour_of_a_damaged_entry_is_trained(home):
    with closing(Queue(home)) as queue:
        queue.add([config("maml", steps=2).model_dump(mode="json")] * 2)
    damage(home, DAMAGES["steps"])
    done = metaviz("queue", "run")
    assert "Traceback" not in done.error
    assert done.code in {0, 1}
    first, second = entries(home)
    assert (first.state, second.state) == ("failed", "done")
    assert first.message == "What was stored of this entry is damaged."
    (folder,) = list_runs(home / "runs")
    assert open_run(folder).step == 2


def test_a_sound_queue_is_trained_whole_and_nothing_is_said_of_damage(home):
    with closing(Queue(home)) as queue:
        queue.add([config("maml", steps=2).model_dump(mode="json")] * 2)
    listed = metaviz("queue", "list")
    assert "damaged" not in listed.out + listed.error
    assert metaviz("queue", "run").code == 0
    assert [entry.state for entry in entries(home)] == ["done", "done"]
    assert [open_run(folder).step for folder in list_runs(home / "runs")] == [2, 2]
