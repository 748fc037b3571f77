"""Hundreds of runs in one command: open files grow with what trains at once, not with the runs."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metaviz.runs.storage import lock, store
from metaviz.runs.storage.lock import LOCK, SharedLock, is_locked, lock_run
from metaviz.runs.storage.store import StoreError, list_runs, open_run, reopen_run, sweep_runs
from metaviz.training.resume import resume_sessions
from metaviz.training.session import open_sessions
from tests.unit.command_line import TINY
from tests.unit.stored import assert_same, begin, config, finish, train

FEW = 60


def open_files() -> int:
    """Return how many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")


@linux
def test_sessions_that_wait_hold_few_files(tmp_path: Path) -> None:
    asked = [config("maml", steps=1).model_copy(update={"seed": seed}) for seed in range(FEW)]
    before = open_files()
    sessions = open_sessions(asked, tmp_path)
    assert open_files() - before < 10
    assert {open_run(session.folder).state for session in sessions} == {"running"}
    assert all(is_locked(session.folder) for session in sessions)
    with pytest.raises(StoreError, match="is being trained by another window or command"):
        reopen_run(sessions[-1].folder)
    most = 0
    for session in sessions:
        while session.advance() is not None:
            most = max(most, open_files() - before)
    assert most < 15
    assert open_files() <= before + 1
    assert {open_run(session.folder).state for session in sessions} == {"done"}
    assert not any(is_locked(session.folder) for session in sessions)


@linux
def test_runs_that_are_resumed_together_hold_few_files(tmp_path: Path) -> None:
    folders = [begin(config("maml"), tmp_path).folder for _ in range(20)]
    for folder in folders:
        _, writer = reopened(folder)
        writer.close()
    before = open_files()
    sessions = resume_sessions(folders)
    assert open_files() - before < 10
    assert all(is_locked(folder) for folder in folders)
    for session in sessions:
        finish(session)
    whole = train(config("maml"), tmp_path / "whole")
    assert_same(folders[0], whole)
    assert_same(folders[-1], whole)
    assert open_files() <= before + 1


def reopened(folder: Path):
    """Open a run that a session, collected by now, left as a killed program would."""
    (folder / LOCK).unlink()
    (folder / LOCK).touch()
    return reopen_run(folder)


def test_a_run_that_begins_while_somebody_looks_is_never_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = begin(config("maml"), tmp_path)
    real, begun = lock.look_at_lock, []

    def look(handle: int) -> None:
        if not begun:
            begun.append(
                session.advance()
            )  # puts a lock file of its own in place of the shared one
        real(handle)

    monkeypatch.setattr(lock, "look_at_lock", look)
    assert is_locked(session.folder)
    assert begun
    session.end("stopped")


def test_a_run_that_ends_while_somebody_reads_it_is_never_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = begin(config("maml"), tmp_path)
    session.advance()
    session.set_state("running")
    real, looked = store.is_written, []

    def written(*arguments: object) -> bool:
        if not looked:
            looked.append(session.end("stopped"))
        return real(*arguments)

    monkeypatch.setattr(store, "is_written", written)
    assert open_run(session.folder).state == "stopped"
    assert looked


KILLED = """
import os, sys
from pathlib import Path
from tests.unit.stored import config
from metaviz.training.session import open_sessions
asked = [config("maml").model_copy(update={"seed": seed}) for seed in range(4)]
sessions = open_sessions(asked, Path(sys.argv[1]))
for _ in range(6):
    sessions[0].advance()
os._exit(9)
"""


def test_runs_that_waited_when_their_program_was_killed_are_resumed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == 9
    folders = list_runs(tmp_path)
    assert {open_run(folder).state for folder in folders} == {"interrupted"}
    _, writer = reopen_run(folders[1])
    assert [bool(is_locked(folder)) for folder in folders] == [False, True, False, False]
    writer.close()
    sessions = resume_sessions(folders)
    for session in sessions:
        finish(session)
    assert {open_run(folder).state for folder in folders} == {"done"}
    assert not any(is_locked(folder) for folder in folders)


def test_a_refused_resumption_lets_go_of_all_runs(tmp_path: Path) -> None:
    done = train(config("maml", steps=2), tmp_path)
    session = begin(config("maml"), tmp_path)
    session.advance()
    session.end("stopped")
    with pytest.raises(StoreError, match="is done"):
        resume_sessions([session.folder, done])
    assert is_locked(session.folder) is False
    assert open_run(session.folder).state == "stopped"


def test_where_files_have_one_name_each_run_keeps_a_lock_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(lock.Path, "hardlink_to", refuse)
    asked = [config("maml", steps=1).model_copy(update={"seed": seed}) for seed in range(3)]
    sessions = open_sessions(asked, tmp_path)
    assert all(is_locked(session.folder) for session in sessions)
    sessions[0].end("stopped")
    assert [bool(is_locked(session.folder)) for session in sessions] == [False, True, True]
    for session in sessions[1:]:
        finish(session)
    assert [open_run(s.folder).state for s in sessions] == ["stopped", "done", "done"]


def test_a_lock_whose_file_was_replaced_is_not_had_twice(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    shared, locks = SharedLock(), []
    for folder in (one, other):
        folder.mkdir()
        found = lock_run(folder)
        assert found is not None
        locks.append(shared.hold(folder, found))
    assert (one / LOCK).samefile(other / LOCK)
    own = locks[0].own()
    assert not (one / LOCK).samefile(other / LOCK)
    assert lock._lock(one / LOCK, patience=0.0) is None
    assert lock._lock(other / LOCK, patience=0.0) is None
    own.release()
    assert lock._lock(other / LOCK, patience=0.0) is None
    locks[1].release()
    for folder in (one, other):
        found = lock_run(folder)
        assert found is not None
        found.release()


@linux
def test_a_comparison_of_more_runs_than_files_may_be_open(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "metaviz", "compare", "--device", "cpu", *TINY]
    command += ["--steps", "1", "--seeds", "0-99", "--out", str(tmp_path / "out")]
    few = (64, 64)
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    runs = list_runs(tmp_path / "out" / "runs")
    assert len(runs) == 100
    assert {open_run(folder).state for folder in runs} == {"done"}


@linux
@pytest.mark.parametrize("spare", [0, 1, 2, 3, 4])
def test_too_many_open_files_is_the_reason_and_nothing_is_left(tmp_path: Path, spare: int) -> None:
    asked = [config("maml", steps=1)]
    open_sessions(asked, tmp_path / "first")[0].end("stopped")  # imports all that is needed
    root = tmp_path / "runs"
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(80)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, limit[1]))
    for handle in held[:spare]:
        os.close(handle)
    try:
        with pytest.raises(
            StoreError, match="too many files are open in this program at once"
        ) as e:
            open_sessions(asked, root)
    finally:
        for handle in held[spare:]:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert "may write to" not in str(e.value)
    assert not list(root.glob("*"))


def test_runs_that_were_made_before_one_that_cannot_be_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = store.write_text, []

    def full(path: Path, text: str) -> None:
        calls.append(path)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        real(path, text)

    monkeypatch.setattr(store, "write_text", full)
    asked = [config("maml", steps=1).model_copy(update={"seed": seed}) for seed in range(4)]
    with pytest.raises(StoreError, match=r"Cannot write runs to .*: No space left on device\.$"):
        open_sessions(asked, tmp_path)
    assert not list(tmp_path.iterdir())


def test_folders_that_programs_left_before_their_run_began_are_removed(tmp_path: Path) -> None:
    names = ["maml-s0-0123abcd", "maml-s1-0123abcd", "mine", "maml-s2-0123abcd", "maml-s3-0123abcd"]
    old, young, mine, locked, kept = (tmp_path / name for name in names)
    for folder in (old, young, mine, locked, kept):
        folder.mkdir()
        (folder / "metrics.db").touch()
    held = lock_run(locked)
    (kept / "thesis.txt").touch()
    long_ago = time.time() - 100
    for folder in (old, mine, locked, kept):
        os.utime(folder, (long_ago, long_ago))
    sweep_runs(tmp_path)
    assert not old.exists()
    assert all(folder.exists() for folder in (young, mine, locked))
    assert (kept / "thesis.txt").exists()
    assert held is not None
    held.release()
