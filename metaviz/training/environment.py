"""What a run ran on, stored with it."""

import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import metaviz


def describe_environment(device: torch.device, shards: int) -> dict[str, Any]:
    """Return versions, device, threads, command line and git state as plain values."""
    described: dict[str, Any] = {
        "metaviz": metaviz.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "shards": shards,
        "tf32": bool(torch.backends.cuda.matmul.allow_tf32),
        # A path that is not UTF-8 stays readable.
        "command": [part.encode(errors="backslashreplace").decode() for part in sys.argv],
    }
    if device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
        described["cuda"] = torch.version.cuda or ""
    commit = _git("rev-parse", "HEAD")
    if commit:
        described["git_commit"] = commit
        described["git_changed"] = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return described


@cache
def _git(*arguments: str) -> str:
    """Ask git about the program's own checkout; empty where there is none."""
    folder = Path(metaviz.__file__).parent
    if not (folder.parent / ".git").exists():
        return ""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
