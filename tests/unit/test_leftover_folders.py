"""A command that refuses leaves no folder of its output behind, and keeps what was there."""

from pathlib import Path

import pytest

from metaviz.files.atomic import made_folder
from metaviz.runs.storage.archive import pack_run
from tests.unit.command_line import metaviz, refusal
from tests.unit.test_foreign import stored_run


def test_an_unpacking_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    folder = stored_run(tmp_path / "runs")
    pack_run(folder, tmp_path / "run.zip")
    data = bytearray((tmp_path / "run.zip").read_bytes())
    data[len(data) // 3] ^= 255
    (tmp_path / "broken.zip").write_bytes(data)
    for place in ("out", "deep/er/out"):
        refusal("unpack", tmp_path / "broken.zip", "--out", tmp_path / place)
        assert not (tmp_path / place.partition("/")[0]).exists()
    (tmp_path / "there").mkdir()
    refusal("unpack", tmp_path / "broken.zip", "--out", tmp_path / "there")
    assert (tmp_path / "there").is_dir()
    assert metaviz("unpack", tmp_path / "run.zip", "--out", tmp_path / "deep/er/out").code == 0


def test_a_packing_that_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    folder = stored_run(tmp_path / "runs")
    (folder / "metrics.db").write_bytes(b"no database")
    refusal("pack", folder, "--out", tmp_path / "out" / "run.zip")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_got_something_stays(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    with pytest.raises(ValueError, match="x"), made_folder(place):
        (tmp_path / "a" / "kept").touch()
        raise ValueError("x")
    assert {path.name for path in tmp_path.rglob("*")} == {"a", "kept"}


@pytest.mark.parametrize("command", ["export", "report", "evaluate", "weights", "compare"])
def test_other_commands_that_refuse_leave_no_folder(command: str, tmp_path: Path) -> None:
    folder = stored_run(tmp_path / "runs")
    (folder / "metrics.db").write_bytes(b"no database")
    out = tmp_path / "out"
    words = {
        "export": ("export", folder, "--out", out),
        "report": ("report", folder, "--out", out / "r.html"),
        "evaluate": ("evaluate", folder, "--out", out / "e.csv"),
        "weights": ("weights", folder, "--out", out / "w.safetensors"),
        "compare": ("compare", "--problem", "images", "--set", f"images.path={out}x", "--out", out),
    }[command]
    outcome = metaviz(*words)
    assert outcome.code == 2, outcome.error
    assert not out.exists()
