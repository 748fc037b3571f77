"""Choosing between two ways to convolve by measuring them on the device in use."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

Way = Callable[[Tensor, Tensor, int, int], Tensor]
"""(x, weight, stride, padding) -> response."""
REPEATS = 5
_known: dict[tuple[object, ...], Way] = {}


def fastest(ways: tuple[Way, ...], x: Tensor, weight: Tensor, stride: int, padding: int) -> Way:
    """Return the way that takes least time forward, backward and backward again.

    It is measured once per shape, type and device; the first way serves until then where nothing
    can be measured, as during the capture of a CUDA graph.
    """
    key = (x.device, x.dtype, x.shape, weight.shape, stride, padding)
    if key not in _known:
        if x.is_cuda and torch.cuda.is_current_stream_capturing():
            return ways[0]
        seconds = {way: _seconds(way, x, weight, stride, padding) for way in ways}
        _known[key] = min(ways, key=lambda way: seconds[way])
    return _known[key]


def _seconds(way: Way, x: Tensor, weight: Tensor, stride: int, padding: int) -> float:
    """Return the least of a few times; the first run, which chooses kernels, does not count."""
    taken = []
    for _ in range(REPEATS + 1):
        _wait(x)
        began = time.perf_counter()
        _twice_differentiated(way, x, weight, stride, padding)
        _wait(x)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def _twice_differentiated(
    way: Way, x: Tensor, weight: Tensor, stride: int, padding: int
) -> list[Tensor]:
    """Return the derivatives of the squared length of the kernels' gradient."""
    with torch.enable_grad():
        x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
        length = way(x, weight, stride, padding).square().sum()
        (slope,) = torch.autograd.grad(length, weight, create_graph=True)
        return list(torch.autograd.grad(slope.square().sum(), (x, weight)))


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
