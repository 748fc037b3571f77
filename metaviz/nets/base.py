"""What the engine asks of a network."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.normalisation import Norm

Activate = Callable[[Tensor], Tensor]
"""Maps what a layer's neurons receive, (tasks, n, neurons), to what they send."""


class Net(Protocol):
    """A function of (weights, inputs) whose weights and inputs have a leading tasks axis."""

    layout: Layout
    held: frozenset[str]
    """Tensors that inner steps leave where they are, though they are meta-learned."""
    running: Layout
    """What `features_and_statistics` tells of normalisation, empty where there is none to tell.

    Where such statistics are among the parameters of a call (as `norm1.mean`, ...), maps are
    normalised by these, so that no example's output depends on the others.
    """
    independent: bool
    """Whether its output for an example is the same whatever the other examples are."""

    @property
    def norm(self) -> Norm | None:
        """How it normalises maps, None where it does not."""

    @property
    def example_size(self) -> int:
        """How many numbers an example has."""

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """What the features of an example are: a map (C, H, W), flattened, or a vector (d,)."""

    def warps(self, *, residual: bool) -> Layout:
        """Return the weights of layers that can be put between those that adapt, all square.

        Where they are among the parameters of a call (as `warp1.weight`, ...) they are applied
        after each activation: linear, x -> T x + b, or residual, x -> x + V relu(U x + b).
        """

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw initial weights as a flat float64 vector of shape (P,)."""

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Return what the head, the last layer, sees: shape (tasks, n, features).

        Otherwise as a call. Raises: ValueError where there are no layers.
        """

    def features_and_statistics(self, weights: Weights, x: Tensor) -> tuple[Tensor, Params]:
        """Return the features, and the statistics of each normalisation by its batch.

        Shapes: means and unbiased variances (tasks, C), by the names of `running`.
        Raises: ValueError where there are no layers.
        """

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map weights, flat or by name, and x (tasks, n, *features) to outputs (tasks, n, d).

        A network that normalises by the support set takes the statistics of the examples `beside`
        (tasks, m, *features); others do not use them.
        """


def feature_count(net: Net) -> int:
    """Return how many features the head of a network sees."""
    return prod(net.feature_shape)


@runtime_checkable
class Layered(Net, Protocol):
    """A network whose hidden layers' activations can be others. A place of a map is a neuron."""

    neurons: tuple[int, ...]
    """How many neurons each of these layers has, the first layer first."""
    activation: Activate
    """What they apply."""

    def activated(self, activations: Mapping[int, Activate]) -> Self:
        """Return the same network with other activations, by the layer's number from 0.

        Where a network normalises by the examples `beside`, neurons receive those before the rest.
        """


@dataclass(frozen=True)
class Tap:
    """What goes into a layer and what comes out of it, before normalisation and activation.

    Shapes: inputs (tasks, n, places, i), of a convolution the patches, one place in a linear layer;
    outputs as the network goes on with them, so that what follows can be differentiated by them.
    """

    name: str
    inputs: Tensor
    outputs: Tensor
    bias: bool
    """Whether a constant is added to what the weights make of the inputs."""
    first: int = 0
    """How many examples, whose statistics alone are used, stand before those of the batch."""

    def arranged(self, values: Tensor) -> Tensor:
        """Return values that lie as `outputs` do as (tasks, n, places, o)."""
        tasks = len(self.inputs)
        if values.dim() == 3:  # noqa: PLR2004  (of a linear layer)
            return values.unsqueeze(2)
        maps = values.unflatten(1, (tasks, -1)).flatten(3)
        arranged: Tensor = maps.permute(1, 0, 3, 2)[:, self.first :]
        return arranged


@runtime_checkable
class Tapped(Net, Protocol):
    """A network that tells of its layers, like the curvature of a loss by their weights needs."""

    def layers(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Iterator[Tap]:
        """Yield each layer that has weights; the last one's outputs are the network's."""
