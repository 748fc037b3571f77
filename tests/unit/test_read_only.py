"""Runs in folders that may not be written are read, judged, packed and repeated all the same."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metaviz.files import foreign
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.model.evaluation import stored
from metaviz.runs.storage.store import list_runs, open_run
from metaviz.training.resume import resume_sessions
from tests.unit.command_line import metaviz
from tests.unit.stored import config, killed, train

FILES = ("metrics.db", "metrics.db-wal")


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Return what shows a folder where nothing can be written, not even by root."""
    mounted: list[Path] = []

    def freeze(folder: Path) -> Path:
        place = tmp_path / f"frozen{len(mounted)}"
        place.mkdir()
        for command in (
            ["mount", "--bind", str(folder), str(place)],
            ["mount", "-o", "remount,bind,ro", str(place)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"nothing can be mounted: {done.stderr.strip()}")
        mounted.append(place)
        return place

    if shutil.which("mount") is None:
        pytest.skip("nothing can be mounted")
    yield freeze
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run that is done, and one that was killed and left a log."""
    root = tmp_path_factory.mktemp("read-only")
    train(config("maml"), root / "runs")
    dead, _ = killed(config("maml"), root, 12)
    shutil.move(dead, root / "runs" / dead.name)
    (root / "runs" / dead.name / "metrics.db-shm").unlink(missing_ok=True)
    assert (root / "runs" / dead.name / "metrics.db-wal").stat().st_size
    return root / "runs"


def states(folders: list[Path]) -> list[tuple[str, int]]:
    return sorted((record.state, len(record)) for record in map(open_run, folders))


def test_every_reading_command_works(
    runs: Path, tmp_path: Path, frozen: Callable[[Path], Path]
) -> None:
    shutil.copytree(runs, tmp_path / "copy")
    wanted = states(list_runs(tmp_path / "copy"))
    root = frozen(runs)
    before = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
    assert not list(root.rglob("*-shm"))
    assert states(list_runs(root)) == wanted
    assert [state for state, _ in wanted] == ["done", "interrupted"]
    done = next(folder for folder in list_runs(root) if open_run(folder).state == "done")
    for command in (
        ("list", "--runs", root),
        ("runs", "--in", root),
        ("export", root, "--out", tmp_path / "out"),
        ("report", root, "--out", tmp_path / "report.html"),
        ("evaluate", root, "--set", "tasks=3", "--out", tmp_path / "tasks.csv"),
        ("pack", done, "--out", tmp_path / "run.zip"),
        ("unpack", tmp_path / "run.zip", "--out", tmp_path / "again"),
        ("weights", done, "--out", tmp_path / "w.safetensors"),
        ("repeat", done, "--out", tmp_path / "repeated"),
        ("compare", "--from", done, "--steps", "2", "--out", tmp_path / "tuned"),
    ):
        outcome = metaviz(*command)
        assert outcome.code == 0, (command, outcome.error)
        if command[0] == "evaluate":
            said = [line for line in outcome.error.splitlines() if "told but not stored" in line]
            assert len(said) == 2
            assert "Read-only file system" in said[0]
            assert "± " in outcome.out
    assert sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*")) == before
    for command in (("repeat", done), ("mark", done, "--star"), ("resume", root)):
        outcome = metaviz(*command)
        assert outcome.code in {1, 2}
        assert "Read-only file system" in outcome.error
        assert outcome.error.count("\n") <= 2
        assert "Traceback" not in outcome.error


def refusing_shared_memory(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let no database of a folder be opened with a log, as where the folder is read-only."""
    real = foreign._opened

    def opened(path: Path, *, live: bool, work: object = None):
        if live and path.parent == folder:
            raise foreign.UnavailableError("unable to open database file")
        return real(path, live=live, work=work)

    monkeypatch.setattr(foreign, "_opened", opened)


def test_a_log_that_cannot_be_opened_is_read_from_a_copy_that_is_removed(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = (f for f in list_runs(runs) if (f / "metrics.db-wal").exists())
    wanted = len(open_run(folder))
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    refusing_shared_memory(monkeypatch, folder)
    before = {name: (folder / name).read_bytes() for name in FILES}
    record = open_run(folder)
    assert (record.state, len(record)) == ("interrupted", wanted)
    assert wanted > 0
    assert not list(copies.iterdir())
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_a_database_that_changes_or_is_too_large_is_not_copied(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = (f for f in list_runs(runs) if (f / "metrics.db-wal").exists())
    refusing_shared_memory(monkeypatch, folder)
    with monkeypatch.context() as patch:
        patch.setattr(foreign, "_MOST_COPIED", 10)
        with pytest.raises(OSError, match="is too large to be copied with its log"):
            open_run(folder)
    changing = iter(range(1000))
    monkeypatch.setattr(foreign, "_stamps", lambda _path: [(1, next(changing))])
    with pytest.raises(OSError, match="is written to by another program"):
        open_run(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may")
def test_another_users_folder_is_read(runs: Path, tmp_path: Path) -> None:
    root = tmp_path / "theirs"
    shutil.copytree(runs, root)
    code = (
        "import os, sys\nos.setuid(65534)\nfrom pathlib import Path\n"
        "from metaviz.runs.storage.store import list_runs, open_run\n"
        "for folder in list_runs(Path(sys.argv[1])):\n"
        "    record = open_run(folder); print(record.state, len(record))\n"
    )
    command = [sys.executable, "-c", code, str(root)]
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with contextlib.ExitStack() as opened:
        for above in root.parents[:-1]:
            mode = above.stat().st_mode
            if not mode & 0o001:
                opened.callback(above.chmod, mode & 0o7777)
                above.chmod(mode & 0o7777 | 0o001)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755)
    if "ModuleNotFoundError" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip("the program's own files are not readable by others here")
    assert done.returncode == 0, done.stderr
    found = sorted(tuple(line.split()) for line in done.stdout.splitlines())
    assert found == [(state, str(count)) for state, count in states(list_runs(runs))]


def test_a_killed_run_is_resumed_once_its_folder_may_be_written(
    runs: Path, tmp_path: Path, frozen: Callable[[Path], Path]
) -> None:
    root = tmp_path / "runs"
    shutil.copytree(runs, root)
    shown = frozen(root)
    (folder,) = (f for f in list_runs(shown) if (f / "metrics.db-wal").exists())
    with pytest.raises(OSError, match="Read-only file system"):
        resume_sessions([folder])
    (session,) = resume_sessions([root / folder.name])
    session.end("stopped")
    assert load_checkpoint(root / folder.name / CHECKPOINT)["step"] >= 0
    assert stored(folder) == []
