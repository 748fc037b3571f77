"""What a run ran on, stored with it."""

import hashlib
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import metaviz

_DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
MOST_DIFF = 20_000
"""Characters of changes to the program that are stored with a run; of more only the hash is."""


def describe_environment(device: torch.device, shards: int, memory: int) -> dict[str, Any]:
    """Return versions, device, whatever decides on bits, command line and git state."""
    described: dict[str, Any] = {
        "metaviz": metaviz.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "shards": shards,
        "memory_budget": memory,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        # A path that is not UTF-8 stays readable.
        "command": [part.encode(errors="backslashreplace").decode() for part in sys.argv],
    }
    if device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
        described["cuda"] = torch.version.cuda or ""
        described["driver"] = _answer(*_DRIVER)
        described["cudnn"] = torch.backends.cudnn.version() or 0
        described["cudnn_deterministic"] = torch.backends.cudnn.deterministic
        described["cudnn_benchmark"] = torch.backends.cudnn.benchmark
    commit = _git("rev-parse", "HEAD")
    if commit:
        described["git_commit"] = commit
        diff = _git("diff", "HEAD", "--no-ext-diff")
        described["git_changed"] = bool(diff)
        if diff:
            described["git_diff_sha256"] = hashlib.sha256(diff.encode(errors="replace")).hexdigest()
        if 0 < len(diff) <= MOST_DIFF:
            described["git_diff"] = diff
    return described


def _git(*arguments: str) -> str:
    """Ask git about the program's own checkout; empty where there is none."""
    folder = Path(metaviz.__file__).parent
    if not (folder.parent / ".git").exists():
        return ""
    return _answer("git", "-C", str(folder), *arguments)


@cache
def _answer(*command: str) -> str:
    """Return what a command prints; empty where it fails."""
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
