"""Time a second-order MAML meta-step of Conv4-64 against the `higher` library.

Run as `python tests/benchmarks/conv4_against_higher.py [--image 84 --channels 3 --rounds 5]`.
Both sides get the same weights and tasks, their meta-gradients are compared first, and the
measurements of all settings are interleaved, so that a busy machine slows every one of them.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import higher
import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.autograd import grad

from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.conv4 import Conv4

RATE = 0.4
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Workload:
    """Sizes of one meta-step."""

    image: int = 28
    channels: int = 1
    ways: int = 5
    shots: int = 1
    queries: int = 15
    tasks: int = 4
    steps: int = 5

    def draw(self, dtype: torch.dtype) -> TaskBatch:
        """Draw tasks whose classes are noisy copies of one random picture each."""
        generator = torch.Generator().manual_seed(0)
        size = (self.channels, self.image, self.image)
        means = torch.rand(self.tasks, self.ways, 1, *size, generator=generator)
        both = []
        for count in (self.shots, self.queries):
            noise = torch.randn(self.tasks, self.ways, count, *size, generator=generator)
            y = torch.arange(self.ways).repeat_interleave(count).expand(self.tasks, -1)
            both.append(Batch((means + 0.5 * noise).flatten(1, 2).to(dtype), y))
        return TaskBatch(*both)


def task_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of every task, summed over the tasks."""
    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]


def shard_gradient(net: Conv4, theta: Tensor, steps: int, tasks: TaskBatch) -> Tensor:
    """Meta-gradient of second-order MAML, summed over some tasks."""
    theta = theta.detach().requires_grad_()
    phi = theta.expand(len(tasks), -1)
    for _ in range(steps):
        loss = task_losses(net(net.layout.split(phi), tasks.support.x), tasks.support.y)
        (slope,) = grad(loss, phi, create_graph=True)
        phi = phi - RATE * slope
    loss = task_losses(net(net.layout.split(phi), tasks.query.x), tasks.query.y)
    return grad(loss, theta)[0]


def metaviz_gradient(
    net: Conv4, theta: Tensor, steps: int, tasks: TaskBatch, pool: ThreadPoolExecutor, shard: int
) -> Tensor:
    """Meta-gradient averaged over tasks, computed in shards on the threads of a pool."""
    shards = [tasks[start : start + shard] for start in range(0, len(tasks), shard)]
    gradients = pool.map(partial(shard_gradient, net, theta, steps), shards)
    return torch.stack(list(gradients)).sum(0) / len(tasks)


def module(net: Conv4, theta: Tensor, workload: Workload) -> nn.Sequential:
    """Build the same net from PyTorch's own modules with the same weights."""
    layers: list[nn.Module] = []
    inputs = workload.channels
    for _ in range(4):
        layers += [nn.Conv2d(inputs, net.channels, 3, padding=1)]
        layers += [nn.BatchNorm2d(net.channels, track_running_stats=False), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
        inputs = net.channels
    features = net.channels * (workload.image // 16) ** 2
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, net.ways)).to(theta.dtype)
    nn.utils.vector_to_parameters(theta, model.parameters())
    return model


def higher_gradient(model: nn.Module, steps: int, tasks: TaskBatch) -> Tensor:
    """Meta-gradient averaged over tasks, as the examples of `higher` compute it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    model.zero_grad()
    support, query = tasks.support, tasks.query
    for task in range(len(tasks)):
        with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (fast, inner):
            for _ in range(steps):
                inner.step(F.cross_entropy(fast(support.x[task]), support.y[task]))
            F.cross_entropy(fast(query.x[task]), query.y[task]).backward()
    slopes = [weight.grad for weight in model.parameters() if weight.grad is not None]
    return torch.cat([slope.flatten() for slope in slopes]) / len(tasks)


def higher_in_threads(
    models: Sequence[nn.Module], steps: int, tasks: TaskBatch, pool: ThreadPoolExecutor
) -> Tensor:
    """Meta-gradient with `higher`, one copy of the model and an equal share of tasks a thread."""
    share = len(tasks) // len(models)
    shares = [tasks[start : start + share] for start in range(0, len(tasks), share)]
    gradients = pool.map(higher_gradient, models, [steps] * len(models), shares)
    return torch.stack(list(gradients)).mean(0)


def milliseconds(step: Callable[[], Tensor], threads: int) -> float:
    """Time one call with this number of OpenMP threads."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) * 1e3


def disagreement(
    net: Conv4, workload: Workload, dtype: torch.dtype, pool: ThreadPoolExecutor
) -> float:
    """Relative distance between the two meta-gradients."""
    theta = net.init(torch.Generator().manual_seed(1)).to(dtype)
    tasks = workload.draw(dtype)
    theirs = higher_gradient(module(net, theta, workload), workload.steps, tasks)
    ours = metaviz_gradient(net, theta, workload.steps, tasks, pool, 1)
    return float((ours - theirs).norm() / theirs.norm())


def main() -> None:
    """Compare the gradients, then time every setting and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    workload = Workload(image=arguments.image, channels=arguments.channels)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    net = Conv4(image=workload.image, in_channels=workload.channels, ways=workload.ways)
    theta = net.init(torch.Generator().manual_seed(1)).float()
    tasks = workload.draw(torch.float32)
    model = module(net, theta, workload)
    alone = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(cores,))
    pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))

    def ours(workers: ThreadPoolExecutor, shard: int) -> Callable[[], Tensor]:
        return partial(metaviz_gradient, net, theta, workload.steps, tasks, workers, shard)

    theirs = partial(higher_gradient, model, workload.steps, tasks)
    models = [module(net, theta, workload) for _ in range(cores)]
    theirs_in_threads = partial(higher_in_threads, models, workload.steps, tasks, pool)
    settings: dict[str, tuple[Callable[[], Tensor], int]] = {
        f"higher, {cores} OpenMP threads": (theirs, cores),
        "higher, 1 OpenMP thread": (theirs, 1),
        f"higher, {cores} workers with a model each": (theirs_in_threads, 1),
        f"MetaViz, all tasks at once, {cores} OpenMP threads": (ours(alone, len(tasks)), cores),
        f"MetaViz, {cores} workers, shards of 2 tasks": (ours(pool, 2), 1),
        f"MetaViz, {cores} workers, shards of 1 task": (ours(pool, 1), 1),
    }
    console = Console()
    exact = disagreement(net, workload, torch.float64, pool)
    console.print(f"{workload}\nrelative distance of meta-gradients in float64: {exact:.1e}")
    if exact > TOLERANCE:
        raise SystemExit("the two meta-gradients differ, so their times mean nothing")
    times: dict[str, list[float]] = {name: [] for name in settings}
    for step, threads in settings.values():
        milliseconds(step, threads)
    for _ in range(arguments.rounds):
        for name, (step, threads) in settings.items():
            times[name].append(milliseconds(step, threads))
    best = min(statistics.median(t) for name, t in times.items() if name.startswith("higher"))
    table = Table("setting", "median ms", "least ms", "speed over best higher")
    for name, t in times.items():
        middle = statistics.median(t)
        table.add_row(name, f"{middle:.0f}", f"{min(t):.0f}", f"{best / middle:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
