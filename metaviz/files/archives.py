"""Files and images from strangers: folders and zip archives, read in memory within limits.

Nothing is ever unpacked to disk, so a hostile archive can neither write outside its folder nor
fill the disk; what is left to guard against is memory and time.
"""

import io
import math
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, BinaryIO, Protocol, Self

from metaviz.files.foreign import (
    LIBRARY_ERRORS,
    ForeignError,
    check_regular,
    read_bytes,
    refused,
)

if TYPE_CHECKING:
    from PIL import Image

MAX_MEMBERS = 1_000_000
MAX_TOTAL_BYTES = 32 * 2**30
MAX_RATIO = 200
RATIO_FREE_BYTES = 1_000_000
MAX_PIXELS = 16_000_000
MAX_DEPTH = 7
_PIECE = 1 << 20
_TAIL = 1 << 17
_IN_LONG_END = 2**32 - 1
_MOST_ENTRY_BYTES = 400
_MOST_LISTED_BYTES = 20_000_000
_MOST_PACKED = 2**40
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


class DataError(ValueError):
    """A data set cannot be read; the message is one sentence for the person who chose it."""


class Source(Protocol):
    """A folder or an archive as a set of files."""

    label: str

    def names(self) -> list[str]:
        """Return the paths of all files, relative, sorted, with forward slashes."""

    def read(self, name: str) -> bytes:
        """Return the contents of one file.

        Raises: DataError, naming the file, if it cannot be read.
        """

    def stamp(self, name: str) -> str:
        """Return what changes when the file does, without reading it."""


class Folder:
    """The files under a folder, up to MAX_DEPTH levels below it."""

    def __init__(self, root: Path) -> None:
        """Name the folder; nothing is read yet."""
        self.root = root
        self.label = str(root)

    def names(self) -> list[str]:
        """Return the paths of all files, relative, sorted, with forward slashes.

        Raises: DataError if there are more than MAX_MEMBERS files, or a folder cannot be read.
        """
        names: list[str] = []
        try:
            for path in _walk(self.root, MAX_DEPTH):
                names.append(path.relative_to(self.root).as_posix())
                if len(names) > MAX_MEMBERS:
                    raise DataError(
                        f"{self.root} holds more than {MAX_MEMBERS} files; choose the folder of "
                        "the data set itself"
                    )
        except OSError as error:
            raise DataError(f"{self.root} cannot be listed: {error.strerror}") from error
        return sorted(names)

    def read(self, name: str) -> bytes:
        """Return the contents of one file."""
        path = self.root / name
        try:
            return read_bytes(path, MAX_TOTAL_BYTES)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        except ForeignError as error:
            raise DataError(
                f"{path} is no file that is read ({error}); remove it from the data"
            ) from error

    def stamp(self, name: str) -> str:
        """Return the file's size and time of change."""
        try:
            known = (self.root / name).stat()
        except OSError as error:
            raise DataError(f"{self.root / name} cannot be read: {error.strerror}") from error
        return f"{known.st_size}:{known.st_mtime_ns}"


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the files below a folder; links to folders are not followed, so there are no loops."""
    for entry in folder.iterdir():
        # Most entries are images: spare them the question to the disk.
        if entry.suffix.lower() in IMAGE_SUFFIXES or not entry.is_dir():
            yield entry
        elif depth > 1 and not entry.is_symlink():
            yield from _walk(entry, depth - 1)


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
        self._limits = limits or Limits(MAX_MEMBERS, MAX_TOTAL_BYTES)
        try:
            self._packed = check_regular(path, _MOST_PACKED)
            if self._strict and _directory_bytes(path) > _MOST_ENTRY_BYTES * self._limits.members:
                raise DataError(self._too_many("too many"))
            with refused("it"):
                self._archive = zipfile.ZipFile(path)
        except (ForeignError, OSError) as error:
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
        return {member.filename: member for member in members if not member.is_dir()}

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
        with self._reading(name):
            return self._archive.read(self._files[name])

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
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL))
        tail = stream.read(_TAIL)
    end, long_end = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    with refused("it"):
        (size,) = struct.unpack_from("<I", tail, end + 12) if end >= 0 else (0,)
        if size == _IN_LONG_END and long_end >= 0:
            (size,) = struct.unpack_from("<Q", tail, long_end + 40)
    return int(size)


def decode_image(data: bytes, name: str, mode: str, formats: tuple[str, ...]) -> "Image.Image":
    """Decode an image and convert it to a PIL mode.

    Raises: DataError, naming the file, if it is damaged, of another format or has more than
    MAX_PIXELS pixels; the size is checked before memory is taken for the pixels.
    """
    from PIL import Image, UnidentifiedImageError

    wanted = " or ".join(formats)
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
        pixels = image.width * image.height
        if pixels <= MAX_PIXELS:
            return image.convert(mode)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name} has far too many pixels; at most {MAX_PIXELS} are read") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is not a {wanted} image; replace it by the original") from error
    except LIBRARY_ERRORS as error:
        raise DataError(
            f"{name} is a damaged image ({error}); replace it by the original {wanted} file"
        ) from error
    raise DataError(
        f"{name} has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read"
    )
