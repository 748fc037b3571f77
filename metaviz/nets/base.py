"""What the engine asks of a network."""

from typing import Protocol

import torch
from torch import Tensor

from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.normalisation import Norm


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
