"""Splitting a meta-batch over threads; each thread's share is one tensor batch of its own."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from metaviz.meta.algorithm import Algorithm
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.learner import Learner
from metaviz.meta.rules import Meta
from metaviz.meta.tasks import TaskBatch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Shards:
    """A few threads over which tasks are split. The split is fixed, so results are repeatable."""

    def __init__(self, count: int) -> None:
        """Use `count` threads; 1 computes in the calling thread."""
        self.count = count
        # torch's thread count belongs to a thread: each must be told to use one.
        self._pool = (
            ThreadPoolExecutor(count, "metaviz-shard", torch.set_num_threads, (1,))
            if count > 1
            else None
        )

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Apply a function to all items, in order."""
        if self._pool is None:
            return [function(item) for item in items]
        return list(self._pool.map(function, items))

    def close(self) -> None:
        """Let the threads end."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def sharded_meta_gradient(
    algorithm: Algorithm,
    learner: Learner,
    meta: Meta,
    tasks: TaskBatch,
    seed: int,
    shards: Shards,
) -> MetaStep:
    """Compute the meta-step of a batch in equal parts, one per thread.

    `seed` addresses the estimator's own random numbers (minibatches), one stream per part.
    """
    count = 1 if algorithm.sequential else min(shards.count, len(tasks))
    edges = [len(tasks) * part // count for part in range(count + 1)]

    def one(part: int) -> MetaStep:
        generator = torch.Generator().manual_seed(seed + part)
        share = tasks[edges[part] : edges[part + 1]] if count > 1 else tasks
        return algorithm.meta_gradient(learner, meta, share, generator)

    return merge(shards.map(one, range(count)), [edges[i + 1] - edges[i] for i in range(count)])


def merge(steps: Sequence[MetaStep], sizes: Sequence[int]) -> MetaStep:
    """Join the meta-steps of parts of a batch; means are weighted by the number of tasks."""
    if len(steps) == 1:
        return steps[0]
    total = sum(sizes)

    def mean(parts: list[Meta]) -> Meta:
        pairs = list(zip(parts, sizes, strict=True))
        return {
            name: torch.stack([part[name] * (size / total) for part, size in pairs]).sum(0)
            for name in parts[0]
        }

    first = steps[0]
    return MetaStep(
        mean([step.gradients for step in steps]),
        {name: torch.cat([step.readings[name] for step in steps]) for name in first.readings},
        torch.cat([step.support_loss for step in steps], 1),
        torch.cat([step.gradient_norm for step in steps], 1),
        first.gradient_evaluations,
        first.hessian_vector_products,
        {text: torch.cat([step.warnings[text] for step in steps]) for text in first.warnings},
        mean([step.replaced for step in steps]),
    )
