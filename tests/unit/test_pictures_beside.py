"""A picture beside the training never ends it, whatever goes wrong while it is made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaviz.algorithms.registry import ALGORITHMS
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta import algorithm, episodic
from metaviz.problems.sinusoid import Sinusoid
from metaviz.runs.storage.store import open_run
from tests.unit.command_line import metaviz
from tests.unit.stored import config, train

ONE = """
support_hessian=[[2.0]]
support_linear=[1.0]
query_hessian=[[1.0]]
query_linear=[0.5]
start=[1.0]
"""


def one_dimension(tmp_path: Path, name: str, **options: Any) -> RunConfig:
    file = tmp_path / "q.toml"
    file.write_text(ONE)
    return RunConfig(
        problem="quadratic",
        algorithm=name,
        seed=0,
        steps=2,
        device="cpu",
        dtype="float64",
        options=options,
        problem_options={"file": str(file)},
        shared=Shared(meta_batch=1, eval_tasks=4, eval_every=1, inner_lr=0.1, eval_steps=6),
    )


def test_a_quadratic_of_one_dimension_is_adapted_to_as_calculated(tmp_path: Path) -> None:
    record = open_run(train(one_dimension(tmp_path, "maml", inner_steps=3), tmp_path / "runs"))
    assert record.state == "done"
    assert not record.notes
    curve = record.evaluations[0].curves["support_loss"]
    phi = 0.5 + 0.5 * (1 - 2 * 0.1) ** np.arange(len(curve))
    np.testing.assert_allclose(curve, phi**2 - phi, rtol=1e-12)
    assert "line_support" in record.pictures[0].arrays
    assert "plane_support" not in record.pictures[0].arrays


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_method_that_suits_it_trains_in_one_dimension(name: str, tmp_path: Path) -> None:
    file = tmp_path / "q.toml"
    file.write_text(ONE)
    asked = ("--problem", "quadratic", "--set", f"quadratic.file={file}", "--algorithms", name)
    few = ("--steps", "2", "--set", "eval_tasks=2", "--device", "cpu", "--set", "inner_steps=2")
    outcome = metaviz("compare", *asked, *few, "--out", tmp_path / "out")
    if outcome.code == 2:
        assert outcome.error.count("\n") == 1
        return
    assert outcome.code == 0, outcome.error
    assert "could not be made" not in outcome.error


@pytest.mark.parametrize(
    ("place", "name"),
    [(Sinusoid, "picture"), (algorithm, "slices"), (algorithm.Composed, "charts")],
)
@pytest.mark.parametrize("error", [KeyError("planted"), ValueError("planted\nmore"), MemoryError()])
def test_a_run_whose_pictures_fail_has_the_numbers_of_one_that_has_them(
    place: Any, name: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_run(train(config("mirror"), tmp_path / "whole"))

    def fail(*_arguments: Any, **_named: Any) -> Any:
        raise error

    monkeypatch.setattr(place, name, fail)
    record = open_run(train(config("mirror"), tmp_path / "runs"))
    assert record.state == "done"
    np.testing.assert_array_equal(record.column("post_query_loss"), whole.column("post_query_loss"))
    said = [note.message for note in record.notes if "picture" in note.message]
    assert len(said) == 1
    assert said[0].startswith("A picture is left out, because it could not be made: ")
    assert "\n" not in said[0]
    assert [p.step for p in record.pictures] == [p.step for p in whole.pictures]


def test_a_chart_of_a_method_without_steps_that_fails_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> Any:
        raise RuntimeError("planted")

    monkeypatch.setattr(episodic.Episodic, "charts", fail)
    record = open_run(train(config("protonet"), tmp_path / "runs"))
    assert record.state == "done"
    assert [note.message for note in record.notes if "could not be made: planted." in note.message]
