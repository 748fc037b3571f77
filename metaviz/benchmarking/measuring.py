"""Measures methods on one problem, and other libraries beside them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from metaviz.algorithms.registry import find_algorithm
from metaviz.benchmarking.contestants import counted_operations, distance, peer_step
from metaviz.benchmarking.laps import CORES, FAILURES, Contestant, first_line
from metaviz.benchmarking.limits import alone_seconds
from metaviz.benchmarking.memory import Order, peaks
from metaviz.benchmarking.peers import TOLERANCE, is_there
from metaviz.config.run_config import RunConfig
from metaviz.runs.model.speed import OURS, Speed
from metaviz.training.machine import matmul_rate
from metaviz.training.meta_steps import MetaSteps
from metaviz.training.operations import abreast, operations_per_step, products_of, shares
from metaviz.training.setting import environment_of

_LIMIT_SECONDS = 0.05
_PEER_FAILURES = (*FAILURES, ImportError, OSError, AttributeError, TypeError, ValueError)


@dataclass
class _Row:
    """What is timed for one row of the table, and what is known of it besides."""

    config: RunConfig
    library: str
    contestants: list[Contestant] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    operations: float | None = None
    products_seconds: float | None = None
    peak_mb: float | None = None
    apart: float | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """What it is called while it is measured."""
        ours = self.library == OURS
        return self.config.algorithm if ours else f"{self.config.algorithm}, {self.library}"

    @property
    def best(self) -> Contestant | None:
        """The fastest of its thread settings that was timed."""
        timed = [contestant for contestant in self.contestants if contestant.seconds]
        return min(timed, key=lambda one: float(np.median(one.seconds))) if timed else None

    @property
    def threads(self) -> int:
        """Threads that compute at once, workers times OpenMP threads."""
        best = self.best
        return int(self.environment.get("shards", 1)) * (best.threads if best else 1)

    def add(self, contestant: Contestant) -> None:
        """Warm up something to be timed; what goes wrong is noted."""
        contestant.warm_up()
        self.contestants.append(contestant)
        self.note = self.note or contestant.failure

    def lap(self) -> None:
        """Time every thread setting once."""
        for contestant in self.contestants:
            contestant.lap()
            self.note = self.note or contestant.failure


def _in_peers(config: RunConfig) -> bool:
    return find_algorithm(config.algorithm).entry.in_peers


class Measurement:
    """Measures the runs of one problem; what is known can be asked for at any time."""

    def __init__(self, configs: Sequence[RunConfig], peers: Sequence[str] = ()) -> None:
        """Take runs of one problem and seed, and the names of libraries."""
        self._rows = [
            _Row(config, library)
            for config in configs
            for library in (OURS, *(peers if _in_peers(config) else ()))
        ]
        self._steps: dict[str, MetaSteps] = {}
        self._limits: dict[int, float] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Settle all runs; they share one problem, so that data are read once.

        Raises: OptionError or ValueError with one sentence.
        """
        with ExitStack() as opening:
            for row in self._rows:
                if row.library == OURS:
                    problem = next((one.setting.problem for one in self._steps.values()), None)
                    steps = opening.enter_context(MetaSteps(row.config, problem))
                    self._steps[row.config.algorithm] = steps
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        """Let all threads end."""
        self._open.close()

    def parts(self, rounds: int, *, memory: bool = True) -> int:
        """Return how many parts `work` has."""
        return len(self._rows) * (1 + rounds + memory)

    def work(self, rounds: int, *, memory: bool = True) -> Iterator[str]:
        """Warm up every row, time all of them lap by lap, then weigh them if asked to.

        Yields what comes next before each part.
        """
        for row in self._rows:
            yield f"{row.name}: warming up"
            self._prepare(row) if row.library == OURS else self._prepare_peer(row)
        for number in range(1, rounds + 1):
            for row in self._rows:
                yield f"{row.name}: round {number} of {rounds}"
                row.lap()
            self._measure_limits()
        if memory:
            yield from self._weigh()

    def speeds(self) -> list[Speed]:
        """Return what was measured until now, one for each row that was begun."""
        mine = next((self._rate(row) for row in self._rows if _in_peers(row.config)), None)
        return [self._speed(row, mine) for row in self._rows if row.environment]

    def _prepare(self, row: _Row) -> None:
        take_step = self._steps[row.config.algorithm]
        setting = take_step.setting
        row.environment = environment_of(setting)
        row.add(Contestant(take_step))
        if row.note:
            return
        row.operations = operations_per_step(setting)
        often = setting.config.shared.reading_every == 1
        parts = products_of(setting, shares(setting), reading=often)
        row.products_seconds = alone_seconds(parts, abreast(setting))

    def _prepare_peer(self, row: _Row) -> None:
        setting = self._steps[row.config.algorithm].setting
        row.environment = {**environment_of(setting), "shards": 1}
        if not is_there(row.library):
            row.note = f"{row.library} is not installed."
            return
        try:
            row.apart = distance(row.library, row.config, setting.problem)
            step = peer_step(row.library, setting)
            row.operations = counted_operations(step)
        except _PEER_FAILURES as error:
            row.note = first_line(error)
            return
        if not row.apart <= TOLERANCE:
            row.note = (
                f"The float64 meta-gradient of {row.library} differs from ours by "
                f"{row.apart:.0e}, so no ratio is given."
            )
        for threads in sorted({1, CORES}) if setting.device.type == "cpu" else [1]:
            row.add(Contestant(step, threads))

    def _measure_limits(self) -> None:
        setting = next(iter(self._steps.values())).setting
        for threads in {row.threads for row in self._rows if row.best is not None}:
            rate = matmul_rate(setting.device, setting.dtype, threads, _LIMIT_SECONDS)
            self._limits[threads] = max(rate, self._limits.get(threads, 0.0))

    def _weigh(self) -> Iterator[str]:
        able = [row for row in self._rows if row.best is not None]
        orders = [
            Order(row.config.model_dump(mode="json"), "" if row.library == OURS else row.library)
            for row in able
        ]
        with closing(peaks(orders)) as found:
            for row in self._rows:
                yield f"{row.name}: memory"
                row.peak_mb = next(found) if row in able else None

    def _noted(self, row: _Row) -> str:
        """Return what went wrong, or what a run of ours warned of."""
        ours = row.library == OURS
        return row.note or (" ".join(self._steps[row.config.algorithm].notes) if ours else "")

    def _rate(self, row: _Row) -> float | None:
        return 1 / float(np.median(row.best.seconds)) if row.best is not None else None

    def _speed(self, row: _Row, mine: float | None) -> Speed:
        best, rate = row.best, self._rate(row)
        limit = self._limits.get(row.threads) if best is not None else None
        agrees = row.apart is not None and row.apart <= TOLERANCE
        return Speed(
            row.config.problem,
            row.config.algorithm,
            row.library,
            tuple(best.seconds) if best is not None else (),
            {**row.environment, "threads": best.threads if best is not None else 1},
            row.config.dtype,
            str(row.environment["engine"]) if row.library == OURS else "",
            row.operations,
            limit,
            row.products_seconds,
            row.peak_mb,
            row.apart,
            mine / rate if mine and rate and agrees else None,
            self._noted(row),
        )
