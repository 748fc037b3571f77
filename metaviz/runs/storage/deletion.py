"""Deleting a run for good: only from the trash, inside the folder of runs, while none trains it."""

import shutil
import uuid
from pathlib import Path

from metaviz.runs.model.marks import MarksError, read_marks
from metaviz.runs.storage.database import DATABASE
from metaviz.runs.storage.lock import lock_run
from metaviz.runs.storage.store import ABOUT, StoreError


def delete_run(root: Path, folder: Path) -> None:
    """Delete a run of the trash and all its files. Links are not followed.

    The folder is renamed and loses `run.toml` first: broken off, this leaves no half run.
    Raises: StoreError with one sentence where this is no run of the folder of runs, not in the
    trash, training, or where the disk refuses.
    """
    _check(root, folder)
    try:
        lock = lock_run(folder)
    except OSError as error:
        raise StoreError(f"Cannot delete {folder}: {error.strerror or error}.") from error
    if lock is None:
        raise StoreError(f"{folder.name} is training and is kept: stop it first.")
    try:
        gone = root / f".deleted-{uuid.uuid4().hex[:8]}"
        folder.rename(gone)
        (gone / ABOUT).unlink()
        lock.release()
        shutil.rmtree(gone)
    except OSError as error:
        raise StoreError(f"Cannot delete {folder}: {error.strerror or error}.") from error
    finally:
        lock.release()


def _check(root: Path, folder: Path) -> None:
    if folder.parent != root or folder.name in {"", ".", ".."}:
        raise StoreError(f"{folder} lies outside {root} and is kept.")
    if folder.is_symlink() or not folder.is_dir():
        raise StoreError(f"{folder} is no folder of its own and is kept.")
    files = [folder / name for name in (ABOUT, DATABASE)]
    if not all(file.is_file() and not file.is_symlink() for file in files):
        raise StoreError(f"{folder} holds no run and is kept.")
    try:
        trashed = read_marks(folder).trashed
    except MarksError as error:
        raise StoreError(f"{folder.name} is kept: {error}") from error
    if not trashed:
        raise StoreError(f"{folder.name} is not in the trash and is kept.")
