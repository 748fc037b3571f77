"""A network that is nothing but its parameters."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metaviz.config.options import Options
from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.spec import register_net


class PointNet:
    """The identity as a network: the parameters are the output. Shapes: (tasks, 1, d)."""

    held: frozenset[str] = frozenset()
    running = Layout(())
    independent = False
    norm = None
    example_size = 0
    feature_shape = ()

    def __init__(self, start: list[float]) -> None:
        """Take the start of adaptation, which is also the dimension."""
        self.start = torch.tensor(start, dtype=torch.float64)
        self.layout = Layout((("point", (len(start),)),))

    def warps(self, *, residual: bool) -> Layout:
        """Return nothing: there are no layers to put warps between."""
        del residual
        return Layout(())

    def init(self, generator: torch.Generator) -> Tensor:
        """Return the given start."""
        del generator
        return self.start.clone()

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Refuse: there are no layers. Raises: ValueError."""
        raise ValueError("The quadratic problem has no network, and so no features.")

    def features_and_statistics(self, weights: Weights, x: Tensor) -> tuple[Tensor, Params]:
        """Refuse: there are no layers. Raises: ValueError."""
        return self.features(weights, x), {}

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return the parameters of each task."""
        del x, beside
        return self.layout.named(weights)["point"].unsqueeze(1)


class PointOptions(Options):
    """What a point is made of."""

    start: Annotated[list[float], Field(min_length=1)]


@register_net(PointOptions, id="point")
def point(options: PointOptions) -> PointNet:
    """Build a point."""
    return PointNet(options.start)
