"""Images decoded once into one memory-mapped file, from which episodes are cut."""

import hashlib
import json
import os
import shutil
import tempfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from metaviz.files.archives import MAX_TOTAL_BYTES, DataError, Folder
from metaviz.files.atomic import write_atomically
from metaviz.files.foreign import ForeignError, check_regular, read_text, refused
from metaviz.files.progress import Counted
from metaviz.files.values import of_kind, parsed_json, required, row_of
from metaviz.images.found import SPLITS, Found, without_damaged
from metaviz.images.layouts import recognise

VERSION = 2
CHANNELS = 3
NATIVE = {"CIFAR-FS": 32, "FC100": 32}
USUAL = 84
_AT_ONCE = 64
_MOST_INDEX = 200_000_000


@dataclass(frozen=True)
class Classed:
    """The images of one split: class c has rows starts[c] to starts[c + 1].

    Shapes: pixels (images, 3, side, side) uint8, memory-mapped; starts (classes + 1,).
    """

    names: tuple[str, ...]
    starts: np.ndarray
    pixels: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """The number of images of each class."""
        return np.diff(self.starts)


@dataclass(frozen=True)
class ImageData:
    """A data set in the cache."""

    dataset: str
    layout: str
    side: int
    problems: tuple[str, ...]
    splits: dict[str, Classed]


def open_images(
    path: Path,
    root: Path,
    *,
    side: int | None = None,
    cifar: str = "CIFAR-FS",
    seed: int = 0,
    report: Counted = lambda _done, _all: None,
) -> ImageData:
    """Return the images at a path, from the cache under `root` or decoded into it.

    The cache is keyed by the names, sizes and checksums (in folders: times) of the files. Square
    images of `side` pixels; None takes 32 for CIFAR and 84 otherwise. It takes 3 side^2 bytes of
    disk per image, and as much memory as the system has to spare for the pages in use. What
    `report` raises ends the decoding, of which nothing stays.
    Raises: DataError in one sentence.
    """
    known = _quick_key(path, f"{side} {cifar} {seed}")
    pointer = root / f"{known}.key"
    # What was deleted or damaged meanwhile is decoded again.
    with suppress(ForeignError, DataError):
        return _opened(root / read_text(pointer))
    with ExitStack() as opened:
        found = recognise(path, opened, cifar=cifar, seed=seed)
        pixels = side or NATIVE.get(found.dataset, USUAL)
        folder = root / _key(found, pixels)
        try:
            data = _opened(folder)
        except DataError:
            shutil.rmtree(folder, ignore_errors=True)
            _build(found, pixels, folder, report)
            data = _opened(folder)
    with suppress(OSError):  # without it the next start takes longer
        write_atomically(pointer, lambda stream: stream.write(folder.name.encode()))
    return data


def _quick_key(path: Path, options: str) -> str:
    """Return what changes when a file at the path does, without looking into archives."""
    if not path.exists():
        raise DataError(f"{path} does not exist; choose a folder or a zip archive of images")
    digest = hashlib.blake2b(f"{VERSION} {options}".encode(), digest_size=16)
    folder, names = (
        (Folder(path), Folder(path).names())
        if path.is_dir()
        else (Folder(path.parent), [path.name])
    )
    for name in names:
        digest.update(f"\n{name}:{folder.stamp(name)}".encode("utf-8", "surrogateescape"))
    digest.update(str(path).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _key(found: Found, side: int) -> str:
    """Return the name of a cache folder."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{VERSION} {side} {found.dataset} {found.layout}".encode())
    for split in SPLITS:
        for name, images in sorted(found.splits.get(split, {}).items()):
            digest.update(f"\n{split}/{name}".encode("utf-8", "surrogateescape"))
            for picture in images:
                digest.update(f"\n{picture.stamp()}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _build(found: Found, side: int, folder: Path, report: Counted) -> None:
    """Decode every image; the folder appears only when it is whole."""
    count = found.count()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".decoding-", dir=folder.parent))
    except OSError as error:
        raise DataError(
            f"{folder.parent} cannot be written ({error.strerror}); the decoded images go there"
        ) from error
    try:
        found = without_damaged(found, _decode(found, side, work, report))
        index = {
            "dataset": found.dataset,
            "layout": found.layout,
            "side": side,
            "problems": list(found.remarks),
            "splits": {
                split: [[name, len(images)] for name, images in sorted(classes.items())]
                for split, classes in found.splits.items()
            },
        }
        (work / "index.json").write_text(json.dumps(index), encoding="utf-8")
        with suppress(FileExistsError):  # another run was quicker
            _settle(work, folder)
    except InterruptedError:
        raise
    except OSError as error:
        if error.errno is None:  # no system said so
            raise
        needed = count * CHANNELS * side**2 / 2**30
        raise DataError(
            f"The {count} images could not be decoded into {folder.parent} ({error.strerror}); "
            f"{needed:.1f} GiB of disk are needed there"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _settle(work: Path, folder: Path) -> None:
    try:
        os.rename(work, folder)  # noqa: PTH104 - Path.rename replaces an empty folder elsewhere
    except OSError:
        if not (folder / "index.json").exists():
            raise


def _decode(found: Found, side: int, work: Path, report: Counted) -> dict[int, DataError]:
    """Write the pixels of every image, class by class, in the order of the index.

    Returns why images cannot be read, by their places; these are left out.
    """
    every = [picture for images in found.pictures() for picture in images]
    failures: dict[int, DataError] = {}

    def decoded(first: int) -> np.ndarray:
        rows = []
        for place in range(first, min(first + _AT_ONCE, len(every))):
            try:
                rows.append(squared(every[place].image(), side))
            except DataError as error:
                failures[place] = error
        return np.stack(rows) if rows else np.zeros((0, CHANNELS, side, side), np.uint8)

    report(0, len(every))
    workers = min(8, os.cpu_count() or 1)
    # Written in order rather than through a map, whose pages would count as this process's memory.
    with (
        ThreadPoolExecutor(workers, "decoding") as pool,
        (work / "pixels.npy").open("wb") as stream,
    ):
        _write_header(stream, len(every), side)
        starts = iter(range(0, len(every), _AT_ONCE))
        waiting = deque(pool.submit(decoded, first) for first in islice(starts, 2 * workers))
        done = 0
        try:
            while waiting:
                stream.write(waiting.popleft().result().tobytes())
                done = min(done + _AT_ONCE, len(every))
                report(done, len(every))
                waiting.extend(pool.submit(decoded, first) for first in islice(starts, 1))
        finally:
            pool.shutdown(cancel_futures=True)
        stream.seek(0)
        _write_header(stream, len(every) - len(failures), side)
    return failures


def _write_header(stream: BinaryIO, count: int, side: int) -> None:
    """Begin a file of so many images; NumPy leaves room for any number of them."""
    shape = (count, CHANNELS, side, side)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def squared(image: Image.Image, side: int) -> np.ndarray:
    """Return an image as (3, side, side); one that is not square loses what sticks out."""
    if image.size != (side, side):
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        box = (left, top, left + edge, top + edge)
        image = image.resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)


def _opened(folder: Path) -> ImageData:
    """Map a cached data set into memory."""
    try:
        index = of_kind(parsed_json(read_text(folder / "index.json", _MOST_INDEX)), dict, "it")
        check_regular(folder / "pixels.npy", MAX_TOTAL_BYTES)
        with refused("pixels.npy"):
            pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
        stored = required(index, "splits", dict)
        splits, first = {}, 0
        for split in SPLITS:
            held = of_kind(stored.get(split, []), list, split)
            rows = [row_of(of_kind(row, list, split), split, str, int) for row in held]
            counts = [count for _, count in rows]
            starts = first + np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(int)
            splits[split] = Classed(tuple(name for name, _ in rows), starts, pixels)
            first = int(starts[-1])
        side = required(index, "side", int)
        problems = tuple(of_kind(one, str, "it") for one in required(index, "problems", list))
        known = required(index, "dataset", str), required(index, "layout", str), side, problems
    except ForeignError as error:
        raise DataError(
            f"The decoded images in {folder} cannot be read ({error}); delete that folder"
        ) from error
    if first != len(pixels):
        raise DataError(
            f"The decoded images in {folder} are {len(pixels)} where {first} belong; delete that "
            "folder"
        )
    return ImageData(*known, splits)
