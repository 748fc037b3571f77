"""Meta-steps per second of second-order MAML, side by side with the `higher` library.

Both get the same weights and tasks; their float64 meta-gradients are compared first. Ours is the
step that a run takes: meta-gradient, all recorded readings, and Adam. Theirs is the plain loop of
their examples, meta-gradient and Adam. Rounds are interleaved, so that a busy machine slows both;
each library is tried with one and with all OpenMP threads, ours also with one worker thread per
core, and the best setting of each counts.

Run as `python -m tests.benchmarks.against_higher [--rounds 7] [--only sinusoid]`.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import higher
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from metaviz.algorithms.registry import find_algorithm
from metaviz.config import Shared
from metaviz.meta.algorithm import Algorithm
from metaviz.meta.learner import Learner
from metaviz.meta.sharding import Shards, sharded_meta_gradient
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.conv4 import Conv4
from metaviz.problems.base import classification_accuracy, concatenated, cross_entropy
from metaviz.problems.sinusoid import Sinusoid, SinusoidOptions

CORES = os.cpu_count() or 1
TOLERANCE = 1e-9
Loss = Callable[[Tensor, Tensor], Tensor]
Step = Callable[[], object]


class Episodes:
    """Judges classification episodes."""

    has_accuracy = True
    remarks: tuple[str, ...] = ()
    loss = staticmethod(cross_entropy)
    accuracy = staticmethod(classification_accuracy)
    pool = staticmethod(concatenated)


@dataclass(frozen=True)
class Workload:
    """Tasks, our network and theirs, and how both are trained."""

    name: str
    learner: Learner
    tasks: TaskBatch
    module: Callable[[], nn.Module]
    loss: Loss
    rate: float
    steps: int
    wanted: float
    repeats: int

    def algorithm(self) -> Algorithm:
        """Build second-order MAML."""
        return find_algorithm("maml").build({}, Shared(inner_lr=self.rate, inner_steps=self.steps))

    def weights(self) -> Tensor:
        """Draw initial weights."""
        return self.learner.net.init(torch.Generator().manual_seed(1))


def sinusoids(steps: int, wanted: float) -> Workload:
    """25 sinusoid tasks, MLP 40-40, 10 + 10 points."""
    problem = Sinusoid(SinusoidOptions(), Shared(), 0)

    def module() -> nn.Module:
        widths = (nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
        return nn.Sequential(*widths)

    learner = Learner(problem.net(), problem)
    tasks = problem.tasks("train", 0, 25)
    name = f"sinusoid, 25 tasks, K = {steps}"
    return Workload(name, learner, tasks, module, nn.functional.mse_loss, 0.01, steps, wanted, 20)


def images(side: int, channels: int, wanted: float) -> Workload:
    """4 episodes, 5-way 1-shot, 15 queries a class, of noisy copies of random pictures."""
    draw = torch.Generator().manual_seed(0)
    means = torch.rand(4, 5, 1, channels, side, side, generator=draw)
    both = []
    for count in (1, 15):
        noise = torch.randn(4, 5, count, channels, side, side, generator=draw)
        y = torch.arange(5).repeat_interleave(count).expand(4, -1).contiguous()
        both.append(Batch((means + 0.5 * noise).flatten(1, 2), y))

    def module() -> nn.Module:
        layers: list[nn.Module] = []
        for inputs in (channels, 64, 64, 64):
            norm = nn.BatchNorm2d(64, track_running_stats=False)
            layers += [nn.Conv2d(inputs, 64, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * (side // 16) ** 2, 5))

    learner = Learner(Conv4(64, 5, channels, side), Episodes())
    name = f"Conv4-64 {side}x{side}, 5-way 1-shot, 4 tasks, K = 5"
    loss = nn.functional.cross_entropy
    return Workload(name, learner, TaskBatch(*both), module, loss, 0.4, 5, wanted, 1)


def ours(workload: Workload, shards: Shards, dtype: torch.dtype) -> tuple[Step, Tensor]:
    """Return one whole meta-step and the start that it moves."""
    algorithm, tasks = workload.algorithm(), workload.tasks.to("cpu", dtype)
    start = workload.weights().to(dtype).requires_grad_()
    adam = torch.optim.Adam([start], lr=1e-3, fused=True)

    def step() -> None:
        meta = {"init": start.detach()}
        result = sharded_meta_gradient(algorithm, workload.learner, meta, tasks, 0, shards)
        start.grad = result.gradients["init"]
        torch.stack([value.mean() for value in result.readings.values()]).tolist()
        adam.step()

    return step, start


def theirs(workload: Workload, dtype: torch.dtype) -> tuple[Step, nn.Module]:
    """Return one whole meta-step and the module that it trains."""
    model = workload.module().to(dtype)
    params = workload.learner.net.layout.split(workload.weights().to(dtype))
    with torch.no_grad():
        for mine, given in zip(model.parameters(), params.values(), strict=True):
            mine.copy_(given)
    inner = torch.optim.SGD(model.parameters(), lr=workload.rate)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    tasks = workload.tasks.to("cpu", dtype)
    support, query = tasks.support, tasks.query

    def step() -> None:
        adam.zero_grad()
        for task in range(len(tasks)):
            with higher.innerloop_ctx(model, inner, copy_initial_weights=False) as (fast, descent):
                for _ in range(workload.steps):
                    descent.step(workload.loss(fast(support.x[task]), support.y[task]))
                loss = workload.loss(fast(query.x[task]), query.y[task])
                (loss / len(tasks)).backward()
        adam.step()

    return step, model


def disagreement(workload: Workload) -> float:
    """Return the relative distance of the float64 meta-gradients."""
    mine, start = ours(workload, Shards(1), torch.float64)
    other, model = theirs(workload, torch.float64)
    mine()
    other()
    layout = workload.learner.net.layout
    named = zip(layout.shapes, model.parameters(), strict=True)
    gradient = layout.join({name: weight.grad for (name, _), weight in named})
    return float((start.grad - gradient).norm() / gradient.norm())


def milliseconds(step: Step, repeats: int, threads: int) -> float:
    """Time one step, as the mean of some in a row."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - began) / repeats * 1e3


def measure(workload: Workload, rounds: int) -> dict[tuple[str, str], float]:
    """Return the median milliseconds of each side and setting."""
    single = torch.float32
    theirs_step, _ = theirs(workload, single)
    settings: dict[tuple[str, str], tuple[Step, int]] = {
        ("higher", "1 thread"): (theirs_step, 1),
        ("higher", f"{CORES} OpenMP threads"): (theirs_step, CORES),
        ("MetaViz", "1 thread"): (ours(workload, Shards(1), single)[0], 1),
        ("MetaViz", f"{CORES} worker threads"): (ours(workload, Shards(CORES), single)[0], 1),
    }
    times: dict[tuple[str, str], list[float]] = {key: [] for key in settings}
    for lap in range(rounds + 1):
        for key, (step, threads) in settings.items():
            taken = milliseconds(step, workload.repeats, threads)
            if lap:
                times[key].append(taken)
    return {key: statistics.median(values) for key, values in times.items()}


def best(times: dict[tuple[str, str], float], side: str) -> tuple[str, float]:
    """Return the faster setting of a side."""
    found = {setting: value for (name, setting), value in times.items() if name == side}
    setting = min(found, key=lambda name: found[name])
    return setting, found[setting]


def compare(workloads: Sequence[Workload], rounds: int) -> Table:
    """Measure every workload and return the table."""
    table = Table("workload", "higher ms", "MetaViz ms", "ratio", "wanted", "gradients differ by")
    for workload in workloads:
        apart = disagreement(workload)
        if apart > TOLERANCE:
            raise SystemExit(f"{workload.name}: the meta-gradients differ by {apart:.1e}")
        times = measure(workload, rounds)
        (their_setting, their_time), (our_setting, our_time) = (
            best(times, side) for side in ("higher", "MetaViz")
        )
        table.add_row(
            workload.name,
            f"{their_time:.4g} ({their_setting})",
            f"{our_time:.4g} ({our_setting})",
            f"{their_time / our_time:.2f}x",
            f"{workload.wanted:g}x",
            f"{apart:.0e}",
        )
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="sinusoid, 28x28 or 84x84")
    arguments = parser.parse_args()
    workloads = [sinusoids(1, 20), sinusoids(5, 10), images(28, 1, 1.2)]
    if arguments.only == "84x84":
        workloads.append(images(84, 3, 1.2))
    chosen = [workload for workload in workloads if arguments.only in workload.name]
    console = Console(width=140)
    console.print(f"torch {torch.__version__}, {CORES} cores, load {os.getloadavg()[0]:.1f}")
    console.print(compare(chosen, arguments.rounds))


if __name__ == "__main__":
    main()
