"""`metaviz data inspect`, and the same words where data are looked at and trained on."""

import json
import os
from pathlib import Path

import pytest

from metaviz.runs.storage.store import open_run
from tests.unit.command_line import metaviz, refusal
from tests.unit.image_data import SIX, image, images
from tests.unit.test_omniglot_files import files as drawings
from tests.unit.test_omniglot_files import pack, unpack

PLAIN = images("{split}/{name}/{row}.png")
TINY = [
    *("compare", "--problem", "images", "--algorithms", "fomaml", "--steps", "1"),
    *("--device", "cpu", "--set", "images.side=16", "--set", "images.channels=4"),
    *("--set", "ways=2", "--set", "shots=1", "--set", "query_shots=1", "--set", "meta_batch=1"),
    *("--set", "eval_tasks=2", "--set", "eval_steps=1", "--set", "inner_steps=1"),
]


def inspected(path: Path, *more: str) -> dict[str, object]:
    outcome = metaviz("data", "inspect", path, "--json", *more)
    assert outcome.code == 0, outcome.error
    return json.loads(outcome.out)


def test_inspect_says_what_is_there(tmp_path: Path) -> None:
    found = inspected(unpack(tmp_path, PLAIN))
    assert found == {
        "dataset": "image folders",
        "layout": "folders with a split",
        "splits": SIX,
        "remarks": [],
        "left_out": {},
    }
    text = metaviz("data", "inspect", pack(tmp_path / "a.zip", PLAIN)).out
    assert "folders with a split" in text
    assert "validation" in text
    assert "Nothing was left out or guessed." in text


def test_inspect_counts_what_is_left_out(tmp_path: Path) -> None:
    found = inspected(unpack(tmp_path, PLAIN | {"more/c9/0.png": image(99), "a.heic": b"x"}))
    assert found["splits"] == SIX
    assert found["left_out"] == {
        "images in formats that are not read: .heic": 1,
        "images outside of the folders of the split": 1,
    }
    assert len(found["remarks"]) == 2


def test_inspect_names_all_damaged_images(tmp_path: Path) -> None:
    unpack(tmp_path, PLAIN | {"train/c0/0.png": b"", "val/c2/1.png": b"<html>"})
    (remark,) = inspected(tmp_path)["remarks"]
    assert remark.startswith("2 of 12 images cannot be read: train/c0/0.png")
    assert "val/c2/1.png" in remark
    assert inspected(tmp_path, "--no-check")["remarks"] == []


def test_inspect_knows_omniglot(tmp_path: Path) -> None:
    for place in (unpack(tmp_path / "o", drawings("images_background/")), tmp_path / "o.zip"):
        if place.suffix:
            pack(place, drawings("images_background/"))
        found = inspected(place)
        assert (found["dataset"], found["remarks"]) == ("Omniglot", [])
        assert found["splits"] == {
            "train": {"Greek/character01": 4, "Greek/character02": 4},
            "test": {"Latin/character01": 4},
        }


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"a.txt": b"x"}, "no images by class found"),
        ({"a.png": image(0)}, "no images by class found"),
        ({"c0/a.heic": b"x"}, "1 images in formats that are not read: .heic"),
        ({"train.zip": b"PK"}, "not a readable zip archive"),
    ],
)
def test_inspect_refuses_in_one_sentence(
    contents: dict[str, bytes], said: str, tmp_path: Path
) -> None:
    assert said in refusal("data", "inspect", unpack(tmp_path / "d", contents), "--json")
    assert "does not exist" in refusal("data", "inspect", tmp_path / "gone")


def test_names_with_letters_that_move_the_cursor_stay_one_line(tmp_path: Path) -> None:
    unpack(tmp_path, PLAIN | {"train/c0/a\nb\x1b[2J\u202e.png": b""})
    (remark,) = inspected(tmp_path)["remarks"]
    assert "train/c0/a\\nb\\x1b[2J\\u202e.png" in remark


def not_utf8(root: Path) -> Path:
    """Return data whose classes have names in Latin-1; the first has one image."""
    contents = {name.replace("/c", "/n"): data for name, data in PLAIN.items()}
    unpack(root, contents)
    (root / "train/n0/1.png").unlink()
    for folder in root.glob("*/n*"):
        name = os.fsdecode(b"caf\xe9" + folder.name.encode())
        folder.rename(folder.with_name(name))
    unpack(root, {"train/ok/0.png": image(70), "train/ok/1.png": image(71)})
    return root


def test_names_that_are_no_utf8_are_escaped_in_what_is_stored(tmp_path: Path) -> None:
    root = not_utf8(tmp_path / "data")
    found = inspected(root)
    assert found["splits"]["validation"] == {"caf\\xe9n2": 2, "caf\\xe9n3": 2}
    outcome = metaviz(*TINY, "--set", f"images.path={root}", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.error
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    notes = [note.message for note in open_run(folder).notes]
    assert any("caf\\xe9n0 with 1 among them" in note for note in notes)


def test_path_that_no_run_can_store_is_refused(tmp_path: Path) -> None:
    root = not_utf8(tmp_path / os.fsdecode(b"d\xe9"))
    assert inspected(root)["splits"]["train"]["ok"] == 2
    for problem in ("images", "omniglot"):
        asked = ("compare", "--problem", problem, "--steps", "1", "--out", tmp_path / "o")
        told = refusal(*asked, "--device", "cpu", "--set", f"{problem}.path={root}")
        assert "has bytes that are no UTF-8" in told
    link = tmp_path / "plain"
    link.symlink_to(root, target_is_directory=True)
    outcome = metaviz(*TINY, "--set", f"images.path={link}", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.error


def test_training_notes_what_inspect_says(tmp_path: Path) -> None:
    root = unpack(tmp_path / "data", PLAIN | {"more/c9/0.png": image(99)})
    unpack(root, {"val/c0/8.png": image(80), "val/c0/9.png": image(81)})
    outcome = metaviz(*TINY, "--set", f"images.path={root}", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.error
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    notes = {note.message for note in open_run(folder).notes}
    remarks = inspected(root)["remarks"]
    assert len(remarks) == 2
    assert set(remarks) <= notes
