"""Unpacking of tar archives: regular files below one folder, and nothing else."""

import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from metaviz.files.archives import MAX_MEMBERS, DataError

MOST_UNPACKED = 2**30


def unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack a compressed tar archive; `folder` appears, or is replaced, once all is there.

    Raises: DataError, in one sentence, if the archive is damaged, holds links, devices or paths
    that lead elsewhere, more than MAX_MEMBERS files or MOST_UNPACKED bytes, or the disk is full.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
        try:
            with tarfile.open(archive, "r:*") as opened:
                for member in _checked(archive, opened):
                    _write(opened, member, work / member.name)
            shutil.rmtree(folder, ignore_errors=True)
            work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} is a damaged archive ({error}); download it again") from error
    except OSError as error:
        raise DataError(
            f"{archive} cannot be unpacked to {folder} ({error.strerror or error}); "
            "check the disk, or download the archive again"
        ) from error


def _checked(archive: Path, opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files; refuse the archive at the first member that is not harmless."""
    count = size = 0
    known: set[str] = set()
    for member in opened:
        name = member.name
        parts = re.split(r"[/\\]", name)
        if ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name or ":" in name:
            raise DataError(
                f"{archive} has a member that leads out of its folder, {name!r}; a data set has "
                "none, so this archive is not unpacked"
            )
        if not (member.isreg() or member.isdir()):
            raise DataError(
                f"{archive} has a link or a device, {name!r}; a data set has plain files only, so "
                "this archive is not unpacked"
            )
        count, size = count + 1, size + member.size
        if count > MAX_MEMBERS or size > MOST_UNPACKED:
            raise DataError(
                f"{archive} would unpack to more than {MAX_MEMBERS} files or "
                f"{MOST_UNPACKED / 2**30:.0f} GiB, so it is not unpacked"
            )
        if member.isreg():
            if name in known:
                raise DataError(
                    f"{archive} has two members with the name {name!r}; a data set has each once, "
                    "so this archive is not unpacked"
                )
            known.add(name)
            yield member


def _write(opened: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Write a file's bytes; owners, modes and times of the archive are not taken over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = opened.extractfile(member)
    if source is not None:
        with source, path.open("wb") as stream:
            shutil.copyfileobj(source, stream)
