"""Meta-gradients of a tanh network on sinusoids: finite differences, dense algebra, a peer."""

from typing import Any

import higher
import pytest
import torch
from torch import Tensor

from metaviz.meta.estimators.implicit import curvature_at
from metaviz.meta.inner import Graph, descend
from metaviz.meta.rules import ProximalDescent
from tests.oracle.engine import (
    DOUBLE,
    assert_close,
    build,
    initial,
    meta_step,
    shared,
    sinusoid,
)

DIFFERENTIABLE = [
    ("maml", {}),
    ("maml", {"memory": "recompute"}),
    ("penalty", {"variant": "final", "weight": 0.05}),
    ("penalty", {"variant": "start", "weight": 0.05}),
    ("joint", {}),
]


def objective(name: str, options: dict[str, Any], theta: Tensor) -> Tensor:
    """The scalar whose gradient the method claims to be, by plain adaptation."""
    learner, tasks = sinusoid()
    steps = 3 if name == "maml" or options.get("variant") == "final" else 0
    point = theta.expand(len(tasks), -1).clone().requires_grad_()
    for _ in range(steps):
        loss = learner.losses(point, tasks.support).sum()
        point = (point - 0.1 * torch.autograd.grad(loss, point)[0]).detach().requires_grad_()
    value = learner.losses(point, tasks.query)
    if name == "penalty":
        loss = learner.losses(point, tasks.support).sum()
        value = value + options["weight"] * torch.autograd.grad(loss, point)[0].square().sum(1)
    return value.mean().detach()


@pytest.mark.parametrize(("name", "options"), DIFFERENTIABLE)
def test_finite_differences_and_their_order(name: str, options: dict[str, Any]) -> None:
    learner, tasks = sinusoid()
    algorithm = build(name, shared(inner_lr=0.1, inner_steps=3), **options)
    meta = initial(algorithm, learner)
    gradient = meta_step(algorithm, learner, meta, tasks).gradients["init"]
    generator = torch.Generator().manual_seed(9)
    direction = torch.randn(len(gradient), generator=generator, dtype=DOUBLE)
    direction /= direction.norm()
    slope = float(gradient @ direction)
    assert abs(slope) > 1e-3

    def error(step: float) -> float:
        ahead, behind = (
            objective(name, options, meta["init"] + sign * step * direction) for sign in (1, -1)
        )
        return abs(float(ahead - behind) / (2 * step) - slope)

    assert error(1e-5) < 1e-7 * max(1, abs(slope))
    assert error(1e-2) / error(1e-3) == pytest.approx(100, rel=0.1)


def test_maml_against_higher() -> None:
    """An independent library: 4 tasks, one after another, through its own optimiser."""
    learner, tasks = sinusoid()
    algorithm = build("maml", shared(inner_lr=0.1, inner_steps=3))
    meta = initial(algorithm, learner)
    net = torch.nn.Sequential(
        torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.Tanh(),
        torch.nn.Linear(8, 1),
    ).double()  # fmt: skip
    weights = learner.net.layout.split(meta["init"])
    for parameter, value in zip(net.parameters(), weights.values(), strict=True):
        parameter.data.copy_(value)
    for task in range(len(tasks)):
        inner = torch.optim.SGD(net.parameters(), lr=0.1)
        with higher.innerloop_ctx(net, inner, copy_initial_weights=False) as (model, descent):
            for _ in range(3):
                support = tasks.support
                descent.step((model(support.x[task]) - support.y[task]).square().mean())
            loss = (model(tasks.query.x[task]) - tasks.query.y[task]).square().mean()
            (loss / len(tasks)).backward()
    expected = learner.net.layout.join(
        {name: p.grad for name, p in zip(weights, net.parameters(), strict=True)}
    )
    found = meta_step(algorithm, learner, meta, tasks).gradients["init"]
    assert_close(found, expected, 1e-12)


def test_implicit_equals_long_unrolling() -> None:
    learner, tasks = sinusoid()
    prox, rate, steps = 4.0, 0.1, 400
    options = {"prox": prox, "operator": "hessian", "inner_steps": steps, "cg_steps": 60}
    algorithm = build("imaml", shared(inner_lr=rate), **options)
    meta = initial(algorithm, learner)
    found = meta_step(algorithm, learner, meta, tasks)
    assert not any(mask.any() for mask in found.warnings.values())
    leaf = meta["init"].clone().requires_grad_()
    rule = ProximalDescent(rate, prox)
    end = descend(rule, learner, {"init": leaf}, tasks.support, steps, Graph.SECOND_ORDER)
    (expected,) = torch.autograd.grad(learner.losses(end.point, tasks.query).mean(), leaf)
    assert float(found.readings["inner_residual"].max()) < 1e-8
    assert_close(found.gradients["init"], expected, 2e-8)


def test_curvature_products_against_dense_matrices() -> None:
    learner, tasks = sinusoid(tasks=1)
    meta = initial(build("maml"), learner)
    point = meta["init"].unsqueeze(0)

    def loss(flat: Tensor) -> Tensor:
        return learner.losses(flat.unsqueeze(0), tasks.support).sum()

    def outputs(flat: Tensor) -> Tensor:
        return learner.outputs(flat.unsqueeze(0), tasks.support).flatten()

    hessian = torch.autograd.functional.hessian(loss, meta["init"])
    jacobian = torch.autograd.functional.jacobian(outputs, meta["init"])
    gauss_newton = 2 / len(jacobian) * jacobian.T @ jacobian
    probe = torch.randn(1, len(meta["init"]), dtype=DOUBLE, generator=torch.Generator())
    for dense, choice in ((hessian, False), (gauss_newton, True)):
        gradient, product = curvature_at(learner, point, tasks.support, gauss_newton=choice)
        assert_close(product(probe)[0], dense @ probe[0], 1e-10)
        assert_close(gradient[0], torch.autograd.functional.jacobian(loss, meta["init"]), 1e-12)
    assert (hessian - gauss_newton).norm() > 0.1 * hessian.norm()


def test_reptile_with_one_full_step_is_joint_training_on_its_data() -> None:
    learner, tasks = sinusoid()
    reptile = build("reptile", shared(inner_steps=1), data="support")
    meta = initial(reptile, learner)
    found = meta_step(reptile, learner, meta, tasks).gradients["init"]
    leaf = meta["init"].clone().requires_grad_()
    loss = learner.losses(leaf.expand(len(tasks), -1), tasks.support).mean()
    assert_close(found, torch.autograd.grad(loss, leaf)[0], 1e-10)


def test_serial_reptile_with_one_task_equals_batched() -> None:
    learner, tasks = sinusoid(tasks=1)
    serial = build("reptile", schedule="serial", epsilon=0.3, update="optimiser")
    meta = initial(serial, learner)
    alone = meta_step(serial, learner, meta, tasks).gradients["init"]
    batched = meta_step(build("reptile"), learner, meta, tasks).gradients["init"]
    assert_close(alone, batched, 1e-10)


def test_serial_reptile_moves_between_tasks() -> None:
    learner, tasks = sinusoid(tasks=3)
    serial = build("reptile", schedule="serial", epsilon=0.3, scale="none", data="support")
    meta = initial(serial, learner)
    theta = meta["init"]
    for task in range(3):
        point = theta.clone()
        batch = tasks.support[task : task + 1]
        for _ in range(3):
            leaf = point.unsqueeze(0).detach().requires_grad_()
            loss = learner.losses(leaf, batch).sum()
            point = point - 0.1 * torch.autograd.grad(loss, leaf)[0][0]
        theta = theta + 0.3 * (point - theta)
    found = meta_step(serial, learner, meta, tasks).gradients["init"]
    assert_close(found, (meta["init"] - theta) / 0.3, 1e-10)


def test_tail_direction_is_the_last_step() -> None:
    learner, tasks = sinusoid()
    tail = build("reptile", direction="tail", scale="rate", data="support")
    meta = initial(tail, learner)
    ends = [
        descend(tail.rule, learner, meta, tasks.support, steps).point.mean(0) for steps in (2, 3)
    ]
    found = meta_step(tail, learner, meta, tasks).gradients["init"]
    assert_close(found, (ends[0] - ends[1]) / 0.1, 1e-8)


def test_inner_adam_against_torch() -> None:
    learner, tasks = sinusoid(tasks=1)
    algorithm = build("reptile", inner_optimizer="adam", data="support", scale="none")
    meta = initial(algorithm, learner)
    parameter = meta["init"].clone().unsqueeze(0).requires_grad_()
    adam = torch.optim.Adam([parameter], lr=0.1, betas=(0.0, 0.999))
    for _ in range(3):
        adam.zero_grad()
        learner.losses(parameter, tasks.support).sum().backward()
        adam.step()
    step = meta_step(algorithm, learner, meta, tasks)
    assert_close(step.gradients["init"], meta["init"] - parameter.detach()[0], 1e-8)
    state = adam.state[parameter]
    assert_close(step.replaced["moment"], state["exp_avg_sq"][0], 1e-10)
    assert float(step.replaced["moment_count"]) == 3


def test_minibatches_see_every_example_once_per_epoch() -> None:
    learner, tasks = sinusoid(tasks=2)
    algorithm = build("reptile", shared(inner_steps=4), batch_size=3)
    meta = initial(algorithm, learner)
    first, again, other = (
        meta_step(algorithm, learner, meta, tasks, seed).gradients["init"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
