"""Whole meta-steps of MAML on navigation against plain PyTorch, side by side in one process.

`python -m tests.benchmarks.policies [--rounds N]`. Both plain versions collect trajectories in
batches; their log-probabilities are recorded while they act, as most code has it. One goes from
task to task, one has all tasks in one batched product. The meta-gradients are compared first, in
float64 with the same noise; times are of float32 steps, interleaved, on one thread.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from metaviz.config.options import checked
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.context import Meta
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.agent import Agent
from metaviz.problems.registry import find_problem
from metaviz.training.setting import Setting, settle

RATE, DISCOUNT, RIDGE = 0.1, 0.99, 1e-5
Weights = list[Tensor]


def run(dtype: str) -> Setting:
    """The default run: 20 tasks, 20 trajectories of 40 steps, K = 1."""
    shared = checked(Shared, dict(find_problem("navigation").entry.shared))
    return settle(
        RunConfig(
            problem="navigation",
            algorithm="maml",
            seed=0,
            steps=40,
            shared=shared,
            dtype=dtype,
            device="cpu",
        )
    )


def policy(weights: Weights, state: Tensor) -> Tensor:
    """Return means of actions; weights are (i, o) or (tasks, i, o)."""
    for weight, bias in zip(weights[:4:2], weights[1:4:2], strict=True):
        state = torch.tanh(state @ weight + bias)
    return state @ weights[4] + weights[5]


def collect(weights: Weights, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Act; return log-probabilities, rewards and states, (..., M, H)."""
    goal, noise = x[..., :2], x[..., 2:].unflatten(-1, (-1, 2))
    state = torch.zeros_like(goal)
    logs, rewards, states = [], [], []
    for step in range(noise.shape[-2]):
        mean, std = policy(weights, state), weights[6].exp()
        action = (mean + std * noise[..., step, :]).detach()
        away = (action - mean) / std
        logs.append((-0.5 * away**2 - std.log() - 0.5 * math.log(2 * math.pi)).sum(-1))
        states.append(state)
        state = state + 0.1 * action.clamp(-1, 1)
        rewards.append(-(state - goal).norm(dim=-1))
    return torch.stack(logs, -1), torch.stack(rewards, -1), torch.stack(states, -2)


@torch.no_grad()
def advantages(rewards: Tensor, states: Tensor) -> Tensor:
    """Return normalised advantages over a baseline linear in features, (..., M, H)."""
    after, total = [], torch.zeros_like(rewards[..., 0])
    for step in reversed(range(rewards.shape[-1])):
        total = rewards[..., step] + DISCOUNT * total
        after.append(total)
    returns = torch.stack(after[::-1], -1)
    t = torch.arange(rewards.shape[-1], dtype=rewards.dtype) / 100
    times = torch.stack([t, t**2, t**3, torch.ones_like(t)], -1).expand(*states.shape[:-1], -1)
    seen = torch.cat([states, states**2, times], -1).flatten(-3, -2).double()
    wanted = returns.flatten(-2).unsqueeze(-1).double()
    gram = seen.mT @ seen + RIDGE * torch.eye(seen.shape[-1], dtype=torch.float64)
    fitted = (seen @ torch.linalg.solve(gram, seen.mT @ wanted)).view(returns.shape)
    found = returns - fitted.to(returns.dtype)
    found = found - found.mean((-2, -1), keepdim=True)
    return found / found.square().mean((-2, -1), keepdim=True).sqrt()


def loss_of(weights: Weights, x: Tensor) -> Tensor:
    """Return the surrogate of each task."""
    logs, rewards, states = collect(weights, x)
    ratio = (logs - logs.detach()).exp()
    return -(ratio * advantages(rewards, states)).mean((-2, -1))


def plain(weights: Weights, support: Tensor, query: Tensor) -> Tensor:
    """Return the meta-gradient, with all tasks in one batch."""
    tasks = len(support)
    rows = [w.expand(tasks, *w.shape) if w.dim() > 1 else w.expand(tasks, 1, -1) for w in weights]
    slopes = torch.autograd.grad(loss_of(rows, support).sum(), rows, create_graph=True)
    moved = [row - RATE * slope for row, slope in zip(rows, slopes, strict=True)]
    found = torch.autograd.grad(loss_of(moved, query).mean(), weights)
    return torch.cat([one.flatten() for one in found])


def task_by_task(weights: Weights, support: Tensor, query: Tensor) -> Tensor:
    """Return the meta-gradient, one task after another."""
    total = torch.zeros(sum(w.numel() for w in weights), dtype=weights[0].dtype)
    for here, there in zip(support, query, strict=True):
        slopes = torch.autograd.grad(loss_of(weights, here), weights, create_graph=True)
        moved = [w - RATE * slope for w, slope in zip(weights, slopes, strict=True)]
        found = torch.autograd.grad(loss_of(moved, there), weights)
        total += torch.cat([one.flatten() for one in found]) / len(support)
    return total


def by_layer(agent: Agent, flat: Tensor) -> Weights:
    """Return weights as the plain versions take them: matrices (i, o), biases, log std."""
    named = agent.layout.split(flat)
    layers = [
        named[f"layer{n}.{kind}"].mT if kind == "weight" else named[f"layer{n}.{kind}"]
        for n in (1, 2, 3)
        for kind in ("weight", "bias")
    ]
    return [one.clone().requires_grad_() for one in (*layers, named["log_std"])]


def prepared(made: Setting) -> tuple[Meta, TaskBatch, Weights, tuple[Tensor, Tensor]]:
    """Return weights and tasks, for the program and for plain code."""
    meta, tasks = made.init(), made.batch(0)
    agent = made.learner.net
    if not isinstance(agent, Agent):
        raise TypeError("Navigation has an agent.")
    support: Batch = tasks.support.at(0)
    return meta, tasks, by_layer(agent, meta["init"]), (support.x, tasks.query.x)


def check() -> float:
    """Return by how much the meta-gradients differ, relatively, in float64."""
    made = run("float64")
    meta, tasks, weights, given = prepared(made)
    agent = made.learner.net
    mine = made.algorithm.meta_gradient(made.context(0, tasks), meta).gradients["init"]
    own = by_layer(agent, mine)  # type: ignore[arg-type]
    wanted = torch.cat([one.detach().flatten() for one in own])
    found = [version(weights, *given) for version in (plain, task_by_task)]
    return max(float((one - wanted).norm() / wanted.norm()) for one in found)


def main() -> None:
    """Compare, then time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="Steps of each that are timed.")
    rounds = parser.parse_args().rounds
    sys.stdout.write(f"float64 meta-gradients differ by {check():.1e} of their length\n")
    made = run("float32")
    meta, tasks, weights, given = prepared(made)
    versions: dict[str, Callable[[], object]] = {
        "MetaViz, step alone": lambda: made.algorithm.meta_gradient(
            made.context(0, tasks, reading=False), meta
        ),
        "MetaViz, with all readings": lambda: made.algorithm.meta_gradient(
            made.context(0, tasks), meta
        ),
        "plain, all tasks in one batch": lambda: plain(weights, *given),
        "plain, task by task": lambda: task_by_task(weights, *given),
    }
    seconds: dict[str, list[float]] = {name: [] for name in versions}
    for lap in range(rounds + 1):
        for name, step in versions.items():
            began = time.perf_counter()
            step()
            if lap:  # the first loads what later ones find loaded
                seconds[name].append(time.perf_counter() - began)
    first = statistics.median(seconds["MetaViz, step alone"])
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        sys.stdout.write(f"{name:32} {1000 * middle:7.1f} ms  {middle / first:5.2f} x\n")


if __name__ == "__main__":
    main()
