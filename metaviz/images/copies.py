"""One picture under several names: found by content, whatever the files are called."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

from metaviz.files.archives import DataError
from metaviz.images.decoding import is_image
from metaviz.images.found import SPLITS, Classes, Picture, Pixels

_SPOKEN = {"train": "training", "validation": "validation", "test": "test"}


class _Place(NamedTuple):
    split: str
    label: str
    row: int
    picture: Picture


def without_copies(
    splits: dict[str, Classes], groups: list[list[_Place]]
) -> tuple[dict[str, Classes], int]:
    """Return the images of every class once, the first of each, and how many others there were.

    The principle: a picture that a class has twice would be learnt from and asked about at once.
    """
    dropped: dict[tuple[str, str], set[int]] = defaultdict(set)
    for group in groups:
        seen: set[tuple[str, str]] = set()
        for split, label, row, _ in group:
            if (split, label) in seen:
                dropped[split, label].add(row)
            seen.add((split, label))
    kept = {
        split: {
            label: [image for row, image in enumerate(images) if row not in dropped[split, label]]
            if (split, label) in dropped
            else images
            for label, images in classes.items()
        }
        for split, classes in splits.items()
    }
    return kept, sum(map(len, dropped.values()))


def shared_by_splits(splits: dict[str, Classes], groups: list[list[_Place]]) -> Iterator[str]:
    """Say which classes and images several splits have: accuracies are then of what is known."""
    for split, spoken in _SPOKEN.items():
        labels = [{place.label for place in group if place.split == split} for group in groups]
        if several := sum(len(found) > 1 for found in labels):
            yield f"{several} {spoken} images are in several classes"
    for one, other in combinations([split for split in SPLITS if splits.get(split)], 2):
        both = splits[one].keys() & splits[other].keys()
        if both:
            yield (
                f"{len(both)} of {len(splits[other])} {_SPOKEN[other]} classes are {_SPOKEN[one]} "
                "classes too: accuracies are not of new classes"
            )
        same = 0
        for group in groups:
            if one in {place.split for place in group}:
                same += sum(place.split == other for place in group)
        if same:
            count = sum(map(len, splits[other].values()))
            yield (
                f"{same} of {count} {_SPOKEN[other]} images are {_SPOKEN[one]} images too, and not "
                "new"
            )


def same_content(splits: dict[str, Classes]) -> list[list[_Place]]:
    """Return groups of pictures with the same bytes, in the order of the splits.

    Only pictures of one size have their checksums compared, and only those of one checksum are
    read. What cannot be read, or is no image, is the same as nothing.
    """
    places = (
        _Place(split, label, row, picture)
        for split in SPLITS
        for label, images in splits.get(split, {}).items()
        for row, picture in enumerate(images)
    )
    groups: Iterable[Iterable[_Place]] = [places]
    for key in (_size, _checksum, _digest):
        groups = [part for group in groups for part in _parted(group, key)]
    return [list(group) for group in groups]


def _parted(group: Iterable[_Place], key: Callable[[Picture], Hashable]) -> Iterator[list[_Place]]:
    parts: dict[Hashable, list[_Place]] = defaultdict(list)
    for place in group:
        try:
            parts[key(place.picture)].append(place)
        except DataError:
            continue
    parts.pop(None, None)
    return (part for part in parts.values() if len(part) > 1)


def _size(picture: Picture) -> Hashable:
    return picture.size() or None


def _checksum(picture: Picture) -> Hashable:
    return picture.checksum()


def _digest(picture: Picture) -> Hashable:
    content = picture.content()
    if not isinstance(picture, Pixels) and not is_image(content):
        return None
    return hashlib.blake2b(content, digest_size=16).digest()
