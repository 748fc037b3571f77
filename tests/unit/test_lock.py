"""Who writes to a run: the lock tells, then the process, and only on its own computer."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metaviz.files.platform import process_runs_on_windows
from metaviz.runs.storage import lock
from metaviz.runs.storage.interrupted import Writer, is_written
from metaviz.runs.storage.lock import host_name, is_locked, lock_run
from metaviz.runs.storage.store import create_run, open_run
from metaviz.runs.storage.worker_process import WorkerLock, host_of
from tests.unit.test_store import CONFIG

HERE, ELSEWHERE = Writer(os.getpid(), host_name()), Writer(os.getpid(), "another-computer")
_DENIED, _UNKNOWN = 5, 87


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lock_tells_whatever_the_process_and_no_process_is_asked(
    tmp_path: Path, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a process was asked"))
    held = lock_run(tmp_path)
    assert held is not None
    assert all(is_written(tmp_path, writer) for writer in (HERE, ELSEWHERE, Writer(gone)))
    held.release()
    assert not any(is_written(tmp_path, writer) for writer in (HERE, ELSEWHERE, Writer(gone)))


def test_without_a_lock_the_process_tells_on_its_own_computer_alone(
    tmp_path: Path, gone: int
) -> None:
    assert is_written(tmp_path, HERE)
    assert is_written(tmp_path, Writer(os.getpid()))
    assert not is_written(tmp_path, Writer(gone, host_name()))
    assert not is_written(tmp_path, Writer(0, "another-computer"))
    assert is_written(tmp_path, Writer(gone, "another-computer"))


def test_a_lock_is_asked_for_without_writing_to_it(tmp_path: Path) -> None:
    held = lock_run(tmp_path)
    assert held is not None
    (tmp_path / lock.LOCK).chmod(0o444)
    assert is_locked(tmp_path)
    held.release()
    assert is_locked(tmp_path) is False


def test_a_lock_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / lock.LOCK).symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match="symbolic links"):
        lock_run(tmp_path)
    assert not (tmp_path / "made").exists()


def test_runs_and_workers_name_their_computer(tmp_path: Path) -> None:
    writer = create_run(tmp_path, CONFIG, {})
    (writer.folder / lock.LOCK).unlink()
    assert open_run(writer.folder).state == "running"
    writer.set_state("running")
    writer.close()
    worker = WorkerLock(tmp_path)
    assert host_of(worker.name) == host_name()
    worker.release()
    assert host_of("0123456789ab") == ""


class Kernel:
    """Stands in for the system's library: one process, with what asking for it answers."""

    def __init__(self, *, handle: int | None, code: int) -> None:
        self.asked: list[int] = []
        self.closed: list[int | None] = []

        def opened(rights: int, _inherit: bool, pid: ctypes.c_ulong) -> int | None:
            self.asked += [rights, pid.value]
            return handle

        def ended(_handle: ctypes.c_void_p, found: object) -> int:
            ctypes.cast(found, ctypes.POINTER(ctypes.c_ulong))[0] = code  # type: ignore[arg-type]
            return 1

        self.OpenProcess = opened
        self.GetExitCodeProcess = ended
        self.CloseHandle = lambda found: self.closed.append(found.value)


@pytest.mark.parametrize(
    ("handle", "code", "error", "runs"),
    [
        (2**40, 259, 0, True),
        (2**40, 0, 0, False),
        (None, 0, _DENIED, True),
        (None, 0, _UNKNOWN, False),
    ],
)
def test_windows_is_asked_without_a_signal(
    handle: int | None, code: int, error: int, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal was sent"))
    kernel = Kernel(handle=handle, code=code)
    assert process_runs_on_windows(77, kernel, lambda: error) is runs
    assert kernel.asked == [0x1000, 77]
    assert kernel.closed == ([] if handle is None else [handle])
