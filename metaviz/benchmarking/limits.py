"""How fast this machine can be: large matrix products, and a step's own products alone."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from metaviz.meta.sharding import Shards
from metaviz.training.operations import Product, Products, Shape

_ROUNDS = 3
_REPLAY_SECONDS = 0.004


def alone_seconds(parts: Sequence[Products], threads: int) -> float:
    """Return how long the products of a step take with nothing between them, at their best.

    Threads take the parts of the step in turn, side by side; the one that takes longest counts.
    """
    shards = Shards(threads)
    try:
        hands = [parts[place::threads] for place in range(threads)]
        return max(shards.map(lambda hand: sum(map(_part_seconds, hand)), hands))
    finally:
        shards.close()


def _part_seconds(products: Products) -> float:
    return sum(_seconds(product) * count for product, count in products.items())


def _seconds(product: Product) -> float:
    """Return the shortest time of one product of random numbers."""
    arguments = _made(product.arguments)
    keywords = {name: _made(value) for name, value in product.keywords}
    wait = _waiting(product.arguments)

    def call() -> None:
        product.call(*arguments, **keywords)

    call()
    wait()
    began = time.perf_counter()
    call()
    wait()
    once = time.perf_counter() - began
    repeats = max(1, min(200, round(_REPLAY_SECONDS / _ROUNDS / max(once, 1e-7))))
    best = once
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(repeats):
            call()
        wait()
        best = min(best, (time.perf_counter() - began) / repeats)
    return best


def _waiting(arguments: Any) -> Callable[[], object]:
    shapes = [a for a in arguments if isinstance(a, Shape)]
    device = shapes[0].device
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def _made(value: Any) -> Any:
    """Return arguments with random tensors of the noted shapes."""
    if isinstance(value, Shape):
        steps = zip(value.size, value.stride, strict=True)
        last = sum((count - 1) * stride for count, stride in steps)
        numbers = torch.randn(1 + last, dtype=value.dtype, device=value.device)
        return numbers.as_strided(value.size, value.stride)
    return [_made(item) for item in value] if isinstance(value, tuple) else value
