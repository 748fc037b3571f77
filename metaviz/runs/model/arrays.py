"""Arrays as they are stored: read without trust in what their headers say."""

import io
import math

import numpy as np

from metaviz.files.foreign import ForeignError, stored_members

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
