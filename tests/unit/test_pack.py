"""Runs as zip archives: all of it goes and comes back, and nothing hostile is unpacked."""

import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from metaviz.runs.storage.archive import pack_run, unpack_run
from metaviz.runs.storage.store import StoreError, open_run
from tests.unit.command_line import metaviz, refusal
from tests.unit.stored import assert_same, begin, config, resume, train


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Pack a small run."""
    path = tmp_path / "run.zip"
    pack_run(train(config("maml"), tmp_path / "runs"), path)
    return path


def test_a_run_goes_into_a_file_and_comes_back_the_same(tmp_path: Path, home: Path) -> None:
    folder = train(config("mirror"), tmp_path / "runs")
    (folder / "evaluations").mkdir()
    (folder / "evaluations" / "one.json").write_text("{}")
    (folder / "run.toml.tmp-3").write_text("half")
    outcome = metaviz("pack", folder, "--out", tmp_path / "new" / "r.zip")
    assert outcome.code == 0, outcome.error
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["r.zip"]
    outcome = metaviz("unpack", tmp_path / "new" / "r.zip")
    found = home / "runs" / folder.name
    assert (outcome.code, outcome.out) == (0, f"{found}\n"), outcome.error
    assert_same(found, folder)
    assert (found / "evaluations" / "one.json").read_text() == "{}"
    assert not list(found.glob("*.tmp-*"))
    assert [path.name for path in (home / "runs").iterdir()] == [folder.name]


def test_a_run_that_trains_is_packed_as_it_is_and_its_copy_can_be_resumed(tmp_path: Path) -> None:
    asked = config("metasgd")
    session = begin(asked, tmp_path / "runs")
    for _ in range(9):
        session.advance()
    pack_run(session.folder, tmp_path / "r.zip")
    copy = unpack_run(tmp_path / "r.zip", tmp_path / "copies")
    assert open_run(session.folder).state == "running"
    assert open_run(copy).state == "interrupted"
    session.end("stopped")
    assert_same(resume(copy), train(asked, tmp_path / "whole"))


def test_nothing_is_overwritten(packed: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in (tmp_path / "runs").iterdir())
    said = refusal("unpack", packed, "--out", tmp_path / "runs")
    assert said.endswith(f"is there already: remove it first to unpack {packed}.")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == before


def _link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


HOSTILE: list[tuple[str, Callable[[zipfile.ZipFile, str], object], str]] = [
    ("climbs", lambda z, run: z.writestr(f"{run}/../../evil", "x"), "climbs out of its folder"),
    ("absolute", lambda z, _: z.writestr("/evil", "x"), "absolute path"),
    ("drive", lambda z, _: z.writestr("C:/evil", "x"), "absolute path"),
    ("link", lambda z, run: z.writestr(_link(f"{run}/link"), "/etc/passwd"), "has a link"),
    (
        "bomb",
        lambda z, run: z.writestr(f"{run}/b", bytes(30_000_000), zipfile.ZIP_DEFLATED),
        "times its size",
    ),
    ("second", lambda z, _: z.writestr("other/run.toml", "x"), "holds no run"),
    ("deep", lambda z, run: z.writestr(f"{run}/a/b", "x"), "holds no run"),
    ("twice", lambda z, run: z.writestr(f"{run}x", "x"), "holds no run"),
    *(
        (name, lambda z, run, name=name: z.writestr(f"{run}/{name}", "x"), f"but also {name!r}")
        for name in (
            *(
                "CON",
                "run.toml:evil",
                "metrics.db-journal",
                "metrics.db-wal",
                "RUN.TOML",
                "run.lock",
            ),
            *(
                "evaluations/CON.npz",
                "evaluations/a:b.npz",
                "evaluations/x.exe",
                "robustness/x.npz",
            ),
        )
    ),
]


@pytest.mark.parametrize(("name", "add", "said"), HOSTILE, ids=[case[0] for case in HOSTILE])
def test_a_hostile_archive_is_refused_and_leaves_nothing(
    name: str,
    add: Callable[[zipfile.ZipFile, str], object],
    said: str,
    packed: Path,
    tmp_path: Path,
) -> None:
    run = next((tmp_path / "runs").iterdir()).name
    with zipfile.ZipFile(packed, "a") as archive:
        add(archive, run)
    place = tmp_path / "in" / "runs"
    assert said in refusal("unpack", packed, "--out", place), name
    assert not list(tmp_path.rglob("evil"))
    assert not place.exists() or not list(place.iterdir())


@pytest.mark.parametrize("name", ["CON", "nul.x", "ab:c", "run.", ".run", "x" * 300])
def test_an_archive_whose_folder_cannot_be_one_everywhere_is_refused(
    name: str, packed: Path, tmp_path: Path
) -> None:
    run = next((tmp_path / "runs").iterdir()).name
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(packed) as archive, zipfile.ZipFile(other, "w") as renamed:
        for member in archive.namelist():
            renamed.writestr(member.replace(run, name), archive.read(member))
    assert "holds no run" in refusal("unpack", other, "--out", tmp_path / "in")


def test_only_what_belongs_to_a_run_is_packed(tmp_path: Path) -> None:
    folder = train(config("maml"), tmp_path / "runs")
    (folder / "evaluations").mkdir()
    (folder / "robustness").mkdir()
    for name in ("evaluations/step7.npz", "robustness/map.npz"):
        (folder / name).write_bytes(b"x")
    before = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in ("metrics.db-journal", "secret.txt", "evaluations/secret.txt"):
        (folder / name).write_text("x")
    (folder / "marks.toml").symlink_to("/etc/hostname")
    pack_run(folder, tmp_path / "r.zip")
    with zipfile.ZipFile(tmp_path / "r.zip") as archive:
        packed = {name.removeprefix(f"{folder.name}/") for name in archive.namelist()}
    assert packed == before - {"run.lock"}
    assert open_run(unpack_run(tmp_path / "r.zip", tmp_path / "in")).id == folder.name


def test_what_is_no_readable_run_is_refused(packed: Path, tmp_path: Path) -> None:
    for place, contents in (("metrics.db", b"no database"), ("run.toml", b"[run")):
        with zipfile.ZipFile(packed) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        broken = tmp_path / "broken.zip"
        with zipfile.ZipFile(broken, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, contents if name.endswith(place) else data)
        with pytest.raises(StoreError, match=r"broken.zip holds no readable run: "):
            unpack_run(broken, tmp_path / "in")
        assert not (tmp_path / "in").exists()
    (tmp_path / "text.zip").write_text("no zip")
    assert "is not a readable zip archive" in refusal("unpack", tmp_path / "text.zip")
    data = bytearray(packed.read_bytes())
    data[len(data) // 3] ^= 255
    packed.write_bytes(data)
    with pytest.raises(StoreError, match=r"is damaged|holds no readable run"):
        unpack_run(packed, tmp_path / "in")


def test_a_disk_without_room_is_said_before_anything_is_written(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StoreError, match="has no room: free some"):
        unpack_run(packed, tmp_path / "in")


def test_pack_refuses_other_names(packed: Path, tmp_path: Path) -> None:
    folder = next((tmp_path / "runs").iterdir())
    said = refusal("pack", folder, "--out", tmp_path / "r.tar")
    assert said.endswith("r.tar' is not valid: use a name ending in .zip.")
    assert refusal("pack", folder, "--out", packed / "r.zip").startswith("Cannot write ")


def added(packed: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    """Add members to a packed run, below its folder."""
    with zipfile.ZipFile(packed, "a", kind) as archive:
        run = archive.namelist()[0].partition("/")[0]
        for name, data in members.items():
            archive.writestr(f"{run}/{name}", data)
    return packed


def refused(packed: Path, place: Path) -> str:
    said = refusal("unpack", packed, "--out", place)
    assert not place.exists() or not list(place.iterdir())
    return said


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(packed: Path, tmp_path: Path) -> None:
    assert "two members with the name" in refused(
        added(packed, {"run.toml": b"x"}), tmp_path / "in"
    )


def test_a_packed_run_has_limits_of_its_own(packed: Path, tmp_path: Path) -> None:
    many = {f"evaluations/step{number}.npz": b"" for number in range(10_001)}
    copy = tmp_path / "many.zip"
    shutil.copyfile(packed, copy)
    assert "members; at most 10000 are read" in refused(added(copy, many), tmp_path / "in")
    shutil.copyfile(packed, copy)
    stretches = {f"evaluations/step{n}.npz": (b"abcdefg" + bytes(600)) * 20_000 for n in range(20)}
    assert "would unpack to 0.2 GiB; at most 0.1" in refused(
        added(copy, stretches), tmp_path / "in"
    )
    long = {"marks.toml": b"#" * 1_000_001}
    shutil.copyfile(packed, copy)
    assert "marks.toml is larger than 1 MB" in refused(
        added(copy, long, zipfile.ZIP_STORED), tmp_path / "in"
    )


def test_a_list_of_members_that_is_too_long_is_not_read(packed: Path, tmp_path: Path) -> None:
    data = bytearray(packed.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 12 : end + 16] = (5_000_000).to_bytes(4, "little")
    packed.write_bytes(data)
    assert "too many members" in refused(packed, tmp_path / "in")


def test_a_run_with_many_evaluations_and_notes_is_unpacked_whole(tmp_path: Path) -> None:
    folder = train(config("maml"), tmp_path / "runs")
    (folder / "evaluations").mkdir()
    for number in range(3000):
        (folder / "evaluations" / f"step{number}.npz").write_bytes(bytes(2000))
    (folder / "marks.toml").write_text(f'notes = "{"a" * 19_000}"')
    pack_run(folder, tmp_path / "r.zip")
    found = unpack_run(tmp_path / "r.zip", tmp_path / "in")
    assert len(list((found / "evaluations").iterdir())) == 3000
    assert len(open_run(found).marks.notes) == 19_000
