"""What programs that ended badly leave, and damage to one run of several."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metaviz.files.atomic import write_text
from metaviz.meta.checkpoint_files import CHECKPOINT
from metaviz.runs.storage import store
from metaviz.runs.storage.store import StoreError, list_runs, open_run
from metaviz.training.checkpoints import BEFORE, BEST
from tests.unit.command_line import compare, metaviz
from tests.unit.stored import assert_same, begin, config, finish, train


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_half_files_of_processes_that_are_gone_are_swept(tmp_path: Path, gone: int) -> None:
    out = tmp_path / "out"
    out.mkdir()
    dead, alive = out / f"training.png.tmp-{gone}", out / f"training.png.tmp-{os.getppid()}"
    other = out / f"thesis.tmp-{gone}"
    for path in (dead, alive, other):
        path.touch()
    compare(out, "--steps", "1")
    assert not dead.exists()
    assert alive.exists()
    assert other.exists()
    write_text(out / "thesis", "x")
    assert not other.exists()


def interrupted(root: Path) -> Path:
    session = begin(config("maml"), root)
    for _ in range(8):
        session.advance()
    session.end("stopped")
    return session.folder


@pytest.mark.parametrize("file", ["run.toml", "metrics.db", "checkpoints"])
def test_resuming_a_folder_goes_on_with_the_runs_that_are_whole(tmp_path: Path, file: str) -> None:
    root = tmp_path / "runs"
    damaged, whole = interrupted(root), interrupted(root)
    names = [CHECKPOINT, BEFORE, BEST] if file == "checkpoints" else [file]
    for name in names:
        if (damaged / name).exists():
            (damaged / name).write_bytes(b"nothing")
    outcome = metaviz("resume", root)
    assert outcome.code == 1, outcome.error
    assert outcome.error.count("Left out: ") == 1
    assert damaged.name in outcome.error
    assert_same(whole, train(config("maml"), tmp_path / "other"))
    outcome = metaviz("resume", damaged)
    assert outcome.code == 2
    assert outcome.error.count("\n") == 1


def test_a_full_disk_names_the_run_that_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, places = store.insert, []

    def full(database: Any, event: Any) -> None:
        places.append(database.execute("PRAGMA database_list").fetchone()[2])
        if len(places) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(database, event)

    monkeypatch.setattr(store, "insert", full)
    outcome = compare(tmp_path, "--steps", "9", "--seeds", "0,1,2", code=1)
    assert outcome.error.count("No space left on device") == 1
    assert str(Path(places[5]).parent) in outcome.error
    assert len(set(places[:6])) == 1


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_run_whose_database_is_removed_stops_in_a_sentence(tmp_path: Path, how: str) -> None:
    session = begin(config("maml", steps=100_000), tmp_path)
    for _ in range(8):
        session.advance()
    session.set_state("running")
    (session.folder / "metrics.db").unlink()
    if how == "replaced":
        (session.folder / "metrics.db").touch()
    with pytest.raises(StoreError, match=r"metrics\.db was removed while the run trained\."):
        finish(session)
    assert session.step < 2000


def test_a_database_removed_before_the_run_began_is_a_sentence(tmp_path: Path) -> None:
    session = begin(config("maml"), tmp_path)
    (session.folder / "metrics.db").unlink()
    with pytest.raises(StoreError, match="Cannot write to"):
        finish(session)
    assert list_runs(tmp_path) == [session.folder]
    with pytest.raises(StoreError):
        open_run(session.folder)
