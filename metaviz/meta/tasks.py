"""Batches of tasks: everything that belongs to a task has a leading tasks axis."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

PARTS = ("x", "y", "beside", "classes")
"""The tensors of a batch, of which the last two may be absent."""
_WITH_ROUNDS = 4
"""Axes of targets that have one of rounds; class indices have one less."""


@dataclass(frozen=True)
class Batch:
    """Examples of several tasks.

    Shapes: x (tasks, n, *features), floating or 8-bit levels of images; y (tasks, n) class index
    or (tasks, n, d) target; beside (tasks, m, *features), of x's type, examples whose statistics
    a network that normalises by the support set uses; without them it uses those of x; classes
    (tasks, ways), of a support set of training classes: their numbers among all, where problems
    tell them.
    Where there are `rounds`, each inner step sees another one: x is (tasks, n, rounds, *features),
    and y either serves all of them or has the axis, too: (tasks, n, rounds) class indices or
    (tasks, n, rounds, d) targets. `at` returns one round; whoever does not choose sees the first.
    """

    x: Tensor
    y: Tensor
    beside: Tensor | None = None
    classes: Tensor | None = None
    rounds: int = 1

    def __post_init__(self) -> None:
        """Refuse examples, targets and examples beside them that do not belong together."""
        if self.rounds > 1 and self.x.shape[2:3] != (self.rounds,):
            raise ValueError(
                f"examples {tuple(self.x.shape)} of {self.rounds} rounds must have a round for "
                "each place of their third axis (tasks, n, rounds, *features)"
            )
        if self.x.shape[:2] != self.y.shape[:2]:
            raise ValueError(
                f"examples {tuple(self.x.shape)} and targets {tuple(self.y.shape)} must agree "
                "in their first two axes (tasks, n)"
            )
        beside = self.beside
        if beside is not None and (
            beside.shape[:1] != self.x.shape[:1] or beside.shape[2:] != self.x.shape[2:]
        ):
            raise ValueError(
                f"examples {tuple(self.x.shape)} and those beside them {tuple(beside.shape)} must "
                "agree in all axes but the second (tasks, n, *features)"
            )

    def __len__(self) -> int:
        """Return the number of tasks."""
        return self.x.shape[0]

    def __getitem__(self, tasks: slice | Tensor) -> "Batch":
        """Return some of the tasks."""
        return self._mapped(lambda value: value[tasks])

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """Return a batch whose every tensor is changed."""
        changed: dict[str, Any] = {
            name: None if (value := getattr(self, name)) is None else change(value)
            for name in PARTS
        }
        return Batch(**changed, rounds=self.rounds)

    def at(self, k: int) -> "Batch":
        """Return what inner step k sees: round k % rounds, as a batch without rounds."""
        if self.rounds == 1:
            return self
        place = k % self.rounds
        y = self.y
        if y.dim() == (_WITH_ROUNDS if y.is_floating_point() else _WITH_ROUNDS - 1):
            y = y[:, :, place].contiguous()
        return replace(self, x=self.x[:, :, place].contiguous(), y=y, rounds=1)

    def examples(self, chosen: slice | Tensor) -> "Batch":
        """Return some of the examples of every task; what is beside them stays."""
        return replace(self, x=self.x[:, chosen], y=self.y[:, chosen])

    def chosen(self, places: Tensor) -> "Batch":
        """Return examples (tasks, m) of each task; what is beside them stays."""
        tasks, examples = self.x.shape[:2]
        first = torch.arange(0, tasks * examples, examples, device=places.device).unsqueeze(1)
        flat, shape = (first + places).flatten(), tuple(places.shape)

        def of(values: Tensor) -> Tensor:
            # Several times as fast as indexing by two tensors.
            return values.flatten(0, 1).index_select(0, flat).view(*shape, *values.shape[2:])

        return replace(self, x=of(self.x), y=of(self.y))

    def repeated(self, count: int) -> "Batch":
        """Return a batch of one task as that of `count` tasks, all alike."""
        return self._mapped(lambda value: value.expand(count, *value.shape[1:]))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Batch":
        """Move to a device; floating tensors change their type, class indices do not.

        Examples of 8-bit levels travel as they are and become numbers from 0 to 1 there.
        """
        y = self.y.to(device, dtype if self.y.is_floating_point() else None)
        beside = None if self.beside is None else _numbers(self.beside, device, dtype)
        classes = None if self.classes is None else self.classes.to(device)
        return Batch(_numbers(self.x, device, dtype), y, beside, classes, self.rounds)


def _numbers(x: Tensor, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    if x.dtype == torch.uint8:  # a quarter of what travels
        return x.to(device).to(dtype).mul_(1 / 255)
    return x.to(device, dtype)


@dataclass(frozen=True)
class TaskBatch:
    """Support and query sets of several tasks.

    Where a method asks for them, `plain` are examples of all training classes beside each task, y
    their numbers among these.
    """

    support: Batch
    query: Batch
    plain: Batch | None = None

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.support)

    def __getitem__(self, tasks: slice | Tensor) -> "TaskBatch":
        """Return some of the tasks."""
        plain = None if self.plain is None else self.plain[tasks]
        return TaskBatch(self.support[tasks], self.query[tasks], plain)

    def beside_support(self) -> "TaskBatch":
        """Return the same tasks with the support examples beside each query set."""
        return replace(self, query=replace(self.query, beside=self.support.x))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "TaskBatch":
        """Move both sets to a device and floating type; what they share is moved once."""
        support = self.support.to(device, dtype)
        plain = None if self.plain is None else self.plain.to(device, dtype)
        if self.query.beside is not self.support.x:
            return TaskBatch(support, self.query.to(device, dtype), plain)
        alone = replace(self.query, beside=None)
        return TaskBatch(support, alone.to(device, dtype), plain).beside_support()


def joined(batches: Sequence[TaskBatch]) -> TaskBatch:
    """Return the tasks of several batches, of tasks alike, as one batch."""
    support = _joined([batch.support for batch in batches])
    query = _joined([batch.query for batch in batches])
    plain = [batch.plain for batch in batches if batch.plain is not None]
    return TaskBatch(support, query, _joined(plain) if plain else None)


def _joined(batches: Sequence[Batch]) -> Batch:
    found: dict[str, Any] = {}
    for name in PARTS:
        values = [getattr(batch, name) for batch in batches]
        found[name] = None if any(value is None for value in values) else torch.cat(values)
    return Batch(**found, rounds=batches[0].rounds)
