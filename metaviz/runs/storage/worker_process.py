"""How a worker process of the queue is started, and what it reports."""

import json
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

from metaviz.files.platform import put_in_place
from metaviz.runs.storage.lock import LOCK, RunLock, host_name, lock_run
from metaviz.runs.storage.store import StoreError

COMMAND = "queue-worker"
WORKER_LOG = "queue-worker.log"
PATIENCE_SECONDS = 10.0
"""So long a worker may take to save and leave, before it is ended."""
WORKERS = "queue-workers"
ENDED = "The worker process ended without a word. Resume the run, or remove it from the queue."
_MOST_LOG = 1_000_000
_AT = "@"


class WorkerLock:
    """Marks a worker as alive, for as long as its process is."""

    def __init__(self, home: Path) -> None:
        """Lock a name of its own. Raises: StoreError where the folder cannot be written."""
        self.name = f"{uuid.uuid4().hex[:12]}{_AT}{host_name()}"
        self._folder = home / WORKERS / self.name
        try:
            self._folder.mkdir(parents=True)
            self._lock = lock_run(self._folder) or RunLock(None)
        except OSError as error:
            reason = error.strerror or error
            raise StoreError(f"Cannot write to {self._folder}: {reason}.") from error

    def release(self) -> None:
        """Release it, at the worker's end."""
        self._lock.release()
        forget_worker(self._folder)


def host_of(name: str) -> str:
    """Return the computer that a worker runs on, out of its name; empty for earlier versions."""
    return name.partition(_AT)[2]


def forget_worker(folder: Path) -> None:
    """Remove the mark of a worker that is gone."""
    try:
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return


def worker_command(command: str = COMMAND) -> list[str]:
    """Return program and arguments: a fresh interpreter, or the program itself where packaged."""
    if getattr(sys, "frozen", False):
        return [sys.executable, command]
    return [sys.executable, "-m", "metaviz", command]


def worker_environment() -> dict[str, str]:
    """Return the environment: one OpenMP thread, and the same modules as here."""
    root = str(Path(__file__).parents[2])
    known = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    path = os.pathsep.join([*known, *([] if root in known else [root])])
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}


def worker_log(home: Path) -> Path:
    """Return the file for what workers write besides; what has grown large becomes `.1`."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / WORKER_LOG
    if path.exists() and path.stat().st_size > _MOST_LOG:
        put_in_place(path, path.with_name(f"{path.name}.1"))
    return path


def parsed_event(line: bytes) -> dict[str, Any]:
    """Read one line of a worker; empty where it is none of its events."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) and "event" in event else {}


def how_it_ended(code: int, *, by_signal: bool = False) -> str:
    """Say in words how a process ended; negative codes are signals, as subprocess has them."""
    number = code if by_signal else -code
    if number <= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    hint = ", as when memory runs out" if name == "SIGKILL" else ""
    return f"signal {number}, {name}{hint}"


def ended_message(how: str) -> str:
    """Say what became of the run of a worker that is gone."""
    return ENDED.replace(".", f" ({how}).", 1)


def usable_cores() -> int:
    """Return the cores that this process may use, which can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
