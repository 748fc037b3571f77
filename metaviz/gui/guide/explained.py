"""Where the guide tells of a widget: an address, or words for which there may be a topic."""

from typing import Protocol, runtime_checkable

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from metaviz.gui.widgets.controls import HELP


@runtime_checkable
class Explaining(Protocol):
    """A widget of which parts are explained in places of their own."""

    def help_words(self) -> str:
        """Return an address, or the words of the part that has the keyboard; empty for none."""


def told_of(widget: QWidget | None) -> list[str]:
    """Return addresses and words about a widget, then about what it lies in."""
    found: list[str] = []
    at: QObject | None = widget
    while at is not None:
        if isinstance(at, Explaining):
            found.append(at.help_words())
        found.append(str(at.property(HELP) or ""))
        if at is widget and widget is not None:
            found.append(widget.accessibleName())
        at = at.parent()
    return list(filter(None, found))
