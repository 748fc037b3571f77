"""Arrays of images inside larger files: pickles, NumPy archives and HDF5."""

import io
import zipfile
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from metaviz.files.archives import DataError, Source
from metaviz.files.foreign import ForeignError, check_growth, refused
from metaviz.files.npy import read_array
from metaviz.files.values import row_of
from metaviz.images.found import Bytes, Classes, Picture, Pixels
from metaviz.images.hdf5 import Hdf5, open_hdf5
from metaviz.images.unpickle import unpickle

_COLOUR = 3
_MOST_LISTED = 4
"""So often an image may be listed, on average."""
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
    held = _text_keys(unpickle(entry.read(), _label(entry)))
    if isinstance(held, dict) and {"data", "labels"} <= held.keys():
        return _numbered(held, entry)
    if isinstance(held, dict) and {"image_data", "class_dict"} <= held.keys():
        images = _images(held["image_data"], entry)
        try:
            rows_of = _text_keys(held["class_dict"])
            listed = sum(len(rows) for rows in rows_of.values())
            if listed > _MOST_LISTED * len(images):
                raise DataError(
                    f"{_label(entry)} lists {listed} images of classes and holds {len(images)}; "
                    "use the original file"
                )
            return {
                str(name): [_pixels(images, row, entry) for row in map(int, rows)]
                for name, rows in rows_of.items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{_label(entry)} has a class_dict that does not list the images of each class "
                f"({error}); use the original file"
            ) from error
    if isinstance(held, list) and labels is not None:
        encoded = [_encoded(item, entry) for item in held]
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
    try:
        images = _images(_zipped_array(entry.read(), "images"), entry)
    except ForeignError as error:
        raise DataError(
            f"{_label(entry)} is not an archive with an array `images` ({error}); use the original"
        ) from error
    if labels is None:
        raise DataError(f"{_label(entry)} has no pickle of labels beside it; add it")
    return _by_label([_pixels(images, row, entry) for row in range(len(images))], labels)


def _zipped_array(data: bytes, name: str) -> np.ndarray:
    """Return an array of a NumPy archive, whose size is checked before memory is taken for it.

    Raises: ForeignError.
    """
    with refused("it"):
        archive = zipfile.ZipFile(io.BytesIO(data))
        member = archive.getinfo(f"{name}.npy")
    check_growth(member.file_size, len(data), member.filename)
    with refused("it"):
        held = archive.read(member)
    return read_array(held)


def _encoded(item: Any, entry: Container) -> bytes:
    """Return the bytes of an encoded image, which is an array or bytes."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, np.ndarray) and item.dtype == np.uint8:
        return item.tobytes()
    raise DataError(
        f"{_label(entry)} holds a {type(item).__name__} where the bytes of an image are expected; "
        "use the original file"
    )


def torchmeta_splits(entry: Container) -> Classes:
    """Read one split of torchmeta: datasets/<class>, arrays of images or of PNG files."""
    with _opened(entry) as file:
        return {
            name: _stacked(file.array("datasets", name), entry) for name in file.names("datasets")
        }


def torchmeta_groups(entry: Container, lists: dict[str, list[Any]]) -> dict[str, Classes]:
    """Read torchmeta's CIFAR-100: <coarse>/<fine>, divided by lists of names or of pairs."""
    splits: dict[str, Classes] = {}
    with _opened(entry) as file:
        for split, listed in lists.items():
            pairs = [
                (one, fine) for one in listed if isinstance(one, str) for fine in file.names(one)
            ]
            pairs += [
                (coarse, fine)
                for coarse, fine in (
                    row_of(one, "its list", str, str) for one in listed if not isinstance(one, str)
                )
            ]
            splits[split] = {
                fine: _stacked(file.array(coarse, fine), entry) for coarse, fine in pairs
            }
    return splits


def cifar_arrays(train: Container, test: Container, meta: Container) -> Classes:
    """Read CIFAR-100's own pickles: the images of both files by fine class."""
    held = _text_keys(unpickle(meta.read(), _label(meta)))
    names = [_text(name) for name in held.get("fine_label_names", [])]
    found: Classes = {}
    for entry in (train, test):
        held = _text_keys(unpickle(entry.read(), _label(entry)))
        try:
            flat = _flat(held["data"])
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
    try:
        images = _flat(array)
    except ValueError as error:
        raise DataError(f"{_label(entry)} holds no images ({error}); use the original") from error
    wrong = images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != _COLOUR  # noqa: PLR2004
    if wrong or not all(images.shape[1:3]):
        raise DataError(
            f"{_label(entry)} holds images of shape {images.shape} and type {images.dtype}; "
            "expected uint8 of shape (n, height, width, 3)"
        )
    return images


def _flat(held: Any) -> np.ndarray:
    """Return an array, or the numbers of a list; nested lists may stand for any size."""
    if isinstance(held, list | tuple) and any(isinstance(item, list | tuple) for item in held):
        raise ValueError("it holds nested lists where an array is expected")
    return np.asarray(held)


def _by_label(pictures: list[Picture], labels: Container) -> Classes:
    """Sort images by the fine labels of tieredImageNet's pickle."""
    held = _text_keys(unpickle(labels.read(), _label(labels)))
    try:
        fine = _flat(held["label_specific"]).ravel()
        fine = fine.astype(np.intp, casting="same_kind")
        names = [_text(name) for name in held["label_specific_str"]]
        found: Classes = {}
        for place, picture in zip(fine, pictures, strict=True):
            found.setdefault(names[place], []).append(picture)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(
            f"{_label(labels)} does not label the images beside it ({error}); use the original"
        ) from error
    return found


def _stacked(array: np.ndarray, entry: Container) -> list[Picture]:
    """Return the images of one class: an array of pixels, or one of encoded files."""
    if array.dtype == object or array.ndim == 1:
        return [
            Bytes(_encoded(item, entry), f"image {row} of {_label(entry)}", f"{_mark(entry)}:{row}")
            for row, item in enumerate(array)
        ]
    images = _images(array, entry)
    return [_pixels(images, row, entry) for row in range(len(images))]


def _opened(entry: Container) -> AbstractContextManager[Hdf5]:
    return open_hdf5(entry.read(), _label(entry), "let torchmeta write it again")
