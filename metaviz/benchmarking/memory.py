"""How much memory meta-steps take: the peak over what was held before the first of them.

Each is measured in a process of its own, because a process keeps what it once held.
"""

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import ValidationError

from metaviz.benchmarking.contestants import peer_step
from metaviz.config import RunConfig
from metaviz.options import OptionError
from metaviz.runs.workers import worker_command, worker_environment
from metaviz.training.setting import find_device
from metaviz.training.stepping import MetaSteps

COMMAND = "benchmark-memory"
_STEPS = 2
_PATIENCE_SECONDS = 600
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_HIGH_WATER = "5"


@dataclass(frozen=True)
class Order:
    """Whose memory is to be measured: a run's, or a peer's on the run's tasks."""

    config: dict[str, Any]
    peer: str = ""


def peaks(orders: Sequence[Order], at_once: int) -> Generator[float | None, None, None]:
    """Yield the peak of each in MB, some processes at a time; None where it is not known."""
    for first in range(0, len(orders), at_once):
        with ExitStack() as stack:
            some = orders[first : first + at_once]
            children = [stack.enter_context(_Child(order)) for order in some]
            yield from (child.answer() for child in children)


class _Child:
    """A process that takes a few steps, and is gone with its context."""

    def __init__(self, order: Order) -> None:
        self._order = json.dumps(asdict(order))
        self._process = subprocess.Popen(
            worker_command(COMMAND),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=worker_environment(),
            text=True,
            start_new_session=True,  # Ctrl+C comes to the parent alone
        )

    def __enter__(self) -> Self:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(f"{self._order}\n")
                self._process.stdin.flush()
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def answer(self) -> float | None:
        """Wait for what it found."""
        try:
            told, _ = self._process.communicate(timeout=_PATIENCE_SECONDS)
            found = json.loads(told)
        except (ValueError, OSError, subprocess.TimeoutExpired):
            return None
        return float(found) if isinstance(found, int | float) else None


def measure_memory() -> None:
    """Be such a process: read an order from standard input and write the peak in MB, or null."""
    peak = None
    with suppress(
        ValueError, TypeError, KeyError, ValidationError, OptionError, ArithmeticError, RuntimeError
    ):
        order = Order(**json.loads(sys.stdin.readline()))
        peak = _peak(RunConfig.model_validate(order.config), order.peer)
    sys.stdout.write(f"{json.dumps(peak)}\n")


def _peak(config: RunConfig, peer: str) -> float | None:
    with MetaSteps(config) as take_step:
        step: Callable[[], object] = take_step
        if peer:
            step = peer_step(peer, take_step.setting)
        else:
            take_step.setting.batch(0)  # data that the first use draws are no step's
        device = find_device(config.device)
        _load_libraries(device)
        water = _cuda_water if device.type == "cuda" else _water()
        if water is None:
            return None
        before = water(reset=True)
        for _ in range(_STEPS):
            step()
        above = water(reset=False) - before
        return above / 2**20 if above > 0 else None


def _load_libraries(device: torch.device) -> None:
    """Have the kernels loaded that any step uses, and freed memory given back."""
    x = torch.ones(1, 1, 8, 8, device=device, requires_grad=True)
    weight = torch.ones(1, 1, 3, 3, device=device, requires_grad=True)
    (torch.nn.functional.conv2d(x, weight).flatten(1) @ torch.ones(36, 1, device=device)).backward()
    gc.collect()
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def _cuda_water(*, reset: bool) -> float:
    if reset:
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    return torch.cuda.max_memory_allocated()


def _water() -> Callable[..., float] | None:
    """Return what reads how much this process has held at most, in bytes; reset: holds now."""
    try:
        _RESET.write_text(_HIGH_WATER)
    except OSError:
        return None if sys.platform == "win32" else _most_ever
    return _linux_water


def _linux_water(*, reset: bool) -> float:
    """Read the resident memory, which Linux lets a process begin to watch anew."""
    if reset:
        _RESET.write_text(_HIGH_WATER)
    name = "VmRSS:" if reset else "VmHWM:"
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith(name))
    return float(line.split()[1]) * 1024


def _most_ever(*, reset: bool) -> float:
    """Read the most that was ever resident: too much before, so that a small peak is missed."""
    del reset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
