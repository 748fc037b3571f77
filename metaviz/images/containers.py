"""Arrays of images inside larger files: pickles, NumPy archives and HDF5."""

import importlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from metaviz.files.archives import MAX_RATIO, RATIO_FREE_BYTES, DataError, Source
from metaviz.images.found import Bytes, Classes, Picture, Pixels
from metaviz.images.unpickle import unpickle

_COLOUR = 3
_DAMAGED = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError),
    *(OverflowError, MemoryError, zipfile.BadZipFile, zlib.error),
)
"""What readers of arrays raise for damaged files."""
_CIFAR_SIDE = 32


class Container(Protocol):
    """A file that holds many images."""

    @property
    def source(self) -> Source:
        """The folder or archive it lies in."""

    @property
    def name(self) -> str:
        """Its path there."""

    def read(self) -> bytes:
        """Return its contents."""


def pickled_arrays(entry: Container, labels: Container | None) -> Classes:
    """Read the images of one split from a pickle.

    It holds image_data with class_dict (Ren), data with as many labels (MetaOptNet's FC100,
    CIFAR-FS and miniImageNet), or a list of PNG files with labels beside.
    Raises: DataError if the pickle holds anything else.
    """
    held = _text_keys(unpickle(io.BytesIO(entry.read()), _label(entry)))
    if isinstance(held, dict) and {"data", "labels"} <= held.keys():
        return _numbered(held, entry)
    if isinstance(held, dict) and {"image_data", "class_dict"} <= held.keys():
        images = _images(held["image_data"], entry)
        try:
            return {
                str(name): [_pixels(images, int(row), entry) for row in rows]
                for name, rows in _text_keys(held["class_dict"]).items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{_label(entry)} has a class_dict that does not list the images of each class "
                f"({error}); use the original file"
            ) from error
    if isinstance(held, list) and labels is not None:
        encoded = [np.asarray(item, dtype=np.uint8).tobytes() for item in held]
        pictures: list[Picture] = [
            Bytes(data, f"image {row} of {_label(entry)}", f"{_mark(entry)}:{row}")
            for row, data in enumerate(encoded)
        ]
        return _by_label(pictures, labels)
    raise DataError(
        f"{_label(entry)} holds neither image_data with class_dict, nor data with labels, nor a "
        "list of PNG files with a pickle of labels beside it; use the original files"
    )


def _numbered(held: dict[str, Any], entry: Container) -> Classes:
    """Sort the images `data` by the numbers or names in `labels`."""
    images = _images(held["data"], entry)
    found: Classes = {}
    try:
        for row, label in zip(range(len(images)), held["labels"], strict=True):
            found.setdefault(_text(label), []).append(_pixels(images, row, entry))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{_label(entry)} does not label each of its {len(images)} images ({error}); use the "
            "original file"
        ) from error
    return found


def numpy_images(entry: Container, labels: Container | None) -> Classes:
    """Read the array `images` of tieredImageNet's {split}_images.npz.

    Raises: DataError if the archive is damaged or has no labels beside it.
    """
    data = entry.read()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            _refuse_swollen(sum(one.file_size for one in members.infolist()), len(data), entry)
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            images = _images(held["images"], entry)
    except DataError:
        raise
    except (*_DAMAGED, NotImplementedError) as error:
        raise DataError(
            f"{_label(entry)} is not an archive with an array `images` ({error}); use the original"
        ) from error
    if labels is None:
        raise DataError(f"{_label(entry)} has no pickle of labels beside it; add it")
    return _by_label([_pixels(images, row, entry) for row in range(len(images))], labels)


def torchmeta_splits(entry: Container) -> Classes:
    """Read one split of torchmeta: datasets/<class>, arrays of images or of PNG files."""
    found: Classes = {}
    with _torchmeta(entry) as (file, take):
        for name, stack in file.get("datasets", {}).items():
            found[str(name)] = _stacked(take(stack), entry)
    return found


def torchmeta_groups(entry: Container, lists: dict[str, list[Any]]) -> dict[str, Classes]:
    """Read torchmeta's CIFAR-100: <coarse>/<fine>, divided by lists of names or of pairs."""
    splits: dict[str, Classes] = {}
    with _torchmeta(entry) as (file, take):
        for split, names in lists.items():
            pairs = [
                (name, fine)
                for name in names
                for fine in (file[name] if isinstance(name, str) else ())
            ]
            pairs += [(name[0], name[1]) for name in names if not isinstance(name, str)]
            splits[split] = {
                str(fine): _stacked(take(file[coarse][fine]), entry) for coarse, fine in pairs
            }
    return splits


def cifar_arrays(train: Container, test: Container, meta: Container) -> Classes:
    """Read CIFAR-100's own pickles: the images of both files by fine class."""
    held = _text_keys(unpickle(io.BytesIO(meta.read()), _label(meta)))
    names = [_text(name) for name in held.get("fine_label_names", [])]
    found: Classes = {}
    for entry in (train, test):
        held = _text_keys(unpickle(io.BytesIO(entry.read()), _label(entry)))
        try:
            flat = np.asarray(held["data"], dtype=np.uint8)
            images = flat.reshape(-1, _COLOUR, _CIFAR_SIDE, _CIFAR_SIDE).transpose(0, 2, 3, 1)
            for row, fine in enumerate(held["fine_labels"]):
                found.setdefault(names[fine], []).append(_pixels(images, row, entry))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise DataError(
                f"{_label(entry)} is not a file of CIFAR-100 ({error}); unpack the original again"
            ) from error
    return found


def _label(entry: Container) -> str:
    return f"{entry.name} in {entry.source.label}"


def _mark(entry: Container) -> str:
    return f"{entry.name}:{entry.source.stamp(entry.name)}"


def _pixels(images: np.ndarray, row: int, entry: Container) -> Picture:
    if not 0 <= row < len(images):
        raise DataError(
            f"{_label(entry)} names image {row} of {len(images)}; copy the original file again"
        )
    return Pixels(images, row, f"{_mark(entry)}:{row}")


def _text_keys(held: Any) -> Any:
    """Decode the keys of dictionaries that Python 2 wrote."""
    if not isinstance(held, dict):
        return held
    return {_text(key): value for key, value in held.items()}


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _images(array: Any, entry: Container) -> np.ndarray:
    """Return images uint8 (n, height, width, 3)."""
    images = np.asarray(array)
    wrong = images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != _COLOUR  # noqa: PLR2004
    if wrong or not all(images.shape[1:3]):
        raise DataError(
            f"{_label(entry)} holds images of shape {images.shape} and type {images.dtype}; "
            "expected uint8 of shape (n, height, width, 3)"
        )
    return images


def _by_label(pictures: list[Picture], labels: Container) -> Classes:
    """Sort images by the fine labels of tieredImageNet's pickle."""
    held = _text_keys(unpickle(io.BytesIO(labels.read()), _label(labels)))
    try:
        fine = np.asarray(held["label_specific"]).astype(int).ravel()
        names = [_text(name) for name in held["label_specific_str"]]
        found: Classes = {}
        for place, picture in zip(fine, pictures, strict=True):
            found.setdefault(names[place], []).append(picture)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"{_label(labels)} does not label the images beside it ({error}); use the original"
        ) from error
    return found


def _stacked(stack: Any, entry: Container) -> list[Picture]:
    """Return the images of one class: an array of pixels, or one of encoded files."""
    array = np.asarray(stack)
    if array.dtype == object or array.ndim == 1:
        return [
            Bytes(
                np.asarray(item, dtype=np.uint8).tobytes(),
                f"image {row} of {_label(entry)}",
                f"{_mark(entry)}:{row}",
            )
            for row, item in enumerate(array)
        ]
    images = _images(array, entry)
    return [_pixels(images, row, entry) for row in range(len(images))]


@contextmanager
def _torchmeta(entry: Container) -> Iterator[tuple[Any, Callable[[Any], np.ndarray]]]:
    """Open a file; what is taken from it may be much larger than it, but not without bounds."""
    h5py = _import_h5py(_label(entry))
    data = entry.read()
    taken = 0

    def take(stack: Any) -> np.ndarray:
        nonlocal taken
        taken += int(stack.nbytes)
        _refuse_swollen(taken, len(data), entry)
        return np.asarray(stack[()])

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            yield file, take
    except DataError:
        raise
    except (*_DAMAGED, RuntimeError) as error:
        raise DataError(
            f"{_label(entry)} is not a readable HDF5 file of torchmeta ({error}); let torchmeta "
            "write it again"
        ) from error


def _refuse_swollen(held: int, stored: int, entry: Container) -> None:
    if held > MAX_RATIO * stored + RATIO_FREE_BYTES:
        raise DataError(
            f"{_label(entry)} holds more than {MAX_RATIO} times its size; images shrink less, so "
            "this file is not read"
        )


def _import_h5py(label: str) -> ModuleType:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise DataError(
            f"{label} is in torchmeta's HDF5 layout, and the package h5py that reads it is not "
            "installed; install h5py or choose the images in another layout"
        ) from error
