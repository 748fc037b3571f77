"""Training episodes of another shape than those of evaluation."""

from pathlib import Path
from typing import Any

import pytest
import torch

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError
from metaviz.meta.tasks import TaskBatch
from metaviz.problems.registry import find_problem
from metaviz.runs.storage.store import open_run
from metaviz.training.setting import Setting, settle
from tests.unit.command_line import compare, refusal
from tests.unit.stored import config, train


def setting(**options: Any) -> Setting:
    """ProtoNet on drawings: 5-way 1-shot with 3 query examples."""
    return settle(config("protonet", **options))


def same(one: TaskBatch, other: TaskBatch) -> bool:
    """Return whether two batches have the same bits."""
    return all(
        torch.equal(getattr(mine, name), getattr(its, name))
        for mine, its in ((one.support, other.support), (one.query, other.query))
        for name in ("x", "y")
    )


USUAL: list[dict[str, Any]] = [
    {},
    {"train_ways": 5},
    {"train_ways": 5, "train_shots": 1, "train_query": 3},
]


@pytest.mark.parametrize("options", USUAL)
def test_the_shared_shape_keeps_its_draws_bit_for_bit(options: dict[str, Any]) -> None:
    chosen = setting(**options)
    maml = settle(chosen.config.model_copy(update={"algorithm": "maml", "options": {}}))
    for step in (0, 2):
        plain = chosen.prepare(chosen.problem.tasks("train", 4 * step, 4))
        assert same(chosen.batch(step), plain)
        assert same(chosen.batch(step), maml.batch(step))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"train_ways": 20}, (20, 1, 3)),
        ({"train_shots": 2}, (5, 2, 3)),
        ({"train_query": 7}, (5, 1, 7)),
        ({"train_ways": 8, "train_shots": 5, "train_query": 1}, (8, 5, 1)),
    ],
)
def test_another_shape_draws_other_tasks_of_that_shape(
    options: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    chosen, usual = setting(**options), setting()
    ways, shots, query = shape
    batch = chosen.batch(0)
    assert batch.support.x.shape == (4, ways * shots, 1, 28, 28)
    assert batch.query.x.shape == (4, ways * query, 1, 28, 28)
    for part, count in ((batch.support, shots), (batch.query, query)):
        assert torch.equal(part.y[0].bincount(), torch.full((ways,), count))
    plain = usual.batch(0)
    assert not torch.equal(batch.support.x[0, 0], plain.support.x[0, 0])
    assert same(batch, chosen.batch(0))
    assert chosen.context(0).ways == ways
    for part in (chosen, usual):
        tests = part.problem.evaluation_tasks(0, 2)
        assert same(tests, usual.problem.evaluation_tasks(0, 2))
        assert part.adapting(tests, 0).ways == 5
    assert chosen.resolved["training_episodes"] == {"ways": ways, "shots": shots, "query": query}


@pytest.mark.parametrize("asked", [{"train_ways": 20}, {"train_shots": 3, "train_query": 2}])
def test_meta_parameters_have_the_same_shapes_whatever_the_training_ways(
    asked: dict[str, Any],
) -> None:
    wide, usual = setting(**asked).init(), setting().init()
    assert wide.keys() == usual.keys()
    for name, value in usual.items():
        assert torch.equal(wide[name], value)


def test_twenty_ways_train_and_five_are_tested(tmp_path: Path) -> None:
    record = open_run(train(config("protonet", steps=3, train_ways=20), tmp_path))
    assert record.state == "done"
    losses = record.column("post_query_loss")
    assert losses.shape == (3,)
    last = record.evaluations[-1]
    assert last.curves["query_accuracy"].shape == (1,)
    assert 0 < last.curves["query_accuracy"][0] < 1
    assert record.resolved["training_episodes"] == {"ways": 20, "shots": 1, "query": 3}


def test_too_many_examples_are_refused_before_training() -> None:
    with pytest.raises(OptionError) as refused:
        setting(train_shots=15, train_query=6)
    assert refused.value.field == "protonet.train_query"
    assert str(refused.value) == (
        "protonet.train_shots + protonet.train_query = 21 is more than the 20 images of a training "
        "class: use at most 20 together."
    )


def test_too_many_ways_are_refused() -> None:
    chosen = setting()
    with pytest.raises(OptionError) as refused:
        chosen.problem.check_training(EpisodeShape(2001, 1, 3), "protonet")
    assert str(refused.value) == (
        "protonet.train_ways = 2001 is more than the 2000 training classes with 4 images: use at "
        "most 2000."
    )
    assert refused.value.field == "protonet.train_ways"


def test_the_command_line_refuses_what_data_do_not_give(tmp_path: Path) -> None:
    strokes = ("--problem", "strokes", "--algorithms", "protonet", "--out", tmp_path)
    said = refusal("compare", *strokes, "--set", "protonet.train_query=20")
    assert "protonet.train_query = 21 is more than the 20 images" in said
    said = refusal("compare", *strokes, "--set", "protonet.train_ways=1")
    assert said.startswith("protonet.train_ways = 1 is not valid (Ways in training): use ")


def test_a_method_that_needs_classes_is_refused_where_there_are_none(tmp_path: Path) -> None:
    outcome = compare(tmp_path, "--algorithms", "protonet", code=2)
    assert outcome.error == (
        "metaviz: ProtoNet tells classes apart, and the sinusoid problem has none.\n"
    )
    with pytest.raises(
        OptionError, match="ProtoNet tells classes apart, and the sinusoid"
    ) as refused:
        settle(config("maml").model_copy(update={"algorithm": "protonet", "options": {}}))
    assert refused.value.field == "algorithm"
    chosen = find_problem("sinusoid").build({}, config("maml").shared, 0)
    with pytest.raises(OptionError, match="protonet tells classes apart, and this problem has"):
        chosen.check_training(EpisodeShape(5, 1, 3), "protonet")
