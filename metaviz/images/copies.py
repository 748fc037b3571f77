"""One picture under several names: found by content, whatever the files are called."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

from metaviz.files.archives import DataError
from metaviz.images.decoding import is_image, sides_of
from metaviz.images.found import SPLITS, Classes, FilePicture, Picture, Pixels

_EXACT = {
    **{".png": "PNG", ".bmp": "BMP", ".dib": "BMP", ".tif": "TIFF", ".tiff": "TIFF"},
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PNM"),
}
"""Formats that keep every pixel, by the endings of names."""
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
    read. What cannot be read, or is no image, is the same as nothing. Where a class has files of
    several formats that keep every pixel, they are decoded and compared by their pixels, too; to
    decode all data for that would take a hundred times as long.
    """
    places = [
        _Place(split, label, row, picture)
        for split in SPLITS
        for label, images in splits.get(split, {}).items()
        for row, picture in enumerate(images)
    ]
    groups: list[list[_Place]] = [places]
    for key in (_size, _checksum, _digest):
        groups = [part for group in groups for part in _parted(group, key)]
    alike: list[list[_Place]] = list(_of_several_formats(places))
    for key in (_sides, _pixels):
        alike = [part for group in alike for part in _parted(group, key)]
    return _united(groups, alike)


def _of_several_formats(places: Iterable[_Place]) -> Iterator[list[_Place]]:
    """Yield the pictures of each class whose formats are exact, where they are several."""
    classes: dict[str, list[_Place]] = defaultdict(list)
    formats: dict[str, set[str]] = defaultdict(set)
    for place in places:
        if isinstance(place.picture, FilePicture):
            form = _EXACT.get(f".{place.picture.name.rpartition('.')[2].lower()}")
            if form:
                classes[place.label].append(place)
                formats[place.label].add(form)
    return (found for label, found in classes.items() if len(formats[label]) > 1)


def _united(groups: list[list[_Place]], others: list[list[_Place]]) -> list[list[_Place]]:
    """Return groups with those others that they have places in common with in one."""
    found = dict(enumerate(groups))
    number = {place[:3]: which for which, group in found.items() for place in group}
    for which, other in enumerate(others, len(groups)):
        joined = {number[place[:3]] for place in other if place[:3] in number}
        every = {place[:3]: place for place in other}
        every |= {place[:3]: place for each in joined for place in found.pop(each)}
        found[which] = [every[key] for key in sorted(every, key=_in_order)]
        number |= dict.fromkeys(every, which)
    return list(found.values())


def _in_order(key: tuple[str, str, int]) -> tuple[int, str, int]:
    split, label, row = key
    return SPLITS.index(split), label, row


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


def _sides(picture: Picture) -> Hashable:
    return sides_of(picture.content())


def _pixels(picture: Picture) -> Hashable:
    image = picture.image()
    return image.size, hashlib.blake2b(image.tobytes(), digest_size=16).digest()
