"""Saved views: what was compared and how, each under a name of a person's, as TOML files."""

import zlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from metaviz.config.options import OptionError, Options, checked
from metaviz.config.run_config import read_toml, to_toml
from metaviz.files.atomic import write_text
from metaviz.files.platform import plain_name
from metaviz.runs.storage.store import StoreError

VERSION_KEY = "metaviz_view"
_LETTERS = 40
_LONGEST = 200


class SavedView(Options):
    """A name, and what brings the view back: plain values that their owners check."""

    metaviz_view: Literal[1]
    name: str
    compare: dict[str, Any] = Field(default_factory=dict)
    table: dict[str, Any] = Field(default_factory=dict)
    shown: list[str] = Field(default_factory=list)


def saved_view(
    name: str, compare: dict[str, Any], table: dict[str, Any], shown: list[str]
) -> SavedView:
    """Return a view under a name. Raises: StoreError where the name is empty or too long."""
    short = " ".join(name.split())
    if not 0 < len(short) <= _LONGEST:
        raise StoreError(f"A view needs a name of 1 to {_LONGEST} letters; this has {len(short)}.")
    return SavedView(metaviz_view=1, name=short, compare=compare, table=table, shown=shown)


def place_of(folder: Path, name: str) -> Path:
    """Return the file of a view: readable, and another for every name."""
    return folder / f"{plain_name(name)[:_LETTERS]}-{zlib.crc32(name.encode()):08x}.toml"


def write_view(folder: Path, view: SavedView) -> Path:
    """Keep a view in the folder of views. Raises: StoreError with one sentence."""
    return export_view(view, place_of(folder, view.name))


def export_view(view: SavedView, path: Path) -> Path:
    """Write a view to a file of its own. Raises: StoreError with one sentence."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, to_toml(view))
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror}. Choose a folder that you may write to."
        ) from error
    return path


def read_view(path: Path) -> SavedView:
    """Read a view. Raises: StoreError with one sentence where the file holds none."""
    try:
        values = read_toml(path)
        if VERSION_KEY not in values:
            raise StoreError(
                f"{path} holds no saved view: choose a file that MetaViz wrote as one."
            )
        return checked(SavedView, values)
    except OptionError as error:
        raise StoreError(f"{path.name} is not a saved view that can be read: {error}") from None


def read_views(folder: Path) -> tuple[dict[str, SavedView], list[str]]:
    """Return the views of a folder by name, in order, and a sentence for each broken file."""
    views, sentences = [], []
    for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
        try:
            views.append(read_view(path))
        except StoreError as error:
            sentences.append(str(error))
    views.sort(key=lambda view: view.name.casefold())
    return {view.name: view for view in views}, sentences


def delete_view(folder: Path, name: str) -> None:
    """Delete a view; one that is gone is no mistake. Raises: StoreError with one sentence."""
    path = place_of(folder, name)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"Cannot delete {path}: {error.strerror}.") from error


def rename_view(folder: Path, old: str, new: str) -> SavedView:
    """Keep a view under another name; the old file goes once the new one is there.

    Raises: StoreError where there is no such view, or another has the name already.
    """
    view = read_view(place_of(folder, old))
    renamed = saved_view(new, view.compare, view.table, view.shown)
    if renamed.name == old:
        return view
    if place_of(folder, renamed.name).exists():
        raise StoreError(f"There is a view “{renamed.name}” already: choose another name.")
    write_view(folder, renamed)
    delete_view(folder, old)
    return renamed
