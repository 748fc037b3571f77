"""Memory that is kept for the next step, and handed back after the last."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Thirty blocks of 8 MB, each on top of the one before, as tensors of a step lie.
CODE = """
import sys
from pathlib import Path

import torch

from metaviz.training.memory_budget import keep_freed_memory, release_memory

if "keep" in sys.argv:
    keep_freed_memory()

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def step():
    blocks = [torch.ones(2**21) for _ in range(30)]
    return sum(block[0].item() for block in blocks)

step()
assert step() == 30
kept = resident()
release_memory()
print(kept - resident())
"""
MOST = 30 * 2**23


def given_back(*arguments: str) -> int:
    """Return the bytes that are handed back in the end, of a process of its own.

    There the C library maps every block, as it does until it has seen the first one of a size.
    """
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**17)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_freed_memory_is_kept_until_it_is_released():
    assert given_back() < MOST / 4
    assert given_back("keep") > MOST / 2
