"""What was recognised in a folder or archive of images."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from metaviz.files.archives import Source, decode_image

SPLITS = ("train", "validation", "test")
FORMATS = ("JPEG", "PNG")


class Picture(Protocol):
    """One image that has not been read yet."""

    def image(self) -> Image.Image:
        """Return it in RGB. Raises: DataError, naming the file."""

    def stamp(self) -> str:
        """Return what changes when the image does."""


class FilePicture(NamedTuple):
    """An image file of a folder or archive."""

    source: Source
    name: str

    def image(self) -> Image.Image:
        """Decode the file."""
        label = f"{self.name} in {self.source.label}"
        return decode_image(self.source.read(self.name), label, "RGB", FORMATS)

    def stamp(self) -> str:
        """Return the file's name, and its size and checksum or time."""
        return f"{self.name}:{self.source.stamp(self.name)}"


class Bytes(NamedTuple):
    """An encoded image inside a larger file."""

    data: bytes
    label: str
    mark: str

    def image(self) -> Image.Image:
        """Decode the bytes."""
        return decode_image(self.data, self.label, "RGB", FORMATS)

    def stamp(self) -> str:
        """Return that of the file it lies in."""
        return self.mark


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


Classes = dict[str, list[Picture]]


@dataclass(frozen=True)
class Found:
    """Images by split and class.

    dataset: its usual name, or "image folders". layout: how it is kept on disk. problems: what
    was left out or guessed, one sentence each, without its full stop.
    """

    dataset: str
    layout: str
    splits: dict[str, Classes]
    problems: tuple[str, ...] = ()

    def count(self) -> int:
        """Return the number of images."""
        return sum(len(images) for images in self.pictures())

    def pictures(self) -> Iterable[list[Picture]]:
        """Yield the images of every class, split by split, classes by name."""
        for split in SPLITS:
            for _, images in sorted(self.splits.get(split, {}).items()):
                yield images
