"""Text files that a person edits may begin with a byte order mark, as some editors write it."""

from pathlib import Path

import pytest
import tomli_w

from metaviz.files.foreign import ForeignError, read_text
from metaviz.problems.quadratic import read_matrices
from metaviz.runs.model.marks import read_marks
from metaviz.runs.storage.file_kind import recognised
from metaviz.runs.storage.saved_views import read_view, saved_view, write_view
from tests.unit.command_line import metaviz, refusal
from tests.unit.test_pictures_beside import ONE

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-sig"]
COMPARISON = "steps = 2\n[shared]\neval_tasks = 4\n"


def encoded(text: str, encoding: str) -> bytes:
    if encoding == "utf-16-be-sig":
        return b"\xfe\xff" + text.encode("utf-16-be")
    return text.encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_file_that_is_edited_is_read_with_its_mark(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "comparison.toml"
    file.write_bytes(encoded(COMPARISON, encoding))
    outcome = metaviz("compare", "--config", file, "--device", "cpu", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.error
    assert recognised(file).kind == "configuration"
    matrices = tmp_path / "q.toml"
    matrices.write_bytes(encoded(ONE, encoding))
    assert read_matrices(str(matrices)).support_hessian == [[2.0]]
    (tmp_path / "marks.toml").write_bytes(encoded('name = "Ünïcode 漢字"', encoding))
    assert read_marks(tmp_path).name == "Ünïcode 漢字"
    view = write_view(tmp_path / "views", saved_view("é", {}, {}, []))
    view.write_bytes(encoded(view.read_text(encoding="utf-8"), encoding))
    assert read_view(view).name == "é"


def test_line_ends_of_other_systems_are_read(tmp_path: Path) -> None:
    file = tmp_path / "marks.toml"
    file.write_bytes(
        b"\xef\xbb\xbf"
        + tomli_w.dumps({"name": "x", "star": True}).encode().replace(b"\n", b"\r\n")
    )
    assert read_marks(tmp_path).star


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\xff\xfea", b"\xffabc", b"\xef\xbbabc"])
def test_what_is_no_text_is_one_sentence(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "comparison.toml"
    file.write_bytes(data)
    with pytest.raises((ForeignError, UnicodeDecodeError)):
        read_text(file)
    assert "comparison.toml is not valid" in refusal("compare", "--config", file)
