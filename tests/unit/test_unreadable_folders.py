"""A run's folder that may not be looked into is told, and costs only itself."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaviz.runs.storage.store import list_runs
from metaviz.runs.table.index import Index
from tests.unit.stored import config, train

ROOT = Path(__file__).parents[2]
_DROPPED = "-dac_override,-dac_read_search,-fowner"
COMMANDS = {
    "runs": ("runs", "--in"),
    "list": ("list", "--runs"),
    "export": ("export", "--out", "out"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config("maml"), tmp_path_factory.mktemp("trained"))


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder with a run, and one whose folder has no rights."""
    for name in ("closed", trained.name):
        shutil.copytree(trained, tmp_path / "runs" / name)
    (tmp_path / "runs" / "no run").mkdir()
    (tmp_path / "runs" / "closed").chmod(0)
    yield tmp_path / "runs"
    (tmp_path / "runs" / "closed").chmod(0o755)


def refusing(monkeypatch: pytest.MonkeyPatch, closed: Path) -> None:
    """Let the system refuse what lies in a folder, as it does for all but root."""
    real = os.stat

    def stat(path: object, *rest: object, **others: object) -> os.stat_result:
        if isinstance(path, str | Path) and closed in Path(path).parents:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest, **others)  # type: ignore[arg-type, call-overload, no-any-return]

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "lstat", stat)


def test_it_is_listed_and_the_index_tells_it(
    root: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, root / "closed")
    assert [path.name for path in list_runs(root)] == ["closed", trained.name]
    index = Index(None)
    (batch,) = index.scan(root)
    assert [entry.id for entry in batch.entries] == [trained.name]
    (warning,) = batch.warnings
    assert warning.startswith(f"{root / 'closed'} is not a readable run: ")
    assert list(index.scan(root)) == []  # it is told once


def test_nothing_is_told_where_all_can_be_read(root: Path, trained: Path) -> None:
    (root / "closed").chmod(0o755)
    (batch,) = Index(None).scan(root)
    assert {entry.id for entry in batch.entries} == {"closed", trained.name}
    assert batch.warnings == []


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_tell_it_as_who_may_not_read_it(
    name: str, root: Path, trained: Path, tmp_path: Path
) -> None:
    code = "from metaviz.cli.main import main; main()"
    words = [sys.executable, "-c", code, *COMMANDS[name], str(root)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything, and cannot give that up here")
        words = ["setpriv", "--bounding-set", _DROPPED, *words]
    paths = {"PYTHONPATH": str(ROOT), "METAVIZ_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **paths},
        check=False,
    )
    assert f"{root / 'closed'} is not a readable run: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    seen = done.stdout + "".join(p.name for p in tmp_path.glob("out/*"))
    assert trained.name[-8:] in seen
