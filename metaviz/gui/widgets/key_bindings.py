"""Keys of commands that a person chose: kept in the settings, checked against all others."""

from collections.abc import Iterator, Sequence

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QLineEdit, QWidget

from metaviz.gui.widgets.commands import COMMANDS, Actions, set_keys
from metaviz.gui.widgets.controls import spoken
from metaviz.gui.widgets.settings_file import Settings

_PLACE, _NONE = "keys/", "none"


class KeyBindings:
    """Gives commands their keys."""

    def __init__(self, actions: Actions, settings: Settings, window: QWidget) -> None:
        """Give every command the keys that a person chose, where there are any."""
        self._actions, self._settings, self._window = actions, settings, window
        self._titles = {command.name: spoken(command.text) for command in COMMANDS}
        self.defaults = {command.name: command.sequences for command in COMMANDS}
        for name in self.defaults:
            kept = settings.read(_PLACE + name, "")
            if kept:
                keys = [] if kept == _NONE else QKeySequence.listFromString(kept)
                set_keys(actions[name], [key for key in keys if not key.isEmpty()])

    def keys(self, name: str) -> list[QKeySequence]:
        """Return the keys of a command."""
        return self._actions[name].shortcuts()

    def title(self, name: str) -> str:
        """Return what a command is called."""
        return self._titles[name]

    def is_changed(self, name: str) -> bool:
        """Return whether a person chose other keys."""
        return self.keys(name) != self.defaults[name]

    def assign(self, name: str, keys: Sequence[QKeySequence]) -> None:
        """Give a command these keys, and keep them."""
        set_keys(self._actions[name], keys)
        if self.is_changed(name):
            form = QKeySequence.SequenceFormat.PortableText
            text = QKeySequence.listToString(list(keys), form) or _NONE
            self._settings.write(_PLACE + name, text)
        else:
            self._settings.forget([_PLACE + name])
        self._settings.save()

    def reset(self, name: str) -> None:
        """Give a command its usual keys again, which others then lose."""
        for keys in self.defaults[name]:
            self.take(keys)
        self.assign(name, self.defaults[name])

    def reset_all(self) -> None:
        """Give every command its usual keys again."""
        for name, keys in self.defaults.items():
            self.assign(name, keys)

    def take(self, keys: QKeySequence) -> None:
        """Take keys away from the commands that have them."""
        for name in self.defaults:
            had = self.keys(name)
            if keys in had:
                self.assign(name, [one for one in had if one != keys])

    def owner(self, keys: QKeySequence, but: str) -> tuple[str, bool]:
        """Return what else has these keys, empty for nothing, and whether it can give them away."""
        for name in self.defaults:
            if name != but and keys in self.keys(name):
                return self.title(name), True
        for action in self._others():
            if keys in action.shortcuts():
                return spoken(action.text()), False
        return "", False

    def _others(self) -> Iterator[QAction]:
        """Yield actions of widgets, whose keys work while these have the keyboard."""
        own = set(self._actions.all())
        for action in self._window.findChildren(QAction):
            parent = action.parent()
            if action not in own and action.text() and not isinstance(parent, QLineEdit):
                yield action
