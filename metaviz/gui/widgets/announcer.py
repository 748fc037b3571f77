"""What a screen reader says by itself: ends of runs, and errors."""

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent
from PySide6.QtWidgets import QWidget

_STATES = {"done": "is done", "diverged": "diverged", "failed": "failed"}
_URGENT = frozenset({"diverged", "failed"})


class Announcer(QObject):
    """Says sentences. `announced` carries each of them."""

    announced = Signal(str)

    def __init__(self, window: QWidget) -> None:
        """Say them in the name of a window."""
        super().__init__(window)
        self._window = window

    @Slot(str, str)
    def on_run_ended(self, label: str, state: str) -> None:
        """Say how a run ended."""
        sentence = f"{label} {_STATES.get(state, f'was {state}')}."
        self.announce(sentence, urgent=state in _URGENT)

    @Slot(str, str)
    def on_failed(self, sentence: str, _details: str = "") -> None:
        """Say what failed."""
        self.announce(sentence, urgent=True)

    def announce(self, sentence: str, *, urgent: bool = False) -> None:
        """Say a sentence, at once or when the screen reader has time."""
        event = QAccessibleAnnouncementEvent(self._window, sentence)
        politeness = QAccessible.AnnouncementPoliteness
        event.setPoliteness(politeness.Assertive if urgent else politeness.Polite)
        QAccessible.updateAccessibility(event)
        self.announced.emit(sentence)
