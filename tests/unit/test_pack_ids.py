"""Packed runs whose run.toml names them elsewhere, or as no folder: nothing of them is kept."""

import json
import zipfile
from pathlib import Path

import pytest

from metaviz.runs.storage.archive import pack_run
from metaviz.runs.storage.store import StoreError, list_runs, open_run
from tests.unit.command_line import metaviz, refusal
from tests.unit.stored import config, train

HOSTILE = {
    "climbs": "../../evil",
    "absolute": "/tmp/evil",
    "inside": "a/b",
    "windows": "a\\b",
    "drive": "C:evil",
    "up": "..",
    "here": ".",
    "empty": "",
    "device": "CON",
    "device with an ending": "nul.txt",
    "long": "x" * 5000,
    "newline": "maml\nx",
    "escape": "\x1b[31mred",
    "zero": "a\0b",
    "turned": "a\u202eb",
    "hidden": ".maml",
    "ends with a point": "maml.",
    "another": "maml-s3-00000000",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config("maml"), tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def packed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "run.zip"
    pack_run(trained, path)
    return path


def renamed(packed: Path, run: str, name: str, to: Path, *, folder: str | None = None) -> Path:
    """Copy an archive with another id in run.toml, and another folder in the archive."""
    quoted = json.dumps(name)
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(to, "w") as archive:
        for member in source.namelist():
            data = source.read(member)
            if member.endswith("run.toml"):
                changed = data.decode().replace(f'id = "{run}"', f"id = {quoted}")
                assert changed != data.decode()
                data = changed.encode()
            archive.writestr(member if folder is None else member.replace(run, folder, 1), data)
    return to


def files(place: Path) -> set[Path]:
    return {path for path in place.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_id_that_is_not_the_folders_is_refused_whole(
    kind: str, packed: Path, trained: Path, tmp_path: Path, home: Path
) -> None:
    archive = renamed(packed, trained.name, HOSTILE[kind], tmp_path / "h.zip")
    before = files(tmp_path)
    said = refusal("unpack", archive)
    assert said == f"{archive} holds no readable run: its names differ."
    assert files(tmp_path) - before <= files(home)
    assert not (home / "runs").exists()


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind != "another"])
def test_a_folder_of_the_same_name_is_refused_as_well(
    kind: str, packed: Path, trained: Path, tmp_path: Path, home: Path
) -> None:
    name = HOSTILE[kind]
    if kind == "zero":
        pytest.skip("a zip archive ends names there")
    archive = renamed(packed, trained.name, name, tmp_path / "h.zip", folder=name)
    before = files(tmp_path)
    refusal("unpack", archive)
    assert files(tmp_path) - before <= files(home)
    assert not (home / "runs").exists()


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if kind != "another"])
def test_a_run_with_such_an_id_is_not_packed(
    kind: str, packed: Path, trained: Path, tmp_path: Path
) -> None:
    renamed(packed, trained.name, HOSTILE[kind], tmp_path / "h.zip")
    with zipfile.ZipFile(tmp_path / "h.zip") as archive:
        archive.extractall(tmp_path / "runs")
    (folder,) = list_runs(tmp_path / "runs")
    with pytest.raises(StoreError, match=r"cannot be packed: its id, .* is no folder's name"):
        pack_run(folder, tmp_path / "out" / "again.zip")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["maml-s3-00000001", "a_run.2", "Läufe"])
def test_harmless_names_are_unpacked_whole(
    name: str, packed: Path, trained: Path, tmp_path: Path, home: Path
) -> None:
    archive = renamed(packed, trained.name, name, tmp_path / "h.zip", folder=name)
    outcome = metaviz("unpack", archive)
    assert (outcome.code, outcome.out) == (0, f"{home / 'runs' / name}\n"), outcome.error
    record = open_run(home / "runs" / name)
    assert (record.id, record.made_as, len(record)) == (name, name, 7)
    assert len(record.evaluations) == len(open_run(trained).evaluations) == 4
