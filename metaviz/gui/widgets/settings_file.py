"""What the window remembers between starts, in an INI file that a person can read."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QByteArray, QSettings

Value = TypeVar("Value", str, int, bool, QByteArray)


class Settings:
    """Small values by key; where the file cannot be written, they last until the window closes.

    `note` is then a sentence for the person, otherwise empty.
    """

    def __init__(self, path: Path | None) -> None:
        """Open the file, which need not exist yet; without a path values are not stored."""
        self._kept: dict[str, object] = {}
        self._path = path
        self._settings = QSettings(str(path), QSettings.Format.IniFormat) if path else None
        self.note = ""

    def read(self, key: str, default: Value) -> Value:
        """Return a value, or the default where there is none of that type."""
        found = self._kept.get(key)
        if found is None and self._settings is not None:
            found = self._settings.value(key, default, type=type(default))
        return found if isinstance(found, type(default)) else default

    def write(self, key: str, value: str | int | bool | QByteArray) -> None:
        """Keep a value."""
        self._kept[key] = value
        if self._settings is not None:
            self._settings.setValue(key, value)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop values that are kept elsewhere now, or go back to their defaults."""
        for key in keys:
            self._kept.pop(key, None)
            if self._settings is not None:
                self._settings.remove(key)

    @property
    def is_stored(self) -> bool:
        """Whether there is a file, so that something can be remembered at all."""
        return self._path is not None

    def save(self) -> None:
        """Write the file now; a refusal is noted, not raised."""
        if self._settings is None:
            return
        self._settings.sync()
        if self._settings.status() != QSettings.Status.NoError:
            self.note = f"Preferences cannot be saved to {self._path}; they last until you quit."
