"""A person's own lists of the split: tables, plain text and JSON, from whatever wrote them."""

import csv
import io
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from metaviz.files.archives import DataError
from metaviz.files.foreign import ForeignError
from metaviz.files.text import text_of
from metaviz.files.values import of_kind, parsed_json, required, whole
from metaviz.images.decoding import SUFFIXES
from metaviz.images.entries import Entry, Listing
from metaviz.images.found import Classes, Divided, Picture
from metaviz.images.splits import (
    are_results,
    class_folders,
    is_generic,
    is_whole,
    split_groups,
    split_of,
    splits_in,
)

MOST_LIST_BYTES = 200_000_000
_MOST_ALONE = 20_000_000
_MOST_LISTS = 30
_MOST_TOLD = 3
_PAIR = 2
_SPLITS = (
    *("split", "set", "subset", "partition", "phase", "data_split", "dataset_split", "usage"),
    "fold",
)
_FLAGS = {
    **dict.fromkeys(("is_train", "is_training", "is_training_image", "in_train"), "train"),
    **dict.fromkeys(("is_val", "is_valid", "is_validation", "in_val"), "validation"),
    **dict.fromkeys(("is_test", "is_testing", "is_test_image", "in_test"), "test"),
}
_YES, _NO = frozenset({"1", "true", "yes", "y", "t"}), frozenset({"0", "false", "no", "n", "f"})
_NUMBERED = {"0": "train", "1": "validation", "2": "test"}
_FOLD = "fold"
_NAMES = (
    *("filename", "file_name", "image_name", "image", "img", "file", "path", "filepath"),
    *("file_path", "image_path", "img_path", "image_file", "image_id", "name", "id"),
)
_LABELS = (
    *("label", "class_name", "class", "category", "label_name", "classname", "class_label"),
    *("target", "species", "class_id", "label_id"),
)
_CLASSES = ("class_name", "classname", "class", "classes", "category")
_COMMENT = "#"
_SEPARATORS = ",;\t|"
_TEXTS = (".txt", ".lst", ".list")
_TABLES = (".csv", ".tsv")
_OTHER_LISTS = (".yaml", ".yml", ".toml", ".xml", ".xlsx", ".xls", ".ods", ".mat", ".npy")
_DIVIDING = frozenset({"split", "splits", "trainval", "fold", "folds", "partition", "partitions"})
LIST_SUFFIXES = (*_TEXTS, *_TABLES, ".json")

Parts = tuple[str, ...]
_Kind = TypeVar("_Kind")


class Row(NamedTuple):
    """A line of a list: an image or a folder of a class, by whatever path; the label if given.

    split: where one list tells the splits of all its lines. note: how that was understood, where it
    may be doubted. fault: why the list is refused, if it names anything that is there. A line
    without a text names nothing.
    """

    text: str
    label: str = ""
    is_class: bool = False
    split: str = ""
    note: str = ""
    fault: str = ""


class _Told(NamedTuple):
    """The split that a row of a table tells; note and fault as in Row."""

    split: str = ""
    note: str = ""
    fault: str = ""


_Lists = dict[str, tuple[Entry, list[Row]]]
_Read = Callable[[Entry], list[Row] | None]


class MisfitError(DataError):
    """Lists name nothing that is there, so they divide nothing; another reader may do."""


def by_lists_of_files(listing: Listing) -> Divided | None:
    """Read {train,val,test}.csv with a class for every file name, wherever the files lie.

    The principle: a person's list is their word. A name that is not there, or that several images
    have, is refused; a table that lists no images, or lies there without train, is no list.
    Raises: DataError in one sentence, naming the list.
    """
    return _divided(listing, _TABLES, _table_rows)


def by_lists_of_classes(listing: Listing) -> Divided | None:
    """Read {train,val,test}.txt or .json with a class, or an image and its class, on every line.

    The principle: as `by_lists_of_files`; what some lines name that is not there is told.
    """
    misfit: MisfitError | None = None
    chosen: Divided | None = None
    for endings, read in ((_TEXTS, _text_rows), ((".json",), _json_rows)):
        try:
            found = _divided(listing, endings, read)
        except MisfitError as error:
            misfit = misfit or error
            continue
        except DataError as error:
            if chosen is None:
                raise
            listing.notes.append(str(error))
            continue
        if chosen and found:
            refuse_contradiction(chosen, found)
        chosen = chosen or found
    if misfit and chosen is None:
        raise misfit
    return chosen


def not_followed(listing: Listing) -> Iterator[str]:
    """Say which files that seem to tell the split are not followed, where no sentence does yet."""
    told = "\n".join([*listing.notes, *map(str, listing.failures)])
    unread = [
        entry
        for entry in listing.others
        if entry.suffix in (*LIST_SUFFIXES, *_OTHER_LISTS)
        and (splits_in(entry.stem) or not _DIVIDING.isdisjoint(_words(entry.stem)))
        and not are_results(entry.stem)
        and entry.label not in told
    ]
    if len(unread) > _MOST_LISTS:  # notes on single images
        return
    why = {
        entry.label: f"files with the ending {entry.suffix} are not read"
        if entry.suffix in _OTHER_LISTS
        else "no split in it is understood"
        for entry in unread
    }
    why |= {entry.label: "it tells no split" for entry in listing.unsplit}
    for label in list(why)[:_MOST_TOLD]:
        yield (
            f"{label} was not followed, as {why[label]}; write a table with the columns filename, "
            "label and split"
        )
    if len(why) > _MOST_TOLD:
        yield f"{len(why) - _MOST_TOLD} more files like that were not followed"


def _words(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


def refuse_contradiction(one: Divided, other: Divided) -> None:
    """Refuse two lists of a person's that put an image into different splits. Raises: DataError."""
    splits = other.split_of()
    apart = {
        picture: (mine, splits[picture])
        for picture, mine in one.split_of().items()
        if picture in splits and splits[picture] != mine
    }
    if apart:
        picture, (mine, others) = next(iter(apart.items()))
        name = getattr(picture, "name", "")
        raise DataError(
            f"{one.source} and {other.source} are lists of different splits; keep the one you mean "
            f"and move the other elsewhere: {len(apart)} images are in other splits, {name} in "
            f"{_either(mine)} and in {_either(others)}"
        )


def _either(splits: set[str]) -> str:
    return " and ".join(sorted(splits))


def _divided(listing: Listing, suffixes: tuple[str, ...], read: _Read) -> Divided | None:
    """Return what the lists with some endings say; of several that fit they must say the same."""
    if not listing.images:
        return None
    fitting: list[Divided] = []
    misfit: MisfitError | None = None
    together = (_read_all(group, read, listing) for group in _groups(listing, suffixes))
    numbered = _numbered(listing) if suffixes is _TEXTS else ()
    for lists in chain(together, _alone(listing, suffixes, read), numbered):
        try:
            found = _resolved(lists, _Places(listing)) if lists else Divided({}, whole=False)
            fitting += [found._replace(source=_label_of(lists))] if found.splits else []
        except MisfitError as error:
            misfit = error if is_whole(lists) else misfit
            listing.notes.append(str(error))
    if not fitting and misfit:
        raise misfit
    for other in fitting[1:]:
        refuse_contradiction(fitting[0], other)
        if _as_names(other) != _as_names(fitting[0]):
            raise DataError(
                f"{fitting[0].source} and {other.source} are lists of different splits; keep the "
                "one you mean and move the other elsewhere"
            )
    return fitting[0] if fitting else None


def _label_of(lists: _Lists) -> str:
    """Return what a sentence calls lists that belong together: the one for train, if there is."""
    entry, _ = lists.get("train") or next(iter(lists.values()))
    return entry.label


def _read_all(group: dict[str, Entry], read: _Read, listing: Listing) -> _Lists:
    """Read lists that belong together; none of them where none is a list."""
    rows = {split: (entry, read(entry)) for split, entry in group.items()}
    lists = {split: (entry, found) for split, (entry, found) in rows.items() if found is not None}
    unread = [_no_list(entry) for split, entry in group.items() if split not in lists]
    if lists and unread:
        raise DataError(unread[0])
    listing.notes.extend(unread)
    listing.notes.extend(
        f"{entry.label} is empty, so it names nothing of a split"
        for entry, found in lists.values()
        if all(row.text.startswith(_COMMENT) for row in found)
    )
    return lists


def _alone(listing: Listing, suffixes: tuple[str, ...], read: _Read) -> Iterator[_Lists]:
    """Yield lists that tell the split of every line."""
    entries = [
        entry
        for entry in _lists(listing, suffixes)
        if not split_of(entry.stem) and entry.source.size_of(entry.name) <= _MOST_ALONE
    ]
    for entry in entries if len(entries) <= _MOST_LISTS else ():
        try:
            rows = read(entry)
        except DataError as error:
            listing.notes.append(str(error))
            continue
        lists: _Lists = {}
        for row in rows or ():
            if row.split:
                lists.setdefault(row.split, (entry, []))[1].append(row)
        if lists:
            yield lists
        elif rows and len({row.label for row in rows}) > 1:
            listing.unsplit.append(entry)


def _groups(listing: Listing, suffixes: tuple[str, ...]) -> list[dict[str, Entry]]:
    """Return lists that belong together: in one folder, named alike but for the split.

    So many that they are notes on single images are none.
    """
    folders: dict[tuple[Parts, str], dict[str, Entry]] = defaultdict(dict)
    for entry in _lists(listing, suffixes):
        folders[entry.folder, entry.suffix].setdefault(entry.stem, entry)
    groups = [(stems, part) for stems in folders.values() for part in split_groups(stems)]
    if len(groups) > _MOST_LISTS:
        return []
    used = {id(stems[stem]) for stems, part in groups for stem in part}
    alone = [
        entry
        for stems in folders.values()
        for entry in stems.values()
        if split_of(entry.stem) and id(entry) not in used
    ]
    listing.notes.extend(
        f"{entry.label} is no list of a split without one for train beside it"
        for entry in (alone if len(alone) <= _MOST_TOLD else ())
    )
    return [_by_split(stems, part) for stems, part in groups]


def _by_split(stems: dict[str, Entry], part: dict[str, str]) -> dict[str, Entry]:
    group: dict[str, Entry] = {}
    for stem, split in part.items():
        if split in group:
            raise DataError(
                f"{group[split].label} and {stems[stem].label} are two lists of one split; keep "
                "the one you mean"
            )
        group[split] = stems[stem]
    return group


def _lists(listing: Listing, suffixes: tuple[str, ...]) -> Iterator[Entry]:
    for entry in listing.others:
        if entry.suffix in suffixes and not are_results(entry.stem):
            yield entry


def _resolved(lists: _Lists, places: "_Places") -> Divided:
    """Look up what lists name. Raises: DataError or MisfitError."""
    every = [row for _, rows in lists.values() for row in rows]
    labels = {row.label for row in every}
    forms: dict[str, set[Parts]] = defaultdict(set)
    for row in every:
        forms[_last(row.text)].add(_parts(row.text))
    places.take_prefixes(_parts(row.text) for row in every)
    splits: dict[str, Classes] = {}
    problems = list(dict.fromkeys(row.note for row in every if row.note))
    elsewhere: set[Parts] = set()
    for split, (entry, rows) in lists.items():
        classes: dict[str, list[Entry]] = defaultdict(list)
        missing = []
        for row in filter(lambda row: row.text, rows):
            label, found = places.find(entry, row, labels, elsewhere)
            if not row.label and len(forms[label]) > 1:
                label = "/".join(_parts(row.text))
            classes[label] += found
            if not found and not row.text.startswith(_COMMENT):
                missing.append(row.text)
        problems += _missing(entry, rows, missing)
        pictures = {label: _pictures(found) for label, found in classes.items() if found}
        splits |= {split: pictures} if pictures else {}
    fault = next((row.fault for row in every if row.fault), "")
    if splits and fault:
        raise DataError(fault)
    if elsewhere:
        problems.append(
            f"classes of the lists were read from the folders nearest to the lists, and not from "
            f"{'/'.join(min(elsewhere))}{_more(sorted(elsewhere))}"
        )
    if places.united:
        problems.append(
            f"{len(places.united)} classes were united from folders of the same name in several "
            f"places, {max(places.united)} among them"
        )
    return Divided(splits, is_whole(splits), problems)


def _pictures(entries: list[Entry]) -> list[Picture]:
    return [entry.picture() for entry in dict.fromkeys(entries)]


def _missing(entry: Entry, rows: list[Row], missing: list[str]) -> list[str]:
    """Say what a list names that is not there. Raises: DataError or MisfitError."""
    if not missing:
        return []
    told = f"{entry.label} lists {missing[0]!r}{_more(missing)}, which is not there"
    if any(row.label and not row.is_class for row in rows):
        raise DataError(f"{told}; put the images beside the list")
    if len(missing) == sum(bool(row.text) for row in rows):
        raise MisfitError(f"{told}; put its classes beside the list, or remove it")
    return [told]


def _more(named: Sequence[object]) -> str:
    others = len(set(named)) - 1
    return f" and {others} more" if others else ""


def _as_names(divided: Divided) -> dict[str, dict[str, int]]:
    return {
        split: {label: len(images) for label, images in classes.items()}
        for split, classes in divided.splits.items()
    }


def _no_list(entry: Entry) -> str:
    return f"{entry.label} is no list of images by class{_columns(entry)}"


class _Places:
    """Finds images and folders of classes by what a list calls them.

    united: the classes that several folders were equally near to.
    """

    def __init__(self, listing: Listing) -> None:
        self._images: dict[str, list[Entry]] = defaultdict(list)
        self._loose: dict[str, list[Entry]] = defaultdict(list)
        self._folders: dict[str, list[Parts]] = defaultdict(list)
        self._in: dict[Parts, list[Entry]] = defaultdict(list)
        for entry in listing.images:
            self._images[entry.parts[-1]].append(entry)
            for loose in {_loosely(entry.parts[-1]), _loosely(entry.stem)}:
                self._loose[loose].append(entry)
            for depth in range(1, len(entry.parts)):
                self._in[entry.parts[:depth]].append(entry)
        self._classes = class_folders(listing.folders)
        self.united: set[str] = set()
        for folder in self._in:
            self._folders[_loosely(folder[-1])].append(folder)
        self._root = _loosely(listing.path.stem if listing.path.is_file() else listing.path.name)
        self._nearest: dict[Parts, int] = {}
        self._is_ours = False

    def take_prefixes(self, paths: Iterable[Parts]) -> None:
        """Note whether the lists name folders that are there, or those of another computer alone.

        The principle: where they name ours, what they name in another folder is not there.
        """
        given = {_loosely(above[-1]) for path in paths if (above := _without_generic(path[:-1]))}
        self._is_ours = not given.isdisjoint(self._folders)

    def _fits(self, folder: Parts, given: Parts, label: str) -> bool:
        """Return whether an image is where a list says, which may leave out the class's folder."""
        if not self._is_elsewhere(given, folder):
            return True
        own = _without_generic(folder)
        is_of_class = bool(own) and _loosely(own[-1]) == _loosely(label)
        return is_of_class and not self._is_elsewhere(given, own[:-1])

    def _is_elsewhere(self, given: Parts, folder: Parts) -> bool:
        """Return whether a list names something in another folder than the one it was found in."""
        wanted, place = _without_generic(given)[::-1], _without_generic(folder)[::-1]
        if not wanted:
            return False
        if wanted not in self._nearest:
            others = self._folders.get(_loosely(wanted[0]), [])
            self._nearest[wanted] = max((_shared(one[::-1], wanted) for one in others), default=0)
        alike = _shared(place, wanted)
        if alike < self._nearest[wanted]:
            return True
        at_top = not place and _loosely(wanted[0]) == self._root
        return self._is_ours and not alike and not at_top

    def find(
        self, source: Entry, row: Row, labels: set[str], elsewhere: set[Parts]
    ) -> tuple[str, list[Entry]]:
        """Return the class of a row and its images; none if they are not there.

        Folders of the class that were passed over are added to `elsewhere`, without its name.
        Raises: DataError if several images could be meant.
        """
        if row.is_class or not row.label:
            found = self._of_class(source, row.text, elsewhere)
            if found or row.is_class:
                return row.label or _last(row.text), found
        if row.label:
            return row.label, self._image(source, row, labels)
        if _suffix(row.text) in SUFFIXES and (found := self._image(source, row, labels)):
            return self._classes.get(found[0].folder, ("",))[-1], found
        for pair in _pairs(row.text):
            if found := self._image(source, pair, labels):
                return pair.label, found
        return row.text, []

    def _of_class(self, source: Entry, text: str, elsewhere: set[Parts]) -> list[Entry]:
        """Return the images below the folder of a class: the nearest to the list of that name."""
        parts = _parts(text)
        if not parts:
            return []
        folders = self._folders.get(_loosely(parts[-1]), [])
        folders = [each for each in folders if not self._is_elsewhere(parts[:-1], each[:-1])]
        exact = [folder for folder in folders if folder[-1] == parts[-1]]
        best = _most_alike(exact or folders, lambda folder: _shared(folder[::-1], parts[::-1]))
        near = _most_alike(best, lambda folder: _shared(folder, source.folder))
        elsewhere.update(folder[:-1] for folder in best if folder not in near)
        self.united |= {parts[-1]} if len({folder[:-1] for folder in near}) > 1 else set()
        return [entry for folder in near for entry in self._in[folder]]

    def _image(self, source: Entry, row: Row, labels: set[str]) -> list[Entry]:
        """Return the one image that a row names, or one of its copies."""
        *above, name = _parts(row.text) or ("",)
        given = tuple(above)
        found = self._images.get(name) or self._loose.get(_loosely(name), [])
        best = _most_alike(found, lambda entry: _shared(entry.folder[::-1], given[::-1]))
        for fits in (
            lambda entry: _lies_in(entry, row.label),
            lambda entry: entry.folder == (*source.folder, *given),
        ):
            if len(best) > 1:
                best = [entry for entry in best if fits(entry)] or best
        best = [entry for entry in best if self._fits(entry.folder, given, row.label)]
        classes = {self._classes.get(entry.folder) for entry in best}
        if len(best) > 1 and (not _are_copies(best) or (len(classes) > 1 and not row.label)):
            raise DataError(
                f"{source.label} lists {row.text!r}, and {len(best)} images have that name; list "
                "them with their folders"
            )
        return [entry for entry in best[:1] if not _contradicts(entry, given, row.label, labels)]


def _contradicts(entry: Entry, given: Parts, label: str, labels: set[str]) -> bool:
    """Return whether an image of the name lies in the folder of another class of the lists."""
    if not label or not entry.folder or _shared(entry.folder[::-1], given[::-1]):
        return False
    return not _lies_in(entry, label) and entry.folder[-1] in labels


def _lies_in(entry: Entry, label: str) -> bool:
    return _loosely(label) in map(_loosely, entry.folder)


def _are_copies(entries: list[Entry]) -> bool:
    sizes = {entry.source.size_of(entry.name) for entry in entries}
    return len(sizes) == 1 and len({entry.read() for entry in entries}) == 1


def _most_alike(found: list[_Kind], likeness: Callable[[_Kind], int]) -> list[_Kind]:
    """Return those that are most alike."""
    if len(found) < 2:  # noqa: PLR2004 - nothing to choose
        return found
    degrees = [likeness(each) for each in found]
    most = max(degrees)
    return [each for each, degree in zip(found, degrees, strict=True) if degree == most]


def _shared(one: Parts, other: Parts) -> int:
    """Return how many parts two paths have in common from their beginning."""
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs and _loosely(mine) != _loosely(theirs):
            break
        count += 1
    return count


def _parts(text: str) -> Parts:
    """Split a path of any system."""
    parts = re.split(r"[/\\]+", text.strip().strip("\"'"))
    return tuple(
        part for part in parts if part and part != "." and not re.fullmatch("[A-Za-z]:", part)
    )


def _without_generic(folder: Parts) -> Parts:
    """Return a folder without what tells nothing at its end, like images, and steps upwards."""
    while folder and (is_generic(folder[-1]) or folder[-1] == ".."):
        folder = folder[:-1]
    return folder


def _loosely(name: str) -> str:
    """Return a name without what systems change: capitals, and how accents are composed."""
    return unicodedata.normalize("NFC", name).lower()


def _last(text: str) -> str:
    return (_parts(text) or ("",))[-1]


def _suffix(text: str) -> str:
    return f".{text.rpartition('.')[2].lower()}"


def _pairs(line: str) -> Iterator[Row]:
    """Yield the ways to read a line as an image and its class."""
    for separator in ("\t", ",", ";", "|", None):
        image, *rest = line.rsplit(separator, 1) or [""]
        if rest and _suffix(image.strip()) in SUFFIXES:
            yield Row(image.strip(), rest[0].strip())


def _text(entry: Entry) -> str:
    """Return a list's text with plain line ends. Raises: DataError if it is too large."""
    if entry.source.size_of(entry.name) > MOST_LIST_BYTES:
        raise DataError(f"{entry.label} is larger than {MOST_LIST_BYTES // 10**6} MB")
    text = text_of(entry.read()).replace("\r\n", "\n").replace("\r", "\n")
    # Excel takes the separator from such a line.
    return re.sub(r"\Asep=.\n", "", text)


def _text_rows(entry: Entry) -> list[Row] | None:
    with suppress(DataError):
        if rows := _table_rows(entry):
            return rows
    lines = [line for line in map(str.strip, _text(entry).split("\n")) if line]
    told = [] if split_of(entry.stem) else _rows_with_splits(lines)
    return told or [Row(line) for line in lines]


def _rows_with_splits(lines: list[str]) -> list[Row]:
    """Read lines of which each ends in a word for its split, train and others; nothing else."""
    parts = [line.rsplit(None, 1) for line in lines if not line.startswith(_COMMENT)]
    if not all(len(part) == _PAIR for part in parts) or not _is_of_splits(parts, 1):
        return []
    rows = []
    for text, word in parts:
        row = next(_pairs(text), Row(text, is_class=_suffix(text) not in SUFFIXES))
        rows.append(row._replace(split=split_of(word) or ""))
    return rows


def _numbered(listing: Listing) -> Iterator[_Lists]:
    """Yield the lists of CUB: images.txt numbers them, train_test_split.txt says 1 for training."""
    texts = {(each.folder, each.stem): each for each in listing.others if each.suffix in _TEXTS}
    for (folder, stem), entry in texts.items():
        images = texts.get((folder, "images"))
        if stem != "train_test_split" or images is None:
            continue
        names, told = _by_number(images), _by_number(entry)
        if names.keys() != told.keys() or set(told.values()) != {"0", "1"}:
            listing.notes.append(f"{entry.label} does not tell 0 or 1 of each in {images.label}")
            continue
        rows: _Lists = {"train": (entry, []), "test": (entry, [])}
        for number, name in names.items():
            split = "train" if told[number] == "1" else "test"
            rows[split][1].append(Row(name, split=split))
        yield rows


def _by_number(entry: Entry) -> dict[str, str]:
    """Return what stands behind the number at the beginning of each line."""
    parts = (line.split(None, 1) for line in _text(entry).split("\n") if line.strip())
    return {part[0]: part[-1].strip() for part in parts}


def _columns(entry: Entry) -> str:
    """Say which columns a table has."""
    if entry.suffix not in _TABLES:
        return ""
    header = next((line for line in _text(entry).split("\n") if line.strip()), "")
    return f": its columns are {', '.join(_cells(header)) or 'none'}; name them filename and label"


def _cells(header: str) -> list[str]:
    """Split a header by the separator that it has most of."""
    separator = max(_SEPARATORS, key=header.count)
    return [cell.strip().strip('"') for cell in header.split(separator)]


def _table_rows(entry: Entry) -> list[Row] | None:
    """Read a table; None if no columns of it are known."""
    text = _text(entry)
    for separator in _SEPARATORS:
        try:
            table = [
                [cell.strip() for cell in row]
                for row in csv.reader(io.StringIO(text), delimiter=separator)
                if any(cell.strip() for cell in row) and not row[0].lstrip().startswith(_COMMENT)
            ]
        except csv.Error as error:
            raise DataError(f"{entry.label} is not a readable table ({error})") from error
        if not table:
            continue
        header = [re.sub(r"[\s-]+", "_", cell.lower()) for cell in table[0]]
        names = [header.index(name) for name in _NAMES if name in header]
        labels = [header.index(label) for label in _LABELS if label in header]
        if names and labels:
            return _rows_of(entry, header, table[1:], names[0], labels)
        classes = [header.index(name) for name in _CLASSES if name in header]
        if classes and all(len(row) > classes[0] for row in table):
            return _rows_of_classes(entry, header, table[1:], classes)
        if len(header) > 1 and (rows := _rows_without_header(entry, table)):
            return rows
    return None


def _rows_of_classes(
    entry: Entry, header: list[str], table: list[list[str]], classes: list[int]
) -> list[Row]:
    told = _splits_told(entry, header, table, classes)
    return [
        Row(row[classes[0]], is_class=True, **each._asdict())
        for row, each in zip(table, told, strict=True)
    ]


def _rows_without_header(entry: Entry, table: list[list[str]]) -> list[Row]:
    """Read image,class or image,class,split or image,split or class,split; nothing else."""
    width = min(map(len, table))
    are_images = all(_suffix(row[0]) in SUFFIXES for row in table)
    places = range(1, width) if not split_of(entry.stem) else ()
    telling = [place for place in places if _is_of_splits(table, place)]
    header = [f"number {place + 1}" for place in range(width)]
    labels = [place for place in range(1, width) if place not in telling][:1]
    if are_images:
        return _rows_of(entry, header, table, 0, labels)
    if telling and width == _PAIR:
        return _rows_of_classes(entry, header, table, [0])
    return []


def _is_of_splits(table: list[list[str]], place: int) -> bool:
    """Return whether each cell of a column is a word for a split, train and others."""
    cells = {row[place] if place < len(row) else "" for row in table}
    splits = [split_of(cell) for cell in cells]
    return all(splits) and is_whole(filter(None, splits))


def _rows_of(
    entry: Entry, header: list[str], table: list[list[str]], name: int, labels: list[int]
) -> list[Row]:
    label = labels[0] if labels else name
    for row in table:
        if len(row) <= max(name, label) or not row[name] or not row[label]:
            raise DataError(f"{entry.label} has a row without an image or its class, {row!r}")
    told = _splits_told(entry, header, table, [name, *labels])
    fault = _merged(entry, header, table, labels)
    return [
        Row(row[name], row[label] if labels else "", False, *each[:2], each.fault or fault)
        for row, each in zip(table, told, strict=True)
    ]


def _merged(entry: Entry, header: list[str], table: list[list[str]], labels: list[int]) -> str:
    """Say which column keeps classes apart that the first of these columns has as one."""
    for other in labels[1:]:
        known: dict[str, list[str]] = {}
        for row in table:
            cell = row[other] if other < len(row) else ""
            first = known.setdefault(row[labels[0]], row) if cell else row
            if cell and first[other] != cell:
                return (
                    f"{entry.label} has the columns {header[labels[0]]} and {header[other]} for "
                    "classes, and they contradict each other; keep the one you mean: "
                    f"{row[labels[0]]} is {first[other]} in the row {first!r} and {cell} in {row!r}"
                )
    return ""


def _splits_told(
    entry: Entry, header: list[str], table: list[list[str]], used: list[int]
) -> list[_Told]:
    """Return the split of every row; none where no column tells it.

    The principle: words are honoured, and numbers and yes or no where they can mean one thing. A
    column of such words is for splits whatever it is called, but for those used otherwise.
    Raises: DataError, naming a row, where a column for splits tells none.
    """
    named = [header.index(name) for name in _SPLITS if name in header]
    flags = {place: _FLAGS[name] for place, name in enumerate(header) if name in _FLAGS}
    if split_of(entry.stem):
        return [_Told(fault=_otherwise(entry, header, table, (*named, *flags)))] * len(table)
    note = ""
    if not named and not flags:
        others = (place for place in range(len(header)) if place not in used)
        named = [place for place in others if _is_of_splits(table, place)]
        note = (
            f"the column {header[named[0]]} of {entry.label} was read as the split" if named else ""
        )
    if not named and not flags:
        return [_Told()] * len(table)
    for row in table:
        if len(row) <= max([*named, *flags]):
            raise DataError(f"{entry.label} has a row without its split, {row!r}")
    if not named:
        if len(flags) == 1:
            (place, split) = next(iter(flags.items()))
            other = _other_split(split)
            note = f"{entry.label} tells {header[place]} alone: all else was read as {other}"
        return [_Told(_flagged(entry, row, flags), note) for row in table]
    worded = [place for place in named if _is_of_splits(table, place)]
    main = (worded or named)[0]
    told = [
        each._replace(note=each.note or note) for each in _splits_named(entry, header, table, main)
    ]
    for second in (*worded, *flags):
        apart = [
            row
            for row, (split, *_) in zip(table, told, strict=True)
            if not _agrees(row[second], flags.get(second, ""), split)
        ]
        if apart:
            fault = (
                f"{entry.label} has the columns {header[main]} and {header[second]} for splits, "
                f"and they contradict each other in {len(apart)} rows; keep the one you mean: "
                f"{apart[0]!r} is one of the rows"
            )
            return [each._replace(fault=fault) for each in told]
    return told


def _otherwise(
    entry: Entry, header: list[str], table: list[list[str]], places: tuple[int, ...]
) -> str:
    """Say which row of a table tells another split than the name of its file does."""
    named = split_of(entry.stem) or ""
    for place in places:
        flag = _FLAGS.get(header[place], "")
        for row in table:
            cell = row[place] if place < len(row) else ""
            if (flag or split_of(cell)) and not _agrees(cell, flag, named):
                return (
                    f"the column {header[place]} of {entry.label} tells another split than its "
                    f"name in the row {row!r}; keep the one you mean"
                )
    return ""


def _agrees(cell: str, flag: str, split: str) -> bool:
    """Return whether a cell says the split of its row: by a word, or by yes or no to the flag."""
    if not flag:
        return split_of(cell) == split
    return cell.lower() not in (_NO if flag == split else _YES)


def _splits_named(
    entry: Entry, header: list[str], table: list[list[str]], place: int
) -> list[_Told]:
    """Return the splits that a column names. Raises: DataError where a cell names none."""
    if {row[place] for row in table} == set(_NUMBERED) and header[place] != _FOLD:
        note = f"0, 1 and 2 in the column {header[place]} of {entry.label} were read as "
        return [_Told(_NUMBERED[row[place]], f"{note}train, validation and test") for row in table]
    return [_Told(_split_in(entry, row, place)) for row in table]


def _other_split(split: str) -> str:
    """Return what is no test, or not for validation as fastai tells it, or not for training."""
    return "test" if split == "train" else "train"


def _flagged(entry: Entry, row: list[str], flags: dict[int, str]) -> str:
    """Return the split that yes and no of a row tell. Raises: DataError where they tell none."""
    cells = {place: row[place].lower() for place in flags}
    yes = [split for place, split in flags.items() if cells[place] in _YES]
    if all(cell in _YES | _NO for cell in cells.values()):
        if len(yes) == 1:
            return yes[0]
        if not yes and len(flags) == 1:
            return _other_split(next(iter(flags.values())))
    raise DataError(
        f"{entry.label} has a row that tells no split, {row!r}; write yes or no in the columns for "
        "splits, yes in one of them, or the list is not honoured"
    )


def _split_in(entry: Entry, row: list[str], place: int) -> str:
    """Return the split that a cell names. Raises: DataError where it names none."""
    split = split_of(row[place])
    if not split:
        raise DataError(
            f"{entry.label} has the split {row[place]!r} in the row {row!r}; write train, val or "
            "test in each, or the list is not honoured"
        )
    return split


def _json_rows(entry: Entry) -> list[Row] | None:
    """Read easyfsl's classes and their folders, images with numbered labels, or plain names.

    One file may hold such names, or pairs of an image and its class, under the words for splits.
    Source: easyfsl/datasets/easy_set.py; wyharveychen/CloserLookFewShot/filelists.
    """
    repeated: list[str] = []

    def table(items: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.extend(key for key, count in Counter(key for key, _ in items).items() if count > 1)
        return dict(items)

    try:
        held = parsed_json(_text(entry), table)
    except ForeignError:
        return None
    rows = _rows_of_parts(entry, held) or _rows_in(held)
    if rows and repeated:
        fault = f"{entry.label} has several parts {repeated[0]!r}; write each once"
        rows.append(Row("", split=rows[0].split, fault=fault))
    return rows


def _rows_of_parts(entry: Entry, held: Any) -> list[Row]:
    """Return the rows of parts under the words for splits; none where there are no such parts."""
    if not isinstance(held, dict) or not is_whole(filter(None, map(split_of, held))):
        return []
    rows: list[Row] = []
    for key, part in held.items():
        if not (split := split_of(key)):
            continue
        named = f"the part {key!r} of {entry.label}"
        fault = f"{named} is no list of images or classes by name; write it as the others are"
        if found := _rows_in(part):
            rows += [row._replace(split=split) for row in found]
        elif part in ([], {}):
            rows.append(Row("", split=split, note=f"{named} is empty"))
        else:
            rows.append(Row("", split=split, fault=fault))
    return rows if any(row.text for row in rows) else []


def _rows_in(held: Any) -> list[Row] | None:
    """Return what a value of JSON lists; None where that is nothing known."""
    try:
        if isinstance(held, list):
            return [_row_of(item) for item in held] or None
        return _rows_of_table(of_kind(held, dict, "a list"))
    except ForeignError:
        return None


def _rows_of_table(held: dict[str, Any]) -> list[Row] | None:
    """Return the rows of easyfsl, CloserLookFewShot, or images by class. Raises: ForeignError."""
    if "class_names" in held:
        names = required(held, "class_names", list)
        roots = of_kind(held.get("class_roots", names), list, "class_roots")
        return [Row(_word(root), _word(name), is_class=True) for root, name in _pair(roots, names)]
    if "image_names" in held:
        names = required(held, "label_names", list)
        numbers = required(held, "image_labels", list)
        return [
            Row(_word(image), _word(names[whole(number, "a label", 0, len(names) - 1)]))
            for image, number in _pair(required(held, "image_names", list), numbers)
        ]
    if held and all(isinstance(images, list) for images in held.values()):
        return [
            Row(of_kind(image, str, "an image"), name)
            for name, images in held.items()
            for image in images
        ]
    return None


def _row_of(item: Any) -> Row:
    """Return a name, or an image with its class last. Raises: ForeignError for anything else."""
    if isinstance(item, str):
        return Row(item)
    pair = of_kind(item, list, "a line")
    if len(pair) < _PAIR:
        raise ForeignError("a line has no class")
    return Row(of_kind(pair[0], str, "an image"), _word(pair[-1]))


def _pair(one: list[Any], other: list[Any]) -> Iterator[tuple[Any, Any]]:
    if len(one) != len(other):
        raise ForeignError(f"{len(one)} names belong to {len(other)}")
    return zip(one, other, strict=True)


def _word(value: Any) -> str:
    """Return a name, or a number as one. Raises: ForeignError."""
    return str(value) if isinstance(value, int) else str(of_kind(value, str, "a name"))
