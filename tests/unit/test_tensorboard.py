"""Event files hold a run's numbers under tags, and stay in their folder."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from metaviz.runs.export.tensorboard import write_event_files
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import StoreError, open_run
from tests.unit.command_line import metaviz, refusal
from tests.unit.stored import config, train

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A run that is done."""
    return open_run(train(config("maml"), tmp_path_factory.mktemp("runs")))


def read(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(e.step, e.wall_time, e.value) for e in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_event_files_hold_the_numbers_of_the_record(record: Record, tmp_path: Path) -> None:
    (folder,) = write_event_files([record], tmp_path)
    found = read(folder)
    steps, seconds, losses = zip(*found["train/post_query_loss"], strict=True)
    assert list(steps) == record.column("step").tolist()
    np.testing.assert_allclose(losses, record.column("post_query_loss"), rtol=1e-6)
    np.testing.assert_allclose(seconds, record.column("seconds"))
    shown = [(e.step, float(e.curves["query_loss"][e.trained_steps])) for e in record.evaluations]
    assert [step for step, _, _ in found["evaluation/query_loss"]] == [step for step, _ in shown]
    values = [value for _, _, value in found["evaluation/query_loss"]]
    np.testing.assert_allclose(values, [value for _, value in shown], rtol=1e-6)
    assert "evaluation/query_loss_ci95" in found
    assert "train/post_query_accuracy" not in found
    assert all(math.isfinite(value) for rows in found.values() for _, _, value in rows)


def test_hyperparameters_are_among_the_events(record: Record, tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import metadata

    (folder,) = write_event_files([record], tmp_path)
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    told = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    values = metadata.parse_session_start_info_plugin_data(told).hparams
    assert values["maml.inner_steps"].number_value == 3
    assert values["algorithm"].string_value == "maml"


def test_writing_again_replaces_what_was_there(record: Record, tmp_path: Path) -> None:
    for _ in range(2):
        (folder,) = write_event_files([record], tmp_path)
    assert len(list(folder.iterdir())) == 1
    assert len(read(folder)["train/post_query_loss"]) == len(record)


def test_run_that_names_itself_elsewhere_stays_in_the_folder(
    record: Record, tmp_path: Path
) -> None:
    hostile = Record("../../evil", record.config)
    write_event_files([hostile], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["______evil"]


def test_without_the_package_one_sentence_says_what_to_install(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("metaviz.runs.export.tensorboard.find_spec", lambda _name: None)
    with pytest.raises(StoreError, match=r"pip install 'metaviz\[tensorboard\]'"):
        write_event_files([record], tmp_path)
    assert "pip install" in refusal("export", tmp_path, "--tensorboard")


def test_command_writes_them_beside_the_tables(record: Record, tmp_path: Path) -> None:
    folder = train(config("fomaml", steps=2), tmp_path / "runs")
    outcome = metaviz("export", folder, "--out", tmp_path / "out", "--tensorboard")
    assert outcome.code == 0, outcome.error
    assert (tmp_path / "out/tensorboard" / folder.name).is_dir()
    assert record.id not in outcome.out
