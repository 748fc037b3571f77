"""Reading Omniglot from whatever copy of it a person has.

Source: Lake, Salakhutdinov, Tenenbaum 2015, Science 350, 1332: 50 alphabets, 1623 characters, 20
drawings of each, 105 x 105 black on white.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from metaviz.files.archives import DataError, Folder, Source, Zip, data_names, is_system_made
from metaviz.files.progress import Counted
from metaviz.images.decoding import MAX_PIXELS, SUFFIXES, decode_image
from metaviz.images.found import refuse_damaged
from metaviz.images.hdf5 import open_hdf5

# Tried in this order: in a folder that holds several copies the first one is read.
LAYOUTS = {
    "raw": "its original folders or archives",
    "merged": "alphabets side by side",
    "torchvision": "torchvision's folder",
    "torchmeta": "torchmeta's HDF5 file",
    "prototypes": "the folder of prototypical networks",
}
EVALUATION_ALPHABETS = frozenset(
    {
        *("Angelic", "Atemayar_Qelisayer", "Atlantean", "Aurek-Besh", "Avesta", "Ge_ez"),
        *("Glagolitic", "Gurmukhi", "Kannada", "Keble", "Malayalam", "Manipuri"),
        *("Mongolian", "Old_Church_Slavonic_(Cyrillic)", "Oriya", "Sylheti"),
        *("Syriac_(Serto)", "Tengwar", "Tibetan", "ULOG"),
    }
)
"""The alphabets of images_evaluation. Source: Lake, Salakhutdinov & Tenenbaum 2015."""
HDF5_SUFFIXES = (".hdf5", ".h5")
FEWEST_DRAWINGS = 2
HALF_BRIGHT = 127.5
LISTED_PROBLEMS = 10
EXPECTED = (
    "expected folders like Greek/character01 with PNG images, the archives images_background.zip "
    "or images_background_small1.zip, or torchmeta's data.hdf5"
)

Name = tuple[str, str]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Characters:
    """Drawings of characters.

    names: (alphabet, character), sorted. images: uint8 (characters, drawers, size, size), strokes
    bright on black. layout: which of LAYOUTS was recognised. problems: what was left out, one
    sentence each.
    """

    names: tuple[Name, ...]
    images: Pixels
    layout: str
    problems: tuple[str, ...]


class _Drawing(NamedTuple):
    source: Source
    name: str


_Drawings = dict[Name, list[_Drawing]]


def read_omniglot(
    path: Path, size: int = 28, report: Counted = lambda _done, _all: None
) -> Characters:
    """Read Omniglot from a folder, a zip archive, a folder of zip archives or an HDF5 file.

    Layouts are recognised by what is inside, whatever the name of the folder; `LAYOUTS` are
    raw (images_background, images_evaluation and the small ones), merged (alphabets side by side),
    torchvision (omniglot-py), torchmeta (data.hdf5) and protonet (data/omniglot/data). Parts in
    several archives are united, a character that occurs twice is read once.

    Each drawing is inverted and then resized with PIL's bilinear filter, which averages over the
    pixels that shrink into one. Drawers are in the order of their file names.

    `report` hears how many drawings are read; what it raises ends the reading.

    Raises: DataError, in one sentence, if there is no Omniglot, an archive is unsafe, an image is
    damaged or a package to read the file is missing.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; choose a folder or a zip archive with Omniglot")
    with ExitStack() as opened:
        failures: list[DataError] = []
        found = _find(_sources(path, opened, failures))
        layout = next((layout for layout in LAYOUTS if layout in found), None)
        if layout is None:
            nothing = DataError(f"no Omniglot characters found in {path}; {EXPECTED}")
            raise next(iter(failures), nothing)
        problems = [
            *map(str, failures),
            *(
                f"{path} also holds a copy of Omniglot in the {other} layout, which was not read"
                for other in LAYOUTS
                if other in found and other != layout
            ),
        ]
        if layout == "torchmeta":
            stacks = _read_hdf5(found[layout]["", ""][0], size)
        else:
            stacks = _read_images(_complete(found[layout], problems), size, report)
    return _characters(stacks, layout, problems)


def usual_test_alphabets(present: Sequence[str]) -> frozenset[str]:
    """Return those of images_evaluation, or others where these are none or all."""
    return some_of(EVALUATION_ALPHABETS & set(present), present)


def some_of(held_out: frozenset[str], present: Sequence[str]) -> frozenset[str]:
    """Return the alphabets to hold out; the last quarter where none or all are named."""
    if held_out and held_out != set(present):
        return held_out
    return frozenset(sorted(present)[-max(1, len(present) // 4) :])


def is_drawing(name: str) -> bool:
    """Tell a drawing of a character by its path."""
    place = _place(name)
    return place is not None and place[0] != "torchmeta"


def _sources(
    path: Path, opened: ExitStack, failures: list[DataError]
) -> Iterator[tuple[str, Source]]:
    """Open the folder or file and the archives that lie in it, unpacked files first.

    Each comes with the folder it lies in, so that the archives torchvision leaves beside its
    unpacked files count as torchvision's. Why an archive in the folder cannot be read is added to
    `failures`; only one of Omniglot's own is refused for that.
    """
    if path.is_file() and path.suffix.lower() in HDF5_SUFFIXES:
        yield "", _OneFile(path)
        return
    if path.is_file():
        archive = opened.enter_context(Zip(path))
        _tell_repeated(archive, failures)
        yield "", archive
        return
    folder = Folder(path)
    yield "", folder
    failures.extend(folder.failures)
    for place in ("", "omniglot-py/"):
        for entry in sorted((path / place).glob("*")):
            if entry.suffix.lower() != ".zip" or is_system_made(entry.name) or not entry.is_file():
                continue
            try:
                archive = opened.enter_context(Zip(entry))
            except DataError as error:
                if entry.name.startswith("images_"):
                    raise
                failures.append(error)
                continue
            _tell_repeated(archive, failures)
            yield place, archive


def _tell_repeated(archive: Zip, failures: list[DataError]) -> None:
    if archive.repeated:
        failures.append(
            DataError(
                f"{archive.label} has {archive.repeated} members under whose name a later one "
                "lies, which is read"
            )
        )


class _OneFile(Folder):
    """A single file as a source."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self.label = str(path)
        self._name = path.name

    def names(self) -> list[str]:
        return [self._name]


def _find(sources: Iterable[tuple[str, Source]]) -> dict[str, _Drawings]:
    """Sort files into layouts and characters; the first folder that has a character provides it."""
    found: dict[str, _Drawings] = {}
    providers: dict[tuple[str, Name], tuple[str, str]] = {}
    for above, source in sources:
        for name in data_names(source):
            place = _place(above + name)
            if place is None:
                continue
            provider = (source.label, name.rpartition("/")[0])
            if providers.setdefault(place, provider) == provider:
                layout, character = place
                drawings = found.setdefault(layout, {}).setdefault(character, [])
                drawings.append(_Drawing(source, name))
    return found


def _place(name: str) -> tuple[str, Name] | None:
    """Tell the layout and the character of a file from its path, or None for other files."""
    path = PurePosixPath(name)
    if path.suffix.lower() in HDF5_SUFFIXES:
        return "torchmeta", ("", "")
    if path.suffix.lower() not in SUFFIXES:
        return None
    *above, alphabet, character, _ = "", "", "", *path.parts
    if not alphabet or not re.fullmatch(r"character\d+", character, re.IGNORECASE):
        return None
    if re.fullmatch(r"images_(background|evaluation)(_small[12])?", above[-1]):
        return ("torchvision" if "omniglot-py" in above else "raw"), (alphabet, character)
    return ("prototypes" if above[-1] == "data" else "merged"), (alphabet, character)


def _complete(found: _Drawings, problems: list[str]) -> _Drawings:
    """Make the number of drawings the same for all characters, and say what that leaves out.

    The number most characters have is kept (the larger of two equally frequent ones): a character
    with fewer is left out, since one damaged folder must not cost every other character its
    drawings; of a character with more the first ones are read.
    """
    counts = Counter(len(drawings) for drawings in found.values())
    usual = max(counts, key=lambda count: (counts[count], count))
    if usual < FEWEST_DRAWINGS:
        raise DataError(
            f"most characters have {usual} drawing; at least {FEWEST_DRAWINGS} are needed, one to "
            "learn from and one to ask about"
        )
    sentences = []
    for (alphabet, character), drawings in sorted(found.items()):
        action = "was left out" if len(drawings) < usual else f"only the first {usual} were read"
        if len(drawings) != usual:
            sentences.append(
                f"{alphabet}/{character} has {len(drawings)} drawings where most characters have "
                f"{usual}: {action}"
            )
    problems += sentences[:LISTED_PROBLEMS]
    if len(sentences) > LISTED_PROBLEMS:
        problems.append(f"the same holds for {len(sentences) - LISTED_PROBLEMS} more characters")
    return {name: drawings[:usual] for name, drawings in found.items() if len(drawings) >= usual}


def _read_images(found: _Drawings, size: int, report: Counted) -> dict[Name, Pixels]:
    """Decode, invert and resize every drawing. Raises: DataError, naming all that are damaged."""
    count = sum(map(len, found.values()))
    stacks: dict[Name, Pixels] = {}
    failures = []
    done = 0
    for name, drawings in found.items():
        report(done, count)
        stacks[name] = np.zeros((len(drawings), size, size), np.uint8)
        for row, drawing in enumerate(drawings):
            try:
                stacks[name][row] = _read_drawing(drawing, size)
            except DataError as error:
                failures.append(error)
        done += len(drawings)
    refuse_damaged(failures, count)
    return stacks


def _read_drawing(drawing: _Drawing, size: int) -> Pixels:
    data = drawing.source.read(drawing.name)
    label = f"{drawing.name} in {drawing.source.label}"
    return drawn(decode_image(data, label, "L", ("PNG",)), size)


def drawn(image: Image.Image, size: int) -> Pixels:
    """Return a picture of dark strokes on paper, in grey, as bright ones of a size."""
    return _shrink(ImageOps.invert(image), size)


def _shrink(image: Image.Image, size: int) -> Pixels:
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def _read_hdf5(drawing: _Drawing, size: int) -> dict[Name, Pixels]:
    """Read torchmeta's file: split / alphabet / character -> uint8 (drawers, height, width).

    Strokes are bright in it already, so nothing is inverted.
    """
    label = f"{drawing.name} in {drawing.source.label}"
    stacks: dict[Name, Pixels] = {}
    data = drawing.source.read(drawing.name)
    with open_hdf5(data, label, "choose the original images") as file:
        for split in ("images_background", "images_evaluation"):
            for alphabet in file.names(split):
                for character in file.names(split, alphabet):
                    drawings = file.array(split, alphabet, character)
                    stacks[alphabet, character] = _shrunk(
                        drawings, f"{alphabet}/{character}", label, size
                    )
    if len({len(stack) for stack in stacks.values()}) != 1:
        raise DataError(
            f"{label} holds {len(stacks)} characters; expected some, all with as many drawings"
        )
    return stacks


def _shrunk(drawings: np.ndarray, name: str, label: str, size: int) -> Pixels:
    if drawings.ndim != 3 or drawings.dtype != np.uint8 or not 0 < drawings.size <= MAX_PIXELS:  # noqa: PLR2004  (drawers, height, width)
        raise DataError(
            f"{label} has an entry {name} of shape {drawings.shape} and type {drawings.dtype}; "
            "expected uint8 of shape (20, 105, 105)"
        )
    return np.stack([_shrink(Image.fromarray(drawing), size) for drawing in drawings])


def _characters(stacks: dict[Name, Pixels], layout: str, problems: list[str]) -> Characters:
    """Put all characters, sorted by name, into one array whose strokes are bright."""
    names = tuple(sorted(stacks))
    images = np.stack([stacks[name] for name in names])
    if images.mean() > HALF_BRIGHT:
        images = 255 - images
        problems.append(
            "the drawings were bright on dark already, so they were not inverted a second time"
            if layout != "torchmeta"
            else "the drawings were dark on bright, so they were inverted"
        )
    return Characters(names, images, layout, tuple(problems))
