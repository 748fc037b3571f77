"""One run under way: training joined to its folder on disk."""

import pickle
import re
import sqlite3
import struct
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metaviz.config import RunConfig
from metaviz.problems.base import Problem
from metaviz.runs.events import Ended, Evaluated, Event, State
from metaviz.runs.files import write_atomically
from metaviz.runs.store import RunWriter, StoreError, create_run
from metaviz.training.environment import describe_environment
from metaviz.training.setting import Setting, settle
from metaviz.training.trainer import Progress, begin, train

CHECKPOINT = "checkpoint.pt"
# What torch.load raises for bytes that are no checkpoint.
_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
)


class Session:
    """Trains one run and stores every event before handing it on."""

    def __init__(self, setting: Setting, root: Path) -> None:
        """Make the run's folder under `root`. Raises: StoreError where that is not possible."""
        self.config: dict[str, Any] = setting.config.model_dump(mode="json")
        self.environment = describe_environment(setting.device, setting.shards.count)
        self._setting = setting
        self._writer: RunWriter | None = create_run(root, self.config, self.environment)
        self.folder = self._writer.folder
        self.id = self._writer.id
        self._progress: Progress | None = None
        self._events = self._train()

    def advance(self) -> Event | None:
        """Compute, store and return the next event; None once the run has ended.

        Raises: StoreError where the store cannot be written; the run has then ended as failed.
        """
        if self._writer is None:
            return None
        try:
            event = next(self._events)
        except (RuntimeError, ValueError, ArithmeticError, MemoryError) as error:
            event = Ended(self._step, "failed", _sentence(error))
        self._store(event)
        return event

    def end(self, state: State) -> Event:
        """End the run early, keeping what it has."""
        self._events.close()
        event = Ended(self._step, state)
        if self._writer is not None:
            self._store(event)
        return event

    def hurry(self) -> None:
        """Cut an evaluation short, because `end` is about to be called; from any thread."""
        self._setting.hurry.set()

    def set_state(self, state: State) -> None:
        """Record that the run is paused or running."""
        if self._writer is not None:
            self._writer.set_state(state)

    @property
    def _step(self) -> int:
        return self._progress.step if self._progress else 0

    def _train(self) -> Generator[Event, None, None]:
        self._progress = begin(self._setting)
        yield from train(self._setting, self._progress)

    def _store(self, event: Event) -> None:
        writer = self._writer
        if writer is None:
            return
        try:
            writer.append(event)
            if self._progress is not None and _is_good(event):
                save_checkpoint(self.folder / CHECKPOINT, self._progress)
            if isinstance(event, Ended):
                self._writer = None
                writer.close()
        except (OSError, RuntimeError) as error:
            self._writer = None
            with suppress(OSError, sqlite3.Error):  # what is not on disk yet may still fit
                writer.close()
            reason = str(error) if isinstance(error, StoreError) else f"Cannot save: {error}."
            raise StoreError(f"{reason} What was stored until now is kept.") from error


def _is_good(event: Event) -> bool:
    """Return whether the meta-parameters of now are worth keeping.

    A run that diverged keeps those of its last evaluation: it is the newest ones that broke it.
    """
    if isinstance(event, Evaluated):
        return event.step == 0 or bool(np.isfinite(event.per_task["query_loss"]).any())
    return isinstance(event, Ended) and event.state not in {"diverged", "failed"}


def save_checkpoint(path: Path, progress: Progress) -> None:
    """Write a checkpoint whole or not at all."""
    state = progress.state()
    write_atomically(path, lambda stream: torch.save(state, stream))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted.

    Raises: StoreError with one sentence where the file is missing, damaged or holds code.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StoreError(f"{path.parent} has no checkpoint: name the folder of a run.") from None
    except pickle.UnpicklingError as error:
        raise StoreError(
            f"{path} is not a readable checkpoint: it is damaged, or it holds code, which is "
            "never run."
        ) from error
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise StoreError(f"{path} is not a readable checkpoint: {reason}.") from error
    if not isinstance(state, dict) or not state.keys() >= {"meta", "optimizer", "step"}:
        raise StoreError(f"{path} is not a readable checkpoint: MetaViz did not write it.")
    return state


def open_sessions(configs: list[RunConfig], root: Path) -> list[Session]:
    """Check all runs of a comparison, then make their folders.

    Runs with the same seed share one problem, so that data are read once.
    Raises: OptionError, ValueError (data) or StoreError, before any run has started.
    """
    problems: dict[int, Problem] = {}
    settings = []
    for config in configs:
        setting = settle(config, problems.get(config.seed))
        problems[config.seed] = setting.problem
        settings.append(setting)
    return [Session(setting, root) for setting in settings]


def _sentence(error: BaseException) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "The GPU's memory is full: use a smaller meta-batch or fewer query examples."
    if match := re.search(r"allocate (\d+) bytes", str(error)):
        wanted = int(match[1]) / 2**30
        return (
            f"Memory ran out: {wanted:.1f} GiB more were needed. Use a smaller network, meta-batch "
            "or number of inner steps."
        )
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{text.rstrip('.')}."
