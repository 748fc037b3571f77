"""Stored results count as held-out ones only where their protocol says which tasks they are of."""

import json
import logging
from pathlib import Path
from typing import Any, get_args

import pytest

from metaviz.config.run_config import EvaluationProtocol
from metaviz.runs.model.arrays import read_described, write_described
from metaviz.runs.model.evaluation import stored
from metaviz.runs.model.robustness import stored_robustness
from metaviz.training.protocol import judge, robustness
from tests.unit.command_line import metaviz, rows
from tests.unit.stored import config, train

PROTOCOL = EvaluationProtocol(tasks=3)
WRONG: list[tuple[str, Any, str]] = [
    ("split", "train", "its tasks are of 'train', which is no held-out split"),
    ("split", "<b>; rm -rf /", "which is no held-out split"),
    ("split", "", "which is no held-out split"),
    ("split", "Test", "which is no held-out split"),
    ("split", 3, "split"),
    ("draws", "\x1b[31m<i>", "which nobody knows"),
    ("draws", "", "which nobody knows"),
    ("draws", 1, "which nobody knows"),
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = train(config("maml"), tmp_path / "runs")
    judge(folder, PROTOCOL)
    robustness(folder, PROTOCOL)
    return folder


def change(folder: Path, name: str, value: Any) -> None:
    for path in (*folder.glob("evaluations/*.npz"), *folder.glob("robustness/*.npz")):
        about, arrays = read_described(path)
        about["protocol"][name] = value
        write_described(path, json.loads(json.dumps(about)), arrays)


@pytest.mark.parametrize(("name", "value", "reason"), WRONG)
def test_results_of_other_tasks_are_left_out_and_told(
    name: str, value: Any, reason: str, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(run, name, value)
    with caplog.at_level(logging.WARNING):
        assert stored(run) == []
        assert stored_robustness(run) is None
    assert [reason in record.getMessage() for record in caplog.records] == [True, True]


@pytest.mark.parametrize("split", ["test", "validation"])
@pytest.mark.parametrize("draws", ["own", "training"])
def test_results_of_held_out_tasks_are_read(split: str, draws: str, run: Path) -> None:
    change(run, "split", split)
    change(run, "draws", draws)
    (found,) = stored(run)
    assert (found.protocol["split"], found.protocol["draws"]) == (split, draws)
    assert found.values().shape == (3,)
    assert stored_robustness(run) is not None


def test_what_may_be_asked_for_is_what_is_read() -> None:
    assert set(get_args(EvaluationProtocol.model_fields["split"].annotation)) == {
        "test",
        "validation",
    }


def test_reports_and_tables_leave_training_tasks_out(run: Path, tmp_path: Path) -> None:
    whole = metaviz("export", run, "--out", tmp_path / "whole")
    assert whole.code == 0, whole.error
    assert len(rows(tmp_path / "whole/evaluations.csv")) > 0
    change(run, "split", "train")
    outcome = metaviz("report", run, "--out", tmp_path / "r.html")
    assert outcome.code == 0, outcome.error
    assert "train tasks" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert metaviz("export", run, "--out", tmp_path / "out").code == 0
    assert not (tmp_path / "out/evaluations.csv").exists()
