"""NumPy's own files, whose headers may claim any size and are parsed as Python's own text."""

import io
import math

import numpy as np

from metaviz.files.foreign import ForeignError, refused, zipped_member

_KINDS = "biufcSU"


def read_member(data: bytes, name: str) -> np.ndarray | None:
    """Read one array of the bytes of an .npz file, compressed or not; None where it has none.

    Its size is checked before memory is taken for it. Raises: ForeignError.
    """
    held = zipped_member(data, f"{name}.npy", "it")
    try:
        return None if held is None else read_array(held)
    except ForeignError as error:
        raise ForeignError(f"{name}: {error}") from None


def read_array(data: bytes) -> np.ndarray:
    """Read the bytes of an .npy file: numbers, letters or bytes, and no more than there are.

    Raises: ForeignError.
    """
    stream, header = io.BytesIO(data), np.lib.format
    readers = {(1, 0): header.read_array_header_1_0, (2, 0): header.read_array_header_2_0}
    with refused("an array"):
        version = header.read_magic(stream)
    if version not in readers:
        raise ForeignError(f"an array has the unknown version {version}")
    with refused("an array"):
        shape, _, dtype = readers[version](stream)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in _KINDS or not dtype.itemsize or size != len(data) - stream.tell():
        raise ForeignError("an array is not as large as it claims")
    stream.seek(0)
    with refused("an array"):
        return np.asarray(header.read_array(stream, allow_pickle=False))
