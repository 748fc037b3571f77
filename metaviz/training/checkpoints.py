"""Checkpoints of a run: the last two and the best, each with its SHA-256 in the run's database."""

import hashlib
import io
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from metaviz.files.atomic import write_atomically
from metaviz.files.foreign import (
    MOST_CHECKPOINT_BYTES,
    ForeignError,
    UnreadableError,
    check_pickled,
    read_bytes,
    refused,
)
from metaviz.files.platform import put_in_place
from metaviz.runs.storage.store import RunWriter, StoreError, checkpoint_hashes
from metaviz.training.trainer import Progress

CHECKPOINT = "checkpoint.pt"
BEFORE = "checkpoint-before.pt"
BEST = "checkpoint-best.pt"
_ROOM = 2
"""The new checkpoint and the best one are written while the ones before still exist."""


@dataclass(frozen=True)
class Found:
    """A checkpoint that was read and is what was written."""

    state: dict[str, Any]
    data: bytes
    score: float | None
    remark: str
    """One sentence where a newer one is damaged; empty otherwise."""


class Checkpoints:
    """Writes the checkpoints of one run: at any moment the one before is still whole."""

    def __init__(self, writer: RunWriter, found: Found | None = None) -> None:
        """Begin with none, or with the one from which the run goes on, which becomes the newest.

        Raises: StoreError or OSError where the folder cannot be written.
        """
        self._writer = writer
        self._mark: tuple[int, int] | None = None
        self._hashes: dict[str, str] = {}
        self._best: float | None = None
        if found is not None:
            state = found.state
            self._write(found.data, int(state["step"]), found.score, rotate=False)
            self._mark = int(state["step"]), int(state.get("looked", -1))
            self._know_best()

    def save(self, progress: Progress, score: float | None) -> None:
        """Write a checkpoint, unless it would be the same once more.

        `score` is what an evaluation of it found, larger for better; None without one.
        Raises: StoreError or OSError; the checkpoints before are then untouched.
        """
        mark = (progress.step, progress.evaluated)
        if mark == self._mark:
            return
        stream = io.BytesIO()
        torch.save(progress.state(), stream)
        data = stream.getvalue()
        self._write(data, progress.step, score, rotate=True)
        if score is not None and (self._best is None or score > self._best):
            _write(self._writer.folder / BEST, data)
            self._best, self._hashes[BEST] = score, _sha256(data)
        self._writer.forget_checkpoints(set(self._hashes.values()))
        self._mark = mark

    def _write(self, data: bytes, step: int, score: float | None, *, rotate: bool) -> None:
        folder, sha256 = self._writer.folder, _sha256(data)
        _check_room(folder, len(data))
        self._writer.record_checkpoint(sha256, step, score)
        if rotate and CHECKPOINT in self._hashes:
            _also_as(folder / CHECKPOINT, folder / BEFORE)
            self._hashes[BEFORE] = self._hashes[CHECKPOINT]
        _write(folder / CHECKPOINT, data)
        self._hashes[CHECKPOINT] = sha256

    def _know_best(self) -> None:
        """Learn which other checkpoints an earlier session left."""
        scores = checkpoint_hashes(self._writer.folder)
        for name in (BEFORE, BEST):
            path = self._writer.folder / name
            sha256 = _sha256(_read(path)) if path.exists() else ""
            if sha256 in scores:
                self._hashes[name] = sha256
                if name == BEST:
                    self._best = scores[sha256]


def find_checkpoint(folder: Path) -> Found | None:
    """Return a run's newest checkpoint that is what was written; None where there is none at all.

    Raises: StoreError with one sentence where every one is damaged.
    """
    scores = checkpoint_hashes(folder)
    places = [folder / name for name in (CHECKPOINT, BEFORE, BEST) if (folder / name).exists()]
    damaged = []
    candidates: list[Found] = []
    for place in places:
        try:
            data = _read(place)
            sha256 = _sha256(data)
            if scores and sha256 not in scores:
                damaged.append(f"{place.name} is not what was written")
                continue
            state = read_checkpoint(place, data)
        except StoreError as error:
            damaged.append(str(error).rstrip("."))
            continue
        candidates.append(Found(state, data, scores.get(sha256), ""))
    if not candidates:
        if damaged:
            raise StoreError(f"No checkpoint of {folder.name} is readable: {'; '.join(damaged)}.")
        return None
    best = max(candidates, key=lambda found: int(found.state["step"]))
    if damaged:
        step = best.state["step"]
        remark = f"A checkpoint is damaged ({'; '.join(damaged)}): the one of step {step} is used."
        return Found(best.state, best.data, best.score, remark)
    return best


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted.

    Raises: StoreError with one sentence where the file is missing, damaged or holds code.
    """
    return read_checkpoint(path, _read(path))


def read_checkpoint(path: Path, data: bytes) -> dict[str, Any]:
    """Understand the bytes of a checkpoint. Raises: as `load_checkpoint`."""
    try:
        check_pickled(data, path.name)
        with refused(path.name):
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise StoreError(
            f"{path} is not a readable checkpoint: it is damaged, or it holds code, which is "
            "never run."
        ) from error
    except ForeignError as error:
        raise StoreError(f"{path} is not a readable checkpoint: it is damaged.") from error
    known: dict[str, Any] = state if isinstance(state, dict) else {}
    if not known.keys() >= {"meta", "optimizer"} or not isinstance(known.get("step"), int):
        raise StoreError(f"{path} is not a readable checkpoint: MetaViz did not write it.")
    return known


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, MOST_CHECKPOINT_BYTES)
    except ForeignError as error:
        if isinstance(error, UnreadableError) and error.is_missing:
            raise StoreError(
                f"{path.parent} has no checkpoint: it is no run, or one that ended early."
            ) from None
        raise StoreError(f"{path} is not a readable checkpoint: {error}.") from error


def _check_room(folder: Path, size: int) -> None:
    """Refuse to fill a disk to its last byte. Raises: StoreError."""
    free = shutil.disk_usage(folder).free
    if free < _ROOM * size:
        raise StoreError(
            f"Cannot save a checkpoint to {folder}: it takes {size / 1e6:.2g} MB and the disk has "
            f"{free / 1e6:.2g} MB left, which is less than {_ROOM} times as much."
        )


def _write(path: Path, data: bytes) -> None:
    write_atomically(path, lambda stream: stream.write(data))


def _also_as(path: Path, other: Path) -> None:
    """Give a file a second name, so that there is no moment without the first."""
    work = other.with_name(f"{other.name}.tmp-link")
    work.unlink(missing_ok=True)
    try:
        work.hardlink_to(path)
    except OSError:  # some file systems know one name per file only
        shutil.copyfile(path, work)
    put_in_place(work, other)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
