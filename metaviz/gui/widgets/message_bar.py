"""The bar above the plots that shows errors and warnings."""

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QGuiApplication, QPalette
from PySide6.QtWidgets import QFrame, QWidget

from metaviz.gui.widgets.controls import push_button, text_label, tool_button
from metaviz.gui.widgets.layouts import row
from metaviz.gui.widgets.theme import current_theme, tint


class MessageBar(QFrame):
    """Shows the newest sentence until it is closed; details can be copied.

    A run that diverged has a button that emits `remedy_requested` with its id, runs that a crash
    interrupted have one that emits `resume_requested`.
    """

    remedy_requested = Signal(str)
    resume_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("message_bar")
        self.setAutoFillBackground(True)
        self._level, self._details, self._run = "error", "", ""
        self.text = text_label("message_text", "Message")
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.copy = push_button(
            "message_copy",
            "Copy details",
            "Copy the sentence and the technical details.",
            "Copy details of the message",
        )
        self.copy.clicked.connect(self.copy_details)
        self.remedy = push_button(
            "message_remedy",
            "What to do…",
            "Let the run go on from its last good checkpoint, with a change.",
            "What to do about the run that diverged",
        )
        self.remedy.clicked.connect(self._want_remedy)
        self.resume = push_button(
            "message_resume",
            "Resume them",
            "Train the interrupted runs further, from their last checkpoints.",
            "Resume the interrupted runs",
        )
        self.resume.clicked.connect(self.resume_requested)
        tip = "Close. The message stays in the log."
        close = tool_button("message_close", "✕", tip, "Close the message")
        close.setAutoRaise(True)
        close.clicked.connect(self.hide)
        parts = (self.text, self.remedy, self.resume, self.copy, close)
        row(*parts, stretch=self.text, inside=self, margins=(10, 6, 6, 6))
        self.hide()

    @Slot(str, str)
    def show_error(self, sentence: str, details: str = "") -> None:
        """Show that something failed."""
        self._show("error", sentence, details)

    @Slot(str, str)
    def show_divergence(self, sentence: str, run: str) -> None:
        """Show that a run diverged, and offer to do something about it."""
        self._show("error", sentence, f"run {run}", run)

    @Slot(str)
    def show_warning(self, sentence: str, details: str = "") -> None:
        """Show something that a person should know."""
        self._show("warning", sentence, details)

    def show_interrupted(self, sentence: str, *, can_resume: bool) -> None:
        """Show which runs an unexpected end interrupted."""
        self._show("warning", sentence, "")
        self.resume.setVisible(can_resume)

    def copy_details(self) -> None:
        """Copy sentence and details."""
        text = f"{self.text.text()}\n{self._details}".strip()
        QGuiApplication.clipboard().setText(text)

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        theme = current_theme()
        is_error = self._level == "error"
        tint(
            self,
            theme.error_background if is_error else theme.warning_background,
            QPalette.ColorRole.Window,
        )
        tint(self.text, theme.error if is_error else theme.warning)

    @Slot()
    def _want_remedy(self) -> None:
        self.remedy_requested.emit(self._run)

    def _show(self, level: str, sentence: str, details: str, run: str = "") -> None:
        self._level, self._details, self._run = level, details, run
        self.remedy.setVisible(bool(run))
        self.resume.hide()
        self.text.setText(sentence)
        self.setAccessibleName(sentence)
        self.copy.setVisible(bool(details))
        self.restyle()
        self.show()
