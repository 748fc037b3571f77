"""Runs that share an id are told apart by what they hold: copies are left out, others are not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from metaviz.config.run_config import EvaluationProtocol
from metaviz.files.platform import plain_names
from metaviz.runs.model.copies import is_copy
from metaviz.runs.model.evaluation import stored
from metaviz.runs.model.labels import labels
from metaviz.runs.storage.store import open_run
from metaviz.runs.table.index import Index
from metaviz.training.protocol import judge
from tests.unit.command_line import metaviz, rows
from tests.unit.stored import config, resume, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config("maml"), tmp_path_factory.mktemp("trained"))


def settings(folder: Path) -> None:
    about = folder / "run.toml"
    text = about.read_text(encoding="utf-8")
    assert "inner_steps = 3" in text
    about.write_text(text.replace("inner_steps = 3", "inner_steps = 2"), encoding="utf-8")


def further(folder: Path) -> None:
    resume(folder, 9)


def other_seed(folder: Path) -> None:
    """Put another run there, with the same id."""
    other = train(config("maml").model_copy(update={"seed": 4}), folder.parent.parent / "other")
    text = (other / "run.toml").read_text(encoding="utf-8")
    text = text.replace(other.name, open_run(folder).made_as)
    shutil.copy(other / "metrics.db", folder / "metrics.db")
    (folder / "run.toml").write_text(text, encoding="utf-8")


CHANGES: dict[str, Callable[[Path], None]] = {
    "settings": settings,
    "further": further,
    "seed": other_seed,
}


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A folder with the run and a copy of it, called copy."""
    shutil.copytree(trained, tmp_path / "runs" / trained.name)
    shutil.copytree(trained, tmp_path / "runs" / "copy")
    return tmp_path / "runs"


@pytest.mark.parametrize("change", CHANGES)
def test_another_run_with_the_id_is_exported_beside_it(
    change: str, root: Path, trained: Path, tmp_path: Path
) -> None:
    CHANGES[change](root / "copy")
    out = tmp_path / "out"
    outcome = metaviz("export", root, "--out", out)
    assert outcome.code == 0, outcome.error
    assert f"2 different runs share the id {trained.name}: they are told apart as" in outcome.error
    assert "Left out" not in outcome.error
    assert {row["run"] for row in rows(out / "summary.csv")} == {trained.name, "copy"}
    steps = [row["run"] for row in rows(out / "metrics.csv")]
    assert (steps.count(trained.name), steps.count("copy")) == (7, 9 if change == "further" else 7)
    for name in (trained.name, "copy"):
        assert (out / f"fan-{name}.png").exists()
    report = metaviz("report", root, "--out", tmp_path / "r.html")
    assert report.code == 0, report.error
    configs = {path.stem for path in (tmp_path / "configs").iterdir()}
    assert configs == {trained.name, "copy"}


def test_a_copy_is_left_out_and_named(root: Path, trained: Path, tmp_path: Path) -> None:
    outcome = metaviz("export", root / trained.name, root / "copy", "--out", tmp_path / "out")
    assert outcome.code == 1
    assert f"{root / 'copy'} is a copy of the run in {root / trained.name}." in outcome.error
    assert "share the id" not in outcome.error
    assert [row["run"] for row in rows(tmp_path / "out/summary.csv")] == [trained.name]
    assert is_copy(open_run(root / "copy"), open_run(root / trained.name))


def test_runs_of_one_name_in_two_folders_have_two_ids(
    root: Path, trained: Path, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere" / trained.name
    shutil.copytree(trained, other)
    further(other)
    outcome = metaviz("export", root / trained.name, other, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.error
    names = [row["run"] for row in rows(tmp_path / "out/summary.csv")]
    assert names == [trained.name, f"{trained.name} (2)"]
    assert [row["steps"] for row in rows(tmp_path / "out/summary.csv")] == ["7", "9"]


def test_the_index_tells_them_apart(root: Path, trained: Path) -> None:
    further(root / "copy")
    entries = [entry for batch in Index(None).scan(root) for entry in batch.entries]
    found = {entry.id: (entry.folder, entry.summary.step) for entry in entries}
    assert found == {
        trained.name: (root / trained.name, 7),
        "copy": (root / "copy", 9),
    }


def test_results_are_those_of_the_run_that_they_lie_with(root: Path, trained: Path) -> None:
    judge(root / trained.name, EvaluationProtocol(tasks=3))
    shutil.copytree(root / trained.name / "evaluations", root / "copy" / "evaluations")
    assert [one.run for one in stored(root / "copy")] == ["copy"]
    assert [one.run for one in stored(root / trained.name)] == [trained.name]


def test_a_renamed_run_keeps_its_first_id_when_it_goes_on(root: Path, trained: Path) -> None:
    further(root / "copy")
    record = open_run(root / "copy")
    assert (record.id, record.made_as, record.step) == ("copy", trained.name, 9)
    assert f'id = "{trained.name}"' in (root / "copy/run.toml").read_text(encoding="utf-8")


def test_labels_differ_where_ids_end_alike(trained: Path, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("a-good", "b-good")]
    for place in places:
        shutil.copytree(trained, place)
    found = labels([open_run(place) for place in places])
    assert len(set(found.values())) == 2


def test_file_names_of_different_ids_differ_on_every_system() -> None:
    found = plain_names(["a b", "a_b", "A_B", "a/b", "c"])
    assert list(found.values()) == ["a_b", "a_b_2", "A_B_3", "a_b_4", "c"]
