"""Small data sets of images as people keep them, and what is read from them."""

import io
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image

from metaviz.images.found import Found
from metaviz.images.layouts import recognise
from tests.unit.test_omniglot_files import unpack

SIX = {
    "train": {"c0": 2, "c1": 2},
    "validation": {"c2": 2, "c3": 2},
    "test": {"c4": 2, "c5": 2},
}
SPLIT_OF = {name: split for split, names in SIX.items() for name in names}
SHORT = {"train": "train", "validation": "val", "test": "test"}


def image(number: int, form: str = "PNG", side: int = 8) -> bytes:
    """Return an image that no other number has."""
    levels = np.full((side, side, 3), (number % 251, number // 251, 99), np.uint8)
    levels[: side // 2] += 1
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, form, quality=95, lossless=True)
    return buffer.getvalue()


def images(pattern: str, *, split: str = "", first: int = 0) -> dict[str, bytes]:
    """Return two images of each of six classes; a pattern has {split}, {name} and {row}."""
    return {
        pattern.format(split=split or SHORT[SPLIT_OF[name]], name=name, row=row): image(
            first + 2 * place + row
        )
        for place, name in enumerate(SPLIT_OF)
        for row in range(2)
    }


def found_in(path: Path, contents: Mapping[str, bytes] | None = None) -> Found:
    """Recognise what lies at a path, after files are written there."""
    if contents:
        unpack(path, dict(contents))
    with ExitStack() as opened:
        return recognise(path, opened)


def counts(found: Found) -> dict[str, dict[str, int]]:
    """Return the images of every class."""
    return {
        split: {name: len(held) for name, held in sorted(classes.items())}
        for split, classes in found.splits.items()
    }


def united(found: Found) -> dict[str, int]:
    """Return the images of every class of data whose split was drawn."""
    return {name: count for classes in counts(found).values() for name, count in classes.items()}
