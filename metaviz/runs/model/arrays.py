"""Arrays as they are stored: read without trust in what their headers say."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.config.quantities import RANGES
from metaviz.files.atomic import write_atomically
from metaviz.files.foreign import (
    MOST_ARRAY_BYTES,
    ForeignError,
    read_bytes,
    stored_members,
)
from metaviz.files.npy import read_array
from metaviz.files.values import of_kind, parsed_json, required

_ANY = (-math.inf, math.inf)


def pack_arrays(arrays: dict[str, np.ndarray]) -> bytes:
    """Return arrays by name as the bytes of an npz file."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def read_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name.

    Raises: ForeignError where it is damaged, or would take more memory than it has bytes.
    """
    members = stored_members(data, "an array", ".npy")
    return {name.removesuffix(".npy"): read_array(member) for name, member in members.items()}


def write_described(path: Path, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as an npz file, with plain values that describe them. Raises: OSError."""
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    write_atomically(path, lambda stream: stream.write(pack_arrays({"about": text, **arrays})))


def read_described(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what `write_described` wrote.

    Raises: ForeignError where it is damaged or cannot be reached.
    """
    arrays = read_arrays(read_bytes(path, MOST_ARRAY_BYTES))
    text = required(arrays, "about", np.ndarray).tobytes()
    kept = {name: array for name, array in arrays.items() if name != "about"}
    return of_kind(parsed_json(text), dict, "about"), kept


def numbers(array: np.ndarray, what: str, *, dimensions: int) -> np.ndarray:
    """Return an array of numbers that has so many dimensions. Raises: ForeignError."""
    if array.ndim != dimensions or array.dtype.kind not in "biuf":
        raise ForeignError(f"{what} has {array.ndim} dimensions of {array.dtype}")
    return array


def possible(name: str, values: np.ndarray) -> None:
    """Refuse numbers that the quantity of this id cannot have; NaN stands for none.

    Raises: ForeignError.
    """
    least, most = RANGES.get(name, _ANY)
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    if known.size and not least <= known.min() <= known.max() <= most:
        worst = known.min() if known.min() < least else known.max()
        raise ForeignError(f"{name} = {worst:g} is not from {least:g} to {most:g}")
