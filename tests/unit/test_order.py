"""Runs whose weights were stored in another order are refused, wherever their weights are used."""

import re
from pathlib import Path

import pytest

from metaviz.config.run_config import RunConfig, Shared
from metaviz.nets.order import OTHER_ORDER
from metaviz.runs.storage.store import StoreError, open_run
from metaviz.training import trainer
from tests.unit.command_line import metaviz
from tests.unit.stored import config, killed, resume, train

SHARED = Shared(meta_batch=2, eval_tasks=2, eval_every=2, query_shots=1, ways=2, eval_steps=1)
STROKES = ["--algorithms", "maml", "--problem", "strokes", "--set", "strokes.channels=4"]


@pytest.fixture(autouse=True)
def earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store runs as an earlier version did, which said nothing of an order."""
    monkeypatch.setattr(trainer, "ORDER", None)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a run on pictures, of an earlier version."""
    asked = RunConfig(
        problem="strokes",
        algorithm="maml",
        seed=0,
        steps=2,
        device="cpu",
        shared=SHARED,
        options={"inner_steps": 1},
        problem_options={"channels": 4},
    )
    return train(asked, tmp_path / "runs")


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "RUN", "--set", "tasks=2"],
        ["weights", "RUN", "--out", "OUT"],
        ["resume", "RUN", "--steps", "3"],
        ["compare", *STROKES, "--from", "RUN", "--out", "OUT"],
        ["gradients", *STROKES, "--start", "RUN"],
    ],
    ids=lambda words: words[0],
)
def test_weights_of_an_earlier_version_are_refused_in_a_sentence(command, pictures, tmp_path):
    places = {"RUN": pictures, "OUT": tmp_path / "out.safetensors"}
    done = metaviz(*(places.get(word, word) for word in command))
    assert done.code != 0
    assert OTHER_ORDER in " ".join(done.error.split())
    assert "Traceback" not in done.error


def test_matrices_of_an_earlier_version_are_refused_and_vectors_are_read(tmp_path: Path) -> None:
    folder, _ = killed(config("maml"), tmp_path, 9)
    with pytest.raises(StoreError, match=re.escape(OTHER_ORDER)):
        resume(folder)
    vectors = config("maml").model_copy(update={"problem": "quadratic", "problem_options": {}})
    folder, _ = killed(vectors, tmp_path / "quadratic", 9)
    assert open_run(resume(folder)).state == "done"
