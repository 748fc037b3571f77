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

from metaviz.files.archives import MAX_RATIO, RATIO_FREE_BYTES, DataError
from metaviz.files.foreign import ForeignError, refused


class Hdf5:
    """An open file; `label` names it in sentences."""

    def __init__(self, library: ModuleType, file: Any, label: str) -> None:
        """Take over an open file."""
        self._library, self._file, self.label = library, file, label

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
            size, stored = found.nbytes, found.id.get_storage_size()
        if elsewhere:
            raise ForeignError(f"{place} lies in other files")
        if size > MAX_RATIO * stored + RATIO_FREE_BYTES:
            raise ForeignError(f"{place} claims {size / 1e6:.0f} MB and has {stored / 1e6:.1f} MB")
        with refused(place):
            return np.asarray(found[()])

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
            yield Hdf5(library, file, label)
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
