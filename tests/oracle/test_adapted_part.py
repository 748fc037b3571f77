"""ANIL and BOIL: inner steps of MAML that move a part of the network."""

import pytest
import torch

from metaviz.config.options import OptionError
from metaviz.meta.context import Context
from metaviz.meta.learner import Learner
from tests.oracle.engine import (
    DOUBLE,
    assert_close,
    build,
    called,
    initial,
    quadratic_learner,
    shared,
    sinusoid,
)

HEAD = {"layer3.weight", "layer3.bias"}


def parts(adapts: str) -> tuple[Learner, frozenset[str]]:
    plain, _ = sinusoid()
    algorithm = build("maml", adapts=adapts)
    resting = algorithm.rests(plain.net)
    return Learner(plain.net, plain.judge, resting), resting


@pytest.mark.parametrize(("adapts", "moves"), [("head", True), ("body", False)])
def test_inner_steps_move_the_chosen_part_alone(adapts: str, moves: bool) -> None:
    learner, resting = parts(adapts)
    assert (resting & HEAD == set()) == moves
    assert (resting | HEAD == {name for name, _ in learner.net.layout.shapes}) == moves
    _, tasks = sinusoid()
    algorithm = build("maml", adapts=adapts)
    meta = initial(algorithm, learner)
    first, *_, last = algorithm.adapt(Context(learner, tasks, 3), meta)
    assert isinstance(first.weights, torch.Tensor)
    assert isinstance(last.weights, torch.Tensor)
    before, after = (learner.net.layout.split(state.weights) for state in (first, last))
    for name in before:
        changed = float((after[name] - before[name]).abs().max())
        assert (changed > 0) == ((name in HEAD) == moves), name


@pytest.mark.parametrize("memory", ["graph", "recompute"])
@pytest.mark.parametrize("adapts", ["head", "body"])
def test_meta_gradient_of_all_weights_is_that_of_finite_differences(
    adapts: str, memory: str
) -> None:
    learner, _ = parts(adapts)
    _, tasks = sinusoid()
    algorithm = build("maml", adapts=adapts, memory=memory)
    meta = initial(algorithm, learner)
    context = called(algorithm, learner, tasks)
    gradient = algorithm.meta_gradient(context, meta).gradients["init"]
    generator = torch.Generator().manual_seed(5)
    for _ in range(4):
        along = torch.randn(meta["init"].shape, generator=generator, dtype=DOUBLE)
        ends = []
        for sign in (1, -1):
            moved = {"init": meta["init"] + sign * 1e-5 * along}
            step = algorithm.meta_gradient(context, moved)
            ends.append(step.readings["post_query_loss"].mean())
        slope = (ends[0] - ends[1]) / 2e-5
        assert_close((gradient * along).sum().unsqueeze(0), [float(slope)], 1e-6)


def test_a_loop_over_tasks_written_out_gives_anil() -> None:
    learner, _ = parts("head")
    _, tasks = sinusoid()
    algorithm = build("maml", shared(inner_lr=0.1, inner_steps=2), adapts="head")
    meta = initial(algorithm, learner)
    losses = []
    start = meta["init"].clone().requires_grad_()
    for task in range(len(tasks)):
        one = tasks[task : task + 1]
        named = learner.net.layout.split(start)
        for _ in range(2):
            weights = learner.net.layout.join(named).unsqueeze(0)
            loss = learner.losses(weights, one.support).sum()
            slopes = torch.autograd.grad(loss, [named[n] for n in sorted(HEAD)], create_graph=True)
            named = {
                **named,
                **{n: named[n] - 0.1 * g for n, g in zip(sorted(HEAD), slopes, strict=True)},
            }
        losses.append(learner.losses(learner.net.layout.join(named).unsqueeze(0), one.query).sum())
    (expected,) = torch.autograd.grad(torch.stack(losses).mean(), start)
    found = algorithm.meta_gradient(called(algorithm, learner, tasks), meta).gradients["init"]
    assert_close(found, expected, 1e-12)


def test_a_network_without_layers_is_refused_in_one_sentence() -> None:
    algorithm = build("maml", adapts="head")
    with pytest.raises(OptionError, match="asks for a network of several layers"):
        algorithm.rests(quadratic_learner(2).net)
