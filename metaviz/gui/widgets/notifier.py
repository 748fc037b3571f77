"""Messages to the person; the main window decides where each kind is shown."""

from PySide6.QtCore import QObject, Signal, Slot


class Notifier(QObject):
    """Takes the sentences of all parts: passing remarks, warnings for the log, and errors."""

    informed = Signal(str)
    warned = Signal(str)
    failed = Signal(str, str)
    """A sentence, and details that can be copied."""

    @Slot(str)
    def inform(self, sentence: str) -> None:
        """Show a passing remark."""
        self.informed.emit(sentence)

    def warn(self, sentence: str) -> None:
        """Note what a person may want to know later."""
        self.warned.emit(sentence)

    @Slot(str)
    @Slot(str, str)
    def fail(self, sentence: str, details: str = "") -> None:
        """Show an error until it is closed."""
        self.failed.emit(sentence, details)
