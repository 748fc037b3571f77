"""Rounds: where all are equal, every method gives the bits that it gives without them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metaviz.meta.algorithm import Composed
from metaviz.meta.context import Context
from metaviz.meta.tasks import Batch, TaskBatch, joined
from metaviz.training.setting import settle
from tests.contract.test_algorithms import LOOPS, VARIANTS
from tests.contract.test_every_variant import config


def in_rounds(batch: Batch, count: int) -> Batch:
    """Return a batch whose every round is the given one."""
    x = torch.stack([batch.x] * count, 2)
    return replace(batch, x=x, rounds=count)


@pytest.mark.parametrize(
    ("name", "options"), [variant for variant in VARIANTS if variant[0] in LOOPS]
)
def test_equal_rounds_change_no_bit(name: str, options: dict[str, Any]) -> None:
    made = settle(config(name, options))
    if not isinstance(made.algorithm, Composed):
        pytest.skip("it reads its support set at once")
    if made.config.problem != "sinusoid":
        pytest.skip("its images are normalised beside the support set")
    meta, context = made.init(), made.context(0)
    rounds = replace(context.tasks, support=in_rounds(context.tasks.support, 3))

    def told(call: Context) -> dict[str, Tensor]:
        step = made.algorithm.meta_gradient(call, meta)
        found = {**step.gradients, **step.readings, **step.replaced}
        found |= {"curve": step.support_loss, "norm": step.gradient_norm}
        for k, state in enumerate(made.algorithm.adapt(replace(call, steps=4), meta)):
            found[f"predicted {k}"] = state.predict(call.tasks.query).outputs
            found[f"alone {k}"] = state.predict(call.tasks.query, alone=True).outputs
        return found

    usual, with_rounds = told(context), told(replace(context, tasks=rounds))
    assert usual.keys() == with_rounds.keys()
    for key, value in usual.items():
        assert torch.equal(value, with_rounds[key]), key


def test_rounds_are_kept_by_all_that_makes_batches_of_batches() -> None:
    x = torch.arange(2 * 3 * 4 * 5, dtype=torch.float64).view(2, 3, 4, 5)
    batch = Batch(x, x[:, :, 0, :1], rounds=4)
    for made in (
        batch[0:1],
        batch.examples(slice(2)),
        batch.chosen(torch.tensor([[0, 1], [1, 2]])),
        batch[:1].repeated(3),
        batch.to("cpu", torch.float32),
        joined([TaskBatch(batch, batch.at(0)), TaskBatch(batch, batch.at(0))]).support,
    ):
        assert made.rounds == 4
        assert made.at(2).rounds == 1
    assert torch.equal(batch.at(6).x, x[:, :, 2])
    own = Batch(x, x[..., :1], rounds=4)
    assert torch.equal(own.at(3).y, x[:, :, 3, :1])
    labels = Batch(x, x[..., 0].long(), rounds=4)
    assert torch.equal(labels.at(1).y, x[:, :, 1, 0].long())
    with pytest.raises(ValueError, match="of 3 rounds must have a round for each place"):
        Batch(x, x[..., :1], rounds=3)


def test_steps_see_one_round_after_another() -> None:
    made = settle(config("maml", {}))
    meta, context = made.init(), made.context(0)
    support = context.tasks.support
    moved = replace(support, x=torch.stack([support.x + k for k in range(3)], 2), rounds=3)
    step = made.algorithm.meta_gradient(
        replace(context, tasks=replace(context.tasks, support=moved)), meta
    )
    learner, point = made.learner, meta["init"].expand(len(support), -1)
    for k in range(3):
        leaf = point.detach().requires_grad_()
        loss = learner.losses(leaf, replace(support, x=support.x + k))
        torch.testing.assert_close(step.support_loss[k], loss.detach(), rtol=1e-12, atol=0)
        (slope,) = torch.autograd.grad(loss.sum(), leaf)
        point = leaf - made.algorithm.rate * slope
