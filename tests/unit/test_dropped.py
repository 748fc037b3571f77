"""What somebody drops onto the window: recognised, or refused in one sentence."""

import zipfile

import pytest

from metaviz.config.run_config import Comparison, to_toml
from metaviz.runs.storage.archive import pack_run
from metaviz.runs.storage.file_kind import description_of, recognised
from metaviz.runs.storage.saved_views import saved_view, write_view
from tests.unit.entries import store


def test_runs_are_recognised_however_they_come(tmp_path):
    root = tmp_path / "runs"
    folder = store(root)
    pack_run(folder, tmp_path / "run.zip")
    found = {name: recognised(path) for name, path in {
        "run": folder, "about": folder / "run.toml", "runs": root, "zip": tmp_path / "run.zip",
    }.items()}  # fmt: skip
    assert {name: one.kind for name, one in found.items()} == {
        "run": "run", "about": "run", "runs": "runs", "zip": "archive",
    }  # fmt: skip
    assert found["about"].path == folder


def test_toml_files_are_told_apart(tmp_path):
    path = tmp_path / "comparison.toml"
    path.write_text(to_toml(Comparison(problem="sinusoid", steps=5)), encoding="utf-8")
    view = write_view(tmp_path, saved_view("mine", {}, {}, []))
    assert recognised(path).kind == "configuration"
    assert recognised(view).kind == "view"


@pytest.mark.parametrize("kind", ["empty folder", "damaged zip", "images", "text", "gone", "toml"])
def test_garbage_is_refused_in_one_sentence(tmp_path, kind):
    path = {"damaged zip": "a.zip", "images": "b.zip", "text": "c.txt", "toml": "d.toml"}.get(kind)
    path = tmp_path / (path or kind)
    if kind == "empty folder":
        path.mkdir()
    elif kind == "images":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("train/a/1.png", b"x")
    elif kind != "gone":
        path.write_text("= nothing =", encoding="utf-8")
    found = recognised(path)
    assert found.kind == "nothing"
    assert path.name in found.reason
    assert found.reason.endswith(".")
    assert "\n" not in found.reason


def test_many_drops_are_told_in_few_lines(tmp_path):
    lines = description_of([recognised(tmp_path / str(number)) for number in range(7)]).splitlines()
    assert len(lines) == 4
    assert lines[-1] == "and 4 more"
