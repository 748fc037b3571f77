"""What a folder or archive of images holds, found out without training or keeping anything."""

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from metaviz.files.archives import DataError, shown
from metaviz.files.progress import Report
from metaviz.images.found import SPLITS, Classes, Found, Picture, without_damaged
from metaviz.images.layouts import recognise
from metaviz.problems.omniglot_files import (
    LAYOUTS,
    is_drawing,
    read_omniglot,
    usual_test_alphabets,
)

_REPORT_EVERY = 256


@dataclass(frozen=True)
class Inspection:
    """What was recognised, as training with the default options would read it.

    dataset: its usual name, or "image folders". layout: how it is kept. splits: the images of
    every class. remarks: what was left out, guessed or is doubtful, in sentences. left_out: how
    many things were not read, by what they are. Names that are no UTF-8 are escaped.
    """

    dataset: str
    layout: str
    splits: Mapping[str, Mapping[str, int]]
    remarks: tuple[str, ...]
    left_out: Mapping[str, int]


def inspect_data(path: Path, report: Report, *, check: bool = True) -> Inspection:
    """Recognise Omniglot, or images by class; `check` decodes every image to find damaged ones.

    Raises: DataError with one sentence where nothing can be read.
    """
    try:
        return _inspected(path, report, check=check)
    except DataError as error:
        raise DataError(f"{error}.") from error


def _inspected(path: Path, report: Report, *, check: bool) -> Inspection:
    with ExitStack() as opened:
        try:
            found = recognise(path, opened)
        except DataError as error:
            return _omniglot(path, report, error)
        pictures = list(chain.from_iterable(found.pictures()))
        names = [getattr(picture, "name", "") for picture in pictures]
        if 2 * sum(map(is_drawing, names)) > len(names):
            return _omniglot(path, report, None)
        failures = _damaged(pictures, report) if check else {}
    return _of_images(without_damaged(found, failures))


def _of_images(found: Found) -> Inspection:
    splits = {
        split: _shown_counts(found.splits[split]) for split in SPLITS if split in found.splits
    }
    remarks = tuple(f"{sentence}." for sentence in found.remarks)
    return Inspection(found.dataset, found.layout, splits, remarks, dict(found.left_out))


def _shown_counts(classes: Classes) -> dict[str, int]:
    """Return the images of every class by its name as it is shown, each under another name.

    A name that is the escaped text of another one's bytes has its backslashes doubled.
    """
    usual = Counter(map(shown, classes))
    counts = {}
    for name, images in sorted(classes.items()):
        text = shown(name)
        if usual[text] > 1 and text == name:
            text = name.replace("\\", "\\\\")
        counts[text] = len(images)
    return counts


def _omniglot(path: Path, report: Report, refusal: DataError | None) -> Inspection:
    """Read Omniglot. Raises: the refusal of the images where it is none, or DataError."""
    try:
        found = read_omniglot(
            path, report=lambda done, count: report(f"Decoded {done} of {count} drawings")
        )
    except DataError as error:
        raise refusal or error from None
    test = usual_test_alphabets(sorted({alphabet for alphabet, _ in found.names}))
    splits: dict[str, dict[str, int]] = {"train": {}, "test": {}}
    for alphabet, character in found.names:
        split = "test" if alphabet in test else "train"
        splits[split][shown(f"{alphabet}/{character}")] = found.images.shape[1]
    remarks = tuple(f"{shown(sentence)}." for sentence in found.problems)
    return Inspection("Omniglot", LAYOUTS[found.layout], splits, remarks, {})


def _damaged(pictures: list[Picture], report: Report) -> dict[int, DataError]:
    """Return why images cannot be decoded, by their places."""

    def failure(picture: Picture) -> DataError | None:
        try:
            picture.image()
        except DataError as error:
            return error
        return None

    failures = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "checking") as pool:
        for done, error in enumerate(pool.map(failure, pictures)):
            if done % _REPORT_EVERY == 0:
                report(f"Decoded {done} of {len(pictures)} images")
            if error is not None:
                failures[done] = error
    return failures
