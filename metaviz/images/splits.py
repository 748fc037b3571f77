"""Which words of folders and files name a split, and which folder is an image's class."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

_WORD = re.compile(
    r"(?:meta)?(?:(?P<train>train|training|trn|base)|(?P<validation>val|valid|validation|dev)"
    r"|(?P<test>test|testing|tst|novel))(?:set|data)?"
)
# What may stand beside the word for a split and does not tell one folder from another.
_DECORATION = frozenset(
    {
        *("images", "image", "imgs", "img", "pictures", "photos", "data", "dataset", "set"),
        *("split", "classes", "class", "labels", "label", "list", "files", "names", "part"),
        *("meta", "v"),
    }
)
_RESULTS = frozenset(
    {
        *("log", "logs", "prediction", "predictions", "pred", "preds", "result", "results"),
        *("metrics", "history", "score", "scores", "loss", "losses", "output", "outputs"),
    }
)
# Folders inside of a class, not classes.
_GENERIC = frozenset({"images", "image", "imgs", "img", "pictures", "photos", "jpg", "jpeg", "png"})

Path = tuple[str, ...]


def splits_in(text: str) -> set[str]:
    """Return the splits that words of a name stand for."""
    found = (_WORD.fullmatch(word) for word in _words(text))
    return {str(match.lastgroup) for match in found if match}


def split_of(text: str) -> str | None:
    """Tell the split that a name is about: train, val-1 and mini-imagenet-cache-test are.

    A name about two of them, like train_phase_val, is about none.
    """
    found = splits_in(text)
    return found.pop() if len(found) == 1 else None


def are_results(text: str) -> bool:
    """Tell the name of a table that a program wrote about its work."""
    return not _RESULTS.isdisjoint(_words(text))


def split_names(names: Iterable[str]) -> dict[str, str]:
    """Return the splits of those names, all in one folder, that are the parts of one division.

    The principle: a split needs train beside it, and names that differ in nothing else but
    numbers. "test equipment" beside "animals" is no split, nor "test tubes" beside "train sets".
    """
    parts: dict[str, str] = {}
    for (about, _), group in _named_alike(names, "").items():
        if _divides(group, about):
            parts |= group
    return parts


def split_groups(names: Iterable[str]) -> list[dict[str, str]]:
    """Return the same apart for every number in the names: train1 belongs to val1."""
    groups = _named_alike(names, r"\d+").items()
    return [group for (about, _), group in groups if _divides(group, about)]


def _named_alike(names: Iterable[str], apart: str) -> dict[tuple[Path, Path], dict[str, str]]:
    """Return names with their splits, by what else they are about, and what keeps them apart."""
    groups: dict[tuple[Path, Path], dict[str, str]] = defaultdict(dict)
    for name in names:
        split = split_of(name)
        if split:
            rest = (word for word in _words(name) if not _WORD.fullmatch(word))
            about = tuple(word for word in rest if word not in _DECORATION)
            groups[about, tuple(re.findall(apart, name)) if apart else ()][name] = split
    return groups


def _divides(group: dict[str, str], about: Path) -> bool:
    there = set(group.values())
    if len(there) > 1:
        return "train" in there or not about
    return there == {"train"} and not about and "base" not in map(str.lower, group)


def is_whole(splits: Iterable[str]) -> bool:
    """Return whether a division has training classes, and others."""
    there = set(splits)
    return "train" in there and len(there) > 1


class Division(NamedTuple):
    """The split of a folder: where the folder of the split lies, and the path below that."""

    split: str
    place: Path
    below: Path


def split_folders(folders: Counter[Path]) -> dict[Path, Division]:
    """Return the split of folders that hold images, where they have one.

    `folders` counts the images directly in each.
    """
    children: dict[Path, set[str]] = defaultdict(set)
    for folder in folders:
        for depth, name in enumerate(folder):
            children[folder[:depth]].add(name)
    splits = {above: split_names(names) for above, names in children.items()}
    found = {}
    for folder in folders:
        for depth, name in enumerate(folder):
            split = splits[folder[:depth]].get(name)
            if split:
                below = folder[depth + 1 :]
                while len(below) > 1 and _repeats(below[0], name):
                    below = below[1:]
                if below:
                    found[folder] = Division(split, folder[:depth], below)
                break
    return found


def _repeats(below: str, name: str) -> bool:
    """Tell train/train/class, as archives unpack, from a class like train station."""
    alone = _WORD.fullmatch(below.lower())
    return below == name or (alone is not None and alone.lastgroup == split_of(name))


def is_generic(name: str) -> bool:
    """Tell a folder like images, which is inside of a class or around all, but none itself."""
    return name.lower() in _GENERIC


def class_folders(folders: Counter[Path], *, below_split: bool = False) -> dict[Path, Path]:
    """Return the folder of the class for each that holds images; what is no class is missing.

    The last folder is the class, but where it is a part of one: named like images or train and
    test in every class, below a folder that holds images itself, or where all classes have parts
    of the same names.
    """
    paths = {folder: folder for folder in folders if folder}
    for step in (_without_generic, _without_splits, _without_parts):
        paths = step(paths)
    if below_split:
        paths = _without_parts(paths, alike=False)
    return _without_nested(paths, folders)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", text.lower()) if word]


def _without_generic(paths: dict[Path, Path]) -> dict[Path, Path]:
    def own(path: Path) -> Path:
        while len(path) > 1 and is_generic(path[-1]):
            path = path[:-1]
        return path

    return {folder: own(path) for folder, path in paths.items()}


def _without_splits(paths: dict[Path, Path]) -> dict[Path, Path]:
    """Unite class/train and class/test; train and test without classes are none."""
    tails: dict[Path, set[str]] = defaultdict(set)
    for path in paths.values():
        tails[path[:-1]].add(path[-1])
    above = {
        parent
        for parent, names in tails.items()
        if names == set(split_names(names)) and len(set(map(split_of, names))) > 1
    }
    own = {folder: path[:-1] if path[:-1] in above else path for folder, path in paths.items()}
    return {folder: path for folder, path in own.items() if path}


def _without_parts(paths: dict[Path, Path], *, alike: bool = True) -> dict[Path, Path]:
    """Unite the folders of a class, where they have the same names in all classes.

    alike: only where there is a single name.
    """
    parents: dict[str, set[Path]] = defaultdict(set)
    for path in paths.values():
        parents[path[-1]].add(path[:-1])
    every = set().union(*parents.values())
    recur = all(len(found) > 1 for found in parents.values())
    fewer = len(parents) == 1 if alike else len(parents) < len(every)
    if not (recur and fewer and all(every)):
        return paths
    return {folder: path[:-1] for folder, path in paths.items()}


def _without_nested(paths: dict[Path, Path], folders: Counter[Path]) -> dict[Path, Path]:
    """Unite a folder of images with those inside it, or leave its own out where they are fewer."""
    direct: Counter[Path] = Counter()
    below: Counter[Path] = Counter()
    for folder, path in paths.items():
        direct[path] += folders[folder]
        for depth in range(1, len(path)):
            below[path[:depth]] += folders[folder]
    nested = [path for path in direct if path in below]
    outer = {path for path in nested if direct[path] >= below[path]}
    fewer = set(nested) - outer
    own = {}
    for folder, path in paths.items():
        tops = (path[:depth] for depth in range(1, len(path) + 1))
        top = next((each for each in tops if each in outer), path)
        if top not in fewer:
            own[folder] = top
    return own
