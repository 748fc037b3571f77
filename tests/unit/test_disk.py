"""Disks that are full or read-only: checkpoints stay whole, runs end in a sentence and resume."""

import errno
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metaviz.files import atomic as files
from metaviz.files.foreign import UnavailableError, open_to_write
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.model.events import Stepped
from metaviz.runs.storage import store
from metaviz.runs.storage.store import StoreError, list_runs, open_run
from metaviz.training.resume import resume_sessions
from tests.unit.command_line import metaviz
from tests.unit.stored import assert_same, begin, config, resume, train


def failing(real: Callable[..., Any], error: Exception, first: int) -> Callable[..., Any]:
    """Return what fails from call number `first` on, as a full disk does."""
    calls = itertools.count()

    def call(*arguments: Any, **named: Any) -> Any:
        if next(calls) >= first:
            raise error
        return real(*arguments, **named)

    return call


FULL = OSError(errno.ENOSPC, "No space left on device")
FULL_DATABASE = UnavailableError("database or disk is full")
"""What every database of this program says, see `test_a_full_database_is_told_as_one`."""
PLACES: list[tuple[Any, str, Exception]] = [
    (files.os, "fsync", FULL),
    (files.Path, "replace", FULL),
    (store, "insert", FULL_DATABASE),
]


@pytest.mark.parametrize(("place", "name", "error"), PLACES)
@pytest.mark.parametrize("first", [0, 1, 3, 9])
def test_a_disk_that_fills_up_ends_the_run_in_a_sentence(
    place: Any, name: str, error: Exception, first: int, tmp_path: Path
) -> None:
    asked = config("mirror")
    session = begin(asked, tmp_path / "run")
    session.advance()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, failing(getattr(place, name), error, first))
        said, handed_on = "", 0
        try:
            while (event := session.advance()) is not None:
                handed_on += isinstance(event, Stepped)
        except StoreError as failure:
            said = str(failure)
    if not said:
        assert first > 0, "this place was never written to"
        assert open_run(session.folder).state == "done"
        return
    reason = "No space left on device" if error is FULL else "database or disk is full"
    assert reason in said
    assert said.endswith("What was stored until now is kept.")
    assert "\n" not in said
    assert session.advance() is None
    record = open_run(session.folder)
    assert record.state in {"failed", "interrupted", "done"}
    assert len(record) >= handed_on
    if (session.folder / CHECKPOINT).exists():
        assert load_checkpoint(session.folder / CHECKPOINT)["step"] <= 7
    assert not list(session.folder.glob("*.tmp-*"))
    if record.state != "done":
        assert_same(resume(session.folder), train(asked, tmp_path / "whole"))


def test_a_full_database_is_told_as_one(tmp_path: Path) -> None:
    """SQLite's own limit of pages stands for the disk's: both are SQLITE_FULL."""
    database = open_to_write(tmp_path / "small.db")
    database.execute("CREATE TABLE numbers (n TEXT)")
    database.execute("PRAGMA max_page_count = 2")
    with pytest.raises(UnavailableError, match=r"^database or disk is full$"):
        database.execute("INSERT INTO numbers VALUES (?)", ("x" * 100_000,))
    database.close()


def test_a_full_disk_while_resuming_leaves_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    asked = config("maml")
    session = begin(asked, tmp_path)
    for _ in range(8):
        session.advance()
    session.end("stopped")
    for place, name, error in (*PLACES[:2], (store, "write_facts", FULL_DATABASE)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place, name, failing(getattr(place, name), error, 0))
            with pytest.raises((StoreError, OSError)):
                resume_sessions([session.folder])
    assert_same(resume(session.folder), train(asked, tmp_path / "whole"))


def test_a_read_only_folder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    session = begin(config("maml"), tmp_path)
    session.advance()
    session.end("stopped")

    def refuse(*_arguments: Any) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(StoreError, match=r"Cannot write to .*: Read-only file system\."):
            resume_sessions([session.folder])
        assert open_run(session.folder).state == "stopped"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount 400 kB of memory as a disk, where that is allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"nothing can be mounted: {error}")
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    arguments = ("--steps", "100000", "--set", "eval_tasks=4", "--set", "eval_every=20")
    outcome = metaviz("compare", *arguments, "--device", "cpu", "--out", small_disk)
    assert outcome.code == 1
    assert "What was stored until now is kept." in outcome.error
    assert "Traceback" not in outcome.error
    (folder,) = list_runs(small_disk / "runs")
    record = open_run(folder)
    assert record.state in {"failed", "interrupted"}
    assert load_checkpoint(folder / CHECKPOINT)["step"] <= record.step
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    (session,) = resume_sessions([folder])
    for _ in range(100):
        session.advance()
    session.end("stopped")
    after = open_run(folder)
    assert after.column("step").tolist() == list(range(1, after.step + 1))
