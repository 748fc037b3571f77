"""How commands end: input that is wrong in a sentence, a mistake of MetaViz in one and a report."""

import json
import operator
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaviz.cli.errors import BUG
from metaviz.files.foreign import ForeignError, refused
from metaviz.runs.model import arrays, evaluation, marks
from metaviz.runs.model.arrays import write_described
from metaviz.runs.model.evaluation import Judgement, store, stored
from metaviz.runs.storage import database, manifest
from metaviz.runs.storage.queue import QUEUE, Queue
from metaviz.runs.table import index
from tests.unit.command_line import Outcome, metaviz
from tests.unit.test_foreign import stored_run


def sentence(outcome: Outcome) -> str:
    """Return what a command said, which is no traceback."""
    assert "Traceback" not in outcome.error
    assert all(len(line) < 500 for line in outcome.error.splitlines())
    return outcome.error


READERS: list[tuple[Any, str, tuple[str, ...]]] = [
    (manifest, "traits_of", ("list", "--runs", "ROOT")),
    (manifest, "traits_of", ("runs", "--in", "ROOT")),
    (manifest, "traits_of", ("export", "ROOT", "--out", "OUT")),
    (database, "_numbers", ("list", "--runs", "ROOT")),
    (database, "_curves", ("runs", "--in", "ROOT")),
    (database, "read_arrays", ("report", "ROOT", "--out", "OUT/r.html")),
    (arrays, "read_array", ("export", "ROOT", "--out", "OUT")),
    (evaluation, "_judgement", ("report", "ROOT", "--out", "OUT/r.html")),
    (marks, "cleaned", ("list", "--runs", "ROOT")),
    (index, "entry_of", ("runs", "--in", "ROOT")),
]


@pytest.mark.parametrize(("place", "name", "command"), READERS)
@pytest.mark.parametrize("error", [KeyError("planted"), AttributeError("planted")])
def test_a_mistake_in_a_reader_is_no_damaged_run(
    place: Any,
    name: str,
    command: tuple[str, ...],
    error: Exception,
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = stored_run(tmp_path / "runs")
    (folder / "marks.toml").write_text('name = "x"')
    store(judgement(), folder)

    def planted(*_arguments: Any, **_named: Any) -> None:
        raise error

    monkeypatch.setattr(place, name, planted)
    words = [w.replace("ROOT", str(folder.parent)).replace("OUT", str(tmp_path)) for w in command]
    outcome = metaviz(*words)
    assert outcome.code == BUG
    said = sentence(outcome)
    assert said.count("\n") == 1
    assert "not a readable" not in said
    assert type(error).__name__ in said
    assert f"{home / 'errors.log'}." in said
    report = (home / "errors.log").read_text(encoding="utf-8")
    assert "in planted" in report
    assert command[0] in report


def test_a_mistake_where_no_home_can_be_written_is_reported_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAVIZ_HOME", "/proc/nowhere")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(manifest, "traits_of", operator.itemgetter("planted"))
    outcome = metaviz("list", "--runs", stored_run(tmp_path / "runs").parent)
    assert outcome.code == BUG
    (report,) = tmp_path.glob("metaviz-*.log")
    assert str(report) in outcome.error
    assert "KeyError" in report.read_text()


def test_what_a_library_raises_is_damage() -> None:
    for error in (TypeError("x"), KeyError("x"), RuntimeError("x\ny"), EOFError()):
        with pytest.raises(ForeignError, match=r"^a file is damaged"), refused("a file"):
            raise error
    with pytest.raises(KeyboardInterrupt), refused("a file"):
        raise KeyboardInterrupt


def judgement(**changes: Any) -> Judgement:
    protocol = {"tasks": 4, "split": "test", "seed": 0, "ways": 5, "shots": 1, "query": 1, "k": 2}
    values: dict[str, Any] = {
        "run": "x",
        "label": "x",
        "config": {"algorithm": "maml", "problem": "sinusoid", "seed": 0},
        "step": 3,
        "k": 2,
        "protocol": {**protocol, "together": True},
        "dataset": "",
        "per_task": {"query_loss": np.ones((3, 4))},
    }
    return Judgement(**{**values, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"k": 99},
        {"k": -99},
        {"k": "2"},
        {"k": True},
        {"protocol": {}},
        {"protocol": None},
        {"protocol": {"tasks": 4, "split": ["test"]}},
        {"protocol": {"tasks": 10**12}},
        {"config": {}},
        {"config": {"algorithm": 3, "problem": "p", "seed": "x"}},
        {"step": None},
        {"label": {}},
        {"per_task": {}},
        {"per_task": {"query_loss": np.ones(3)}},
        {"per_task": {"query_loss": np.array([["a"] * 4] * 3)}},
    ],
)
def test_a_damaged_evaluation_is_left_out_of_the_report(
    change: dict[str, Any], tmp_path: Path
) -> None:
    folder = stored_run(tmp_path / "runs")
    store(judgement(), folder)
    damaged = {**vars(judgement()), **change}
    per_task = damaged.pop("per_task")
    write_described(folder / "evaluations" / "step3-damaged.npz", damaged, per_task)
    for command in (
        ("report", folder, "--out", tmp_path / "r.html"),
        ("export", folder, "--out", tmp_path),
    ):
        outcome = metaviz(*command)
        assert outcome.code == 0, outcome.error
        assert "step3-damaged.npz is left out" in sentence(outcome)
    assert len(stored(folder)) == 1
    assert "4 test tasks" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed = 3", "seed = -3"),
        ("seed = 3", f"seed = {2**40}"),
        ("seed = 3", "seed = 3.5"),
        ("seed = 3", "seed = true"),
        ("steps = 10", "steps = 0"),
        ("steps = 10", f"steps = {10**15}"),
        ('algorithm = "maml"', "algorithm = 3"),
        ("inner_lr = 0.1", 'inner_lr = "much"'),
        ("inner_lr = 0.1", "inner_lr = 0.1\ninner_steps = inf"),
        ("seed = 3", "seed = 3\namendments = [3]"),
        ("seed = 3", "seed = 3\namendments = [{step = -1}]"),
        ("seed = 3", 'seed = 3\namendments = [{shared = {inner_lr = "x"}}]'),
    ],
)
def test_a_run_with_impossible_settings_is_one_line_and_the_others_show(
    old: str, new: str, tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    healthy, damaged = stored_run(root), stored_run(root)
    about = damaged / "run.toml"
    text = about.read_text()
    assert old in text
    about.write_text(text.replace(old, new))
    for command in (
        ("list", "--runs", root),
        ("runs", "--in", root),
        ("report", root, "--out", tmp_path / "r.html"),
        ("export", root, "--out", tmp_path / "out"),
    ):
        outcome = metaviz(*command)
        assert outcome.code in {0, 1}, outcome.error
        assert f"{damaged} is not a readable run: " in sentence(outcome)
        if command[0] in {"list", "runs"}:
            assert "done" in outcome.out
    assert (tmp_path / "r.html").exists()
    assert healthy.name in (tmp_path / "out" / "summary.csv").read_text(encoding="utf-8")


def test_a_report_of_a_run_whose_device_is_unknown_leaves_its_settings_out(tmp_path: Path) -> None:
    folder = stored_run(tmp_path / "runs")
    about = folder / "run.toml"
    about.write_text(about.read_text().replace("seed = 3", 'seed = 3\ndevice = "quantum"'))
    outcome = metaviz("report", folder, "--out", tmp_path / "r.html")
    assert outcome.code == 0, outcome.error
    assert "quantum" in (tmp_path / "r.html").read_text(encoding="utf-8")


COLUMNS = ("config", "state", "run", "folder", "message", "sweep", "worker", "position", "pid")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("value", ["x'00ff'", "'x'", "1.5"])
def test_a_queue_with_values_of_a_wrong_kind_costs_that_entry_alone(
    column: str, value: str, home: Path
) -> None:
    with closing(Queue(home)) as queue:
        queue.add([{"algorithm": "maml", "seed": number} for number in range(3)])
    with closing(sqlite3.connect(home / QUEUE)) as database:
        database.execute(f"UPDATE entries SET {column} = {value} WHERE id = 2")
        database.commit()
    for command in (("list",), ("list", "--json"), ("next", "3"), ("pause",), ("go",), ("resume",)):
        outcome = metaviz("queue", *command)
        assert outcome.code in {0, 1, 2}, (command, outcome.error)
        sentence(outcome)
    for command in (("retry", "1"), ("move", "1", "--to", "2"), ("clear",), ("remove", "1")):
        sentence(metaviz("queue", *command))
    left = json.loads(metaviz("queue", "list", "--json").out)
    assert {entry["config"].get("seed") for entry in left} - {None, 1}


def a_queue(home: Path) -> list[dict[str, Any]]:
    """Queue two runs, the first of which is done; return what the queue lists."""
    with closing(Queue(home)) as queue:
        first, _ = queue.add([{"algorithm": "maml", "seed": seed} for seed in (5, 6)], "a sweep")
        queue.mark(first, "done")
    return listed()


def listed() -> list[dict[str, Any]]:
    outcome = metaviz("queue", "list", "--json")
    assert outcome.code == 0, outcome.error
    entries: list[dict[str, Any]] = json.loads(outcome.out)
    return entries


def changed(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / QUEUE)) as database:
        database.execute("DROP INDEX IF EXISTS by_position")
        database.execute(statement)
        database.commit()


def test_a_queue_that_lost_its_table_of_facts_gets_a_new_one(home: Path) -> None:
    before = a_queue(home)
    changed(home, "DROP TABLE about")
    outcome = metaviz("queue", "list")
    assert outcome.code == 0
    assert "The queue had lost its table about, which was made anew." in sentence(outcome)
    assert listed() == before
    assert metaviz("queue", "pause").code == 0


@pytest.mark.parametrize("column", ["position", "run", "folder", "message", "sweep", "worker"])
def test_a_queue_that_lost_a_column_lists_the_others(column: str, home: Path) -> None:
    before = a_queue(home)
    changed(home, f"ALTER TABLE entries DROP COLUMN {column}")
    outcome = metaviz("queue", "list")
    assert outcome.code == 0, outcome.error
    assert f"The queue had lost its column {column}" in sentence(outcome)
    after = listed()
    assert [{**entry, column: ""} for entry in after] == [{**e, column: ""} for e in before]
    assert metaviz("queue", "next", "2").code == 0


def test_a_queue_that_lost_its_states_trains_nothing_by_itself(home: Path) -> None:
    a_queue(home)
    changed(home, "ALTER TABLE entries DROP COLUMN state")
    assert [entry["state"] for entry in listed()] == ["interrupted", "interrupted"]


@pytest.mark.parametrize("loss", ["DROP COLUMN config", "RENAME TO others", "RENAME id TO x"])
def test_a_queue_that_cannot_be_mended_is_put_aside(loss: str, home: Path) -> None:
    a_queue(home)
    changed(home, f"ALTER TABLE entries {loss}")
    outcome = metaviz("queue", "list")
    assert outcome.code == 0
    said = sentence(outcome)
    assert "it was put aside as queue.db.damaged-1, and a new one was begun." in said
    assert "Add what is to be trained again." in said
    assert (home / "queue.db.damaged-1").exists()


def test_the_reader_of_the_output_may_leave(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "metaviz", "options", "maml"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate(timeout=60)
    assert process.returncode in {141, 120}
    assert b"Traceback" not in error


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_a_program_save_like_ctrl_c(which: signal.Signals, tmp_path: Path) -> None:
    from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
    from metaviz.runs.storage.store import list_runs, open_run

    command = [sys.executable, "-m", "metaviz", "compare", "--steps", "1000000", "--device", "cpu"]
    command += ["--set", "eval_tasks=4", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        runs = list_runs(tmp_path / "out" / "runs")
        if runs and len(open_run(runs[0])) > 20:
            break
        time.sleep(0.1)
    process.send_signal(which)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + which
    assert "Stopped; what was trained until now is kept." in error
    assert "Traceback" not in error
    (folder,) = runs
    record = open_run(folder)
    assert record.state == "stopped"
    assert load_checkpoint(folder / CHECKPOINT)["step"] == record.step > 20


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("where", ["updating", "stepping", "storing", "committing"])
def test_a_signal_loses_no_meta_step(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metaviz.cli.signals import saving_on_signals
    from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
    from metaviz.runs.storage.store import RunWriter, open_run
    from metaviz.training import trainer
    from tests.unit.stored import assert_same, begin, config, resume, train

    owner, name = {
        "updating": (trainer, "_update"),
        "stepping": (trainer, "_step"),
        "storing": (RunWriter, "append"),
        "committing": (RunWriter, "commit"),
    }[where]
    method, sent = getattr(owner, name), []

    def interrupted(*arguments: Any) -> Any:
        found = method(*arguments)
        if session.step == 3 and not sent:
            sent.append(where)
            os.kill(os.getpid(), signal.SIGINT)
        return found

    session = begin(config("maml"), tmp_path / "broken")
    monkeypatch.setattr(owner, name, interrupted)
    with saving_on_signals():
        with pytest.raises(KeyboardInterrupt):
            while session.advance() is not None:
                pass
        session.end("stopped")
    taken = load_checkpoint(session.folder / CHECKPOINT)["step"]
    assert open_run(session.folder).column("step").tolist() == list(range(1, taken + 1))
    assert_same(resume(session.folder), train(config("maml"), tmp_path / "whole"))


def of_unknown_version(path: Path) -> Path:
    """Write a zip archive that a later version of the format is needed for."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/x.png", b"x")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99
    path.write_bytes(data)
    return path


def images(path: Path, *more: str) -> Outcome:
    asked = ("--problem", "images", "--set", f"images.path={path}", "--steps", "1", *more)
    return metaviz("compare", *asked, "--device", "cpu", "--out", path.parent / "out")


def test_a_zip_of_an_unknown_version_is_one_sentence(tmp_path: Path) -> None:
    path = of_unknown_version(tmp_path / "x.zip")
    for outcome in (metaviz("unpack", path, "--out", tmp_path / "runs"), images(path)):
        assert outcome.code == 2
        assert "x.zip is not a readable zip archive" in sentence(outcome)


def test_a_cell_of_a_list_that_is_too_long_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(f"filename,label\n{'x' * 200_000},y\n")
    outcome = images(tmp_path)
    assert outcome.code == 2
    assert "train.csv" in sentence(outcome)


def _external_link(library: Any, file: Any, other: str) -> None:
    file["datasets/a"] = library.ExternalLink(other, "secret")


def _loop(library: Any, file: Any, other: str) -> None:
    file["datasets/a"] = library.SoftLink("/datasets/a")


def _group(library: Any, file: Any, other: str) -> None:
    file.create_group("datasets/a")


def _elsewhere(library: Any, file: Any, other: str) -> None:
    shape = (2, 4, 4, 3)
    file.create_dataset("datasets/a", shape, np.uint8, external=[(other, 0, 96)])


def _vast(library: Any, file: Any, other: str) -> None:
    file.create_dataset("datasets/a", (10**6, 84, 84, 3), np.uint8, chunks=(1, 84, 84, 3))


def _array(library: Any, file: Any, other: str) -> None:
    file["datasets"] = np.zeros(3)


@pytest.mark.parametrize("damage", [_external_link, _loop, _group, _elsewhere, _vast, _array])
@pytest.mark.parametrize("problem", ["images", "omniglot"])
def test_hdf5_that_leads_elsewhere_is_one_sentence(
    damage: Any, problem: str, tmp_path: Path
) -> None:
    library = pytest.importorskip("h5py", reason="h5py is not installed")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(96))
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "val", "test"):
        with library.File(data / f"{split}_data.hdf5", "w") as file:
            damage(library, file, str(secret))
    if problem == "omniglot":
        with library.File(data / "train_data.hdf5", "r+") as file:
            file.move("datasets", "images_background")
            (data / "train_data.hdf5").rename(data / "data.hdf5")
    asked = ("--problem", problem, "--set", f"{problem}.path={data}", "--steps", "1")
    outcome = metaviz("compare", *asked, "--device", "cpu", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert sentence(outcome).count("\n") == 1
