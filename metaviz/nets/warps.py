"""Learned convolutions between the blocks of a network, which adaptation leaves alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from metaviz.nets.convolution import convolve
from metaviz.nets.layout import Layout, Params


def warps_after(widths: Sequence[int], *, residual: bool) -> Layout:
    """Return one 3x3 convolution after each block of so many channels."""
    shapes: list[tuple[str, tuple[int, ...]]] = []
    for block, width in enumerate(widths, 1):
        kernel = (width, width, 3, 3)
        shapes += [(f"warp{block}.weight", kernel), (f"warp{block}.bias", (width,))]
        if residual:
            shapes.append((f"warp{block}.back", kernel))
    return Layout(tuple(shapes))


def warped(params: Params, block: int, x: Tensor) -> Tensor:
    """Apply the warp after a block, where there is one, to folded maps (n, tasks*C, H, W)."""
    if f"warp{block}.weight" not in params:
        return x
    bias = params[f"warp{block}.bias"].flatten()[:, None, None]
    inside = convolve(x, params[f"warp{block}.weight"], padding=1) + bias
    back = params.get(f"warp{block}.back")
    return inside if back is None else x + convolve(torch.relu(inside), back, padding=1)
