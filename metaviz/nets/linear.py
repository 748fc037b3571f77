"""One linear layer on given features."""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor

from metaviz.config.options import Options
from metaviz.nets.base import Tap
from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.spec import register_net


class Linear:
    """Logits W x (+ b) of features x; it begins at zero, so that no class is preferred.

    What its head sees are the inputs as they are.
    """

    held: frozenset[str] = frozenset()
    running = Layout(())
    independent = True
    norm = None

    def __init__(self, inputs: int, ways: int, *, bias: bool = True) -> None:
        """Build for so many features and classes."""
        self.example_size = inputs
        self.feature_shape: tuple[int, ...] = (inputs,)
        shapes: list[tuple[str, tuple[int, ...]]] = [("head.weight", (ways, inputs))]
        if bias:
            shapes.append(("head.bias", (ways,)))
        self.layout = Layout(tuple(shapes))

    def warps(self, *, residual: bool) -> Layout:
        """Return nothing: there are no layers to put warps between."""
        del residual
        return Layout(())

    def init(self, generator: torch.Generator) -> Tensor:
        """Return zeros."""
        del generator
        return torch.zeros(self.layout.size, dtype=torch.float64)

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return the inputs."""
        del weights, beside
        return x

    def features_and_statistics(self, weights: Weights, x: Tensor) -> tuple[Tensor, Params]:
        """Return the inputs, and no statistics."""
        return self.features(weights, x), {}

    def layers(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Iterator[Tap]:
        """Yield the layer."""
        yield Tap("head", x.unsqueeze(2), self(weights, x, beside), len(self.layout.shapes) > 1)

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map x (tasks, n, inputs) to logits (tasks, n, ways)."""
        del beside
        params = self.layout.for_tasks(weights, x.shape[0])
        bias = params.get("head.bias")
        logits = x @ params["head.weight"].mT
        return logits if bias is None else logits + bias.unsqueeze(1)


class LinearOptions(Options):
    """What a linear layer is made of."""

    inputs: int = Field(ge=1)
    ways: int = Field(ge=1)
    bias: bool


@register_net(LinearOptions, id="linear")
def linear(options: LinearOptions) -> Linear:
    """Build a linear layer."""
    return Linear(options.inputs, options.ways, bias=options.bias)
