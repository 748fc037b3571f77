"""Proto-MAML: prototypes at the start, then plain descent; derivatives of the whole."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metaviz.config.options import OptionError
from metaviz.nets.point import PointNet
from tests.oracle.engine import (
    ClassificationLoss,
    assert_close,
    build,
    called,
    classes,
    initial,
    meta_step,
    shared,
)
from tests.oracle.episodes import NORMS, adapted, drawings

STEPS, RATE = 3, 0.1


def method(**options: Any) -> Any:
    return build("protomaml", shared(inner_lr=RATE, inner_steps=STEPS), **options)


def test_before_adaptation_it_answers_as_prototypical_networks_do() -> None:
    learner, tasks = classes()
    algorithm = method()
    meta = initial(algorithm, learner)
    first, *_ = algorithm.adapt(called(algorithm, learner, tasks), meta)
    prototypical = build("protonet")
    (other,) = prototypical.adapt(called(prototypical, learner, tasks), meta)
    for batch in (tasks.support, tasks.query):
        one, two = (torch.log_softmax(s.predict(batch).outputs, 2) for s in (first, other))
        assert_close(one, two, 1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_so_it_does_on_images(norm: str) -> None:
    setting = drawings("protomaml", norm)
    tasks, _ = adapted(setting)
    prototypical = build("protonet")
    states = [
        next(iter(one.adapt(setting.adapting(tasks, 2), setting.init())))
        for one in (setting.algorithm, prototypical)
    ]
    one, two = (torch.log_softmax(state.predict(tasks.query).outputs, 2) for state in states)
    assert_close(one, two, 1e-10)


def by_hand(learner: Any, meta: Tensor, support: Any, steps: int) -> Tensor:
    """Adapt one task with PyTorch's own layers and autograd; return its weights, flat."""
    net = learner.net
    weights = {name: value[0] for name, value in net.layout.split(meta.unsqueeze(0)).items()}
    x, y = support.x[0], support.y[0]
    hidden = torch.tanh(x @ weights["layer1.weight"].mT + weights["layer1.bias"])
    centres = torch.stack([hidden[y == n].mean(0) for n in range(3)])
    weights["layer2.weight"], weights["layer2.bias"] = 2 * centres, -(centres**2).sum(1)
    flat = net.layout.join(weights)
    for _ in range(steps):
        # The head counts as weights of its own now, not as a function of the others.
        weights = net.layout.split(flat)
        hidden = torch.tanh(x @ weights["layer1.weight"].mT + weights["layer1.bias"])
        logits = hidden @ weights["layer2.weight"].mT + weights["layer2.bias"]
        loss = torch.nn.functional.cross_entropy(logits, y)
        (slope,) = torch.autograd.grad(loss, flat, create_graph=True)
        flat = flat - RATE * slope
    return flat


def test_each_step_is_one_of_plain_descent_of_all_weights() -> None:
    learner, tasks = classes(tasks=1)
    algorithm = method()
    meta = initial(algorithm, learner)
    context = replace(called(algorithm, learner, tasks), steps=STEPS)
    for k, state in enumerate(algorithm.adapt(context, meta)):
        start = meta["init"].clone().requires_grad_()
        assert_close(state.weights[0], by_hand(learner, start, tasks.support, k).detach(), 1e-12)


def test_the_gradient_goes_through_the_prototypes_and_all_steps() -> None:
    learner, tasks = classes(tasks=1)
    algorithm = method()
    meta = initial(algorithm, learner)
    start = meta["init"].clone().requires_grad_()
    end = by_hand(learner, start, tasks.support, STEPS)
    loss = learner.losses(end.unsqueeze(0), tasks.query).mean()
    (expected,) = torch.autograd.grad(loss, start)
    found = meta_step(algorithm, learner, meta, tasks)
    assert_close(found.gradients["init"], expected, 1e-11)
    assert_close(found.readings["post_query_loss"], [float(loss.detach())], 1e-12)
    head = learner.net.layout.split(found.gradients["init"])["layer2.weight"]
    assert not head.any()
    first = meta_step(method(order="first"), learner, meta, tasks).gradients["init"]
    assert not torch.allclose(first, expected, rtol=1e-3)


def test_meta_gradients_are_finite_differences() -> None:
    learner, tasks = classes(tasks=2)
    algorithm = method()
    meta = initial(algorithm, learner)
    gradient = meta_step(algorithm, learner, meta, tasks).gradients["init"]
    for place in range(len(gradient)):
        ends = []
        for way in (1e-5, -1e-5):
            moved = {"init": meta["init"].clone()}
            moved["init"][place] += way
            readings = meta_step(algorithm, learner, moved, tasks).readings
            ends.append(float(readings["post_query_loss"].mean()))
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(gradient[place]), abs=1e-8)


def test_without_steps_the_gradient_is_that_of_prototypical_networks() -> None:
    learner, tasks = classes()
    algorithm = method()
    meta = initial(algorithm, learner)
    context = replace(called(algorithm, learner, tasks), steps=0)
    found = algorithm.meta_gradient(context, meta).gradients["init"]
    assert_close(found, meta_step(build("protonet"), learner, meta, tasks).gradients["init"], 1e-11)


def test_a_network_of_one_layer_is_refused() -> None:
    algorithm = method()
    learner = replace(classes()[0], net=PointNet([0.0, 1.0]), judge=ClassificationLoss())
    with pytest.raises(OptionError, match="this network has no layers before it"):
        algorithm.fit(learner)
