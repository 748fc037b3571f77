"""The identity as an embedding: examples are vectors already."""

import torch
from pydantic import Field
from torch import Tensor

from metaviz.config.options import Options
from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.spec import register_net


class Identity:
    """A network without weights, whose features and outputs are the examples, flattened."""

    held: frozenset[str] = frozenset()
    independent = True
    norm = None
    layout = Layout(())
    running = Layout(())

    def __init__(self, size: int) -> None:
        """Take how many numbers an example has."""
        self.example_size = size
        self.feature_shape = (size,)

    def warps(self, *, residual: bool) -> Layout:
        """Return nothing: there are no layers to put warps between."""
        del residual
        return Layout(())

    def init(self, generator: torch.Generator) -> Tensor:
        """Return no weights, shape (0,)."""
        del generator
        return torch.empty(0, dtype=torch.float64)

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map x (tasks, n, ...) to itself, (tasks, n, size)."""
        del weights, beside
        return x.flatten(2)

    def features_and_statistics(self, weights: Weights, x: Tensor) -> tuple[Tensor, Params]:
        """Return the features, and no statistics."""
        return self.features(weights, x), {}

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return the features: there is no head."""
        return self.features(weights, x, beside)


class IdentityOptions(Options):
    """What the identity is made of."""

    size: int = Field(ge=1)


@register_net(IdentityOptions, id="identity")
def identity(options: IdentityOptions) -> Identity:
    """Build the identity."""
    return Identity(options.size)
