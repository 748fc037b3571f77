"""How fast this machine multiplies large matrices: the limit that a run's speed is told against."""

import time

import torch

from metaviz.meta.sharding import Shards

_SIDE_CPU, _SIDE_GPU = 1024, 4096
SECONDS = 0.2


def matmul_rate(
    device: torch.device, dtype: torch.dtype, workers: int, seconds: float = SECONDS
) -> float:
    """Return the operations per second of large products, by as many threads as a run has.

    Each thread multiplies its own square matrices; the best of several rounds counts, as other
    work on the machine can only slow them down.
    """
    side = _SIDE_CPU if device.type == "cpu" else _SIDE_GPU
    shards = Shards(workers)
    factors = [torch.randn(side, side, dtype=dtype, device=device) for _ in range(workers)]
    products = [torch.empty_like(factor) for factor in factors]

    def multiply(place: int) -> None:
        torch.mm(factors[place], factors[place], out=products[place])

    def round_seconds() -> float:
        began = time.perf_counter()
        shards.map(multiply, range(workers))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    try:
        best = round_seconds()
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            best = min(best, round_seconds())
    finally:
        shards.close()
    return 2 * side**3 * workers / best
