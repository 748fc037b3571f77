"""Recognises the few-shot data sets that people have, by what is inside."""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from metaviz.files.archives import DataError
from metaviz.files.foreign import ForeignError
from metaviz.files.values import of_kind, parsed_json
from metaviz.images.containers import (
    cifar_arrays,
    numpy_images,
    pickled_arrays,
    torchmeta_groups,
    torchmeta_splits,
)
from metaviz.images.copies import same_content, shared_by_splits, without_copies
from metaviz.images.entries import Entry, Listing, list_entries
from metaviz.images.found import SPLITS, Classes, Divided, FilePicture, Found
from metaviz.images.lists import (
    LIST_SUFFIXES,
    MisfitError,
    by_lists_of_classes,
    by_lists_of_files,
    not_followed,
    refuse_contradiction,
)
from metaviz.images.splits import (
    class_folders,
    is_generic,
    is_whole,
    split_folders,
    split_of,
    splits_in,
)
from metaviz.paths import resource

_FEWEST_CLASSES = 2
_SHARES = (0.64, 0.80)
_OF_A_CLASS = 600
_NAMED = {"fc100": "FC100", "cifar": "CIFAR-FS", "miniimagenet": "miniImageNet"}
"""The data sets whose classes MetaOptNet's pickles number, by how their names begin."""
_UNSPLIT, _UNKNOWN = "class folders", "image folders"
_LISTS = {
    "lists of files (CSV)": by_lists_of_files,
    "lists of classes": by_lists_of_classes,
}
_OUTSIDE = {
    **dict.fromkeys(_LISTS, "images that no list names"),
    "folders with a split": "images outside of the folders of the split",
    _UNSPLIT: "images in no folder of a class",
}
EXPECTED = (
    "expected a folder of image folders (one per class, with train, val and test above them where "
    "there is a split), the zip archives of one, or the files of miniImageNet, tieredImageNet, "
    "CIFAR-FS or FC100 as torchmeta, learn2learn or their authors keep them"
)
_Reader = Callable[[Listing], Divided | None]


def recognise(path: Path, opened: ExitStack, *, cifar: str = "CIFAR-FS", seed: int = 0) -> Found:
    """Recognise a folder, a zip archive or a folder of zip archives; nothing is decoded yet.

    The principle: a person's own whole lists come first; of the other readers the first that
    covers at least half of what the best one does; what it does not cover is told with counts.
    `cifar` names the split that raw CIFAR-100 is read with, `seed` draws the split of folders that
    come without one and are no known data set. Archives stay open until `opened` closes.
    Raises: DataError in one sentence if nothing is recognised or a file is unsafe or damaged.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; choose a folder or a zip archive of images")
    listing = list_entries(path, opened)
    misfits: list[MisfitError] = []
    readings = {layout: _told(reader, listing, misfits) for layout, reader in _LISTS.items()}
    own = next((layout for layout, read in readings.items() if read and read.whole), None)
    if own is None:
        own = _other(listing, readings, cifar)
    chosen = readings[own] if own else None
    if chosen is None:
        if misfits:
            raise misfits[0]
        return _finished(listing, _unsplit(listing, cifar, seed))
    if own in _LISTS:
        for read in filter(None, map(readings.get, _LISTS)):
            refuse_contradiction(chosen, read)
        if folders := _by_split_folders(listing):
            listing.notes.extend(_contradicted(chosen, folders))
    return _finished(listing, _named(own or "", _composed(chosen)))


def _contradicted(lists: Divided, folders: Divided) -> Iterator[str]:
    """Say which images lie in folders of another split than a person's lists say."""
    lie = folders.split_of()
    apart = [
        (picture, splits)
        for picture, splits in lists.split_of().items()
        if picture in lie and lie[picture] != splits
    ]
    if apart:
        picture, splits = apart[0]
        yield (
            f"{len(apart)} images lie in folders of another split than {lists.source} says, "
            f"{getattr(picture, 'name', '')} in {' and '.join(sorted(lie[picture]))} instead of "
            f"{' and '.join(sorted(splits))}: the list was followed"
        )


def _composed(read: Divided) -> Divided:
    """Unite classes whose names differ in how accents are composed alone, as systems do."""
    forms: dict[str, set[str]] = defaultdict(set)
    for classes in read.splits.values():
        for name in classes:
            forms[unicodedata.normalize("NFC", name)].add(name)
    several = {name for name, found in forms.items() if len(found) > 1}
    if not several:
        return read
    splits: dict[str, Classes] = {}
    for split, classes in read.splits.items():
        united: Classes = {}
        for name, images in classes.items():
            form = unicodedata.normalize("NFC", name)
            united.setdefault(form if form in several else name, []).extend(images)
        splits[split] = united
    told = (
        f"{len(several)} classes were united whose names differ in how their accents are composed, "
        f"{min(several)} among them"
    )
    return read._replace(splits=splits, problems=(*read.problems, told))


def _other(listing: Listing, readings: dict[str, Divided | None], cifar: str) -> str | None:
    """Add what the other readers find, and choose: a list of train alone comes before chance."""
    alone = next((layout for layout, read in readings.items() if read), None)
    others: dict[str, _Reader] = {
        "folders with a split": _by_split_folders,
        "pickled arrays": _by_pickles,
        "torchmeta (HDF5)": partial(_by_hdf5, cifar=cifar),
        "CIFAR-100 (Python)": partial(_by_cifar, cifar=cifar),
    }
    readings |= {layout: reader(listing) for layout, reader in others.items()}
    best = _best(readings, listing)
    found = readings[best] if best else None
    return best if found and found.whole else alone or best


def _told(reader: _Reader, listing: Listing, misfits: list[MisfitError]) -> Divided | None:
    try:
        return reader(listing)
    except MisfitError as error:
        misfits.append(error)
        return None


def _best(readings: dict[str, Divided | None], listing: Listing) -> str | None:
    """Return the first layout that covers at least half as much as the one that covers most."""
    counts = {layout: _count(read.splits) for layout, read in readings.items() if read}
    most = max([*counts.values(), _count(_by_class_folders(listing).splits)])
    best = next((layout for layout, count in counts.items() if 2 * count >= most), None)
    listing.notes.extend(
        f"the {layout} hold only {counts[layout]} of {most} images and divide nothing"
        for layout, read in readings.items()
        if best is None and read and read.whole
    )
    return best


def _count(splits: dict[str, Classes]) -> int:
    return sum(len(images) for classes in splits.values() for images in classes.values())


def _finished(listing: Listing, found: Found) -> Found:
    """Count what a reading leaves out, and look for copies, and for what its splits share.

    A published data set stays as its authors made it, so that results are of the same images.
    """
    groups = [] if _is_published(found) else same_content(found.splits)
    splits, copies = without_copies(found.splits, groups)
    files = chain.from_iterable(found.pictures())
    read = {picture for picture in files if isinstance(picture, FilePicture)}
    outside = sum(entry.picture() not in read for entry in listing.images)
    left_out = Counter(listing.left_out)
    left_out["copies of images that are read"] = copies
    left_out[_OUTSIDE.get(found.layout, "images beside the data")] = outside
    if found.layout == _UNSPLIT:  # a picture that every class has is a placeholder
        every = len({label for classes in splits.values() for label in classes})
        groups = [group for group in groups if len({place.label for place in group}) < every]
    shared = shared_by_splits(splits, groups)
    told = (*map(str, listing.failures), *listing.notes, *shared, *found.problems)
    return Found(found.dataset, found.layout, splits, told, +left_out)


def _is_published(found: Found) -> bool:
    if found.dataset in known_splits():
        return all(len(images) == _OF_A_CLASS for images in found.pictures())
    return found.dataset == "tieredImageNet"


def _by_split_folders(listing: Listing) -> Divided | None:
    """Read {train,val,test}/<class>/<image>, at any depth or in an archive per split.

    The principle: a split needs train beside it, and the class is the folder below the split.
    """
    divided = split_folders(listing.folders)
    below: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for folder, found in divided.items():
        below[found.split][found.below] += listing.folders[folder]
    paths = {split: class_folders(counts, below_split=True) for split, counts in below.items()}
    splits: dict[str, Classes] = defaultdict(lambda: defaultdict(list))
    for entry in listing.images:
        part = divided.get(entry.folder)
        if part and (path := paths[part.split].get(part.below)):
            splits[part.split][path[-1]].append(entry.picture())
    if not splits or all(map(is_generic, splits.get("train", ["images"]))):
        return None
    problems = [
        f"the {split} images lie in {', '.join(classes)} without a folder for each class, so they "
        "count as one class"
        for split, classes in splits.items()
        if all(map(is_generic, classes))
    ]
    places = {found.place for found in divided.values()}
    if len(places) > 1:
        problems.append(
            f"folders of the split lie in {len(places)} places, "
            f"{'/'.join(max(places)) or 'the top'} among them: their classes of one name were "
            "united"
        )
    plain = {split: dict(classes) for split, classes in splits.items()}
    return Divided(plain, is_whole(plain), problems)


def _by_class_folders(listing: Listing) -> Divided:
    """Read images in one folder per class; no split is drawn yet.

    The principle: folders of one name are one class, and that is told.
    """
    paths = class_folders(listing.folders)
    classes: Classes = defaultdict(list)
    for entry in listing.images:
        if entry.folder in paths:
            classes[paths[entry.folder][-1]].append(entry.picture())
    inside = {
        (name, path)
        for folder, path in paths.items()
        for name in folder[len(path) :]
        if split_of(name)
    }
    problems = _united(paths)
    if inside:
        names = " and ".join(sorted({name for name, _ in inside}))
        problems.append(
            f"the folders {names} inside of {len({path for _, path in inside})} classes were "
            "united: a split is of classes, not of the images of one"
        )
    return Divided({"": dict(classes)}, whole=False, problems=problems)


def _united(paths: dict[tuple[str, ...], tuple[str, ...]]) -> list[str]:
    """Say which classes came together because their folders have the same name."""
    places: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for path in paths.values():
        places[path[-1]].add(path[:-1])
    count = sum(len(found) > 1 for found in places.values())
    if not count:
        return []
    most = max(places, key=lambda name: (len(places[name]), name))
    return [
        f"{count} classes were united from folders of the same name in several places, "
        f"{most} from {len(places[most])} of them"
    ]


def _by_pickles(listing: Listing) -> Divided | None:
    """Read arrays of images pickled for each split, as Ren, MetaOptNet and learn2learn keep them.

    The principle: a file that holds no images is no data. One that is damaged is refused only
    where its split is in no other file, or nothing else can be read.
    """
    splits: dict[str, Classes] = {}
    named = ""
    failed: dict[str, DataError] = {}
    for entry in listing.others:
        if entry.suffix not in {".pkl", ".pickle", ".npz"} or "label" in entry.parts[-1]:
            continue
        split = split_of(entry.stem)
        if split is None:
            listing.left_out["files of arrays for several splits"] += bool(splits_in(entry.stem))
            continue
        try:
            read = _arrays(entry, _labels_of(entry, split, listing.others), listing)
        except DataError as error:
            failed.setdefault(split, error)
            continue
        if read and split in splits:
            raise DataError(
                f"{entry.label} is a second file of {split} images; keep the one you mean"
            )
        if read:
            splits[split] = read
            named = re.sub(r"[^a-z0-9]+", "", entry.stem.lower().partition("_")[0])
    _refuse_failed(failed, splits, listing)
    return Divided(splits, is_whole(splits), named=_NAMED.get(named, "")) if splits else None


def _arrays(entry: Entry, labels: Entry | None, told: Listing) -> Classes:
    read = numpy_images if entry.suffix == ".npz" else pickled_arrays
    return read(entry, labels, told)


def _labels_of(entry: Entry, split: str, others: list[Entry]) -> Entry | None:
    return next(
        (
            other
            for other in others
            if other.suffix == ".pkl"
            and "label" in other.parts[-1]
            and other.folder == entry.folder
            and split_of(other.stem) == split
        ),
        None,
    )


def _by_hdf5(listing: Listing, cifar: str) -> Divided | None:
    """Read torchmeta's files: one per split, or one with coarse groups and lists of the split.

    The principle: as `_by_pickles`.
    """
    splits: dict[str, Classes] = {}
    failed: dict[str, DataError] = {}
    for entry in listing.others:
        if entry.suffix not in {".hdf5", ".h5"}:
            continue
        split = split_of(entry.stem) or ""
        try:
            read = {split: torchmeta_splits(entry)} if split else _coarse(entry, listing, cifar)
        except DataError as error:
            failed.setdefault(split, error)
            continue
        for name, classes in read.items():
            if classes and name in splits:
                raise DataError(
                    f"{entry.label} is a second file of {name} images; keep the one you mean"
                )
            splits |= {name: classes} if classes else {}
    _refuse_failed(failed, splits, listing)
    return Divided(splits, is_whole(splits)) if splits else None


def _coarse(entry: Entry, listing: Listing, cifar: str) -> dict[str, Classes]:
    """Read torchmeta's CIFAR-100, by the lists beside it."""
    coarse = any("fc100" in other.parts for other in listing.others) and cifar == "FC100"
    lists = {
        split: _parsed(other)
        for other in listing.others
        if other.parts[-1].endswith("_labels.json")
        and ("fc100" in other.parts) == coarse
        and (split := split_of(other.stem))
    }
    return torchmeta_groups(entry, lists, listing)


def _refuse_failed(
    failed: dict[str, DataError], splits: dict[str, Classes], listing: Listing
) -> None:
    """Refuse data of which one split cannot be read; tell what is beside the others."""
    for split, failure in failed.items():
        if splits and split and split not in splits:
            raise failure
        listing.failures.append(failure)


def _parsed(entry: Entry) -> list[Any]:
    try:
        return of_kind(parsed_json(entry.read()), list, entry.name)
    except ForeignError as error:
        raise DataError(f"{entry.label} is no list of classes ({error})") from error


def _by_cifar(listing: Listing, cifar: str) -> Divided | None:
    """Read CIFAR-100's own files `train`, `test` and `meta`, divided as CIFAR-FS or FC100.

    The principle: as `_by_pickles`.
    """
    names = {"train", "test", "meta"}
    files = {entry.parts[-1]: entry for entry in listing.others if entry.parts[-1] in names}
    if set(files) != names:
        return None
    try:
        fine = cifar_arrays(files["train"], files["test"], files["meta"])
    except DataError as error:
        listing.failures.append(error)
        return None
    splits = {
        split: {label: images for label, images in fine.items() if label in names}
        for split, names in known_splits()[cifar].items()
    }
    splits = {split: classes for split, classes in splits.items() if classes}
    return Divided(splits, is_whole(splits)) if splits else None


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


def _named(layout: str, read: Divided) -> Found:
    """Name the data set by its classes, or by its files where classes have numbers only."""
    dataset = known_data(read.splits, read.named) or _UNKNOWN
    return Found(dataset, layout, read.splits, tuple(read.problems))


def known_data(splits: Mapping[str, Collection[str]], named: str = "") -> str:
    """Return the usual name of data with these classes in its splits, empty for unknown ones.

    Where classes have numbers only, data are what they are `named` if their numbers agree.
    """
    dataset = ""
    sizes = {split: len(classes) for split, classes in splits.items()}
    for name, known in known_splits().items():
        numbers = {split: len(labels) for split, labels in known.items()}
        if all(set(classes) <= known[split] for split, classes in splits.items()) or (
            name == named and sizes == numbers
        ):
            dataset = name
    return "tieredImageNet" if sizes == _TIERED else dataset


def _unsplit(listing: Listing, cifar: str, seed: int) -> Found:
    """Divide classes without a split: as published where they are known, otherwise by chance."""
    reading = _composed(_by_class_folders(listing))
    classes, united = reading.splits[""], [*reading.problems, *not_followed(listing)]
    if len(classes) < _FEWEST_CLASSES:
        raise next(
            iter(listing.failures),
            DataError(f"no images by class found in {listing.path}{_why(listing)}; {EXPECTED}"),
        )
    for name in sorted(known_splits(), key=lambda name: name != cifar):
        known = known_splits()[name]
        if set(classes) <= frozenset().union(*known.values()):
            splits = {
                split: {label: images for label, images in classes.items() if label in names}
                for split, names in known.items()
            }
            return Found(name, _UNSPLIT, {k: v for k, v in splits.items() if v}, tuple(united))
    names = sorted(classes)
    order = np.random.default_rng(seed).permutation(len(names))
    ends = [max(1, round(share * len(names))) for share in _SHARES]
    divided = zip(SPLITS, np.split(order, ends), strict=True)
    splits = {
        split: {names[place]: classes[names[place]] for place in sorted(places)}
        for split, places in divided
    }
    return Found(
        _UNKNOWN,
        _UNSPLIT,
        {split: found for split, found in splits.items() if found},
        (
            f"the {len(names)} classes came without a split: {len(splits['train'])} train, "
            f"{len(splits['validation'])} validate and {len(splits['test'])} test, drawn with "
            f"seed {seed}",
            *united,
        ),
    )


def _why(listing: Listing) -> str:
    """Say what was there and could not be read."""
    there = [
        f"{entry.label} tells no split: add a column named split with train, val and test"
        for entry in listing.unsplit
    ]
    if not listing.images:
        lists = (entry for entry in listing.others if entry.suffix in LIST_SUFFIXES)
        there += [
            f"{entry.label} lists what is not there" for entry in lists if split_of(entry.stem)
        ]
    there += [*listing.notes, *(f"{count} {what}" for what, count in listing.left_out.items())]
    return f" ({'; '.join(there)})" if there else ""
