"""Which stored runs a person means."""

import itertools
import re
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from metaviz.cli.output import say
from metaviz.paths import runs_dir
from metaviz.runs.model.copies import is_copy
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import StoreError, holds_run, list_runs, open_run

_MOST_NAMED = 5
_USUAL_NAME = re.compile(r"[\w-]+-s\d+-[0-9a-f]{8}")


def run_folders(places: list[Path]) -> list[Path]:
    """Return the folders of runs at these places: runs, folders of runs, or ids.

    Raises: StoreError for a place that holds none.
    """
    folders: list[Path] = []
    for place in map(_meant, places):
        found = [place] if holds_run(place) else list_runs(runs_root(place))
        if not found:
            raise _without_runs(place)
        folders += found
    return folders


def one_run(place: Path) -> Path:
    """Return the folder of the only run at a place. Raises: StoreError."""
    found = run_folders([place])
    if len(found) > 1:
        raise StoreError(f"{place} holds {len(found)} runs: name the folder of one.")
    return found[0]


def readable(places: list[Path], *, some: bool = True) -> tuple[dict[Path, Record], list[str]]:
    """Open runs; return those that can be read by folder, and what is wrong with the others.

    Copies are left out; runs that only share an id are told apart, which is said.

    Raises: StoreError for a place without runs, or where `some` are needed and none can be read.
    """
    records: dict[Path, Record] = {}
    unreadable = []
    made: dict[str, list[Path]] = {}
    ids: set[str] = set()
    for folder in run_folders(places):
        try:
            record = open_run(folder)
        except StoreError as error:
            unreadable.append(str(error))
            continue
        alike = made.setdefault(record.made_as, [])
        first = next((one for one in alike if is_copy(records[one], record)), None)
        if first is not None:
            unreadable.append(f"{folder} is a copy of the run in {first}.")
            continue
        record.id = _unused(record.id, ids)
        ids.add(record.id)
        alike.append(folder)
        records[folder] = record
    for name, alike in made.items():
        if len(alike) > 1:
            apart = [records[folder].id for folder in alike]
            more = f" and {len(apart) - _MOST_NAMED} more" if len(apart) > _MOST_NAMED else ""
            say(
                f"{len(apart)} different runs share the id {name}: they are told apart as "
                f"{', '.join(apart[:_MOST_NAMED])}{more}."
            )
    if some and not records:
        raise StoreError(unreadable[0])
    return records, unreadable


def _unused(name: str, used: Collection[str]) -> str:
    """Return a run's id, with a number where a run of another folder of runs has it."""
    numbered = (f"{name} ({number})" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], numbered) if one not in used)


def runs_root(folder: Path | None) -> Path:
    """Return the folder that holds the folders of runs; that of the window where none is named.

    It may be named itself, by the folder that has it as `runs`, or by one of its runs.
    Raises: StoreError where there is no such folder.
    """
    if folder is None:
        return runs_dir()
    if not folder.is_dir():
        raise _without_runs(folder)
    if holds_run(folder):
        return folder.parent
    inner = folder / "runs"
    return inner if inner.is_dir() and not list_runs(folder) else folder


def short_id(name: str) -> str:
    """Return what tells a run from others: the random end of its folder's name, or all of it."""
    return name.rpartition("-")[2] if _USUAL_NAME.fullmatch(name) else name


def run_named(text: str, root: Path) -> Path | None:
    """Return the folder of the run that an id, or a short one, means in a folder of runs.

    Raises: StoreError where a short id means several.
    """
    if Path(text).name != text:
        return None
    if holds_run(root / text):
        return root / text
    found = [folder for folder in list_runs(root) if short_id(folder.name) == text]
    if len(found) > 1:
        raise StoreError(f"{text} means {len(found)} runs in {root}: name the folder of one.")
    return found[0] if found else None


def _meant(place: Path) -> Path:
    """Return the folder of a run that is named by its id alone."""
    if place.exists():
        return place
    if found := run_named(str(place), runs_dir()):
        return found
    raise _without_runs(place)


def _without_runs(place: Path) -> StoreError:
    return StoreError(f"{place} holds no runs: name a run folder or a folder of runs.")


def marked_run(text: str, folder: Path | None) -> Path:
    """Return the folder of a run given by its path, or by its id in the folder of runs.

    Raises: StoreError.
    """
    root = runs_root(folder)
    if holds_run(Path(text)):
        return Path(text)
    if found := run_named(text, root):
        return found
    near = get_close_matches(text, [p.name for p in root.glob("*")] if root.is_dir() else [], 1)
    hint = f"did you mean {near[0]}?" if near else f"name a run's folder, or its id in {root}."
    raise StoreError(f"{text} is no run: {hint}")
