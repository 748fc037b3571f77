"""A run as one zip archive, and back: what comes in is checked before it is kept."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from metaviz.files.archives import DataError, Limits, Zip
from metaviz.files.atomic import made_folder, write_atomically
from metaviz.files.foreign import (
    MOST_ARRAY_BYTES,
    MOST_CHECKPOINT_BYTES,
    MOST_DATABASE_BYTES,
    MOST_TOML_BYTES,
    ForeignError,
    open_to_write,
)
from metaviz.files.platform import is_plain_name, reason_of
from metaviz.runs.model import robustness
from metaviz.runs.model.evaluation import FOLDER as EVALUATIONS
from metaviz.runs.model.marks import DAMAGED, MARKS
from metaviz.runs.storage.database import DATABASE, open_to_read
from metaviz.runs.storage.lock import LOCK
from metaviz.runs.storage.store import ABOUT, StoreError, open_run

LIMITS = Limits(members=10_000, total=64 * 2**30, ratio=50, free=100_000_000)
"""Of a packed run; data sets have others."""
_FILES = {
    *(ABOUT, DATABASE, MARKS, DAMAGED, f"{robustness.FOLDER}/map.npz"),
    *("checkpoint.pt", "checkpoint-before.pt", "checkpoint-best.pt", "start.pt"),
}


def pack_run(folder: Path, path: Path) -> None:
    """Write a run's folder into a zip archive, whole or not at all.

    A run that is training is packed as it is at this moment.
    Raises: StoreError with one sentence where it cannot be read or the archive not be written.
    """
    name = open_run(folder).made_as
    if not is_plain_name(name):
        raise StoreError(f"{folder} cannot be packed: its id, {name!r:.80}, is no folder's name.")
    try:
        folders = made_folder(path.parent)
        with folders, tempfile.TemporaryDirectory(dir=path.parent, prefix=".packing-") as work:
            copy = Path(work) / DATABASE
            _copy_database(folder / DATABASE, copy)

            def write(stream: BinaryIO) -> None:
                packed = zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False)
                with packed as archive:
                    archive.write(copy, f"{name}/{DATABASE}")
                    for file in _files(folder):
                        archive.write(file, f"{name}/{file.relative_to(folder).as_posix()}")

            write_atomically(path, write)
    except (OSError, ForeignError) as error:
        raise StoreError(f"Cannot write {path}: {_reason(error)}.") from error


def unpack_run(path: Path, root: Path) -> Path:
    """Unpack a run into a folder of runs; return the run's folder.

    Everything goes into a folder beside it first, which is renamed once it is a readable run.
    Raises: StoreError with one sentence where the archive is damaged, holds links, paths that lead
    elsewhere or far too much, where it holds no readable run, or where that run is there already.
    """
    try:
        with Zip(path, "a run", limits=LIMITS) as archive:
            name = _only_folder(archive, path)
            target = root / name
            _refuse_existing(target, path)
            with made_folder(root):
                _check_room(archive, path, root)
                with tempfile.TemporaryDirectory(dir=root, prefix=".unpacking-") as work:
                    _unpack(archive, Path(work))
                    found = Path(work) / name
                    # The process that trained it when it was packed does not train this copy.
                    (found / LOCK).touch()
                    _check_name(found, path)
                    found.rename(target)
    except DataError as error:
        raise StoreError(f"{str(error).rstrip('.')}.") from error
    except StoreError as error:
        raise _without_place(error, path) from error
    except OSError as error:
        raise StoreError(f"Cannot unpack {path}: {_reason(error)}.") from error
    return target


def _refuse_existing(target: Path, path: Path) -> None:
    if target.exists():
        raise StoreError(f"{target} is there already: remove it first to unpack {path}.")


def _check_room(archive: Zip, path: Path, root: Path) -> None:
    size = sum(archive.sizes.values())
    if size > shutil.disk_usage(root).free:
        raise StoreError(
            f"{path} would unpack to {size / 2**20:.0f} MiB, for which {root} has no room: free "
            "some, or choose another disk."
        )


def _check_name(folder: Path, path: Path) -> None:
    if open_run(folder).made_as != folder.name:
        raise StoreError(f"{path} holds no readable run: its names differ.")


def _reason(error: OSError | ForeignError) -> str:
    """Return why something was refused. Raises: the error itself where no system refused it."""
    if isinstance(error, OSError):
        if error.errno is None:
            raise error
        return reason_of(error)
    return str(error).rstrip(".")


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database with what its write-ahead log holds."""
    with closing(open_to_read(source)) as database, closing(open_to_write(target)) as copy:
        database.backup(copy)


def _files(folder: Path) -> Iterator[Path]:
    """Yield what makes up a run besides its database."""
    for file in (*sorted(folder.iterdir()), *sorted(folder.glob("*/*"))):
        known = _is_part(file.relative_to(folder).as_posix()) and file != folder / DATABASE
        if known and not any(path.is_symlink() for path in (file, file.parent)) and file.is_file():
            yield file


def _is_part(name: str) -> bool:
    """Return whether a path inside a run's folder is one that runs have, on any system."""
    folder, _, file = name.rpartition("/")
    judged = folder == EVALUATIONS and is_plain_name(file) and file.endswith((".npz", ".json"))
    return name in _FILES or judged


def _only_folder(archive: Zip, path: Path) -> str:
    """Return the name of the one folder that a packed run consists of."""
    names = archive.names()
    first = {name.partition("/")[0] for name in names}
    (name,) = first if len(first) == 1 else ("",)
    parts = {file.removeprefix(f"{name}/") for file in names}
    strange = sorted(part for part in parts if not _is_part(part))
    if strange or not (is_plain_name(name) and {ABOUT, DATABASE} <= parts):
        reason = f" alone, but also {strange[0]!r:.80}" if strange else ""
        raise StoreError(f"{path} holds no run{reason}: choose a file that `metaviz pack` wrote.")
    for file, size in archive.sizes.items():
        most = _most_bytes(file.removeprefix(f"{name}/"))
        if size > most:
            raise StoreError(f"{path} holds no run: {file} is larger than {most / 1e6:g} MB.")
    return name


def _most_bytes(part: str) -> int:
    """Return how large a file of a run may be, as those that read it have it."""
    if part.endswith(".toml"):
        return MOST_TOML_BYTES
    if part.endswith((".npz", ".json")):
        return MOST_ARRAY_BYTES
    return MOST_DATABASE_BYTES if part == DATABASE else MOST_CHECKPOINT_BYTES


def _unpack(archive: Zip, folder: Path) -> None:
    for name in archive.names():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as stream:
            archive.copy(name, stream)


def _without_place(error: StoreError, path: Path) -> StoreError:
    """Name the archive instead of the folder that it was unpacked into for a moment."""
    text = str(error)
    before, found, reason = text.partition(" is not a readable run: ")
    return StoreError(f"{path} holds no readable run: {reason}") if found and before else error
