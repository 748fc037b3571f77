"""What differs between systems, tested with stand-ins for the calls of those that are not here."""

import ast
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metaviz.files import atomic, platform
from metaviz.files.platform import (
    advice_on,
    ending_signals,
    is_plain_name,
    plain_name,
    put_in_place,
    reason_of,
)

ROOT = Path(__file__).parents[2] / "metaviz"
IN_USE, DENIED, OTHER = 32, 5, 123


def in_use(winerror: int | None) -> PermissionError:
    """Return what Windows raises; on other systems the number is no part of an error."""
    error = PermissionError(errno.EACCES, "The process cannot access the file")
    error.winerror = winerror  # type: ignore[attr-defined]
    return error


class Busy:
    """Stands in for Path.replace: another program has the target open for some tries."""

    def __init__(self, error: OSError, tries: int) -> None:
        self.error, self.tries, self.calls = error, tries, 0
        self.real = Path.replace

    def as_method(self) -> Callable[[Path, Path], Path]:
        """Return a function, which takes the path as methods do."""

        def replace(path: Path, target: Path) -> Path:
            return self.replace(path, target)

        return replace

    def replace(self, path: Path, target: Path) -> Path:
        self.calls += 1
        if self.calls <= self.tries:
            raise self.error
        return self.real(path, target)


@pytest.mark.parametrize("winerror", [IN_USE, DENIED])
def test_a_file_that_is_open_elsewhere_is_replaced_once_it_is_closed(
    winerror: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(in_use(winerror), 3)
    monkeypatch.setattr(Path, "replace", busy.as_method())
    monkeypatch.setattr(platform.time, "sleep", lambda _: None)
    (tmp_path / "a").write_text("old")
    atomic.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert busy.calls == 4
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("error", "calls"), [(in_use(IN_USE), 10), (in_use(OTHER), 1), (in_use(None), 1)]
)
def test_a_file_that_stays_open_or_is_denied_is_an_error(
    error: OSError, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(error, 1000)
    monkeypatch.setattr(Path, "replace", busy.as_method())
    monkeypatch.setattr(platform.time, "sleep", lambda _: None)
    (tmp_path / "a").write_text("x")
    with pytest.raises(PermissionError):
        put_in_place(tmp_path / "a", tmp_path / "b")
    assert busy.calls == calls
    assert (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("maml-s0-0123abcd", "maml-s0-0123abcd"),
        ("CON", "_CON"),
        ("nul", "_nul"),
        ("COM1", "_COM1"),
        ("COM10", "COM10"),
        ("run.toml:evil", "run_toml_evil"),
        ("ends.", "ends_"),
        ("ends ", "ends_"),
        ("a/b\\c", "a_b_c"),
        ('<>:"|?*', "_______"),
        ("é漢字", "é漢字"),
        ("\x00\x1f", "__"),
    ],
)
def test_names_are_those_of_files_on_every_system(name: str, wanted: str) -> None:
    assert plain_name(name) == wanted
    assert wanted.startswith("_") or is_plain_name(wanted)


@pytest.mark.parametrize("letter", ["x", "é", "漢"])
def test_names_are_no_longer_than_every_system_takes(letter: str, tmp_path: Path) -> None:
    name = plain_name(letter * 300)
    assert 0 < len(name.encode()) <= 200
    assert set(name) == {letter}
    atomic.write_text(tmp_path / f"geometry-rates-{name}.png", "x")
    assert not is_plain_name(letter * 300)


def test_windows_ends_programs_by_other_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert signal.SIGTERM in ending_signals()
    assert signal.SIGINT not in ending_signals()
    windows = SimpleNamespace(SIGTERM=15, SIGBREAK=21, SIGINT=2)
    monkeypatch.setattr(platform, "signal", windows)
    assert ending_signals() == (15, 21)


def test_reasons_and_advice() -> None:
    full, many = OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EMFILE, "x")
    denied = PermissionError(errno.EACCES, "Permission denied")
    assert reason_of(many) == "too many files are open in this program at once"
    assert reason_of(denied) == "Permission denied"
    assert (advice_on(full), advice_on(many)) == ("", "")
    assert advice_on(denied) == " Choose a folder that you may write to."


def test_a_lock_of_windows_is_asked_by_locking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows knows no shared lock: readers take the lock for an instant, and give it back."""
    from metaviz.runs.storage import lock

    held: set[int] = set()

    def locking(handle: int) -> None:
        key = os.fstat(handle).st_ino
        if key in held:
            raise PermissionError(errno.EACCES, "Permission denied")
        held.add(key)

    def close(handle: int) -> None:
        held.discard(os.fstat(handle).st_ino)
        real(handle)

    real: Any = os.close
    monkeypatch.setattr(lock, "lock_file", locking)
    monkeypatch.setattr(lock, "look_at_lock", locking)
    mine = lock.lock_run(tmp_path)
    assert mine is not None
    assert lock.is_locked(tmp_path)
    held.clear()
    monkeypatch.setattr(lock.os, "close", close)
    assert lock.is_locked(tmp_path) is False
    assert not held


def test_where_locked_files_have_one_name_no_lock_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metaviz.runs.storage import lock

    monkeypatch.setattr(lock, "LOCKS_HAVE_NAMES", False)
    shared, found = lock.SharedLock(), lock.lock_run(tmp_path)
    assert found is not None
    assert shared.hold(tmp_path, found) is found
    found.release()


SYSTEMS = {
    "benchmarking/memory.py": "measures memory as each system tells it",
    "cli/errors.py": "names the system in a report",
    "files/platform.py": "the one place for files, locks, processes and signals",
    "preflight.py": "looks for libraries before anything is imported",
    "training/memory_budget.py": "measures memory as each system tells it",
    "training/trainer.py": "measures memory as each system tells it",
}


def test_no_other_module_asks_which_system_this_is() -> None:
    for path in ROOT.rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        asked = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if asked & {"sys.platform", "os.name", "platform.system"}:
            assert name in SYSTEMS, name


CMD = {
    "plain": "plain",
    "C:\\my data": '"C:\\my data"',
    "C:\\my data\\": '"C:\\my data\\\\"',
    "C:\\a&b\\": '"C:\\a&b\\\\"',
    "a&b": '"a&b"',
    "a|b>c": '"a|b>c"',
    'say "x"': '"say \\"x\\""',
    "it's": '"it\'s"',
    "": '""',
    "images.path=x": '"images.path=x"',
}


@pytest.mark.parametrize("word", CMD)
def test_words_for_windows_are_quoted_as_its_programs_read_them(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "QUOTES_FOR_CMD", True)
    assert platform.joined(["metaviz", word, "end"]) == f"metaviz {CMD[word]} end"


def test_words_for_other_systems_are_quoted_for_their_shells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "QUOTES_FOR_CMD", False)
    assert platform.joined(["metaviz", "my data", "it's"]) == "metaviz 'my data' 'it'\"'\"'s'"
