"""What may threaten a person's runs, and is not tested beside the code that withstands it.

Elsewhere: archives that write outside their folder or blow up (test_pack, test_image_layouts,
test_omniglot_files), cells that begin formulas (test_export), names that hold markup
(test_report), full and read-only disks (test_disk), kill -9 (test_kill, test_store), process ids
that are used again (test_resume), losses that are not finite (test_sentinel), closing the window
and two windows (gui/test_closing).
"""

import ast
import csv
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from metaviz import paths
from metaviz.config.run_config import comparison_of
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.storage.lock import lock_store
from metaviz.runs.storage.store import list_runs, open_run
from metaviz.training import checkpoints, stepping
from metaviz.training.checkpoints import BEFORE, BEST
from metaviz.training.session import Session
from tests.unit.command_line import compare, metaviz, refusal, rows
from tests.unit.stored import assert_same, begin, config, finish, resume, train

SOURCE = Path(__file__).parents[2] / "metaviz"
BANNED = {"eval", "exec", "compile", "__import__"}
BANNED_CALLS = {
    "os.system",
    "pickle.load",
    "pickle.loads",
    "os.popen",
    "yaml.load",
    "marshal.loads",
}


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(ast.unparse(n.func), n) for n in ast.walk(tree) if isinstance(n, ast.Call)]


def test_nothing_that_is_read_can_be_run() -> None:
    for path in SOURCE.rglob("*.py"):
        for name, call in calls(path):
            assert name not in BANNED, (path, name)
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert given.get("shell", "False") == "False", (path, name)
            if name == "torch.load":
                assert given.get("weights_only") == "True", path
            if name == "np.load":
                assert given.get("allow_pickle") == "False", path
            if name.endswith("extractall"):
                assert given.get("filter") == "'data'", path


class Touches:
    """A pickle of this writes a file when it is loaded carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


def test_checkpoint_with_code_runs_nothing_whoever_reads_it(tmp_path: Path) -> None:
    folder = train(config("maml"), tmp_path / "runs")
    sign = tmp_path / "executed"
    for name in (CHECKPOINT, BEFORE, BEST):
        torch.save({"meta": Touches(sign), "optimizer": {}, "step": 1}, folder / name)
    out = ("--out", tmp_path / "out")
    for command in (
        ("resume", folder, "--steps", "20"),
        ("evaluate", folder),
        ("compare", "--from", folder, *out),
        ("weights", folder, "--out", tmp_path / "w.safetensors"),
        ("gradients", "--start", folder, "--set", "sinusoid.hidden=6"),
    ):
        outcome = metaviz(*command)
        assert outcome.code, command
        assert outcome.error.count("\n") <= 2, outcome.error
        assert "Traceback" not in outcome.error
    assert not sign.exists()


def test_checkpoint_of_a_billion_numbers_in_a_small_file_is_refused(tmp_path: Path) -> None:
    folder = train(config("maml"), tmp_path)
    state = load_checkpoint(folder / CHECKPOINT)
    state["meta"] = {"init": torch.zeros(1).expand(10**9)}
    for name in (CHECKPOINT, BEFORE, BEST):
        torch.save(state, folder / name)
    assert (folder / CHECKPOINT).stat().st_size < 20_000
    assert metaviz("evaluate", folder).code


@pytest.mark.parametrize("name", ["../../evil", "..", "CON", "x" * 300, "漢字", "maml\nx"])
def test_run_of_an_unknown_method_makes_no_folder(tmp_path: Path, name: str) -> None:
    refusal("compare", "--algorithms", name, "--out", tmp_path / "out")
    assert not list(tmp_path.rglob("*"))


def test_run_that_names_itself_elsewhere_stays_where_it_is(tmp_path: Path) -> None:
    folder = train(config("maml", steps=2), tmp_path / "runs")
    about = folder / "run.toml"
    about.write_text(about.read_text().replace(f'id = "{folder.name}"', 'id = "../../evil"'))
    assert open_run(folder).made_as == "../../evil"
    assert open_run(folder).id == folder.name
    inside = tmp_path / "out"
    metaviz("export", folder.parent, "--out", inside)
    metaviz("report", folder.parent, "--out", inside / "report.html")
    metaviz("pack", folder, "--out", inside / "run.zip")
    made = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(inside in path.parents or folder in path.parents for path in made)
    assert inside / "report.html" in made


def test_gpu_memory_that_runs_out_fails_one_run_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stepping.sharded_meta_gradient

    def greedy(algorithm: Any, *rest: Any, **others: Any) -> Any:
        if algorithm.rule.rate == 0.02:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return real(algorithm, *rest, **others)

    monkeypatch.setattr(stepping, "sharded_meta_gradient", greedy)
    settings = ("--set", "maml.inner_lr=0.02", "--steps", "3")
    outcome = compare(tmp_path, "--algorithms", "maml,fomaml", *settings, code=1)
    assert "use a smaller meta-batch" in outcome.error
    states = {row["algorithm"]: row["state"] for row in rows(tmp_path / "summary.csv")}
    assert states == {"maml": "failed", "fomaml": "done"}


def test_clock_that_is_set_back_changes_no_order_and_no_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = begin(config("maml"), tmp_path)
    for _ in range(6):
        session.advance()
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    for _ in range(3):
        session.advance()
    folder = session.folder
    session.end("stopped")
    os.utime(folder / "run.toml", (now() - 7200,) * 2)
    resume(folder)
    record = open_run(folder)
    assert record.column("step").tolist() == list(range(1, 8))
    assert (np.diff(record.column("seconds")) > 0).all()
    monkeypatch.setattr(time, "time", now)
    assert_same(folder, train(config("maml"), tmp_path / "whole"))


def test_a_store_is_claimed_by_one_process_and_free_after_its_kill(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from metaviz.runs.storage.lock import lock_store\n"
        "print(lock_store(Path(sys.argv[1])) is not None, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "True\n"
        assert lock_store(tmp_path) is None
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    mine = lock_store(tmp_path)
    assert mine is not None
    mine.release()


def test_home_that_cannot_be_written_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAVIZ_HOME", "/proc/nowhere")
    sentence = refusal("compare", "--steps", "1", "--out", "/proc/nowhere/out")
    assert "/proc/nowhere" in sentence


def test_runs_in_a_folder_whose_name_is_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / os.fsdecode(b"bad_\xff")
    monkeypatch.setenv("METAVIZ_HOME", str(home))
    asked = config("maml")
    folder = train(asked, paths.runs_dir())
    assert resume(folder, 9) == folder
    for command in (
        ("export", folder, "--out", home / "out"),
        ("report", folder, "--out", home / "report.html"),
        ("evaluate", folder),
        ("pack", folder, "--out", home / "run.zip"),
        ("unpack", home / "run.zip", "--out", home / "again"),
        ("weights", folder, "--out", home / "w.safetensors"),
        ("repeat", folder),
    ):
        outcome = metaviz(*command)
        assert outcome.code == 0, (command, outcome.error)
    assert len(list_runs(home / "again")) == 1


def test_no_checkpoint_is_begun_where_it_would_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config("maml")
    session = begin(asked, tmp_path)
    while (event := session.advance()) is not None and event.step < 5:
        pass
    kept = (session.folder / CHECKPOINT).read_bytes()
    full = SimpleNamespace(free=100)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.shutil, "disk_usage", lambda _folder: full)
        sentence = ended_with(session)
    assert "the disk has 0.0001 MB left" in sentence
    assert (session.folder / CHECKPOINT).read_bytes() == kept
    assert open_run(session.folder).state == "failed"
    assert_same(resume(session.folder), train(asked, tmp_path / "whole"))


def ended_with(session: Session) -> str:
    with pytest.raises(OSError) as caught:
        finish(session)
    return str(caught.value)


def test_decimal_commas_of_the_system_leave_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import locale

    for name in ("de_DE.UTF-8", "de_DE"):
        try:
            locale.setlocale(locale.LC_NUMERIC, name)
        except locale.Error:
            continue
        break
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    try:
        compare(tmp_path, "--steps", "2", "--set", "inner_lr=0.5")
    finally:
        locale.setlocale(locale.LC_NUMERIC, "C")
    with (tmp_path / "summary.csv").open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert row["maml.inner_lr"] == "0.5"
    (folder,) = list_runs(tmp_path / "runs")
    assert comparison_of(open_run(folder).config).shared["inner_lr"] == 0.5
