"""How Reptile moves the start, against plain loops over tasks that are written from the paper."""

from typing import Any

import pytest
import torch
from torch import Tensor

from metaviz.config.run_config import RunConfig, Shared
from metaviz.training.divergence import DivergenceError, DivergenceMonitor
from metaviz.training.setting import Setting, settle
from metaviz.training.trainer import begin, train
from tests.oracle.engine import assert_close

STEPS, TASKS, RATE, INNER = 3, 3, 0.05, 4


def setting_of(meta_batch: int = TASKS, annealing: str = "constant", **options: Any) -> Setting:
    shared = Shared(
        inner_lr=RATE,
        inner_steps=INNER,
        outer_lr=0.7,
        outer_schedule=annealing,
        meta_batch=meta_batch,
        shots=5,
        query_shots=6,
        eval_tasks=2,
    )
    own = {"data": "support", "batch_size": 0, "inner_lr": RATE, **options}
    return settle(
        RunConfig(
            problem="sinusoid",
            algorithm="reptile",
            seed=4,
            steps=STEPS,
            device="cpu",
            dtype="float64",
            shared=shared,
            options=own,
            problem_options={"hidden": 6, "activation": "tanh"},
        )
    )


def trained(setting: Setting) -> Tensor:
    """Return the start after the run."""
    progress = begin(setting)
    for _ in train(setting, progress):
        pass
    assert progress.step == STEPS
    return progress.meta["init"]


def gradient(setting: Setting, step: int, task: int, point: Tensor) -> Tensor:
    batch = setting.batch(step).support[task : task + 1]
    leaf = point.detach().clone().unsqueeze(0).requires_grad_()
    return torch.autograd.grad(setting.learner.losses(leaf, batch).sum(), leaf)[0][0]


def descended(setting: Setting, theta: Tensor, step: int, task: int) -> Tensor:
    """Return phi: plain gradient descent from theta on one task."""
    point = theta.clone()
    for _ in range(INNER):
        point = point - RATE * gradient(setting, step, task, point)
    return point


@pytest.mark.parametrize("schedule", ["serial", "batched", "in_turn"])
def test_with_one_task_and_an_epsilon_of_one_the_start_becomes_phi(schedule: str) -> None:
    setting = setting_of(1, schedule=schedule, epsilon=1.0, update="direct")
    theta = setting.init()["init"]
    for step in range(STEPS):
        theta = descended(setting, theta, step, 0)
    assert_close(trained(setting), theta, 1e-13)


def test_serial_is_the_published_update_by_default() -> None:
    setting = setting_of(schedule="serial", epsilon=0.3)
    theta = setting.init()["init"]
    for step in range(STEPS):
        for task in range(TASKS):
            theta = theta + 0.3 * (descended(setting, theta, step, task) - theta)
    assert_close(trained(setting), theta, 1e-13)


def test_epsilon_is_annealed_with_the_outer_schedule() -> None:
    setting = setting_of(1, "linear", schedule="serial", epsilon=0.5)
    theta = setting.init()["init"]
    for step in range(STEPS):
        share = 0.5 * (1 - step / STEPS)
        theta = theta + share * (descended(setting, theta, step, 0) - theta)
    assert_close(trained(setting), theta, 1e-13)


def test_a_direct_batched_update_moves_towards_the_mean() -> None:
    setting = setting_of(update="direct", epsilon=0.4)
    theta = setting.init()["init"]
    for step in range(STEPS):
        ends = [descended(setting, theta, step, task) for task in range(TASKS)]
        theta = theta + 0.4 * (torch.stack(ends).mean(0) - theta)
    assert_close(trained(setting), theta, 1e-13)


def test_one_after_another_adams_memory_goes_from_task_to_task() -> None:
    setting = setting_of(schedule="in_turn", inner_optimizer="adam", update="direct", epsilon=0.4)
    theta = setting.init()["init"]
    parameter = theta.clone().requires_grad_()
    adam = torch.optim.Adam([parameter], lr=RATE, betas=(0.0, 0.999))
    for step in range(STEPS):
        ends = []
        for task in range(TASKS):
            with torch.no_grad():
                parameter.copy_(theta)
            for _ in range(INNER):
                parameter.grad = gradient(setting, step, task, parameter)
                adam.step()
            ends.append(parameter.detach().clone())
        theta = theta + 0.4 * (torch.stack(ends).mean(0) - theta)
    assert_close(trained(setting), theta, 1e-12)


def test_without_memory_one_after_another_is_side_by_side() -> None:
    assert_close(trained(setting_of(schedule="in_turn")), trained(setting_of()), 1e-10)


def test_a_smaller_outer_step_is_a_smaller_epsilon_where_it_moves_the_start() -> None:
    error = DivergenceError("It broke.", "post_query_loss", 1)
    for options, label, shared in (
        ({}, "Halve epsilon to 0.15", {}),
        ({"update": "optimiser"}, "Halve the outer step size to β = 0.35", {"outer_lr": 0.35}),
    ):
        setting = setting_of(schedule="serial", epsilon=0.3, **options)
        found = {one.id: one for one in DivergenceMonitor().remedies(setting, error)}["half-outer"]
        assert found.label == label
        assert found.amendment["shared"] == shared
        assert found.amendment["options"] == ({} if shared else {"epsilon": 0.15})


def test_the_outer_optimiser_may_have_the_serial_displacement() -> None:
    setting = setting_of(schedule="serial", epsilon=0.3, update="optimiser", scale="none")
    assert setting.outer["init"].rate == 0.7
    assert setting_of(schedule="serial", epsilon=0.3).outer["init"].rate == 0.3
