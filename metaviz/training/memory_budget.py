"""How much memory a run may use, and what it does where that is not enough."""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

from metaviz.meta.sharding import Shards

SHARE = 0.5
"""Share of the machine's memory that a run may use by default."""
_TRIM, _TOP_PAD, _MMAP, _ARENAS = -1, -2, -3, -8  # the numbers of malloc.h
_HEAP = {_TRIM: 2**30, _TOP_PAD: 2**26, _MMAP: 2**25, _ARENAS: 2}
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
CACHED_BYTES = 128 * 2**20
"""What the tasks of one tensor batch may keep on a CPU: with more, caches miss and it gets slower,
with less the operations are too small (measured with Conv4-64 at 28 and at 84 pixels)."""
ON_TOP = 2.5
"""Memory of a part over what its graph keeps: passing results and gradients. Measured with
Conv4-64: 1.8 for a task at 84 pixels, 2.5 for one at 28."""


def budget_bytes(device: torch.device, gib: float | None) -> int:
    """Return the bytes that a run's meta-steps may use: those asked for, or half of what is there.

    The same on every start on one machine, since it decides how sums are split.
    """
    if gib is not None:
        return round(gib * 2**30)
    if device.type == "cuda":
        return int(SHARE * torch.cuda.get_device_properties(device).total_memory)
    return int(SHARE * _physical_bytes())


def _physical_bytes() -> int:
    """Return the machine's memory, or what its container is allowed to use of it."""
    try:
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, ValueError, OSError):  # not on Windows
        found = [_windows_bytes()]
    for name in _LIMITS:
        try:
            found.append(int(Path(name).read_text(encoding="ascii")))
        except (OSError, ValueError):  # absent, or "max"
            continue
    return min([*found, *_limits()])


def _limits() -> list[int]:
    """Return the bytes that this process may address, where a limit is set."""
    if sys.platform == "win32":
        return []
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return [] if soft == resource.RLIM_INFINITY else [soft]


def _windows_bytes() -> int:
    """Return the machine's memory as Windows reports it; 8 GiB where it does not."""
    import ctypes

    class _Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "a", "b", "c", "d", "e", "f")),
        )

    status = _Status()
    status.length = ctypes.sizeof(status)
    library = getattr(ctypes, "windll", None)
    if library is None or not library.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return 8 * 2**30
    return int(status.total)


@cache
def keep_freed_memory() -> None:
    """Let a CPU's allocator keep what a meta-step frees for the next one, in one heap.

    By default glibc gives every thread a heap and hands large blocks back at once, so that each
    step takes them page by page from the system again: with Conv4-64 at 84 pixels and two threads
    8 to 24 % of the time and a tenth of the memory. The main thread, which draws the window, has a
    heap of its own all the same and waits for no other. Without glibc nothing is changed.
    """
    if (library := _glibc()) is not None:
        for setting, value in _HEAP.items():
            library.mallopt(setting, value)


def release_memory() -> None:
    """Hand what is kept back to the system, as far as it can be."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    """Return the C library where it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "gnu_get_libc_version") else None
    except OSError:
        return None


def is_memory_error(error: BaseException) -> bool:
    """Return whether a computation failed for want of memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def plan_parts(shards: Shards, one: int, budget: int, device: torch.device) -> None:
    """Choose the size of parts for tasks that keep `one` bytes each, so that all fit the budget.

    Where two threads do not fit with a task each, one works.
    """
    one = max(one, 1)
    shards.alone = ON_TOP * one * shards.count > budget
    abreast = 1 if shards.alone else shards.count
    together = budget / (ON_TOP * one * abreast)
    if device.type == "cpu":
        together = min(together, CACHED_BYTES / one)
    shards.together = max(1, int(together))
