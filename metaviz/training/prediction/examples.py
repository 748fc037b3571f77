"""Examples that a person gives: pictures in folders and archives, or arrays in .npz files."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from metaviz.config.options import OptionError
from metaviz.files.archives import DataError, Folder, shown
from metaviz.files.foreign import MOST_ARRAY_BYTES, ForeignError, UnreadableError, read_bytes
from metaviz.files.npy import read_member
from metaviz.images.entries import Entry, list_entries
from metaviz.images.found import damaged_text

MOST_EXAMPLES = 10_000
_ENDING = ".npz"
_DEPTH = 3
_GREY = 3
_PICTURES = (_GREY, 4)
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Given:
    """Examples, their names, and what they are where that is told.

    `examples` are pictures in RGB or an array with a row for each; `labels` are class names, None
    where nobody says, or an array of targets (n, d); `remarks` are sentences.
    """

    examples: list[Image.Image] | np.ndarray
    names: tuple[str, ...]
    labels: tuple[str | None, ...] | np.ndarray
    remarks: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.names)

    def pictures(self) -> list[Image.Image]:
        """Return the examples as pictures in RGB; none where they are numbers.

        Arrays of 8-bit levels are pictures: (n, H, W), (n, 1 or 3, H, W) or (n, H, W, 1 or 3).
        """
        found = self.examples
        if isinstance(found, list):
            return found
        if found.dtype != np.uint8 or found.ndim not in _PICTURES:
            return []
        if found.ndim == _GREY:
            found = found[:, None]
        if found.shape[1] not in _CHANNELS:
            found = np.moveaxis(found, 3, 1)
        if found.shape[1] not in _CHANNELS:
            return []
        levels = np.broadcast_to(found, (len(found), 3, *found.shape[2:]))
        return [Image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0))) for one in levels]

    def numbered(self, classes: Sequence[str]) -> np.ndarray:
        """Return the place of each label among some classes, -1 for what is none of them."""
        places = {name: place for place, name in enumerate(classes)}
        return np.array([places.get(label or "", -1) for label in self.labels], dtype=np.int64)


def read_given(places: Sequence[Path], part: str) -> Given:
    """Read the `support` or `query` examples at some places: one .npz file, or pictures.

    Pictures lie in folders and zip archives, or are files; the name of the folder in which one lies
    is its label, below a folder that holds all of them. An .npz file has x and y, or support_x,
    support_y and query_x. Pictures that cannot be read are left out and told.
    Raises: OptionError, DataError with one sentence.
    """
    files = [place for place in places if place.suffix.lower() == _ENDING and place.is_file()]
    if files and len(places) > 1:
        raise OptionError(
            part, f"{files[0].name} is given beside others: give one .npz file alone."
        )
    found = _read_arrays(files[0], part) if files else _read_pictures(places, part)
    if len(found) > MOST_EXAMPLES:
        raise OptionError(
            part, f"{len(found)} {part} examples are given: give {MOST_EXAMPLES} at most."
        )
    return found


def given_arrays(part: str, x: np.ndarray, y: np.ndarray | Sequence[object] | None) -> Given:
    """Take arrays as examples; labels are whole numbers or texts, or floating targets (n, d).

    Raises: OptionError with one sentence.
    """
    if x.dtype.kind not in "biuf" or not x.ndim or 0 in x.shape:
        _refuse(
            part, f"x is {x.dtype} of shape {x.shape}: give numbers with a row for each example"
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0][0])
        _refuse(part, f"x[{row}] has a number that is not finite")
    names = tuple(map(str, range(len(x))))
    if y is None:
        return Given(x, names, (None,) * len(x))
    told = np.asarray(y)
    if len(told.shape) == 0 or len(told) != len(x):
        _refuse(
            part, f"y has the shape {told.shape}: give a label for each of the {len(x)} rows of x"
        )
    if told.dtype.kind == "f":
        if not np.isfinite(told).all():
            _refuse(part, "y has a number that is not finite")
        return Given(x, names, told.reshape(len(told), -1))
    if told.ndim != 1 or told.dtype.kind not in "iuUSO":
        _refuse(part, f"y is {told.dtype} of shape {told.shape}: give whole numbers or texts")
    return Given(x, names, tuple(map(_label, told.tolist())))


def _label(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _read_arrays(path: Path, part: str) -> Given:
    try:
        data = read_bytes(path, MOST_ARRAY_BYTES)
        x, y = (_member(data, part, letter) for letter in "xy")
    except UnreadableError as error:
        raise OptionError(part, f"Cannot read {path}: {error}.") from error
    except ForeignError as error:
        _refuse(part, f"{path.name}: {error}; use an .npz file of plain arrays")
    if x is None:
        _refuse(part, f"{path.name} has neither x nor {part}_x")
    return given_arrays(part, x, y)


def _member(data: bytes, part: str, letter: str) -> np.ndarray | None:
    own = read_member(data, f"{part}_{letter}")
    return read_member(data, letter) if own is None else own


def _read_pictures(places: Sequence[Path], part: str) -> Given:
    with ExitStack() as opened:
        found = [pair for place in places for pair in _entries(place, part, opened)]
        if not found:
            named = ", ".join(place.name or str(place) for place in places)
            _refuse(part, f"{shown(named)} holds no pictures that are read")
        if len(found) > MOST_EXAMPLES:
            raise OptionError(
                part, f"{len(found)} {part} pictures are given: give {MOST_EXAMPLES} at most."
            )
        return _decoded(_below_common(found), part)


def _entries(place: Path, part: str, opened: ExitStack) -> Iterable[tuple[tuple[str, ...], Entry]]:
    """Return pictures with their paths, which begin with the name of the place."""
    try:
        is_folder, exists = place.is_dir(), place.exists()
    except OSError as error:
        raise OptionError(part, f"Cannot read {place}: {error.strerror}.") from error
    if not exists:
        raise OptionError(part, f"{place} does not exist: name a folder, pictures or an .npz file.")
    if is_folder or place.suffix.lower() == ".zip":
        listing = list_entries(place, opened)
        top = place.resolve().name if is_folder else place.stem
        return [((top, *entry.parts), entry) for entry in listing.images]
    return [((place.name,), Entry(Folder(place.parent), place.name, (place.name,)))]


def _below_common(
    found: list[tuple[tuple[str, ...], Entry]],
) -> list[tuple[tuple[str, ...], Entry]]:
    """Leave out folders that hold all pictures, while a folder of each is left."""
    while len({parts[0] for parts, _ in found}) == 1 and min(len(p) for p, _ in found) >= _DEPTH:
        found = [(parts[1:], entry) for parts, entry in found]
    return found


def _decoded(found: list[tuple[tuple[str, ...], Entry]], part: str) -> Given:
    images, names, labels = [], [], list[str | None]()
    failures: list[DataError] = []
    for parts, entry in sorted(found, key=lambda pair: pair[0]):
        try:
            images.append(entry.picture().image())
        except DataError as error:
            failures.append(error)
            continue
        names.append(shown("/".join(parts)))
        labels.append(shown(parts[0]) if len(parts) > 1 else None)
    if failures and not images:
        raise DataError(f"{damaged_text(failures, len(found))}.")
    told = (f"{damaged_text(failures, len(found))}; they are left out.",) if failures else ()
    return Given(
        images, tuple(names), tuple(labels), tuple(f"{part.capitalize()}: {t}" for t in told)
    )


def _refuse(part: str, clause: str) -> NoReturn:
    raise OptionError(part, f"These are no {part} examples: {clause}.")
