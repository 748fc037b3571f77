"""How fast meta-steps are: measured seconds, counted operations, and the machine's limit."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

OURS = "MetaViz"
SPEED_HEADER = (
    "problem",
    "algorithm",
    "library",
    "steps_per_second",
    "seconds_median",
    "seconds_q25",
    "seconds_q75",
    "rounds",
    "operations_per_step",
    "gflops",
    "matmul_limit_gflops",
    "share_of_limit",
    "share_of_products",
    "peak_memory_mb",
    "gradients_differ_by",
    "times_slower_than_ours",
    "device",
    "workers",
    "threads",
    "dtype",
    "engine",
    "note",
)


@dataclass(frozen=True)
class Gauge:
    """What a run's speed is measured by: operations of one meta-step, and per second at most.

    `engine` says how its meta-steps are computed.
    """

    operations: float
    limit: float
    engine: str = ""


@dataclass(frozen=True)
class Speed:
    """What was measured of one method on one problem; `seconds` holds one step's by round.

    `limit` is the rate of large matrix products in operations per second, `products_seconds` how
    long the step's own products take alone. `apart` is the relative distance of a peer's float64
    meta-gradient from ours. `environment` has the device, shards and threads of a run's.
    """

    problem: str
    algorithm: str
    library: str
    seconds: tuple[float, ...]
    environment: Mapping[str, Any]
    dtype: str
    engine: str = "auto"
    operations: float | None = None
    limit: float | None = None
    products_seconds: float | None = None
    peak_mb: float | None = None
    apart: float | None = None
    slower: float | None = None
    note: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is this program's own."""
        return self.library == OURS

    @property
    def name(self) -> str:
        """The method, or the library that does the same."""
        return self.algorithm if self.ours else f"{self.algorithm}, {self.library}"

    @property
    def rate(self) -> float | None:
        """Meta-steps per second: one over the median."""
        return 1 / float(np.median(self.seconds)) if self.seconds else None

    def quartiles(self) -> tuple[float, float] | None:
        """Return the first and third quartile of the meta-steps per second."""
        if not self.seconds:
            return None
        low, high = np.quantile(self.seconds, (0.25, 0.75))
        return float(1 / high), float(1 / low)

    @property
    def share_of_limit(self) -> float | None:
        """Operations per second as a share of those of large matrix products."""
        if self.rate is None or not self.operations or not self.limit:
            return None
        return self.operations * self.rate / self.limit

    @property
    def share_of_products(self) -> float | None:
        """Time that the step's products take alone, as a share of the step's."""
        if self.rate is None or not self.products_seconds:
            return None
        return self.products_seconds * self.rate


def place_text(environment: Mapping[str, Any]) -> str:
    """Say where a run computes, like `CPU, 2 workers × 1 thread` or `CUDA · name`."""
    if str(environment.get("device", "cpu")).startswith("cuda"):
        return f"CUDA · {environment.get('gpu', 'GPU')}"
    workers, threads = (int(environment.get(name, 1)) for name in ("shards", "threads"))
    return f"CPU, {_number(workers, 'worker')} × {_number(threads, 'thread')}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def speed_csv(speeds: Sequence[Speed]) -> str:
    """Return a table with one row per method and problem; what was not measured is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(SPEED_HEADER)
    for found in speeds:
        quartiles = np.quantile(found.seconds, (0.5, 0.25, 0.75)) if found.seconds else [None] * 3
        reached = found.rate and found.operations and found.rate * found.operations / 1e9
        limit = found.limit and found.limit / 1e9
        numbers = (
            *(found.rate, *quartiles, len(found.seconds), found.operations, reached, limit),
            *(found.share_of_limit, found.share_of_products, found.peak_mb),
            *(found.apart, found.slower),
        )
        place = found.environment
        writer.writerow(
            [
                *(found.problem, found.algorithm, found.library),
                *(_cell(number) for number in numbers),
                *(place.get("gpu") or place["device"], place["shards"], place["threads"]),
                *(found.dtype, found.engine, found.note),
            ]
        )
    return stream.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else repr(float(value))
