"""Arrays of images inside larger files: pickles, NumPy archives and HDF5."""

from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from metaviz.files.archives import DataError, Source
from metaviz.files.foreign import ForeignError, refused
from metaviz.files.npy import read_member
from metaviz.files.values import of_kind, required, row_of, whole
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


class Told(Protocol):
    """Where readers say what they united, and count what they left out."""

    @property
    def notes(self) -> list[str]:
        """The sentences."""

    @property
    def left_out(self) -> Counter[str]:
        """The counts."""


def pickled_arrays(entry: Container, labels: Container | None, told: Told) -> Classes:
    """Read the images of one split from a pickle.

    It holds image_data with class_dict (Ren), data with as many labels (MetaOptNet's FC100,
    CIFAR-FS and miniImageNet), or a list of PNG files with labels beside.
    Raises: DataError if the pickle holds anything else.
    """
    held = _unpickled(entry)
    if isinstance(held, dict) and {"data", "labels"} <= held.keys():
        return _numbered(held, entry, told)
    if isinstance(held, dict) and {"image_data", "class_dict"} <= held.keys():
        return _by_rows(held, entry, told)
    if isinstance(held, list) and labels is not None:
        encoded = [_encoded(item, entry) for item in held]
        pictures: list[Picture] = [
            Bytes(data, f"image {row} of {_label(entry)}", f"{_mark(entry)}:{row}")
            for row, data in enumerate(encoded)
        ]
        return _by_label(pictures, labels, told)
    raise DataError(
        f"{_label(entry)} holds neither image_data with class_dict, nor data with labels, nor a "
        "list of PNG files with a pickle of labels beside it; use the original files"
    )


def _by_rows(held: dict[str, Any], entry: Container, told: Told) -> Classes:
    """Sort the images `image_data` by the rows that `class_dict` lists of each class."""
    images = _images(held["image_data"], entry)
    try:
        rows_of = {
            name: _whole_numbers(rows, name)
            for name, rows in _text_keys(of_kind(held["class_dict"], dict, "class_dict")).items()
        }
    except ForeignError as error:
        raise DataError(
            f"{_label(entry)} has a class_dict that does not list the images of each class "
            f"({error}); use the original file"
        ) from error
    listed = sum(map(len, rows_of.values()))
    if listed > _MOST_LISTED * len(images):
        raise DataError(
            f"{_label(entry)} lists {listed} images of classes and holds {len(images)}; use the "
            "original file"
        )
    unlisted = len(images) - len({row for rows in rows_of.values() for row in rows})
    told.left_out["images that no class of class_dict lists"] += max(0, unlisted)
    return {name: [_pixels(images, row, entry) for row in rows] for name, rows in rows_of.items()}


def _numbered(held: dict[str, Any], entry: Container, told: Told) -> Classes:
    """Sort the images `data` by the numbers or names in `labels`."""
    images = _images(held["data"], entry)
    found: Classes = {}
    try:
        labels = _as_many(_listed(held["labels"], "labels"), len(images), "labels")
    except ForeignError as error:
        raise DataError(
            f"{_label(entry)} does not label each of its {len(images)} images ({error}); use the "
            "original file"
        ) from error
    for row, label in enumerate(labels):
        found.setdefault(_text(label), []).append(_pixels(images, row, entry))
    _tell_united(set(map(_kind_and_text, labels)), entry, told)
    return found


def _kind_and_text(label: Any) -> tuple[str, Any]:
    """Return what tells labels apart: their bytes or text, and numbers by how they are written."""
    if isinstance(label, bytes | str):
        return type(label).__name__, label
    return "", str(label)


def _tell_united(labels: Iterable[tuple[object, Any]], entry: Container, told: Told) -> None:
    """Say which classes several labels, told apart by a mark of each, have the name of."""
    several = [
        name for name, count in Counter(_text(each) for _, each in labels).items() if count > 1
    ]
    if several:
        told.notes.append(
            f"{len(several)} classes of {_label(entry)} were united from several labels of the same"
            f" name, {min(several)} among them"
        )


def _listed(held: Any, what: str) -> list[Any]:
    """Return the items of a list, a tuple or an array of one dimension. Raises: ForeignError."""
    if isinstance(held, np.ndarray):
        if held.ndim != 1:
            raise ForeignError(f"{what} has {held.ndim} dimensions")
        return list(held)
    if not isinstance(held, list | tuple | range):
        raise ForeignError(f"{what} is a {type(held).__name__}")
    return list(held)


def _as_many(items: list[Any], count: int, what: str) -> list[Any]:
    """Return a list that has so many items. Raises: ForeignError."""
    if len(items) != count:
        raise ForeignError(f"{what} has {len(items)} items for {count} images")
    return items


def _whole_numbers(held: Any, what: str) -> list[int]:
    """Return a list of whole numbers, also of one that Python 2 wrote. Raises: ForeignError."""
    found = _listed(held, what)
    for number in found:
        if not isinstance(number, int | np.integer) or isinstance(number, bool):
            raise ForeignError(f"{what} has {number!r:.40} where a whole number is expected")
    return [int(number) for number in found]


def numpy_images(entry: Container, labels: Container | None, told: Told) -> Classes:
    """Read the array `images` of tieredImageNet's {split}_images.npz.

    Raises: DataError if the archive is damaged or has no labels beside it.
    """
    try:
        held = read_member(entry.read(), "images")
        images = None if held is None else _images(held, entry)
    except ForeignError as error:
        raise DataError(
            f"{_label(entry)} is not an archive with an array `images` ({error}); use the original"
        ) from error
    if images is None:
        raise DataError(f"{_label(entry)} has no array `images`; use the original")
    if labels is None:
        raise DataError(f"{_label(entry)} has no pickle of labels beside it; add it")
    return _by_label([_pixels(images, row, entry) for row in range(len(images))], labels, told)


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


def torchmeta_groups(
    entry: Container, lists: dict[str, list[Any]], told: Told
) -> dict[str, Classes]:
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
            classes: Classes = {}
            for coarse, fine in dict.fromkeys(pairs):
                pictures = _stacked(file.array(coarse, fine), entry)
                classes.setdefault(fine, []).extend(pictures)
            splits[split] = classes
            _tell_united(dict.fromkeys(pairs), entry, told)
    return splits


def cifar_arrays(train: Container, test: Container, meta: Container) -> Classes:
    """Read CIFAR-100's own pickles: the images of both files by fine class."""
    names = _fine_names(meta)
    found: Classes = {}
    for entry in (train, test):
        held = _unpickled(entry)
        try:
            images = _cifar_images(required(of_kind(held, dict, "it"), "data", object))
            numbers = _whole_numbers(required(held, "fine_labels", object), "fine_labels")
            for row, fine in enumerate(numbers):
                name = names[whole(fine, "a label", 0, len(names) - 1)]
                found.setdefault(name, []).append(_pixels(images, row, entry))
        except ForeignError as error:
            raise DataError(
                f"{_label(entry)} is not a file of CIFAR-100 ({error}); unpack the original again"
            ) from error
    return found


def _cifar_images(held: Any) -> np.ndarray:
    """Return images (n, 32, 32, 3) of rows of levels. Raises: ForeignError."""
    flat = _flat(held)
    if flat.dtype != np.uint8 or flat.size != len(flat) * _COLOUR * _CIFAR_SIDE**2:
        raise ForeignError(f"its data are {flat.dtype} of shape {flat.shape}")
    return flat.reshape(-1, _COLOUR, _CIFAR_SIDE, _CIFAR_SIDE).transpose(0, 2, 3, 1)


def _fine_names(meta: Container) -> list[str]:
    """Return the names of CIFAR-100's classes. Raises: DataError."""
    held = _unpickled(meta)
    try:
        table = of_kind(held, dict, "it")
        return [_text(name) for name in _listed(table.get("fine_label_names", []), "its names")]
    except ForeignError as error:
        raise DataError(
            f"{_label(meta)} is not a file of CIFAR-100 ({error}); unpack the original again"
        ) from error


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


def _unpickled(entry: Container) -> Any:
    """Read a pickle; the keys of its dictionary are text. Raises: DataError."""
    held = unpickle(entry.read(), _label(entry))
    try:
        return _text_keys(held)
    except ForeignError as error:
        raise DataError(f"{_label(entry)} is ambiguous ({error}); use the original file") from error


def _text_keys(held: Any) -> Any:
    """Decode the keys of dictionaries that Python 2 wrote.

    Raises: ForeignError where two of them are the same text.
    """
    if not isinstance(held, dict):
        return held
    found: dict[str, Any] = {}
    for key, value in held.items():
        text = _text(key)
        if text in found:
            raise ForeignError(f"it has two keys that read {text}")
        found[text] = value
    return found


def _text(name: Any) -> str:
    """Return a name as text: bytes as UTF-8, or letter by letter where they are none."""
    if not isinstance(name, bytes):
        return str(name)
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _images(array: Any, entry: Container) -> np.ndarray:
    """Return images uint8 (n, height, width, 3)."""
    try:
        images = _flat(array)
    except ForeignError as error:
        raise DataError(f"{_label(entry)} holds no images ({error}); use the original") from error
    wrong = images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != _COLOUR  # noqa: PLR2004
    if wrong or not all(images.shape[1:3]):
        raise DataError(
            f"{_label(entry)} holds images of shape {images.shape} and type {images.dtype}; "
            "expected uint8 of shape (n, height, width, 3)"
        )
    return images


def _flat(held: Any) -> np.ndarray:
    """Return an array, or the numbers of a list; nested lists may stand for any size.

    Raises: ForeignError.
    """
    if isinstance(held, list | tuple) and any(isinstance(item, list | tuple) for item in held):
        raise ForeignError("it holds nested lists where an array is expected")
    with refused("an array"):
        found = np.asarray(held)
    if not found.ndim:
        raise ForeignError(f"it holds a {type(held).__name__} where an array is expected")
    return found


def _by_label(pictures: list[Picture], labels: Container, told: Told) -> Classes:
    """Sort images by the fine labels of tieredImageNet's pickle."""
    held = _unpickled(labels)
    found: Classes = {}
    try:
        table = of_kind(held, dict, "it")
        fine = _flat(required(table, "label_specific", object)).ravel()
        places = _whole_numbers(fine, "label_specific")
        names = _listed(required(table, "label_specific_str", object), "label_specific_str")
        _as_many(places, len(pictures), "label_specific")
        for place, picture in zip(places, pictures, strict=True):
            name = names[whole(place, "a label", 0, len(names) - 1)]
            found.setdefault(_text(name), []).append(picture)
        _tell_united(((place, names[place]) for place in set(places)), labels, told)
    except ForeignError as error:
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
