"""Examples beside a batch, and the options that put them there."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.estimators.reptile import _minibatches
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.conv4 import Conv4
from metaviz.problems.base import Problem
from metaviz.problems.registry import find_problem
from metaviz.training.evaluation import task_curves
from metaviz.training.setting import Setting, settle
from tests.oracle.engine import draws

TINY = Shared(ways=3, shots=1, query_shots=2, meta_batch=2, eval_tasks=2, eval_steps=1)


def strokes(**options: Any) -> Problem:
    return find_problem("strokes").build({"channels": 4, **options}, TINY, 0)


def batch(beside: bool, tasks: int = 3) -> Batch:
    x = torch.arange(tasks * 4.0).reshape(tasks, 4, 1)
    company = -torch.arange(tasks * 4.0).reshape(tasks, 4, 1) if beside else None
    return Batch(x, x, company)


def test_batch_keeps_what_is_beside_it() -> None:
    whole = batch(beside=True)
    assert whole.beside is not None
    for part, expected in (
        (whole[1:], whole.beside[1:]),
        (whole.examples(torch.tensor([2, 0])), whole.beside),
        (whole[:1].repeated(5), whole.beside[:1].expand(5, -1, -1)),
        (whole.to("cpu", torch.float64), whole.beside.double()),
        (next(_minibatches(whole, 2, 1, draws(len(whole)))), whole.beside),
        (whole.chosen(torch.tensor([[0], [1], [3]])), whole.beside),
    ):
        assert part.beside is not None
        assert torch.equal(part.beside, expected)
        assert part.x.dtype == part.beside.dtype
    assert torch.equal(whole.examples(slice(1, 2)).x, whole.x[:, 1:2])
    assert torch.equal(
        whole.chosen(torch.tensor([[0], [1], [3]])).x.flatten(), whole.x[[0, 1, 2], [0, 1, 3], 0]
    )
    assert batch(beside=False).examples(slice(1)).beside is None


@pytest.mark.parametrize("shape", [(2, 4, 1), (3, 4, 2)])
def test_company_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="and those beside them"):
        replace(batch(beside=False), beside=torch.zeros(shape))


def test_levels_beside_become_the_numbers_of_the_support_set() -> None:
    tasks = strokes(norm="support").tasks("train", 0, 2)
    assert tasks.query.beside is tasks.support.x
    moved = tasks.to("cpu", torch.float64)
    assert moved.query.beside is moved.support.x
    assert moved.support.x.max() == 1
    other = TaskBatch(tasks.support, replace(tasks.query, beside=tasks.support.x.clone()))
    assert torch.equal(other.to("cpu", torch.float64).query.beside, moved.support.x)  # type: ignore[arg-type]
    usual = strokes().tasks("train", 0, 2).to("cpu", torch.float64)
    assert torch.equal(moved.query.x, usual.query.x)


def test_pooled_examples_are_one_set_that_stands_alone() -> None:
    problem = strokes(norm="support")
    tasks = problem.tasks("train", 0, 2)
    assert problem.pool(tasks).beside is None
    assert strokes().tasks("train", 0, 2).query.beside is None
    assert strokes(norm="group").tasks("train", 0, 2).query.beside is None


def test_options_reach_the_network() -> None:
    net = strokes(norm="group", norm_affine="beta", norm_adapted=False, norm_eps=1e-3).net()
    assert isinstance(net, Conv4)
    assert (net.norm.statistics, net.norm.eps) == ("group", 1e-3)
    assert net.held == {f"norm{block}.beta" for block in range(1, 5)}
    assert "norm1.gamma" not in dict(net.layout.shapes)
    usual = strokes().net()
    assert usual.held == frozenset()
    assert usual.layout.size - net.layout.size == 4 * 4


def config(algorithm: str = "maml", **options: Any) -> RunConfig:
    return RunConfig(
        problem="strokes",
        algorithm=algorithm,
        seed=0,
        steps=1,
        dtype="float64",
        shared=TINY,
        problem_options={"channels": 4, **options},
    )


def curves(setting: Setting, *, together: bool) -> torch.Tensor:
    found = task_curves(setting, setting.init(), 2, 1, together=together)
    return torch.from_numpy(found["query_loss"])


@pytest.mark.parametrize(("norm", "same"), [("batch", False), ("support", True), ("group", True)])
def test_evaluation_one_by_one_differs_only_for_batch_statistics(norm: str, same: bool) -> None:
    setting = settle(config(norm=norm))
    both = [curves(setting, together=together) for together in (True, False)]
    assert torch.allclose(*both, rtol=1e-9) == same


@pytest.mark.parametrize("name", ["reptile", "mirror", "warpgrad", "metalstm"])
def test_method_that_cannot_hold_is_refused_in_one_sentence(name: str) -> None:
    start = rf"strokes\.norm_adapted = false does not suit {name}: .*: let them be adapted\.$"
    with pytest.raises(OptionError, match=start) as refused:
        settle(config(name, norm_adapted=False))
    assert refused.value.field == "strokes.norm_adapted"
    settle(config(name))
