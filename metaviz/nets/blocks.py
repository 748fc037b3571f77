"""Layers that networks and the modules of methods are made of, with a tasks axis."""

from math import prod

import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from torch import Tensor

from metaviz.nets.convolution import convolve
from metaviz.nets.layout import Layout, Params
from metaviz.nets.normalisation import Norm

Shapes = list[tuple[str, tuple[int, ...]]]


def linear(params: Params, name: str, x: Tensor) -> Tensor:
    """Map x (tasks, n, inputs) to W x + b (tasks, n, outputs)."""
    bias = params[f"{name}.bias"].unsqueeze(1)
    return torch.baddbmm(bias, x, params[f"{name}.weight"].mT)


def linear_shapes(name: str, inputs: int, outputs: int) -> Shapes:
    """Return names and shapes of a linear layer's weights."""
    return [(f"{name}.weight", (outputs, inputs)), (f"{name}.bias", (outputs,))]


def drawn(layout: Layout, generator: torch.Generator) -> Tensor:
    """Draw weights of linear layers as PyTorch does, flat in float64.

    Uniform in +-1/sqrt(inputs), a vector as the matrix before it.
    """
    params, bound = Params(), 1.0
    for name, shape in layout.shapes:
        bound = bound if len(shape) == 1 else float(prod(shape[1:]) ** -0.5)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        params[name] = (2 * uniform - 1) * bound
    return layout.join(params)


def uniform(layout: Layout, fan_in: int, generator: torch.Generator) -> Tensor:
    """Draw all weights uniformly from +-1/sqrt(fan in), flat in float64, as PyTorch does."""
    numbers = torch.rand(layout.size, generator=generator, dtype=torch.float64)
    return (2 * numbers - 1) * float(fan_in**-0.5)


def block_shapes(norm: Norm | None, name: str, inputs: int, outputs: int) -> Shapes:
    """Return names and shapes of the weights of a 3x3 convolution and its normalisation, if any."""
    return [
        (f"{name}.weight", (outputs, inputs, 3, 3)),
        (f"{name}.bias", (outputs,)),
        *([] if norm is None else norm.shapes(f"{name}.norm", outputs)),
    ]


def block(
    params: Params, name: str, norm: Norm | None, x: Tensor, counted: int | None, padding: int = 1
) -> Tensor:
    """Convolve folded maps (n, tasks*C, H, W), normalise and apply ReLU.

    The first `counted` examples count in statistics, or all. The bias is not read with BatchNorm:
    the mean that it subtracts contains it.
    """
    u = convolve(x, params[f"{name}.weight"], padding=padding)
    if norm is None or norm.statistics == "group":
        u = u + params[f"{name}.bias"].flatten()[:, None, None]
    return torch.relu(u if norm is None else norm(params, f"{name}.norm", u, counted))


def halved(x: Tensor, *, up: bool = False) -> Tensor:
    """Max-pool folded maps by 2x2; an odd side is rounded down, or up."""
    return F.max_pool2d(x, 2, ceil_mode=up)
