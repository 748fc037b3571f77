"""The cache of what tables need: right, quick, and worth nothing when it is damaged."""

import json
import os
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaviz.runs.model.marks import MARKS, Marks, change_marks
from metaviz.runs.storage.lock import lock_run
from metaviz.runs.storage.store import open_run
from metaviz.runs.table import index as module
from metaviz.runs.table.index import INDEX, Index
from metaviz.runs.table.summary import summarise
from tests.unit.entries import store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs."""
    for seed in range(3):
        os.utime(store(tmp_path / "runs", seed=seed) / "run.toml", (100 + seed, 100 + seed))
    return tmp_path / "runs"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders whose databases are read."""
    names: list[str] = []
    whole = module.open_last

    def noted(folder: Path):
        names.append(folder.name)
        return whole(folder)

    monkeypatch.setattr(module, "open_last", noted)
    return names


def scanned(index: Index, root: Path):
    found = list(index.scan(root))
    entries = [entry for batch in found for entry in batch.entries]
    return entries, [name for b in found for name in b.gone], [w for b in found for w in b.warnings]


def test_a_scan_tells_what_the_whole_run_tells_newest_first(root: Path, tmp_path: Path) -> None:
    entries, gone, warnings = scanned(Index(tmp_path / INDEX), root)
    assert [entry.summary.seed for entry in entries] == [2, 1, 0]
    assert (gone, warnings) == ([], [])
    for entry in entries:
        made = (entry.folder / "run.toml").stat().st_mtime
        assert repr(entry.summary) == repr(summarise(open_run(entry.folder), made))


def test_only_changed_runs_are_read_again(root: Path, tmp_path: Path, read: list[str]) -> None:
    first = Index(tmp_path / INDEX)
    before, _, _ = scanned(first, root)
    first.close()
    assert len(read) == 3
    read.clear()
    again = Index(tmp_path / INDEX)
    after, _, _ = scanned(again, root)
    assert read == []
    assert [repr((e.id, e.config, e.summary, e.marks)) for e in after] == [
        repr((e.id, e.config, e.summary, e.marks)) for e in before
    ]
    assert scanned(again, root) == ([], [], [])
    with closing(sqlite3.connect(before[1].folder / "metrics.db")) as database:
        database.execute("UPDATE about SET value = 'stopped' WHERE key = 'state'")
        database.commit()
    (changed,), _, _ = scanned(again, root)
    assert (changed.id, changed.summary.state) == (before[1].id, "stopped")
    assert read == [before[1].id]


def test_marks_are_read_again_without_the_database(
    root: Path, tmp_path: Path, read: list[str]
) -> None:
    index = Index(tmp_path / INDEX)
    entries, _, _ = scanned(index, root)
    read.clear()
    assert not index.changed(root)
    change_marks(entries[0].folder, {"star": True})
    assert index.changed(root)
    (changed,), _, _ = scanned(index, root)
    assert changed.marks == Marks(star=True)
    assert read == []


def test_removed_and_new_folders_are_told(root: Path, tmp_path: Path) -> None:
    index = Index(tmp_path / INDEX)
    entries, _, _ = scanned(index, root)
    shutil.rmtree(entries[0].folder)
    fresh = store(root, "reptile", 9)
    assert index.changed(root)
    new, gone, _ = scanned(index, root)
    assert [entry.id for entry in new] == [fresh.name]
    assert gone == [entries[0].id]
    assert len(scanned(Index(tmp_path / INDEX), root)[0]) == 3


def test_a_run_whose_writer_died_is_interrupted(root: Path, tmp_path: Path) -> None:
    folder = store(root, seed=9, state="")
    lock = lock_run(folder)
    assert lock is not None
    index = Index(tmp_path / INDEX)
    states = {e.id: e.summary.state for e in scanned(index, root)[0]}
    assert states[folder.name] == "running"
    lock.release()
    assert index.changed(root)
    (died,), _, _ = scanned(index, root)
    assert (died.id, died.summary.state) == (folder.name, "interrupted")
    assert {e.id: e.summary.state for e in scanned(Index(tmp_path / INDEX), root)[0]}[
        folder.name
    ] == "interrupted"


def test_a_damaged_run_is_told_once_and_left_out(root: Path, tmp_path: Path) -> None:
    folder = store(root, seed=9)
    (folder / "metrics.db").write_bytes(b"nothing")
    index = Index(tmp_path / INDEX)
    entries, _, warnings = scanned(index, root)
    assert len(entries) == 3
    assert [folder.name in sentence for sentence in warnings] == [True]
    assert scanned(index, root) == ([], [], [])


def test_unreadable_marks_are_told_once_and_the_run_is_listed(root: Path, tmp_path: Path) -> None:
    folder = store(root, seed=9)
    (folder / MARKS).write_text("star = 3")
    entries, _, warnings = scanned(Index(tmp_path / INDEX), root)
    assert len(entries) == 4
    assert len(warnings) == 1
    assert MARKS in warnings[0]


def test_a_damaged_cache_is_made_anew(root: Path, tmp_path: Path, read: list[str]) -> None:
    (tmp_path / INDEX).write_bytes(b"this is no database" * 1000)
    assert len(scanned(Index(tmp_path / INDEX), root)[0]) == 3
    read.clear()
    assert len(scanned(Index(tmp_path / INDEX), root)[0]) == 3
    assert read == []


def test_a_cache_of_another_version_is_made_anew(root: Path, tmp_path: Path) -> None:
    scanned(Index(tmp_path / INDEX), root)
    with closing(sqlite3.connect(tmp_path / INDEX)) as database:
        database.execute("DROP TABLE runs")
        database.execute("CREATE TABLE runs (other TEXT)")
        database.execute("PRAGMA user_version=77")
        database.commit()
    assert len(scanned(Index(tmp_path / INDEX), root)[0]) == 3


def test_two_programs_use_the_cache_at_once(root: Path, tmp_path: Path) -> None:
    one, other = Index(tmp_path / INDEX), Index(tmp_path / INDEX)
    scanned(one, root)
    scanned(other, root)
    folder = store(root, seed=9)
    assert [entry.id for entry in scanned(other, root)[0]] == [folder.name]
    assert [entry.id for entry in scanned(one, root)[0]] == [folder.name]


def test_without_a_place_for_the_cache_runs_are_still_listed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (None, tmp_path / "file" / INDEX):
        assert len(scanned(Index(path), root)[0]) == 3


def test_hidden_and_absent_folders_hold_no_runs(root: Path, tmp_path: Path) -> None:
    shutil.copytree(next(root.iterdir()), root / ".deleted-1")
    assert len(scanned(Index(None), root)[0]) == 3
    assert scanned(Index(None), tmp_path / "nosuch") == ([], [], [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(body=st.one_of(st.text(max_size=40), JSON.map(json.dumps)), right_sum=st.booleans())
def test_any_row_of_the_cache_is_passed_over(body: str, right_sum, tmp_path_factory) -> None:
    root = tmp_path_factory.mktemp("home")
    index = Index(root / INDEX)
    folder = store(root / "runs")
    scanned(index, root / "runs")
    index.close()
    crc = zlib.crc32(body.encode(errors="replace")) if right_sum else 0
    with closing(sqlite3.connect(root / INDEX)) as database:
        database.execute(
            "UPDATE runs SET body = ?, crc = ?", (body.encode(errors="replace").decode(), crc)
        )
        database.commit()
    entries, _, warnings = scanned(Index(root / INDEX), root / "runs")
    assert [entry.id for entry in entries] == [folder.name]
    assert warnings == []
