"""How fast this machine multiplies large matrices: the limit of a run's speed."""

import json
import platform
import time
from contextlib import suppress
from functools import cache

import torch

from metaviz.files.atomic import write_text
from metaviz.files.foreign import ForeignError, read_text
from metaviz.files.values import parsed_json
from metaviz.meta.sharding import Shards
from metaviz.paths import data_dir

FILE = "machine.json"

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


@cache
def limit(device: torch.device, dtype: torch.dtype, workers: int) -> float:
    """Return the rate of large products, as found now or at an earlier start of the program.

    It is measured once in a process; the most that was ever found is kept in the data folder,
    because other work may have been in the way of any single measurement.
    """
    path = data_dir() / FILE
    rates = {}
    with suppress(ForeignError):
        rates = parsed_json(read_text(path))
    name = platform.node() if device.type == "cpu" else torch.cuda.get_device_name(device)
    key = f"{name}, {dtype}, {workers} threads, torch {torch.__version__}"
    kept = rates.get(key) if isinstance(rates, dict) else None
    found = matmul_rate(device, dtype, workers)
    if isinstance(kept, int | float) and found <= kept:
        return float(kept)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        known = rates if isinstance(rates, dict) else {}
        write_text(path, json.dumps({**known, key: found}, indent=1))
    return found
