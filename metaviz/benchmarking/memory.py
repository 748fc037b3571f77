"""How much memory meta-steps take: the peak over what was held before the first of them.

Each is measured in a process of its own, because a process keeps what it once held.
"""

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch

from metaviz.benchmarking.contestants import peer_step
from metaviz.benchmarking.laps import FAILURES
from metaviz.config.run_config import RunConfig
from metaviz.runs.storage.worker_process import worker_command, worker_environment
from metaviz.training.meta_steps import MetaSteps

COMMAND = "benchmark-memory"
_STEPS = 2
_FORKS = sys.platform == "linux"
"""Whether one helper serves all orders, a fork of it each: only then are imports paid once."""
_FAILURES = (*FAILURES, ImportError, OSError, TypeError, ValueError)
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_HIGH_WATER = "5"


@dataclass(frozen=True)
class Order:
    """Whose memory is to be measured: a run's, or a peer's on the run's tasks."""

    config: dict[str, Any]
    peer: str = ""


def peaks(orders: Sequence[Order]) -> Generator[float | None, None, None]:
    """Yield the peak of each in MiB; None where it is not known."""
    groups = [orders] if _FORKS else [[order] for order in orders]
    for group in groups:
        with _Helper(group) as helper:
            for _ in group:
                yield helper.answer()


class _Helper:
    """A process that works orders off, and is gone with its context."""

    def __init__(self, orders: Sequence[Order]) -> None:
        self._orders = "".join(f"{json.dumps(asdict(order))}\n" for order in orders)
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
        stream = self._process.stdin
        if stream is not None:
            with suppress(OSError):
                stream.write(self._orders)
                stream.close()
        return self

    def __exit__(self, *_error: object) -> None:
        if _FORKS:  # what it has forked is of its session
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def answer(self) -> float | None:
        """Wait for the next peak."""
        stream = self._process.stdout
        try:
            found = json.loads(stream.readline()) if stream is not None else None
        except ValueError:  # it is gone
            return None
        return float(found) if isinstance(found, int | float) else None


def measure_memory() -> None:
    """Be a helper: read orders from standard input and write each peak in MiB, or null."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # the first optimiser imports a lot
    for line in sys.stdin:
        sys.stdout.write(f"{_forked(line) if _FORKS else _found(line)}\n")
        sys.stdout.flush()


def _forked(line: str) -> str:
    """Work an order off in a fork of this process, which has computed nothing yet."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write_end, _found(line).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, encoding="utf-8") as stream:  # noqa: PTH123 - it has no path
        answer = stream.read()
    os.waitpid(child, 0)
    return answer or json.dumps(None)


def _found(line: str) -> str:
    peak = None
    with suppress(*_FAILURES):
        order = Order(**json.loads(line))
        peak = _peak(RunConfig.model_validate(order.config), order.peer)
    return json.dumps(peak)


def _peak(config: RunConfig, peer: str) -> float | None:
    with MetaSteps(config) as take_step:
        setting = take_step.setting
        if peer:
            return weigh(peer_step(peer, setting), setting.device)
        setting.batch(0)  # data that the first use draws are no step's
        return weigh(take_step, setting.device)


def weigh(step: Callable[[], object], device: torch.device) -> float | None:
    """Take two steps and return the peak over what this process held before them, in MiB.

    None where it is not known. The process must not have taken steps before.
    """
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
