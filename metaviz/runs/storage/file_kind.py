"""What a path is that a person dropped onto the window."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metaviz.config.options import OptionError
from metaviz.config.run_config import read_toml
from metaviz.files.archives import DataError, member_names
from metaviz.runs.storage.saved_views import VERSION_KEY
from metaviz.runs.storage.store import ABOUT

Kind = Literal["run", "runs", "archive", "view", "configuration", "nothing"]
TITLES: dict[Kind, str] = {
    "run": "Show this run",
    "runs": "Show the runs of this folder",
    "archive": "Import this packed run",
    "view": "Open this view",
    "configuration": "Fill the form from this file",
    "nothing": "This cannot be opened",
}
_MOST_SHOWN = 3


@dataclass(frozen=True)
class Dropped:
    """A path and what it is; of what is of no use `reason` says why in one sentence."""

    kind: Kind
    path: Path
    reason: str = ""


def recognised(path: Path) -> Dropped:
    """Say what a path is, without reading more than a little of it."""
    known = {".toml": _toml, ".zip": _archive}
    try:
        if path.is_dir():
            return _folder(path)
        if path.name == ABOUT and path.is_file():
            return Dropped("run", path.parent)
        if path.suffix.lower() in known and path.is_file():
            return known[path.suffix.lower()](path)
    except OSError as error:
        return Dropped("nothing", path, f"{path} cannot be read: {error.strerror or error}.")
    reason = f"{path.name} is of no use here: drop run folders, packed runs (.zip) or TOML files."
    return Dropped("nothing", path, reason)


def description_of(found: Iterable[Dropped]) -> str:
    """Say what dropping would do, one line for each, of many the first few."""
    lines = [f"{TITLES[one.kind]}: {one.path.name}" for one in found]
    more = [f"and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
    return "\n".join(lines[:_MOST_SHOWN] + more)


def _folder(path: Path) -> Dropped:
    if (path / ABOUT).is_file():
        return Dropped("run", path)
    if any((inner / ABOUT).is_file() for inner in path.iterdir()):
        return Dropped("runs", path)
    return Dropped(
        "nothing",
        path,
        f"{path.name} holds no run: drop a run's folder or a folder of runs; images belong into "
        "“Look at the data”.",
    )


def _toml(path: Path) -> Dropped:
    try:
        values = read_toml(path)
    except OptionError as error:
        return Dropped("nothing", path, str(error))
    if VERSION_KEY in values:
        return Dropped("view", path)
    return Dropped("configuration", path)


def _archive(path: Path) -> Dropped:
    try:
        names = member_names(path)
    except DataError:
        return Dropped("nothing", path, f"{path.name} is damaged: it is no zip archive.")
    if any(name.count("/") == 1 and name.endswith(f"/{ABOUT}") for name in names):
        return Dropped("archive", path)
    return Dropped(
        "nothing",
        path,
        f"{path.name} holds no packed run; an archive of images belongs into “Look at the data”.",
    )
