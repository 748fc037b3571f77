"""Timing several things side by side, lap by lap, so that a busy machine slows all alike."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from metaviz.runs.storage.worker_process import usable_cores

CORES = usable_cores()
LAP_SECONDS = 0.15
_SLOW_SECONDS = 1.0
_MOST_REPEATS = 100
_SHARE = 10
_TRIES = 3
FAILURES = (ArithmeticError, RuntimeError, MemoryError)
"""What ends one contestant and leaves the others alone."""


@dataclass
class Contestant:
    """Something that is timed: a step, with so many OpenMP threads, so often in a row.

    A lap takes about `lap_seconds`. `seconds` holds one step's by lap; `failure` says why there are
    no more.
    """

    step: Callable[[], object]
    threads: int = 1
    lap_seconds: float = LAP_SECONDS
    repeats: int = 1
    seconds: list[float] = field(default_factory=list)
    failure: str = ""

    def warm_up(self) -> None:
        """Take a step that loads what later ones find loaded, then choose how many make a lap."""
        self._guarded(self._choose)

    def lap(self) -> None:
        """Time some steps in a row."""
        self._guarded(lambda: self.seconds.append(self._timed(self.repeats)))

    def _choose(self) -> None:
        self._timed(1)  # may compile, or load libraries
        once = self._timed(1)
        if once < _SLOW_SECONDS:
            quickest = min(once, *(self._timed(1) for _ in range(_TRIES)))
            repeats = round(self.lap_seconds / max(quickest, 1e-6))
            # Every tenth step of a run takes longer: laps of many steps hold a share of those.
            repeats = min(_MOST_REPEATS, repeats) // _SHARE * _SHARE or min(repeats, _SHARE)
            self.repeats = max(1, repeats)

    def _guarded(self, act: Callable[[], object]) -> None:
        if self.failure:
            return
        try:
            act()
        except FAILURES as error:
            self.failure = first_line(error)

    def _timed(self, repeats: int) -> float:
        torch.set_num_threads(self.threads)
        try:
            began = time.perf_counter()
            for _ in range(repeats):
                self.step()
            return (time.perf_counter() - began) / repeats
        finally:
            torch.set_num_threads(1)


def first_line(error: BaseException) -> str:
    """Return what an error says, as one sentence."""
    lines = str(error).strip().splitlines() or [f"It ended with {type(error).__name__}"]
    return f"{lines[0].rstrip('.')}."
