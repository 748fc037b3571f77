"""Arrays as they are stored: read without trust in what their headers say."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.files.atomic import write_atomically
from metaviz.files.foreign import MOST_ARRAY_BYTES, ForeignError, read_bytes, stored_members

_KINDS = "biufcSU"


def pack_arrays(arrays: dict[str, np.ndarray]) -> bytes:
    """Return arrays by name as the bytes of an npz file."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def read_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name.

    Raises: ValueError where it is damaged, or would take more memory than it has bytes.
    """
    members = stored_members(data, "an array", ".npy")
    return {name.removesuffix(".npy"): _array(member) for name, member in members.items()}


def write_described(path: Path, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as an npz file, with plain values that describe them. Raises: OSError."""
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    write_atomically(path, lambda stream: stream.write(pack_arrays({"about": text, **arrays})))


def read_described(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what `write_described` wrote.

    Raises: OSError, or ValueError, KeyError, TypeError or RecursionError where it is damaged.
    """
    arrays = read_arrays(read_bytes(path, MOST_ARRAY_BYTES))
    about: dict[str, Any] = json.loads(arrays.pop("about").tobytes())
    return about, arrays


def _array(data: bytes) -> np.ndarray:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ForeignError(f"an array has the unknown version {version}")
    shape, _, dtype = readers[version](stream)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in _KINDS or not dtype.itemsize or size != len(data) - stream.tell():
        raise ForeignError("an array is not as large as it claims")
    stream.seek(0)
    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
