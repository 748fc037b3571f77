"""Recognises the few-shot data sets that people have, by what is inside."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from metaviz.files.archives import IMAGE_SUFFIXES, DataError, Folder, Source, Zip
from metaviz.files.values import csv_rows, of_kind, parsed_json
from metaviz.images.containers import (
    cifar_arrays,
    numpy_images,
    pickled_arrays,
    torchmeta_groups,
    torchmeta_splits,
)
from metaviz.images.found import SPLITS, Classes, FilePicture, Found, Picture
from metaviz.paths import resource

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_FEWEST_CLASSES = 2
_SHARES = (0.64, 0.80)
EXPECTED = (
    "expected a folder of image folders (one per class, with train, val and test above them where "
    "there is a split), the zip archives of one, or the files of miniImageNet, tieredImageNet, "
    "CIFAR-FS or FC100 as torchmeta, learn2learn or their authors keep them"
)


class Entry(NamedTuple):
    """A file, with its path inside the archive below the archive's own name."""

    source: Source
    name: str
    parts: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """The end of its name, like .jpg."""
        return PurePosixPath(self.name).suffix.lower()

    def read(self) -> bytes:
        """Return its contents."""
        return self.source.read(self.name)

    def picture(self) -> Picture:
        """Return it as an image."""
        return FilePicture(self.source, self.name)


def recognise(path: Path, opened: ExitStack, *, cifar: str = "CIFAR-FS", seed: int = 0) -> Found:
    """Recognise a folder, a zip archive or a folder of zip archives; nothing is decoded yet.

    `cifar` names the split that raw CIFAR-100 is read with, `seed` draws the split of folders that
    come without one and are no known data set. Archives stay open until `opened` closes.
    Raises: DataError in one sentence if nothing is recognised or a file is unsafe or damaged.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; choose a folder or a zip archive of images")
    entries = list(_entries(path, opened))
    readers: dict[str, Callable[[list[Entry]], dict[str, Classes]]] = {
        "lists of files (CSV)": _by_lists_of_files,
        "lists of classes": _by_lists_of_classes,
        "folders with a split": _by_split_folders,
        "pickled arrays": _by_pickles,
        "torchmeta (HDF5)": lambda all_: _by_hdf5(all_, cifar),
        "CIFAR-100 (Python)": lambda all_: _by_cifar(all_, cifar),
    }
    for layout, reader in readers.items():
        splits = {split: classes for split, classes in reader(entries).items() if classes}
        if splits:
            return _named(layout, splits)
    unsplit = _unsplit(path, _class_folders(entries), cifar, seed)
    return replace(unsplit, problems=(*unsplit.problems, *_united(entries)))


def _entries(path: Path, opened: ExitStack) -> Iterator[Entry]:
    """List the files of a folder and of the archives that lie in it."""
    if path.is_file():
        if path.suffix.lower() != ".zip":
            raise DataError(f"{path} is no zip archive; choose a folder or a zip archive of images")
        yield from _listed(opened.enter_context(Zip(path)), (path.stem,))
        return
    folder = Folder(path)
    for name in folder.names():
        parts = PurePosixPath(name).parts
        if parts[-1].lower().endswith(".zip"):
            archive = opened.enter_context(Zip(path / name))
            yield from _listed(archive, (*parts[:-1], PurePosixPath(name).stem))
        elif not _hidden(parts):
            yield Entry(folder, name, parts)


def _listed(archive: Zip, above: tuple[str, ...]) -> Iterator[Entry]:
    for name in archive.names():
        parts = PurePosixPath(name).parts
        if not _hidden(parts):
            yield Entry(archive, name, (*above, *parts))


def _hidden(parts: tuple[str, ...]) -> bool:
    return parts[-1].startswith(".") or "__MACOSX" in parts


def _split_of(text: str) -> str | None:
    """Tell the split that a word is about: train, val-1 and mini-imagenet-cache-test are."""
    words = re.split(r"[^a-z]+", text.lower())
    return next((_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES), None)


def _pictures(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.suffix in IMAGE_SUFFIXES]


def _by_lists_of_files(entries: list[Entry]) -> dict[str, Classes]:
    """Read {train,val,test}.csv with a class for every file name, wherever the files lie."""
    lists = {}
    for entry in entries:
        split = _split_of(PurePosixPath(entry.name).stem)
        if entry.suffix == ".csv" and split and split not in lists:
            lists[split] = entry
    if not lists:
        return {}
    places: dict[tuple[str, ...], Entry] = {}
    for entry in _pictures(entries):
        # Names such as 1.jpg may repeat from class to class; with their folder they do not.
        places.setdefault(entry.parts[-1:], entry)
        places[entry.parts[-2:]] = entry
    splits: dict[str, Classes] = {}
    for split, entry in lists.items():
        rows = csv_rows(
            entry.read().decode("utf-8", "replace"), f"{entry.name} in {entry.source.label}"
        )
        classes: Classes = defaultdict(list)
        for row in rows:
            name = row.get("filename") or row.get("image_name")
            label = row.get("label") or row.get("class_name")
            if not name or not label:
                return {}
            found = places.get((label, name)) or places.get((name,))
            if found is None:
                raise DataError(
                    f"{entry.name} in {entry.source.label} lists {name!r}, which is not there; "
                    "put the images beside the list"
                )
            classes[label].append(found.picture())
        splits[split] = dict(classes)
    return splits


def _by_lists_of_classes(entries: list[Entry]) -> dict[str, Classes]:
    """Read {train,val,test}.txt with a class folder on every line, as learn2learn's CIFAR-FS."""
    lists = {
        split: entry
        for entry in entries
        if entry.suffix == ".txt" and (split := _split_of(PurePosixPath(entry.name).stem))
    }
    if set(lists) != set(SPLITS):
        return {}
    folders = _class_folders(entries)
    splits: dict[str, Classes] = {}
    for split, entry in lists.items():
        names = entry.read().decode("utf-8", "replace").split()
        missing = [name for name in names if name not in folders]
        if missing:
            return {}
        splits[split] = {name: folders[name] for name in names}
    return splits


def _by_split_folders(entries: list[Entry]) -> dict[str, Classes]:
    """Read {train,val,test}/<class>/<image>, at any depth or in an archive per split."""
    splits: dict[str, Classes] = defaultdict(lambda: defaultdict(list))
    for entry in _pictures(entries):
        *above, label, _ = "", "", *entry.parts
        split = next((found for part in reversed(above) if (found := _split_of(part))), None)
        if split:
            splits[split][label].append(entry.picture())
    return {split: dict(classes) for split, classes in splits.items()}


def _class_folders(entries: list[Entry]) -> Classes:
    """Read images in one folder per class."""
    classes: Classes = defaultdict(list)
    for entry in _pictures(entries):
        if len(entry.parts) > 1:
            classes[entry.parts[-2]].append(entry.picture())
    return dict(classes)


def _united(entries: list[Entry]) -> list[str]:
    """Say which classes came together because their folders have the same name."""
    places: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for entry in _pictures(entries):
        if len(entry.parts) > 1:
            places[entry.parts[-2]].add(entry.parts[:-2])
    most = max(places, key=lambda name: (len(places[name]), name))
    count = sum(len(found) > 1 for found in places.values())
    if not count:
        return []
    return [
        f"{count} classes were united from folders of the same name in several places, "
        f"{most} from {len(places[most])} of them"
    ]


def _by_pickles(entries: list[Entry]) -> dict[str, Classes]:
    """Read arrays of images pickled for each split: Ren's miniImageNet and tieredImageNet."""
    splits: dict[str, Classes] = {}
    for entry in entries:
        split = _split_of(PurePosixPath(entry.name).stem)
        if split is None or entry.suffix not in {".pkl", ".npz"} or "label" in entry.name:
            continue
        labels = next(
            (
                other
                for other in entries
                if other.suffix == ".pkl"
                and "label" in other.parts[-1]
                and _split_of(PurePosixPath(other.name).stem) == split
            ),
            None,
        )
        read = pickled_arrays if entry.suffix == ".pkl" else numpy_images
        splits[split] = read(entry, labels)
    return splits


def _by_hdf5(entries: list[Entry], cifar: str) -> dict[str, Classes]:
    """Read torchmeta's files: one per split, or one with coarse groups and lists of the split."""
    coarse = any("fc100" in entry.parts for entry in entries) and cifar == "FC100"
    splits: dict[str, Classes] = {}
    for entry in entries:
        if entry.suffix not in {".hdf5", ".h5"}:
            continue
        split = _split_of(PurePosixPath(entry.name).stem)
        if split:
            splits[split] = torchmeta_splits(entry)
        else:
            lists = {
                found: of_kind(parsed_json(other.read()), list, other.name)
                for other in entries
                if other.parts[-1].endswith("_labels.json")
                and ("fc100" in other.parts) == coarse
                and (found := _split_of(PurePosixPath(other.name).stem))
            }
            return torchmeta_groups(entry, lists)
    return splits


def _by_cifar(entries: list[Entry], cifar: str) -> dict[str, Classes]:
    """Read CIFAR-100's own files `train`, `test` and `meta`, divided as CIFAR-FS or FC100."""
    files = {
        entry.parts[-1]: entry for entry in entries if entry.parts[-1] in {"train", "test", "meta"}
    }
    if len(files) != 3:  # noqa: PLR2004 - the three of the data set
        return {}
    fine = cifar_arrays(files["train"], files["test"], files["meta"])
    return {
        split: {label: images for label, images in fine.items() if label in names}
        for split, names in known_splits()[cifar].items()
    }


@cache
def known_splits() -> dict[str, dict[str, frozenset[str]]]:
    """Return the classes of each split of the known data sets.

    CIFAR-FS lists pairs of a superclass and a class, FC100 superclasses, whose classes those
    pairs tell.
    """
    stored = json.loads(resource("splits.json").read_text(encoding="utf-8"))
    members: dict[str, list[str]] = defaultdict(list)
    for pairs in stored["CIFAR-FS"].values():
        for superclass, label in pairs:
            members[superclass].append(label)

    def fine(name: str | list[str]) -> list[str]:
        return [name[1]] if isinstance(name, list) else members.get(name, [name])

    return {
        dataset: {
            split: frozenset(label for name in names for label in fine(name))
            for split, names in stored[dataset].items()
        }
        for dataset in ("miniImageNet", "CIFAR-FS", "FC100")
    }


_TIERED = {"train": 351, "validation": 97, "test": 160}


def _named(layout: str, splits: dict[str, Classes], *problems: str) -> Found:
    """Name the data set by its classes."""
    dataset = "image folders"
    for name, known in known_splits().items():
        if all(set(classes) <= known[split] for split, classes in splits.items()):
            dataset = name
    if {split: len(classes) for split, classes in splits.items()} == _TIERED:
        dataset = "tieredImageNet"
    return Found(dataset, layout, splits, problems)


def _unsplit(path: Path, classes: Classes, cifar: str, seed: int) -> Found:
    """Divide classes without a split: as published where they are known, otherwise by chance."""
    if len(classes) < _FEWEST_CLASSES:
        raise DataError(f"no images by class found in {path}; {EXPECTED}")
    layout = "class folders"
    for name in sorted(known_splits(), key=lambda name: name != cifar):
        known = known_splits()[name]
        if set(classes) <= frozenset().union(*known.values()):
            splits = {
                split: {label: images for label, images in classes.items() if label in names}
                for split, names in known.items()
            }
            return Found(name, layout, {k: v for k, v in splits.items() if v})
    names = sorted(classes)
    order = np.random.default_rng(seed).permutation(len(names))
    ends = [max(1, round(share * len(names))) for share in _SHARES]
    divided = zip(SPLITS, np.split(order, ends), strict=True)
    splits = {
        split: {names[place]: classes[names[place]] for place in sorted(places)}
        for split, places in divided
    }
    return Found(
        "image folders",
        layout,
        {split: found for split, found in splits.items() if found},
        (
            f"the {len(names)} classes came without a split: {len(splits['train'])} train, "
            f"{len(splits['validation'])} validate and {len(splits['test'])} test, drawn with "
            f"seed {seed}",
        ),
    )
