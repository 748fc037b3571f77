"""What the window looked like, in a file that is never half written and has a copy before it."""

import base64
import binascii
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomli_w

from metaviz.files.atomic import write_text
from metaviz.files.foreign import ForeignError, UnreadableError, parsed_toml, read_text

SESSION, BACKUP, VERSION = "session.toml", "session.toml.backup", 1
RESTORING = "session.restoring"
_MOST_BYTES = 16_000_000


class SessionFile:
    """`session.toml` of a folder, and `session.toml.backup` with what was in it before."""

    def __init__(self, home: Path) -> None:
        """Name the folder, which need not exist yet."""
        self.path, self.backup = home / SESSION, home / BACKUP
        self._restoring = home / RESTORING
        self._last = ""

    def read(self) -> tuple[dict[str, Any], str]:
        """Return the session, empty where there is none, and a sentence where one is damaged."""
        sentence = ""
        for path in (self.path, self.backup):
            try:
                text = read_text(path, _MOST_BYTES)
                values = parsed_toml(text)
            except ForeignError as error:
                if not (isinstance(error, UnreadableError) and error.is_missing):
                    sentence = sentence or f"{path.name} cannot be used ({error})"
                continue
            if values.get("version") != VERSION:
                sentence = sentence or f"{path.name} is of another version than {VERSION}"
                continue
            self._last = text
            used = "; the copy before it is used" if path == self.backup else ""
            return values, f"{sentence}{used}." if sentence else ""
        used = "; the window begins as new"
        return {}, f"{sentence}{used}." if sentence else ""

    def write(self, values: Mapping[str, Any]) -> None:
        """Write the session, after a copy of the one before. Raises: OSError."""
        text = tomli_w.dumps({"version": VERSION, **values})
        if text == self._last:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._last:
            write_text(self.backup, self._last)
        write_text(self.path, text)
        self._last = text

    @contextmanager
    def restoring(self) -> Iterator[bool]:
        """Tell whether a layout may be restored: not where the last start died of that.

        What Qt reads can end the process at once, and would at every start.
        """
        died = self._restoring.exists()
        with suppress(OSError):
            self._restoring.touch()
        try:
            yield not died
        finally:
            with suppress(OSError):
                self._restoring.unlink()


def layout_part(geometry: bytes, state: bytes) -> dict[str, str]:
    """Return the window's layout as it is saved."""
    sum_ = f"{zlib.crc32(state, zlib.crc32(geometry)):08x}"
    return {"geometry": to_text(geometry), "state": to_text(state), "checksum": sum_}


def layout_of(part: Mapping[str, Any]) -> tuple[bytes, bytes] | None:
    """Return geometry and state as they were saved; None where they are not as they were."""
    geometry, state = to_bytes(part.get("geometry", "")), to_bytes(part.get("state", ""))
    return (geometry, state) if part == layout_part(geometry, state) else None


def to_text(data: bytes) -> str:
    """Write bytes as text."""
    return base64.b64encode(data).decode("ascii")


def to_bytes(text: object) -> bytes:
    """Read what `to_text` wrote; anything else gives no bytes."""
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        return b""
