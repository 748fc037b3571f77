"""Axes in episodes and in examples: what each method has seen, counted and not guessed."""

from pathlib import Path

import numpy as np
import pytest

from metaviz.config.run_config import RunConfig, Shared
from metaviz.files.foreign import ForeignError
from metaviz.runs.analysis.comparison import ComparisonView, compared
from metaviz.runs.storage.manifest import read_about, write_about
from metaviz.runs.storage.store import open_run
from metaviz.training.setting import settle
from tests.unit.stored import train

FEW = {"channels": 2}


def config(algorithm: str, problem: str = "strokes", **options: object) -> RunConfig:
    shared = Shared(
        ways=3,
        shots=2,
        query_shots=4,
        meta_batch=2,
        inner_steps=1,
        eval_tasks=2,
        eval_every=2,
    )
    return RunConfig(
        problem=problem,
        algorithm=algorithm,
        seed=0,
        steps=4,
        device="cpu",
        shared=shared,
        options=options,
        problem_options=FEW if problem == "strokes" else {},
    )


@pytest.mark.parametrize(
    ("asked", "episodes"),
    [
        (config("maml"), 2),
        (config("protonet", train_ways=5, train_query=1), 2),
        (config("maml", "sinusoid"), 2),
        (config("classifier", batch_size=7), None),
    ],
)
def test_what_a_step_takes_is_what_its_batch_holds(asked: RunConfig, episodes: int | None) -> None:
    setting = settle(asked)
    each, batch = setting.resolved["per_step"], setting.batch(0)
    count = sum(part.x.shape[0] * part.x.shape[1] for part in (batch.support, batch.query))
    assert each["images_seen"] == count
    assert each.get("episodes") == episodes


def test_methods_are_compared_by_what_they_have_seen(tmp_path: Path) -> None:
    records = [
        open_run(train(one, tmp_path))
        for one in (config("maml"), config("classifier", batch_size=9))
    ]
    view = ComparisonView(measure="eval_query_accuracy", axis="images_seen")
    ends = {one.group.label: one.curve.x.tolist() for one in compared(records, view)}
    assert ends == {"MAML": [0.0, 72.0, 144.0], "Classifier": [0.0, 18.0, 36.0]}
    plain = records[1].column("episodes")
    assert plain.shape == (4,)
    assert np.isnan(plain).all()  # there are none


def test_a_run_of_other_sizes_on_the_way_has_no_count(tmp_path: Path) -> None:
    record = open_run(train(config("maml"), tmp_path))
    assert record.column("episodes").tolist() == [2.0, 4.0, 6.0, 8.0]
    record.config["amendments"] = [{"step": 2, "shared": {"meta_batch": 8}}]
    assert np.isnan(record.column("episodes")).all()


@pytest.mark.parametrize("count", ['"2"', "-1", "true", "1000000000000"])
def test_impossible_counts_are_refused(tmp_path: Path, count: str) -> None:
    text = write_about(open_run(train(config("maml"), tmp_path)))
    assert "episodes = 2" in text
    with pytest.raises((ForeignError, ValueError), match=r"per_step\.episodes"):
        read_about(text.replace("episodes = 2", f"episodes = {count}"))
