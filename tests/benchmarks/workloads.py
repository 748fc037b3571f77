"""The workloads of the benchmarks, and the whole meta-steps of runs on them.

A run's meta-step is the trainer's own, on tasks that are drawn beforehand.

`python -m tests.benchmarks.workloads WORKLOAD METHOD` prints the peak memory of a method, or of the
library `higher`, in MB.
"""

import json
import statistics
import subprocess
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol
from unittest.mock import patch

import torch

from metaviz.benchmarking.contestants import exercise_of
from metaviz.benchmarking.laps import CORES, LAP_SECONDS
from metaviz.benchmarking.memory import weigh
from metaviz.benchmarking.peers import PEERS
from metaviz.config.episodes import EpisodeShape
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.base import Net
from metaviz.nets.conv4 import Conv4
from metaviz.problems.base import Problem
from metaviz.problems.sinusoid import Sinusoid, SinusoidOptions
from metaviz.problems.strokes import Strokes, StrokesOptions
from metaviz.training import setting
from metaviz.training.meta_steps import MetaSteps

PEER = "higher"
READING = 10
"""Batches are read at every tenth step, as these problems have it."""


class Prepared:
    """A problem whose tasks are always the same, on a network of one's choice."""

    def __init__(self, problem: Problem, net: Net, tasks: TaskBatch, shards: int) -> None:
        self._problem, self._net, self._tasks, self.shards = problem, net, tasks, shards

    def __getattr__(self, name: str):
        return getattr(self._problem, name)

    def net(self) -> Net:
        return self._net

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        del split, first, count, shape
        return self._tasks


@dataclass(frozen=True)
class Workload:
    """Tasks, the network that is adapted to them, and the settings of runs."""

    name: str
    problem: Callable[[], tuple[Problem, Net, TaskBatch]]
    shared: Shared
    lap_seconds: float = LAP_SECONDS
    """How long steps are timed in a row."""

    def config(self, method: str, **options: float | str) -> RunConfig:
        """Return a run's configuration; its problem is replaced by the prepared one.

        A method may be written with options and an engine, like `reptile data=support`.
        """
        algorithm, *more = method.split()
        options |= dict(text.split("=") for text in more)
        engine = options.pop("engine", "eager")
        problem = "sinusoid" if self.name.startswith("sinusoid") else "strokes"
        shared = self.shared
        return RunConfig(
            problem=problem,
            algorithm=algorithm,
            seed=1,
            steps=1,
            device="cpu",
            engine=engine,
            shared=shared,
            options={"inner_lr": shared.inner_lr, "inner_steps": shared.inner_steps, **options},
        )

    def prepared(self, shards: int = CORES, dtype: torch.dtype = torch.float32) -> Problem:
        """Draw the tasks."""
        problem, net, tasks = self.problem()
        return Prepared(problem, net, tasks.to("cpu", dtype), shards)

    def run(self, method: str, shards: int = CORES, **options: float | str) -> MetaSteps:
        """Return the meta-steps of a run."""
        return MetaSteps(self.config(method, **options), self.prepared(shards))

    def peer(self) -> Callable[[], object]:
        """Return the meta-step of `higher`, in memory as its users have it."""
        with patch.object(setting, "keep_freed_memory"):
            exercise = exercise_of(self.run("maml").setting)
        return PEERS[PEER](exercise, torch.float32).step


def sinusoids(steps: int) -> Workload:
    """25 sinusoid tasks, MLP 40-40, 10 + 10 points."""
    shared = Shared(inner_lr=0.01, inner_steps=steps, reading_every=READING)

    def problem() -> tuple[Problem, Net, TaskBatch]:
        made = Sinusoid(SinusoidOptions(), shared, 0)
        return made, made.net(), made.tasks("train", 0, shared.meta_batch)

    return Workload(f"sinusoid, K = {steps}", problem, shared)


def images(
    side: int,
    channels: int,
    *,
    width: int = 64,
    tasks: int = 4,
    steps: int = 5,
    ways: int = 5,
    shots: int = 1,
    query: int = 15,
) -> Workload:
    """Episodes of noisy copies of random pictures, Conv4; 5-way 1-shot with 15 queries a class."""
    shared = Shared(
        inner_lr=0.4,
        outer_lr=1e-4,  # the same pictures again and again: nothing is to be learned
        inner_steps=steps,
        meta_batch=tasks,
        ways=ways,
        shots=shots,
        query_shots=query,
        reading_every=READING,
    )

    def problem() -> tuple[Problem, Net, TaskBatch]:
        made = Strokes(StrokesOptions(), shared, 0)
        return made, Conv4(width, ways, channels, side), pictures(side, channels, shared)

    # Threads that have slept while others were timed take tenths of a second to get up to speed.
    return Workload(f"{side}x{side}", problem, shared, lap_seconds=2.0)


def pictures(side: int, channels: int, shared: Shared) -> TaskBatch:
    """Draw episodes."""
    draw = torch.Generator().manual_seed(0)
    tasks, ways = shared.meta_batch, shared.ways
    means = torch.rand(tasks, ways, 1, channels, side, side, generator=draw)
    both = []
    for count in (shared.shots, shared.query_shots):
        noise = torch.randn(tasks, ways, count, channels, side, side, generator=draw)
        y = torch.arange(ways).repeat_interleave(count).expand(tasks, -1).contiguous()
        both.append(Batch((means + 0.5 * noise).flatten(1, 2), y))
    return TaskBatch(*both)


WORKLOADS = {
    workload.name: workload
    for workload in (sinusoids(1), sinusoids(5), images(28, 1), images(84, 3))
}


def number_of_rounds(text: str) -> int:
    """Read how many laps each contestant runs. Raises: ArgumentTypeError with one sentence."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a number of rounds: use 1 or more.")
    return int(text)


class Timed(Protocol):
    """What is timed: here, or in a process of its own."""

    seconds: list[float]
    trouble: str

    def warm_up(self) -> None:
        """Take a step that loads what later ones find loaded."""

    def lap(self) -> None:
        """Time some steps in a row."""


def laps(contestants: Collection[Timed], rounds: int) -> None:
    """Warm up and time all of them, lap by lap. Raises: SystemExit where one of them fails."""
    for contestant in contestants:
        contestant.warm_up()
    for _ in range(rounds):
        for contestant in contestants:
            contestant.lap()
    for contestant in contestants:
        if contestant.trouble:
            raise SystemExit(contestant.trouble)


def median_ms(contestant: Timed) -> float:
    """Return the median milliseconds of one step."""
    return 1e3 * statistics.median(contestant.seconds)


def peak_mb(workload: str, method: str, **sizes: int) -> float | None:
    """Return the peak memory of a method, or of `higher`, in a process of its own.

    With `sizes` the workload is that of `images` with these.
    """
    command = [sys.executable, "-m", "tests.benchmarks.workloads", workload, method]
    told = subprocess.run(
        [*command, json.dumps(sizes)], capture_output=True, text=True, check=True, timeout=1200
    )
    return json.loads(told.stdout)


def main() -> None:
    """Print the peak memory of one method."""
    torch.set_num_threads(1)
    name, method, sizes = (*sys.argv[1:], "{}")[:3]
    workload = images(**json.loads(sizes)) if sizes != "{}" else WORKLOADS[name]
    step = workload.peer() if method == PEER else workload.run(method)
    print(json.dumps(weigh(step, torch.device("cpu"))))


if __name__ == "__main__":
    main()
