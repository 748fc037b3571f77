"""Fully connected networks with a tasks axis."""

from collections.abc import Iterator, Mapping
from copy import copy
from itertools import pairwise
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from metaviz.config.options import Options
from metaviz.nets.base import Activate, Tap
from metaviz.nets.layout import Layout, Params, Weights
from metaviz.nets.spec import register_net

ACTIVATIONS: dict[str, Activate] = {"relu": torch.relu, "tanh": torch.tanh}


class MLP:
    """Linear layers with an activation between them; one product per layer for all tasks.

    Initialisation: uniform in +-1/sqrt(fan in) for weights and biases, PyTorch's default for
    linear layers. Source of the sinusoid net 1-40-40-1: Finn et al. 2017, section 5.1.
    """

    held: frozenset[str] = frozenset()
    running = Layout(())
    independent = True
    norm = None

    def __init__(self, widths: tuple[int, ...], activation: str = "relu") -> None:
        """Build from layer widths, inputs first and outputs last."""
        self.widths = widths
        self.example_size = widths[0]
        self.feature_shape = widths[-2:-1]
        self.neurons = widths[1:-1]
        self.activation = ACTIVATIONS[activation]
        self.others: Mapping[int, Activate] = {}
        self.layout = Layout(
            tuple(
                entry
                for layer, (fan_in, fan_out) in enumerate(pairwise(widths), 1)
                for entry in (
                    (f"layer{layer}.weight", (fan_out, fan_in)),
                    (f"layer{layer}.bias", (fan_out,)),
                )
            )
        )

    def warps(self, *, residual: bool) -> Layout:
        """Return one square layer after each hidden activation."""
        shapes: list[tuple[str, tuple[int, ...]]] = []
        for layer, width in enumerate(self.widths[1:-1], 1):
            shapes += [(f"warp{layer}.weight", (width, width)), (f"warp{layer}.bias", (width,))]
            if residual:
                shapes.append((f"warp{layer}.back", (width, width)))
        return Layout(tuple(shapes))

    def merged(self, params: Params) -> Params:
        """Return weights (tasks, *shape) that compute the same without linear warps.

        A warp T x + c is taken into the layer after it: W becomes W T and b becomes W c + b.
        """
        plain = {name: params[name] for name, _ in self.layout.shapes}
        for layer in range(1, len(self.widths) - 1):
            weight, bias = (params[f"layer{layer + 1}.{kind}"] for kind in ("weight", "bias"))
            shift = (weight @ params[f"warp{layer}.bias"].unsqueeze(-1)).squeeze(-1)
            plain[f"layer{layer + 1}.weight"] = weight @ params[f"warp{layer}.weight"]
            plain[f"layer{layer + 1}.bias"] = bias + shift
        return plain

    def activated(self, activations: Mapping[int, Activate]) -> Self:
        """Return the same network with other activations, by the layer's number from 0."""
        other = copy(self)
        other.others = activations
        return other

    def init(self, generator: torch.Generator) -> Tensor:
        """Draw initial weights, shape (P,), float64."""
        params: Params = {}
        for layer, (fan_in, fan_out) in enumerate(pairwise(self.widths), 1):
            draw = torch.rand(fan_in * fan_out + fan_out, generator=generator, dtype=torch.float64)
            draw = (2 * draw - 1) * fan_in**-0.5
            weight, bias = draw.split([fan_in * fan_out, fan_out])
            params[f"layer{layer}.weight"] = weight.reshape(fan_out, fan_in)
            params[f"layer{layer}.bias"] = bias
        return self.layout.join(params)

    def __call__(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map x (tasks, n, inputs) to (tasks, n, outputs)."""
        del beside
        return self._applied(weights, x, len(self.widths) - 1)

    def features(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map x (tasks, n, inputs) to what the last layer sees (tasks, n, features)."""
        del beside
        return self._applied(weights, x, len(self.widths) - 2)

    def features_and_statistics(self, weights: Weights, x: Tensor) -> tuple[Tensor, Params]:
        """Return the features, and no statistics."""
        return self.features(weights, x), {}

    def layers(self, weights: Weights, x: Tensor, beside: Tensor | None = None) -> Iterator[Tap]:
        """Yield each layer's inputs and what it makes of them; warps are not among the layers."""
        del beside
        params = self._named(self.layout.named(weights))
        for layer, (weight, bias) in enumerate(params, 1):
            u = _dense(x, weight, bias)
            yield Tap(f"layer{layer}", x.unsqueeze(2), u, bias=True)
            x = self.others.get(layer - 1, self.activation)(u)

    def _applied(self, weights: Weights, x: Tensor, count: int) -> Tensor:
        layers = self._named(weights) if isinstance(weights, dict) else self._pieces(weights)
        for layer, (weight, bias) in enumerate(layers[:count], 1):
            x = _dense(x, weight, bias)
            if layer < len(layers):
                x = self.others.get(layer - 1, self.activation)(x)
            if isinstance(weights, dict) and f"warp{layer}.weight" in weights:
                x = _warped(weights, layer, x)
        return x

    def _pieces(self, flat: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Read each layer as `_dense` wants it, by as few operations as can be.

        Matrices (outputs, inputs) lie column by column: what lies there is (inputs, outputs).
        """
        pieces = self.layout.pieces(flat)
        tasks = len(flat)
        found = []
        for layer, (inputs, outputs) in enumerate(pairwise(self.widths)):
            weight, bias = pieces[2 * layer], pieces[2 * layer + 1]
            lying = (1, inputs) if outputs == 1 else (inputs, outputs)
            found.append((weight.reshape(tasks, *lying), bias.unsqueeze(-2)))
        return found

    def _named(self, params: Params) -> list[tuple[Tensor, Tensor]]:
        """Read each layer as `_dense` wants it."""
        found = []
        for layer, outputs in enumerate(self.widths[1:], 1):
            weight, bias = params[f"layer{layer}.weight"], params[f"layer{layer}.bias"]
            found.append((weight if outputs == 1 else weight.mT, bias.unsqueeze(-2)))
        return found


class MLPOptions(Options):
    """What a fully connected network is made of."""

    widths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=2)]
    activation: Literal["relu", "tanh"]


@register_net(MLPOptions, id="mlp")
def mlp(options: MLPOptions) -> MLP:
    """Build a fully connected network."""
    return MLP(options.widths, options.activation)


def _dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x W + b of every task; element by element where x or the result is one number.

    There a batched product and its derivatives take several times as long as their numbers.
    Shapes: x (tasks, n, i), bias (tasks, 1, o), weight (tasks, i, o), or W' where o is 1.
    """
    if x.shape[-1] == 1:
        return x * weight + bias
    if bias.shape[-1] == 1:
        return (x * weight).sum(-1, keepdim=True) + bias
    return torch.baddbmm(bias, x, weight)


def _warped(params: Params, layer: int, x: Tensor) -> Tensor:
    weight, bias = params[f"warp{layer}.weight"], params[f"warp{layer}.bias"]
    inside = torch.baddbmm(bias.unsqueeze(-2), x, weight.mT)
    back = params.get(f"warp{layer}.back")
    return inside if back is None else x + torch.relu(inside) @ back.mT
