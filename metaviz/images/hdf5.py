"""HDF5 files of strangers: plain groups and arrays inside one file, and no larger than it allows.

Links may lead to other files and round in circles, arrays may take their bytes from other files,
and a few bytes may claim terabytes of fill values: all that is refused.
"""

import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from metaviz.files.archives import DataError
from metaviz.files.foreign import ForeignError, check_growth, refused


class Hdf5:
    """An open file; `label` names it in sentences."""

    def __init__(self, library: ModuleType, file: Any, label: str, size: int) -> None:
        """Take over an open file of `size` bytes."""
        self._library, self._file, self.label = library, file, label
        self._size, self._taken = size, 0

    def names(self, *path: str) -> list[str]:
        """Return the names in a group, none where it is not there. Raises: ForeignError."""
        group = self._found(path)
        if group is None:
            return []
        if not isinstance(group, self._library.Group):
            raise ForeignError(f"{self._place(path)} is no group")
        with refused(self._place(path)):
            return [str(name) for name in group]

    def array(self, *path: str) -> np.ndarray:
        """Return an array. Raises: ForeignError."""
        place, found = self._place(path), self._found(path)
        if not isinstance(found, self._library.Dataset):
            raise ForeignError(f"{place} is no array")
        with refused(place):
            elsewhere = found.is_virtual or found.external is not None
            size, is_plain = found.nbytes, found.dtype != object
        if elsewhere:
            raise ForeignError(f"{place} lies in other files")
        self._take(size, place)
        if is_plain:
            with refused(place):
                return np.asarray(found[()])
        # Each item has a size of its own, and several may share their bytes in the file.
        with refused(place):
            count = len(found)
        items = np.empty(count, object)
        for row in range(len(items)):
            with refused(place):
                items[row] = np.asarray(found[row])
            self._take(items[row].nbytes, place)
        return items

    def _take(self, size: int, place: str) -> None:
        """Count what all arrays take together. Raises: ForeignError where it is too much."""
        self._taken += size
        check_growth(self._taken, self._size, place)

    def _found(self, path: tuple[str, ...]) -> Any:
        """Follow plain links alone; None where there is nothing."""
        here: Any = self._file
        for name in path:
            if not isinstance(here, self._library.Group):
                raise ForeignError(f"{self._place(path)} lies in no group")
            with refused(self._place(path)):
                link = here.get(name, getlink=True) if name and "/" not in name else None
            if link is None:
                return None
            if not isinstance(link, self._library.HardLink):
                raise ForeignError(f"{self._place(path)} is a link")
            with refused(self._place(path)):
                here = here[name]
        return here

    def _place(self, path: tuple[str, ...]) -> str:
        return f"{'/'.join(path):.200} in {self.label}"


@contextmanager
def open_hdf5(data: bytes, label: str, advice: str) -> Iterator[Hdf5]:
    """Open the bytes of a file; `advice` says what to do where it cannot be read.

    Raises: DataError, for what is met while it is open too.
    """
    library = _library(label, advice)
    try:
        with refused("it"):
            file = library.File(io.BytesIO(data), "r")
        with file:
            yield Hdf5(library, file, label, len(data))
    except ForeignError as error:
        raise DataError(f"{label} is not torchmeta's HDF5 file ({error}); {advice}") from error


def _library(label: str, advice: str) -> ModuleType:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise DataError(
            f"{label} is in torchmeta's HDF5 layout, and the package h5py that reads it is not "
            f"installed; install h5py or {advice}"
        ) from error
