"""The files of a folder and of the archives in it: images, and what else may be data."""

import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from metaviz.files.archives import DataError, Folder, Source, Zip, data_names
from metaviz.images.decoding import SUFFIXES, is_image
from metaviz.images.found import FilePicture, Picture
from metaviz.images.splits import split_of

_ENOUGH_TO_TELL = 16
_MOST_SNIFFED = 1000
# Files that may be many and are known not to be images.
_NO_IMAGES = frozenset(
    {
        *(".txt", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".md", ".html", ".py"),
        *(".pkl", ".pickle", ".npz", ".npy", ".h5", ".hdf5", ".mat", ".pt", ".db", ".lst"),
    }
)
# Pictures and archives of formats that are not read; other files are no data.
_UNREAD = {
    "images in formats that are not read": frozenset(
        {
            *(".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".psd", ".tga", ".ico", ".eps"),
            *(".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".exr", ".hdr", ".pcx", ".dcm"),
        }
    ),
    "videos": frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg"}),
    "archives that are not read": frozenset(
        {*(".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".rar", ".7z", ".zst")}
    ),
}


REPEATED = "members of archives under whose name a later one lies"


class Entry(NamedTuple):
    """A file, with its path inside the archive below the archive's own name."""

    source: Source
    name: str
    parts: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """The end of its name, like .jpg."""
        return suffix_of(self.parts[-1])

    @property
    def stem(self) -> str:
        """Its name without folders and ending."""
        return _stem_of(self.parts[-1])

    @property
    def folder(self) -> tuple[str, ...]:
        """The path of the folder it lies in."""
        return self.parts[:-1]

    @property
    def label(self) -> str:
        """What a sentence calls it."""
        return f"{self.name} in {self.source.label}"

    def read(self) -> bytes:
        """Return its contents."""
        return self.source.read(self.name)

    def picture(self) -> Picture:
        """Return it as an image."""
        return FilePicture(self.source, self.name)


@dataclass(frozen=True)
class Listing:
    """What lies at a path.

    left_out: what is not read, with counts. failures: why something cannot be read, where the
    rest may do without it. notes: what looked like a list or data and is none.
    unsplit: lists of images and their classes that tell no split.
    """

    path: Path
    images: list[Entry]
    others: list[Entry]
    left_out: Counter[str] = field(default_factory=Counter)
    failures: list[DataError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unsplit: list[Entry] = field(default_factory=list)

    @cached_property
    def folders(self) -> Counter[tuple[str, ...]]:
        """The number of images directly in each folder."""
        return Counter(entry.folder for entry in self.images)


def list_entries(path: Path, opened: ExitStack) -> Listing:
    """List the files of a folder and of the zip archives in it, or of one archive.

    The principle: what systems made is no data, wherever it lies; a file that holds no images is
    none. An archive alone is read as its folder would be: its own name tells nothing.
    Raises: DataError if the path is neither, an archive of a split is damaged, or one is unsafe.
    """
    listing = Listing(path, [], [])
    sniffed = 0
    for entry in _entries(path, opened, listing):
        suffix = entry.suffix
        if suffix in SUFFIXES:
            listing.images.append(entry)
            continue
        unread = next((what for what, endings in _UNREAD.items() if suffix in endings), None)
        if unread:
            listing.left_out[f"{unread}: {suffix}"] += 1
        elif suffix not in _NO_IMAGES and sniffed < _MOST_SNIFFED:
            sniffed += 1
            if _sniffed(entry):
                listing.images.append(entry)
                continue
        listing.others.append(entry)
    return listing


def _entries(path: Path, opened: ExitStack, listing: Listing) -> Iterator[Entry]:
    if path.is_file():
        if path.suffix.lower() != ".zip" and not zipfile.is_zipfile(path):
            raise DataError(f"{path} is no zip archive; choose a folder or a zip archive of images")
        yield from _members(opened.enter_context(Zip(path)), (), listing)
        return
    folder = Folder(path)
    for name in data_names(folder):
        *above, last = parts = tuple(name.split("/"))
        if suffix_of(last) != ".zip":
            yield Entry(folder, name, parts)
            continue
        stem = _stem_of(last)
        try:
            archive = opened.enter_context(Zip(path / name))
        except DataError as error:
            if split_of(stem):
                raise
            listing.failures.append(error)
            listing.left_out["archives that cannot be read"] += 1
        else:
            yield from _members(archive, (*above, stem), listing)
    listing.left_out.update(folder.left_out)
    listing.failures.extend(folder.failures)


def _members(archive: Zip, above: tuple[str, ...], listing: Listing) -> Iterator[Entry]:
    if archive.repeated:
        listing.left_out[REPEATED] += archive.repeated
    for name in data_names(archive):
        yield Entry(archive, name, (*above, *name.split("/")))


def suffix_of(name: str) -> str:
    """Return the end of a file's name, like .jpg; nothing where it has no dot."""
    stem, dot, end = name.rpartition(".")
    return f".{end.lower()}" if dot and stem else ""


def _stem_of(name: str) -> str:
    return name.rpartition(".")[0] or name


def _sniffed(entry: Entry) -> bool:
    """Tell an image with another ending, or none, by its content."""
    try:
        return is_image(entry.source.start(entry.name, _ENOUGH_TO_TELL))
    except DataError:
        return False
