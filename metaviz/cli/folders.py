"""Which stored runs a person means."""

from difflib import get_close_matches
from pathlib import Path

from metaviz.paths import runs_dir
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import ABOUT, StoreError, list_runs, open_run


def run_folders(places: list[Path]) -> list[Path]:
    """Return the folders of runs at these places: runs, folders of runs, or ids.

    Raises: StoreError for a place that holds none.
    """
    folders: list[Path] = []
    for place in map(_meant, places):
        if (place / "run.toml").exists():
            found = [place]
        else:
            found = list_runs(place) or list_runs(place / "runs")
        if not found:
            raise StoreError(f"{place} holds no runs: name a run folder or a folder of runs.")
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

    Raises: StoreError for a place without runs, or where `some` are needed and none can be read.
    """
    records: dict[Path, Record] = {}
    unreadable = []
    ids: dict[str, Path] = {}
    for folder in run_folders(places):
        try:
            record = open_run(folder)
        except StoreError as error:
            unreadable.append(str(error))
            continue
        if record.id in ids:
            unreadable.append(f"{folder} is a copy of the run in {ids[record.id]}.")
        else:
            records[folder] = record
            ids[record.id] = folder
    if some and not records:
        raise StoreError(unreadable[0])
    return records, unreadable


def _meant(place: Path) -> Path:
    """Return the folder of a run that is named by its id alone."""
    stored = runs_dir() / place
    return stored if len(place.parts) == 1 and not place.exists() and stored.is_dir() else place


def marked_run(text: str, folder: Path | None) -> Path:
    """Return the folder of a run given by its path, or by its id in the folder of runs.

    Raises: StoreError.
    """
    root = folder or runs_dir()
    for place in (Path(text), root / text):
        if (place / ABOUT).is_file():
            return place
    near = get_close_matches(text, [p.name for p in root.glob("*")] if root.is_dir() else [], 1)
    hint = f"did you mean {near[0]}?" if near else f"name a run's folder, or its id in {root}."
    raise StoreError(f"{text} is no run: {hint}")
