"""Links in a stranger's run lead nothing out of its folder: neither what is read nor written."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from metaviz.config.run_config import EvaluationProtocol
from metaviz.files import platform
from metaviz.files.atomic import write_text
from metaviz.files.foreign import ForeignError, part_of
from metaviz.meta.checkpoint_files import CHECKPOINT
from metaviz.runs.model.evaluation import stored
from metaviz.runs.model.marks import change_marks, read_marks
from metaviz.runs.model.robustness import stored_robustness
from metaviz.runs.storage.store import ABOUT, StoreError, open_run
from metaviz.training.protocol import judge, robustness
from tests.unit.command_line import metaviz, refusal
from tests.unit.stored import config, train

PROTOCOL = EvaluationProtocol(tasks=3)
RESULTS: dict[str, Callable[[Path], object]] = {
    "evaluations": lambda folder: judge(folder, PROTOCOL),
    "robustness": lambda folder: robustness(folder, PROTOCOL),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config("maml"), tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, which a test may change."""
    return Path(shutil.copytree(trained, tmp_path / trained.name))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    place = tmp_path / "outside"
    place.mkdir()
    return place


def moved(path: Path, to: Path) -> None:
    """Move a file or folder, and leave a link to it."""
    shutil.move(path, to)
    path.symlink_to(to)


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_not_written_through_a_link(
    name: str, run: Path, outside: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run / name).symlink_to(outside)
    with caplog.at_level(logging.WARNING):
        RESULTS[name](run)
    assert not list(outside.iterdir())
    assert f"{name} is a link that leads out of {run}" in caplog.text


@pytest.mark.parametrize("name", RESULTS)
def test_results_of_a_run_without_links_are_stored_and_read(name: str, run: Path) -> None:
    RESULTS[name](run)
    assert len(list((run / name).glob("*.npz"))) == 1
    assert len(stored(run)) == (name == "evaluations")
    assert (stored_robustness(run) is not None) == (name == "robustness")


def test_evaluate_tells_in_one_sentence_that_nothing_was_stored(run: Path, outside: Path) -> None:
    (run / "evaluations").symlink_to(outside)
    outcome = metaviz("evaluate", run, "--set", "tasks=3")
    assert outcome.code == 0
    assert "3 test tasks" in outcome.out + outcome.error
    assert "told but not stored: evaluations is a link that leads out of" in outcome.error
    assert not list(outside.iterdir())


def test_results_elsewhere_are_not_read_as_those_of_the_run(
    run: Path, outside: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for write in RESULTS.values():
        write(run)
    (result,) = (run / "evaluations").glob("*.npz")
    moved(result, outside / "one.npz")
    moved(run / "robustness", outside / "all")
    with caplog.at_level(logging.WARNING):
        assert stored(run) == []
        assert stored_robustness(run) is None
    assert caplog.text.count("leads out of") == 2


@pytest.mark.parametrize("name", [ABOUT, "metrics.db"])
def test_a_run_is_not_read_from_elsewhere(name: str, run: Path, outside: Path) -> None:
    moved(run / name, outside / name)
    with pytest.raises(StoreError, match=f"not a readable run: {name} is a link that leads out of"):
        open_run(run)
    assert f"{name} is a link that leads out of" in refusal("export", run, "--out", run)


def test_a_checkpoint_elsewhere_is_not_read(run: Path, outside: Path) -> None:
    moved(run / CHECKPOINT, outside / CHECKPOINT)
    outcome = metaviz("evaluate", run)
    assert outcome.code == 2
    assert "checkpoint.pt is a link that leads out of" in outcome.error


def test_marks_elsewhere_are_neither_read_nor_written(run: Path, outside: Path) -> None:
    change_marks(run, {"name": "mine"})
    moved(run / "marks.toml", outside / "marks.toml")
    before = (outside / "marks.toml").read_bytes()
    assert open_run(run).marks.name == ""
    change_marks(run, {"name": "new"})
    assert (outside / "marks.toml").read_bytes() == before
    assert read_marks(run).name == "new"


def test_a_link_of_the_name_that_a_file_is_written_under_first_is_not_followed(
    tmp_path: Path, outside: Path
) -> None:
    (outside / "kept").write_text("kept")
    (tmp_path / f"a.tmp-{os.getpid()}").symlink_to(outside / "kept")
    write_text(tmp_path / "a", "new")
    assert (outside / "kept").read_text() == "kept"
    assert (tmp_path / "a").read_text() == "new"
    assert not (tmp_path / "a").is_symlink()


def test_links_that_stay_in_the_run_are_followed(run: Path, tmp_path: Path) -> None:
    wanted = open_run(run)
    (run / "metrics.db").rename(run / "kept.db")
    (run / "metrics.db").symlink_to("kept.db")
    link = tmp_path / "link"
    link.symlink_to(run)
    for folder in (run, link):
        found = open_run(folder)
        assert (found.step, len(found.evaluations)) == (wanted.step, len(wanted.evaluations))
        assert (found.step, len(found.evaluations)) == (7, 4)


def test_links_in_a_circle_and_to_nothing_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert part_of(tmp_path, "a/x.npz") == tmp_path / "a/x.npz"
    (tmp_path / "gone").symlink_to(tmp_path.parent / "not there")
    with pytest.raises(ForeignError, match="gone is a link"):
        part_of(tmp_path, "gone/x.npz")


def test_what_windows_calls_a_junction_is_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Found:
        st_mode, st_reparse_tag = 0o040777, 0xA0000003

    assert not platform.is_link(tmp_path)
    monkeypatch.setattr(Path, "lstat", lambda _path: Found)
    assert platform.is_link(tmp_path)
