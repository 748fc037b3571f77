"""Outer steps in a trust region against dense Fisher matrices of adapted policies, in float64."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from metaviz.config.options import checked
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.algorithm import Composed
from metaviz.meta.context import Meta
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.solvers import conjugate_gradient
from metaviz.meta.trust_region import DAMPING, TrustRegion, trust_region_step
from metaviz.nets.agent import Agent, Trajectories
from metaviz.problems.registry import find_problem
from metaviz.training.setting import Setting, settle

Surrogate = Callable[[Tensor, Tensor], Tensor]
NAVIGATION = {"hidden": 3, "horizon": 6}
CHAIN = {"states": 3, "actions": 3, "horizon": 4}
RATE = 0.7


def made(name: str, problem: str, **options: Any) -> tuple[Setting, Meta]:
    sizes = {"meta_batch": 2, "shots": 5, "query_shots": 4, "inner_lr": RATE, "eval_tasks": 2}
    shared = checked(Shared, {**find_problem(problem).entry.shared, **sizes})
    asked = RunConfig(
        problem=problem,
        algorithm=name,
        seed=1,
        steps=3,
        device="cpu",
        dtype="float64",
        shared=shared,
        problem_options={**options, "outer": "trpo"},
    )
    setting = settle(asked)
    meta = setting.init()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(meta["init"].shape, generator=generator, dtype=torch.float64)
    return setting, {**meta, "init": meta["init"] + 0.3 * drawn}


def stepped(setting: Setting, meta: Meta, region: TrustRegion) -> tuple[MetaStep, MetaStep]:
    """Return a method's meta-step, and what a trust region makes of it."""
    assert isinstance(setting.algorithm, Composed)
    context = setting.context(0)
    step = setting.algorithm.meta_gradient(context, meta)
    return step, trust_region_step(setting.algorithm, context, meta, step, region)


class ByHand:
    """What a task's start adapts to, and does then, as functions of the start (P,)."""

    def __init__(self, setting: Setting, start: Tensor, task: int, steps: int) -> None:
        net = setting.learner.net
        assert isinstance(net, Agent)
        self.agent, self.steps = net, steps
        self.sums = setting.config.problem_options["over_time"] == "sum"
        batch = setting.batch(0)[torch.tensor([task])]
        self.support = self.collected(start, batch.support.at(0).x)
        self.query = self.collected(self.adapted(start), batch.query.x)

    def collected(self, weights: Tensor, x: Tensor) -> tuple[Trajectories, Tensor, Tensor]:
        seen = self.agent.act(weights.detach()[None], x)
        credit = self.agent.advantages(seen.observations, seen.rewards)
        return seen, credit.advantages, self.agent.log_probs(weights.detach()[None], seen)

    def ratios(self, weights: Tensor, of: tuple[Trajectories, Tensor, Tensor]) -> Tensor:
        """Return the mean of pi / pi_old A."""
        seen, advantages, before = of
        terms = (self.agent.log_probs(weights[None], seen) - before).exp() * advantages
        return terms.sum(-1).mean() if self.sums else terms.mean()

    def adapted(self, start: Tensor) -> Tensor:
        if not self.steps:
            return start
        with torch.enable_grad():
            point = start if start.requires_grad else start.clone().requires_grad_()
            value = self.ratios(point, self.support)
            (slope,) = torch.autograd.grad(value, point, create_graph=True)
        return start + RATE * slope

    def shown(self, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        policy = self.agent.policy(weights[None], self.query[0].observations)
        deviation = None if policy.deviation is None else policy.deviation.flatten()
        return policy.middle[0].flatten(0, 1), deviation

    def fisher(self, weights: Tensor) -> Tensor:
        """Return the mean Fisher matrix of what is done in the query trajectories' states."""
        middle, deviation = self.shown(weights)
        along = jacobian(lambda w: self.shown(w)[0], weights)  # (states, a, P)
        if deviation is None:
            weighed = middle.exp()[..., None] * along
            return torch.einsum("nap,naq->pq", weighed, along) / len(middle)
        scaled = along / deviation[:, None]
        means = torch.einsum("nap,naq->pq", scaled, scaled) / len(middle)

        def logs(w: Tensor) -> Tensor:
            _, std = self.shown(w)
            assert std is not None
            return std.log()

        widths = jacobian(logs, weights)
        return means + 2 * widths.T @ widths

    def divergence(self, before: Tensor, after: Tensor) -> Tensor:
        """Return the mean KL(before || after), by PyTorch's own distributions."""
        made = []
        for weights in (before, after):
            middle, deviation = self.shown(weights)
            made.append(
                torch.distributions.Categorical(logits=middle)
                if deviation is None
                else torch.distributions.Independent(
                    torch.distributions.Normal(middle, deviation), 1
                )
            )
        return torch.distributions.kl_divergence(*made).mean()


CASES = pytest.mark.parametrize(
    ("name", "problem", "options", "steps"),
    [
        ("maml", "navigation", NAVIGATION, 1),
        ("maml", "chain", CHAIN, 1),
        ("joint", "navigation", NAVIGATION, 0),
    ],
)


@CASES
def test_the_direction_is_that_of_the_dense_fisher_matrix(name, problem, options, steps):
    setting, meta = made(name, problem, **options)
    start = meta["init"]
    tasks = [ByHand(setting, start, task, steps) for task in range(2)]
    dense = torch.zeros(len(start), len(start), dtype=start.dtype)
    ascent = torch.zeros_like(start)
    for task in tasks:
        turned = jacobian(task.adapted, start)
        point = task.adapted(start).detach()
        dense += turned.T @ task.fisher(point) @ turned / 2
        slope = jacobian(lambda w, task=task: task.ratios(w, task.query), point)
        ascent += turned.T @ slope / 2
    step, moved = stepped(setting, meta, TrustRegion(1e-6, 400))
    torch.testing.assert_close(step.gradients["init"], -ascent, rtol=1e-9, atol=1e-12)
    damped = dense + DAMPING * torch.eye(len(start), dtype=start.dtype)
    wanted = torch.linalg.solve(damped, ascent)
    longest = wanted * (2e-6 / (wanted @ damped @ wanted)).sqrt()
    share = float(moved.readings["trust_share"][0])
    assert share > 0
    found = moved.replaced["init"] - start
    torch.testing.assert_close(found, share * longest, rtol=1e-4, atol=1e-8)


@CASES
@pytest.mark.parametrize("limit", [0.001, 0.01, 0.3])
def test_accepted_steps_keep_to_the_limit_and_gain(name, problem, options, steps, limit):
    setting, meta = made(name, problem, **options)
    _, moved = stepped(setting, meta, TrustRegion(limit, 10))
    before, after = meta["init"], moved.replaced["init"]
    gains, divergences = [], []
    for at in range(2):
        task = ByHand(setting, before, at, steps)
        ends = task.adapted(before).detach(), task.adapted(after).detach()
        divergences.append(task.divergence(*ends))
        terms = [task.ratios(end, task.query) for end in ends]
        gains.append((terms[1] - terms[0]) / (CHAIN["horizon"] if task.sums else 1))
    gain, divergence = torch.stack(gains), torch.stack(divergences)
    assert 0 < divergence.mean() <= limit
    assert gain.mean() > 0
    torch.testing.assert_close(moved.readings["policy_divergence"], divergence)
    torch.testing.assert_close(moved.readings["surrogate_gain"], gain)


def test_first_order_counts_inner_gradients_as_constants():
    setting, meta = made("fomaml", "navigation", **NAVIGATION)
    start = meta["init"]
    tasks = [ByHand(setting, start, task, 1) for task in range(2)]
    points = [task.adapted(start).detach() for task in tasks]
    dense = torch.stack([task.fisher(at) for task, at in zip(tasks, points, strict=True)]).mean(0)
    step, moved = stepped(setting, meta, TrustRegion(1e-6, 5))
    damped = dense + DAMPING * torch.eye(len(start), dtype=start.dtype)
    # Few products, as the line search refuses where inner gradients do change much.
    wanted = conjugate_gradient(lambda v: v @ damped, -step.gradients["init"][None], 5).x[0]
    found = moved.replaced["init"] - start
    torch.testing.assert_close(found / found.norm(), wanted / wanted.norm(), rtol=1e-6, atol=1e-9)


def test_untrained_starts_stay_and_a_step_without_gain_is_not_taken():
    setting, meta = made("scratch", "navigation", **NAVIGATION)
    _, moved = stepped(setting, meta, TrustRegion(0.01, 3))
    assert "init" not in moved.replaced
    setting, meta = made("maml", "navigation", **NAVIGATION)
    context = setting.context(0)
    assert isinstance(setting.algorithm, Composed)
    step = setting.algorithm.meta_gradient(context, meta)
    uphill = replace(step, gradients={"init": -step.gradients["init"]})
    moved = trust_region_step(setting.algorithm, context, meta, uphill, TrustRegion(1e-4, 50))
    assert "init" not in moved.replaced
    assert moved.readings["trust_share"].tolist() == [0.0, 0.0]
