"""Batches of tasks: everything that belongs to a task has a leading tasks axis."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Examples of several tasks.

    Shapes: x (tasks, n, *features), floating or 8-bit levels of images; y (tasks, n) class index
    or (tasks, n, d) target.
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        """Refuse examples and targets that do not belong together."""
        if self.x.shape[:2] != self.y.shape[:2]:
            raise ValueError(
                f"examples {tuple(self.x.shape)} and targets {tuple(self.y.shape)} must agree "
                "in their first two axes (tasks, n)"
            )

    def __len__(self) -> int:
        """Return the number of tasks."""
        return self.x.shape[0]

    def __getitem__(self, tasks: slice) -> "Batch":
        """Return some of the tasks."""
        return Batch(self.x[tasks], self.y[tasks])

    def joined(self, other: "Batch") -> "Batch":
        """Return the tasks of both, one after another."""
        return Batch(torch.cat([self.x, other.x]), torch.cat([self.y, other.y]))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Batch":
        """Move to a device; floating tensors change their type, class indices do not.

        Examples of 8-bit levels travel as they are and become numbers from 0 to 1 there.
        """
        y = self.y.to(device, dtype if self.y.is_floating_point() else None)
        x = self.x.to(device)
        if x.dtype == torch.uint8:
            return Batch(x.to(dtype).mul_(1 / 255), y)
        return Batch(x.to(dtype), y)


@dataclass(frozen=True)
class TaskBatch:
    """Support and query sets of several tasks."""

    support: Batch
    query: Batch

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.support)

    def __getitem__(self, tasks: slice) -> "TaskBatch":
        """Return some of the tasks."""
        return TaskBatch(self.support[tasks], self.query[tasks])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "TaskBatch":
        """Move both sets to a device and floating type."""
        return TaskBatch(self.support.to(device, dtype), self.query.to(device, dtype))
