"""A method's own random numbers: they belong to tasks, whatever parts a batch is computed in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Uniforms = Callable[[str, int, int, int], np.ndarray]
"""Numbers in [0, 1) for (purpose, first task, tasks, numbers of each), shape (tasks, numbers).

Those of a task depend on neither the first task nor the number of tasks.
"""


@dataclass(frozen=True)
class Draws:
    """Random numbers of every task of a batch, drawn when they are asked for.

    `parts` are streams and the numbers of the tasks that each has in this batch; seeds
    that are computed together have a stream each.
    """

    parts: tuple[tuple[Uniforms, Sequence[int]], ...]

    def __getitem__(self, tasks: slice) -> "Draws":
        """Return those of some tasks, one after another."""
        first, last, step = tasks.indices(sum(len(numbers) for _, numbers in self.parts))
        if step != 1:
            raise ValueError("Draws are those of tasks that follow one another.")
        kept = []
        for stream, numbers in self.parts:
            kept.append((stream, numbers[max(first, 0) : max(last, 0)]))
            first, last = first - len(numbers), last - len(numbers)
        return Draws(tuple(kept))

    def of(self, purpose: str, k: int, count: int) -> np.ndarray:
        """Return number k of the draws for a purpose: numbers in [0, 1), shape (tasks, count).

        `count` must be the same in every call for one purpose.
        """
        found = []
        for stream, numbers in self.parts:
            if numbers:
                first = min(numbers)
                drawn = stream(f"{purpose} {k}", first, max(numbers) - first + 1, count)
                if not isinstance(numbers, range):
                    drawn = drawn[np.array(numbers) - first]
                found.append(drawn)
        return found[0] if len(found) == 1 else np.concatenate(found)


def joined_draws(batches: Sequence[Draws]) -> Draws:
    """Return the draws of the tasks of several batches, one after another."""
    return Draws(tuple(part for batch in batches for part in batch.parts))
