"""What a person notes about a run: name, tags, notes, star, colour, and whether it is in the trash.

They lie beside `run.toml`, which is written once, and travel with the folder. What they hold is
untrusted text wherever it is shown or exported.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from metaviz.files.atomic import write_text
from metaviz.files.foreign import ForeignError, UnreadableError, parsed_toml, part_of, read_text
from metaviz.files.platform import reason_of
from metaviz.files.values import of_kind, required

MARKS = "marks.toml"
DAMAGED = "marks.damaged.toml"
LONGEST_NAME, LONGEST_TAG, MOST_TAGS, LONGEST_NOTES = 120, 40, 50, 20_000
_MOST_BYTES = 1_000_000
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_BETWEEN_TAGS = re.compile(r"[\s,;\"]+")


class MarksError(OSError):
    """Marks cannot be read or saved; the message is one sentence."""


@dataclass(frozen=True)
class Marks:
    """A person's marks of one run; an empty colour is the automatic one, as #rrggbb otherwise."""

    name: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    star: bool = False
    color: str = ""
    trashed: bool = False


FIELDS = tuple(field.name for field in fields(Marks))


def read_marks(folder: Path) -> Marks:
    """Return the marks in a run's folder; those of a run without any are all empty.

    Raises: MarksError with one sentence where the file is not readable.
    """
    path = folder / MARKS
    try:
        return marks_of(parsed_toml(read_text(part_of(folder, MARKS), _MOST_BYTES)))
    except ForeignError as error:
        if isinstance(error, UnreadableError) and error.is_missing:
            return Marks()
        reason = str(error).rstrip(".")
        raise MarksError(f"{path} is not readable, so the run has no marks: {reason}.") from error


def change_marks(folder: Path, changes: Mapping[str, Any]) -> Marks:
    """Change some marks of a run and return all; what others changed meanwhile stays.

    The folder of runs is touched, so that other windows read it again.
    Raises: MarksError with one sentence where they cannot be saved; nothing has changed then.
    """
    path = folder / MARKS
    is_damaged = False
    try:
        before = read_marks(folder)
    except MarksError:
        before, is_damaged = Marks(), True
    after = cleaned(replace(before, **changes))
    text = tomli_w.dumps(asdict(after), multiline_strings=False)
    sentence = f"Marks of {folder.name} cannot be saved to {folder}"
    if not folder.is_dir():
        raise MarksError(f"{sentence}: {folder.name} is gone.")
    try:
        if is_damaged and path.is_file():
            path.replace(folder / DAMAGED)
        write_text(path, text)
    except OSError as error:
        raise MarksError(f"{sentence}: {reason_of(error)}.") from error
    with suppress(OSError):
        folder.parent.touch()
    return after


def marks_of(values: Mapping[str, Any]) -> Marks:
    """Return marks out of plain values; keys of later versions are passed over.

    Raises: ForeignError where a value has the wrong type.
    """
    kinds = {"name": str, "notes": str, "star": bool, "color": str, "trashed": bool}
    known: dict[str, Any] = {
        key: required(values, key, kind) for key, kind in kinds.items() if key in values
    }
    tags = of_kind(values.get("tags", []), list, "tags")
    return cleaned(Marks(**known, tags=tuple(of_kind(tag, str, "tags") for tag in tags)))


def cleaned(marks: Marks) -> Marks:
    """Return marks as they are stored: without control characters, and not endlessly long."""
    lines = [_printable(line) for line in marks.notes[:LONGEST_NOTES].splitlines()]
    return replace(
        marks,
        name=_printable(marks.name).strip()[:LONGEST_NAME].rstrip(),
        tags=split_tags(" ".join(marks.tags)),
        notes="\n".join(lines).rstrip(),
        color=marks.color.upper() if is_color(marks.color) else "",
    )


def is_color(text: str) -> bool:
    """Return whether a text is a colour as #rrggbb."""
    return _COLOR.fullmatch(text) is not None


def split_tags(text: str) -> tuple[str, ...]:
    """Read tags with spaces, commas or semicolons between them; each is kept once."""
    found = (part[:LONGEST_TAG] for part in _BETWEEN_TAGS.split(_printable(text)))
    return tuple(dict.fromkeys(tag for tag in found if tag))[:MOST_TAGS]


def with_tags(marks: Marks, added: Iterable[str], removed: Iterable[str]) -> tuple[str, ...]:
    """Return a run's tags after some were added and others removed."""
    gone = set(removed)
    return split_tags(" ".join([*(tag for tag in marks.tags if tag not in gone), *added]))


def _printable(text: str) -> str:
    kept = "".join(c if c.isprintable() or c == " " else " " for c in text)
    return kept.encode("utf-8", "ignore").decode("utf-8")
