"""Marks of runs: stored whole, never in the way of the run, and harmless wherever they go."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaviz.runs.export.tables import summary_csv
from metaviz.runs.model.marks import (
    DAMAGED,
    MARKS,
    Marks,
    MarksError,
    change_marks,
    cleaned,
    read_marks,
    split_tags,
)
from metaviz.runs.storage.archive import pack_run, unpack_run
from metaviz.runs.storage.deletion import delete_run
from metaviz.runs.storage.store import StoreError, list_runs, lock_run, open_run
from tests.unit.entries import store

FULL = {
    "name": "Best of all",
    "tags": ("paper", "draft"),
    "notes": "first line\nsecond “line”",
    "star": True,
    "color": "#882255",
    "trashed": False,
}


def test_marks_are_kept_beside_the_run_which_stays_as_it_was(tmp_path: Path) -> None:
    folder = store(tmp_path)
    about = (folder / "run.toml").read_bytes()
    assert read_marks(folder) == Marks()
    assert change_marks(folder, FULL) == Marks(**FULL)
    assert read_marks(folder) == Marks(**FULL)
    assert (folder / "run.toml").read_bytes() == about
    assert open_run(folder).label == "Best of all"


def test_changes_of_two_programs_both_stay(tmp_path: Path) -> None:
    folder = store(tmp_path)
    change_marks(folder, {"star": True})
    assert change_marks(folder, {"tags": ("a",)}) == Marks(star=True, tags=("a",))


def test_the_folder_of_runs_is_touched(tmp_path: Path) -> None:
    folder = store(tmp_path / "runs")
    os.utime(tmp_path / "runs", (1, 1))
    change_marks(folder, {"star": True})
    assert (tmp_path / "runs").stat().st_mtime > 1


def test_marks_travel_with_a_packed_run(tmp_path: Path) -> None:
    folder = store(tmp_path / "runs")
    change_marks(folder, FULL)
    pack_run(folder, tmp_path / "run.zip")
    assert read_marks(unpack_run(tmp_path / "run.zip", tmp_path / "other")) == Marks(**FULL)


@pytest.mark.parametrize(
    "text", [b"star = 3", b"tags = 'a'", b"\xff\xfe", b"name =", b"tags = [1]", b"a" * 2_000_000]
)
def test_unreadable_marks_leave_the_run_readable(tmp_path: Path, text: bytes) -> None:
    folder = store(tmp_path)
    (folder / MARKS).write_bytes(text)
    with pytest.raises(MarksError, match=MARKS):
        read_marks(folder)
    assert open_run(folder).marks == Marks()
    assert change_marks(folder, {"star": True}) == Marks(star=True)
    assert (folder / DAMAGED).read_bytes() == text


def test_marks_that_cannot_be_saved_change_nothing(tmp_path: Path) -> None:
    folder = store(tmp_path)
    change_marks(folder, {"star": True})
    (folder / f"{MARKS}.tmp-{os.getpid()}").mkdir()  # in the way, also of a superuser
    with pytest.raises(MarksError, match="cannot be saved"):
        change_marks(folder, {"name": "x"})
    assert read_marks(folder) == Marks(star=True)


def test_marks_of_a_folder_that_is_gone_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(MarksError):
        change_marks(tmp_path / "gone", {"star": True})
    assert list(tmp_path.iterdir()) == []


def test_names_are_one_line_and_tags_single_words() -> None:
    marks = cleaned(Marks(name=" a\nb\x1b[0m ", tags=("x y", "x"), color="red", notes="a\x00b\nc"))
    assert marks.name == "a b [0m"
    assert marks.tags == ("x", "y")
    assert marks.color == ""
    assert marks.notes == "a b\nc"
    assert split_tags('a, b;c "d"') == ("a", "b", "c", "d")


def test_names_are_disarmed_in_tables(tmp_path: Path) -> None:
    folder = store(tmp_path)
    change_marks(folder, {"name": "=HYPERLINK(1)", "tags": ("@sum",), "notes": "+1\n-2"})
    text = summary_csv([open_run(folder)])
    for cell in ("'=HYPERLINK(1)", "'@sum", "'+1"):
        assert cell in text


@settings(deadline=None, max_examples=150)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_marks_or_one_sentence(data: bytes, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / MARKS).write_bytes(data)
    try:
        assert isinstance(read_marks(folder), Marks)
    except MarksError as error:
        assert str(folder) in str(error)


@settings(deadline=None, max_examples=150)
@given(
    marks=st.builds(
        Marks,
        name=st.text(max_size=150),
        tags=st.lists(st.text(max_size=50), max_size=5).map(tuple),
        notes=st.text(max_size=200),
        star=st.booleans(),
        color=st.sampled_from(["", "#0072B2", "red", "#12"]),
        trashed=st.booleans(),
    )
)
def test_marks_round_trip_and_touch_nothing_else(marks: Marks, tmp_path_factory) -> None:
    root = tmp_path_factory.mktemp("runs")
    folder = root / "run"
    folder.mkdir()
    fields = {name: getattr(marks, name) for name in FULL}
    saved = change_marks(folder, fields)
    assert saved == read_marks(folder) == cleaned(saved)
    assert [path.name for path in folder.iterdir()] == [MARKS]
    assert [path.name for path in root.iterdir()] == ["run"]
    tomllib.loads((folder / MARKS).read_text(encoding="utf-8"))


def test_a_run_of_the_trash_is_deleted_for_good(tmp_path: Path) -> None:
    folder, other = store(tmp_path), store(tmp_path, seed=1)
    change_marks(folder, {"trashed": True})
    delete_run(tmp_path, folder)
    assert list_runs(tmp_path) == [other]
    assert [path.name for path in tmp_path.iterdir()] == [other.name]


def test_only_runs_of_the_trash_inside_the_folder_are_deleted(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    kept, outside = store(root), store(tmp_path / "elsewhere", seed=1)
    change_marks(outside, {"trashed": True})
    link = root / "link"
    link.symlink_to(outside)
    plain = root / "plain"
    plain.mkdir()
    (plain / "file").touch()
    for folder, reason in (
        (kept, "not in the trash"),
        (outside, "outside"),
        (link, "no folder of its own"),
        (plain, "holds no run"),
        (root / "..", "outside"),
    ):
        with pytest.raises(StoreError, match=reason):
            delete_run(root, folder)
    assert len(list_runs(root)) == 2  # the link still leads to a run
    assert (outside / "metrics.db").exists()


def test_a_run_that_trains_is_not_deleted(tmp_path: Path) -> None:
    folder = store(tmp_path)
    change_marks(folder, {"trashed": True})
    lock = lock_run(folder)
    assert lock is not None
    with pytest.raises(StoreError, match="training"):
        delete_run(tmp_path, folder)
    lock.release()
    assert folder.exists()


def test_links_inside_a_deleted_run_are_not_followed(tmp_path: Path) -> None:
    folder, precious = store(tmp_path / "runs"), tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (folder / "link").symlink_to(precious)
    change_marks(folder, {"trashed": True})
    delete_run(tmp_path / "runs", folder)
    assert (precious / "file").exists()
