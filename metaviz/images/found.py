"""What was recognised in a folder or archive of images."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from metaviz.files.archives import DataError, Source, shown
from metaviz.images.decoding import MAX_PHOTO_PIXELS, decode_image

SPLITS = ("train", "validation", "test")
USUAL_FORMATS = ("JPEG", "PNG")
DAMAGED = "images that cannot be read"
"""What was left out, as `left_out` names it; the problems say more of it."""
_MOST_NAMED = 5


class Picture(Protocol):
    """One image that has not been read yet."""

    def image(self) -> Image.Image:
        """Return it in RGB. Raises: DataError, naming the file."""

    def stamp(self) -> str:
        """Return what changes when the image does."""

    def size(self) -> int:
        """Return its number of bytes, without reading it."""

    def checksum(self) -> int:
        """Return the CRC-32 of its bytes. Raises: DataError."""

    def content(self) -> bytes:
        """Return its bytes, encoded or not. Raises: DataError."""


class FilePicture(NamedTuple):
    """An image file of a folder or archive."""

    source: Source
    name: str

    def image(self) -> Image.Image:
        """Decode the file."""
        label = f"{self.name} in {self.source.label}"
        return decode_image(self.content(), label, "RGB", USUAL_FORMATS, MAX_PHOTO_PIXELS)

    def stamp(self) -> str:
        """Return the file's name, and its size and checksum or time."""
        return f"{self.name}:{self.source.stamp(self.name)}"

    def size(self) -> int:
        """Return the size of the file."""
        return self.source.size_of(self.name)

    def checksum(self) -> int:
        """Return that of the file."""
        return self.source.checksum(self.name)

    def content(self) -> bytes:
        """Return the contents of the file."""
        return self.source.read(self.name)


class Bytes(NamedTuple):
    """An encoded image inside a larger file."""

    data: bytes
    label: str
    mark: str

    def image(self) -> Image.Image:
        """Decode the bytes."""
        return decode_image(self.data, self.label, "RGB", USUAL_FORMATS, MAX_PHOTO_PIXELS)

    def stamp(self) -> str:
        """Return that of the file it lies in."""
        return self.mark

    def size(self) -> int:
        """Return the number of encoded bytes."""
        return len(self.data)

    def checksum(self) -> int:
        """Return that of the encoded bytes."""
        return zlib.crc32(self.data)

    def content(self) -> bytes:
        """Return the encoded bytes."""
        return self.data


class Pixels(NamedTuple):
    """A row of an array of images, uint8 (height, width, 3)."""

    array: np.ndarray
    row: int
    mark: str

    def image(self) -> Image.Image:
        """Return the row."""
        return Image.fromarray(np.ascontiguousarray(self.array[self.row]), "RGB")

    def stamp(self) -> str:
        """Return that of the file it lies in."""
        return self.mark

    def size(self) -> int:
        """Return the number of levels."""
        return int(self.array[0].size)

    def checksum(self) -> int:
        """Return that of the levels."""
        return zlib.crc32(self.content())

    def content(self) -> bytes:
        """Return the levels."""
        return bytes(self.array[self.row].tobytes())


def refuse_damaged(failures: Sequence[DataError], count: int) -> None:
    """Refuse images that cannot be read, all in one sentence. Raises: DataError, if there are."""
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise DataError(damaged_text(failures, count))


def damaged_text(failures: Sequence[DataError], count: int) -> str:
    """Say how many of the images cannot be read, and why the first of them."""
    named = "; ".join(map(str, failures[:_MOST_NAMED]))
    more = f"; and {len(failures) - _MOST_NAMED} more" if len(failures) > _MOST_NAMED else ""
    return f"{len(failures)} of {count} images cannot be read: {named}{more}"


Classes = dict[str, list[Picture]]


class Divided(NamedTuple):
    """What a reader found.

    whole: there are training classes and others. problems: as in Found. named: what the names of
    the files say that the data set is. source: the list that says so, where one does.
    """

    splits: dict[str, Classes]
    whole: bool
    problems: Sequence[str] = ()
    named: str = ""
    source: str = ""

    def split_of(self) -> dict[Picture, set[str]]:
        """Return the splits of every picture that is a file."""
        found: dict[Picture, set[str]] = {}
        for split, classes in self.splits.items():
            for picture in chain.from_iterable(classes.values()):
                if isinstance(picture, FilePicture):
                    found.setdefault(picture, set()).add(split)
        return found


@dataclass(frozen=True)
class Found:
    """Images by split and class.

    dataset: its usual name, or "image folders". layout: how it is kept on disk. problems: what
    was guessed or is doubtful, one sentence each, without its full stop. left_out: how many
    things were not read, by what they are.
    """

    dataset: str
    layout: str
    splits: dict[str, Classes]
    problems: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def remarks(self) -> tuple[str, ...]:
        """The problems and what was left out, in sentences that can be stored and shown."""
        left = (
            f"left out: {reason} ({count})"
            for reason, count in self.left_out.items()
            if reason != DAMAGED
        )
        return tuple(shown(sentence) for sentence in (*self.problems, *left))

    def count(self) -> int:
        """Return the number of images."""
        return sum(len(images) for images in self.pictures())

    def pictures(self) -> Iterable[list[Picture]]:
        """Yield the images of every class, split by split, classes by name."""
        for split in SPLITS:
            for _, images in sorted(self.splits.get(split, {}).items()):
                yield images


def without_damaged(found: Found, failures: Mapping[int, DataError]) -> Found:
    """Return a data set without the images at these places, counted as `pictures` yields them.

    The principle: a damaged image costs only itself, and all are told in one go.
    Raises: DataError where a class has no image left.
    """
    if not failures:
        return found
    damaged = [failures[place] for place in sorted(failures)]
    told = damaged_text(damaged, found.count())
    splits: dict[str, Classes] = {}
    place = 0
    for split in SPLITS:
        for name, images in sorted(found.splits.get(split, {}).items()):
            kept = [image for at, image in enumerate(images, place) if at not in failures]
            place += len(images)
            if not kept:
                raise DataError(f"{told}; none of the class {name} is left")
            splits.setdefault(split, {})[name] = kept
    left_out = {**found.left_out, DAMAGED: len(failures)}
    problems = (f"{told}; they are left out", *found.problems)
    return replace(found, splits=splits, problems=problems, left_out=left_out)
