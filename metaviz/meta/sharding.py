"""Splitting a meta-batch over threads and into parts that fit into memory and caches."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from metaviz.meta.algorithm import Algorithm
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators.base import MetaStep

Item = TypeVar("Item")
Result = TypeVar("Result")


class Shards:
    """A few threads over which tasks are split. The split is fixed, so results are repeatable."""

    def __init__(self, count: int, together: int | None = None) -> None:
        """Use `count` threads; 1 computes in the calling thread.

        `together` is the most tasks that are one tensor batch, None for as many as there are.
        """
        self.count = count
        self.together = together
        self.alone = False
        """Whether one thread does all the work, so that no two parts take memory at a time."""
        # torch's thread count belongs to a thread: each must be set to use one.
        self._pool = (
            ThreadPoolExecutor(count, "metaviz-shard", torch.set_num_threads, (1,))
            if count > 1
            else None
        )

    def edges(self, tasks: int) -> list[int]:
        """Return where the parts of so many tasks begin, and where the last one ends.

        Parts are as equal as can be, and as many as keep every thread busy to the end.
        """
        parts = 1 if self.alone else min(self.count, tasks)
        if self.together is not None:
            parts *= -(-tasks // (parts * self.together))
        parts = min(parts, tasks)
        return [tasks * part // parts for part in range(parts + 1)]

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Apply a function to all items, in order."""
        if self._pool is None or self.alone:
            return [function(item) for item in items]
        return list(self._pool.map(function, items))

    def close(self) -> None:
        """Let the threads end."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def sharded_meta_gradient(
    algorithm: Algorithm, context: Context, meta: Meta, shards: Shards
) -> MetaStep:
    """Compute the meta-step of a batch in equal parts, some on each thread."""
    tasks = len(context.tasks)
    edges = [0, tasks] if algorithm.traits.sequential else shards.edges(tasks)
    if len(edges) == 2:  # noqa: PLR2004  (one part)
        return algorithm.meta_gradient(context, meta)
    spans = list(itertools.pairwise(edges))
    steps = shards.map(lambda span: algorithm.meta_gradient(*part_of(context, meta, span)), spans)
    return merge(steps, [end - start for start, end in spans])


def part_of(context: Context, meta: Meta, span: tuple[int, int]) -> tuple[Context, Meta]:
    """Return a call for some tasks, with their rows where each has meta-parameters of its own."""
    chosen = slice(*span)
    return context[chosen], {
        name: value[chosen] if has_rows(value) else value for name, value in meta.items()
    }


def has_rows(value: Tensor) -> bool:
    """Return whether a group of meta-parameters, or its gradient, has a row for each task."""
    return value.dim() > 1


def merge(steps: Sequence[MetaStep], sizes: Sequence[int]) -> MetaStep:
    """Join the meta-steps of parts of a batch; means are weighted by the number of tasks.

    So are derivatives of a part's mean with respect to rows: they become those of the whole mean.
    """
    if len(steps) == 1:
        return steps[0]
    total = sum(sizes)

    def mean(parts: list[Meta]) -> Meta:
        pairs = list(zip(parts, sizes, strict=True))
        weighted = {
            name: [part[name] * (size / total) for part, size in pairs] for name in parts[0]
        }
        return {
            name: torch.cat(values) if has_rows(values[0]) else torch.stack(values).sum(0)
            for name, values in weighted.items()
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
