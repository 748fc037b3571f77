"""Checkpoints as they lie in the folders of runs, read and never run."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from metaviz.files.foreign import (
    MOST_CHECKPOINT_BYTES,
    ForeignError,
    UnreadableError,
    check_pickled,
    part_of,
    read_bytes,
    refused,
)
from metaviz.runs.storage.store import StoreError

CHECKPOINT = "checkpoint.pt"


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted.

    Raises: StoreError with one sentence where the file is missing, damaged or holds code.
    """
    return read_checkpoint(path, stored_bytes(path))


def read_state(path: Path) -> dict[str, Any]:
    """Read a state_dict of any program, `torch.save`d or safetensors; code in it is never run.

    Raises: StoreError with one sentence.
    """
    try:
        data = read_bytes(path, MOST_CHECKPOINT_BYTES)
        if path.suffix.lower() == ".safetensors":
            with refused(path.name):
                return dict(load(data))
        check_pickled(data, path.name)
        with refused(path.name):
            found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise StoreError(
            f"{path} holds other things than tensors, which are never run: save a state_dict."
        ) from error
    except ForeignError as error:
        raise StoreError(f"{path} holds no readable weights: {error}.") from error
    if not isinstance(found, dict):
        raise StoreError(f"{path} holds no weights by name: give a state_dict.")
    return found


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


def stored_bytes(path: Path) -> bytes:
    """Return the bytes of a checkpoint. Raises: StoreError with one sentence."""
    try:
        return read_bytes(part_of(path.parent, path.name), MOST_CHECKPOINT_BYTES)
    except ForeignError as error:
        if isinstance(error, UnreadableError) and error.is_missing:
            raise StoreError(
                f"{path.parent} has no checkpoint: it is no run, or one that ended early."
            ) from None
        raise StoreError(f"{path} is not a readable checkpoint: {error}.") from error
