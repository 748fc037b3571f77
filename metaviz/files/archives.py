"""Files and images from strangers: folders and zip archives, read in memory within limits.

Nothing is ever unpacked to disk, so a hostile archive can neither write outside its folder nor
fill the disk; what is left to guard against is memory and time.
"""

import math
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Protocol, Self

from metaviz.files.foreign import (
    ForeignError,
    UnreadableError,
    check_regular,
    read_bytes,
    read_part,
    refused,
)
from metaviz.files.text import one_line

MAX_MEMBERS = 1_000_000
MAX_TOTAL_BYTES = 32 * 2**30
MAX_RATIO = 200
RATIO_FREE_BYTES = 1_000_000
MAX_DEPTH = 16
MAX_LINKED = 16
_PIECE = 1 << 20
_TAIL = 1 << 17
_IN_LONG_END = 2**32 - 1
_MOST_ENTRY_BYTES = 400
_MOST_LISTED_BYTES = 20_000_000
_MOST_PACKED = 2**40
_SYSTEM = frozenset(
    {
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "lost+found"),
        *("$recycle.bin", "recycler", "system volume information", "#recycle", "@recycle"),
        *("#snapshot", "@recently-snapshot", "network trash folder", "temporary items"),
        *("__pycache__", "_gsdata_"),
    }
)
_RECOVERED = re.compile(r"found\.\d{3}")
"""Windows names so what it found when it checked a disk."""


class DataError(ValueError):
    """A data set cannot be read; the message is one sentence for the person who chose it."""

    def __init__(self, sentence: str) -> None:
        """Take the sentence; bytes of names that are no UTF-8 are escaped in it."""
        super().__init__(shown(sentence))


def shown(text: str) -> str:
    r"""Return a text that can be stored and printed in one line.

    Bytes that are no UTF-8, and letters that move the cursor or the direction, become \xe9.
    """
    plain = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return one_line(plain.replace("\n", "\\n").replace("\t", "\\t"))


def refuse_unstorable(key: str, path: str) -> None:
    """Refuse a path that no run could store. Raises: DataError in one sentence."""
    if shown(path) != path:
        raise DataError(
            f"{key} = '{shown(path)}' has bytes that are no UTF-8, so that no run could store it: "
            "rename the folder, or point at a link with another name."
        )


def is_system_made(name: str) -> bool:
    """Tell the files and folders that systems and programs leave beside a person's own."""
    lower = name.lower()
    return name.startswith(".") or lower in _SYSTEM or bool(_RECOVERED.fullmatch(lower))


class Source(Protocol):
    """A folder or an archive as a set of files."""

    label: str

    def names(self) -> list[str]:
        """Return the paths of all files, relative, sorted, with forward slashes."""

    def read(self, name: str) -> bytes:
        """Return the contents of one file.

        Raises: DataError, naming the file, if it cannot be read.
        """

    def start(self, name: str, count: int) -> bytes:
        """Return the first bytes of one file. Raises: DataError as `read`."""

    def size_of(self, name: str) -> int:
        """Return the number of bytes of one file."""

    def checksum(self, name: str) -> int:
        """Return the CRC-32 of the contents of one file. Raises: DataError as `read`."""

    def stamp(self, name: str) -> str:
        """Return what changes when the file does, without reading it."""


def data_names(source: Source) -> list[str]:
    """Return the paths in a source that no system made, nor put below a folder of its own."""
    names = source.names()
    if isinstance(source, Folder):
        return names
    return [name for name in names if not any(map(is_system_made, name.split("/")))]


class Folder:
    """The files under a folder, up to MAX_DEPTH levels below it.

    Links to folders are followed wherever they lead, as a person made them, but never into a
    folder above; each folder is entered through links MAX_LINKED times at most, which bounds the
    time that crafted links take. left_out: what the last listing did not enter, with counts.
    failures: why folders could not be listed.
    """

    def __init__(self, root: Path) -> None:
        """Name the folder; nothing is read yet."""
        self.root = root
        self.label = str(root)
        self.left_out: Counter[str] = Counter()
        self.failures: list[DataError] = []
        self._linked: Counter[tuple[int, int]] = Counter()

    def names(self) -> list[str]:
        """Return the paths of all files, relative, sorted, with forward slashes.

        What systems made is not among them; a folder that cannot be listed costs only itself.
        Raises: DataError if there are more than MAX_MEMBERS files, or the root cannot be listed.
        """
        names: list[str] = []
        self.left_out.clear()
        self.failures.clear()
        self._linked.clear()
        try:
            for name in self._below(self.root, "", ()):
                names.append(name)
                if len(names) > MAX_MEMBERS:
                    raise DataError(
                        f"{self.root} holds more than {MAX_MEMBERS} files; choose the folder of "
                        "the data set itself"
                    )
        except OSError as error:
            if error.errno is None:  # no system said so
                raise
            raise DataError(f"{self.root} cannot be listed: {error.strerror}") from error
        return sorted(names)

    def _below(
        self, folder: Path, prefix: str, above: tuple[tuple[int, int], ...]
    ) -> Iterator[str]:
        """Yield the files below a folder, of which those above have these devices and inodes."""
        try:
            known = os.stat(f"{folder}/.")  # noqa: PTH116 - what lies in it can be reached, too
            listed = os.scandir(folder)
        except OSError as error:
            if not prefix:
                raise
            self._leave_out(folder, error)
            return
        above = (*above, (known.st_dev, known.st_ino))
        with listed as entries:
            for entry in entries:
                if is_system_made(entry.name):
                    continue
                try:
                    is_folder = entry.is_dir()
                    enters = is_folder and self._enters(entry, above)
                    leads_nowhere = entry.is_symlink() and not Path(entry.path).exists()
                except OSError as error:
                    self._leave_out(Path(entry.path), error)
                    continue
                if enters:
                    yield from self._below(Path(entry.path), f"{prefix}{entry.name}/", above)
                elif leads_nowhere:
                    self.left_out["links that lead nowhere"] += 1
                elif not is_folder:
                    yield prefix + entry.name

    def _leave_out(self, place: Path, error: OSError) -> None:
        """Count a folder that cannot be listed, and say why. Raises: the error if it is ours."""
        if error.errno is None:  # no system said so
            raise error
        self.left_out["folders that cannot be listed"] += 1
        self.failures.append(
            DataError(f"{place} cannot be listed and is left out: {error.strerror}")
        )

    def _enters(self, entry: os.DirEntry[str], above: tuple[tuple[int, int], ...]) -> bool:
        """Return whether to list a folder; count it where not."""
        known = Path(entry.path).stat()
        identity = known.st_dev, known.st_ino
        if identity in above:
            self.left_out["links to a folder above"] += 1
            return False
        if len(above) == MAX_DEPTH:
            self.left_out[f"folders deeper than {MAX_DEPTH} levels"] += 1
            return False
        if entry.is_symlink():
            self._linked[identity] += 1
            if self._linked[identity] > MAX_LINKED:
                self.left_out["links to a folder that is read already"] += 1
                return False
        return True

    def read(self, name: str) -> bytes:
        """Return the contents of one file."""
        return self.start(name, -1)

    def start(self, name: str, count: int) -> bytes:
        """Return the first bytes of one file; -1: all."""
        path = self.root / name
        try:
            if count < 0:
                return read_bytes(path, MAX_TOTAL_BYTES)
            return read_part(path, MAX_TOTAL_BYTES, count)
        except UnreadableError as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        except ForeignError as error:
            raise DataError(
                f"{path} is no file that is read ({error}); remove it from the data"
            ) from error

    def size_of(self, name: str) -> int:
        """Return the number of bytes."""
        return self._stat(name).st_size

    def checksum(self, name: str) -> int:
        """Return the CRC-32 of the contents, for which it reads them."""
        return zlib.crc32(self.read(name))

    def stamp(self, name: str) -> str:
        """Return the file's size and time of change."""
        known = self._stat(name)
        return f"{known.st_size}:{known.st_mtime_ns}"

    def _stat(self, name: str) -> os.stat_result:
        try:
            return os.stat(f"{self.label}/{name}")  # noqa: PTH116 - for every image
        except OSError as error:
            raise DataError(f"{self.root / name} cannot be read: {error.strerror}") from error


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold: members, bytes in all, and bytes for each packed one."""

    members: int
    total: int
    ratio: float = math.inf
    free: int = 0
    """So many bytes are allowed whatever the archive's size."""

    def most(self, packed: int) -> float:
        """Return how many bytes an archive of some size may unpack to."""
        return min(self.total, self.ratio * packed + self.free)


class Zip:
    """The files of a zip archive, checked against the limits when it is opened."""

    def __init__(
        self, path: Path, what: str = "a data set", *, limits: "Limits | None" = None
    ) -> None:
        """Open and check an archive of something.

        With `limits` of its own it must hold plain files alone, each under a name of its own;
        otherwise links are read as the text that they hold.
        Raises: DataError if it is no zip archive, has members with absolute or climbing paths,
        more than MAX_MEMBERS members, more than MAX_TOTAL_BYTES unpacked, or a member larger than
        RATIO_FREE_BYTES that shrank more than MAX_RATIO times.
        """
        self.path = path
        self.label = str(path)
        self._what, self._strict = what, limits is not None
        self.repeated = 0
        """How many members have the name of a later one, which is read."""
        self._limits = limits or Limits(MAX_MEMBERS, MAX_TOTAL_BYTES)
        try:
            self._packed = check_regular(path, _MOST_PACKED)
            if self._strict and _directory_bytes(path) > _MOST_ENTRY_BYTES * self._limits.members:
                raise DataError(self._too_many("too many"))
            with refused("it"):
                self._archive = zipfile.ZipFile(path)
        except ForeignError as error:
            raise DataError(
                f"{path} is not a readable zip archive ({error}); download it again"
            ) from error
        try:
            self._files = self._checked(self._archive.infolist())
        except DataError:
            self._archive.close()
            raise

    def _checked(self, members: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        """Return the files by name, or refuse the archive."""
        if len(members) > self._limits.members:
            raise DataError(self._too_many(str(len(members))))
        total, most = sum(member.file_size for member in members), self._limits.most(self._packed)
        if total > most:
            raise DataError(
                f"{self.path} would unpack to {total / 2**30:.1f} GiB; "
                f"at most {most / 2**30:.1f} GiB are read"
            )
        known: set[str] = set()
        for member in members:
            self._check(member)
            if self._strict and member.filename in known:
                raise DataError(
                    f"{self.path} has two members with the name {member.filename!r}; {self._what} "
                    "has each once, so this archive is not read"
                )
            known.add(member.filename)
        # Old Windows programs separate folders by backslashes.
        named = [(member.filename.replace("\\", "/"), member) for member in members]
        named = [(name, member) for name, member in named if not name.endswith("/")]
        files = dict(named)
        self.repeated = len(named) - len(files)
        return files

    def _too_many(self, count: str) -> str:
        return f"{self.path} has {count} members; at most {self._limits.members} are read"

    def _check(self, member: zipfile.ZipInfo) -> None:
        name = member.filename
        if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
            raise DataError(
                f"{self.path} has a member with an absolute path, {name!r}; {self._what} has "
                "relative paths only, so this archive is not read"
            )
        if ".." in re.split(r"[/\\]", name):
            raise DataError(
                f"{self.path} has a member that climbs out of its folder, {name!r}; {self._what} "
                "has none, so this archive is not read"
            )
        ratio = member.file_size / max(member.compress_size, 1)
        if member.file_size > RATIO_FREE_BYTES and ratio > MAX_RATIO:
            raise DataError(
                f"{self.path} has a member that unpacks to {ratio:.0f} times its size, {name!r}; "
                f"{self._what} shrinks less than {MAX_RATIO} times, so this archive is not read"
            )
        if self._strict and stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(
                f"{self.path} has a link, {name!r}; {self._what} has plain files only, so this "
                "archive is not read"
            )

    @property
    def sizes(self) -> dict[str, int]:
        """Number of bytes that each file unpacks to, by its name."""
        return {name: member.file_size for name, member in self._files.items()}

    def names(self) -> list[str]:
        """Return the paths of all files, relative, sorted, with forward slashes."""
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        """Return the contents of one file."""
        return self.start(name, -1)

    def start(self, name: str, count: int) -> bytes:
        """Return the first bytes of one file; -1: all."""
        with self._reading(name), self._archive.open(self._files[name]) as stream:
            return stream.read(count)

    def copy(self, name: str, stream: BinaryIO) -> None:
        """Write the contents of one file to a stream. Raises: DataError as `read`, or OSError."""
        with self._reading(name):
            source = self._archive.open(self._files[name])
        with source:
            while piece := self._piece(name, source):
                stream.write(piece)

    def _piece(self, name: str, source: IO[bytes]) -> bytes:
        with self._reading(name):
            return source.read(_PIECE)

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            with refused(f"{name} in {self.path}"):
                yield
        except ForeignError as error:
            if isinstance(error.__cause__, NotImplementedError | RuntimeError):
                raise DataError(
                    f"{name} in {self.path} is encrypted or packed in an unknown way "
                    f"({error.__cause__}); pack it as a plain zip archive"
                ) from error
            raise DataError(f"{error}; download the archive again") from error

    def size_of(self, name: str) -> int:
        """Return the number of bytes, unpacked."""
        return self._files[name].file_size

    def checksum(self, name: str) -> int:
        """Return the CRC-32 that the archive states."""
        return self._files[name].CRC

    def stamp(self, name: str) -> str:
        """Return the file's unpacked size and checksum."""
        member = self._files[name]
        return f"{member.file_size}:{member.CRC:08x}"

    def __enter__(self) -> Self:
        """Return the archive."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the archive."""
        self._archive.close()


def member_names(path: Path) -> list[str]:
    """Return the names in a zip archive, empty where there are far too many to say what it is.

    Raises: DataError where it is no archive.
    """
    try:
        check_regular(path, _MOST_PACKED)
        if _directory_bytes(path) > _MOST_LISTED_BYTES:
            return []
        with refused("it"), zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except ForeignError as error:
        raise DataError(f"{path} is not a readable zip archive ({error})") from error


def _directory_bytes(path: Path) -> int:
    """Return the size of a zip archive's list of members, which is read whole when it is opened."""
    tail = read_part(path, _MOST_PACKED, _TAIL, tail=True)
    end, long_end = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    with refused("it"):
        (size,) = struct.unpack_from("<I", tail, end + 12) if end >= 0 else (0,)
        if size == _IN_LONG_END and long_end >= 0:
            (size,) = struct.unpack_from("<Q", tail, long_end + 40)
    return int(size)
