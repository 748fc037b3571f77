"""What the engine asks of a network."""

from typing import Protocol

import torch
from torch import Tensor

from metaviz.meta.layout import Layout, Params


class Net(Protocol):
    """A function of (weights, inputs) whose weights and inputs have a leading tasks axis."""

    layout: Layout

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw initial weights as a flat float64 vector of shape (P,)."""

    def __call__(self, params: Params, x: Tensor) -> Tensor:
        """Map params (tasks, *shape) and x (tasks, n, *features) to outputs (tasks, n, d)."""
