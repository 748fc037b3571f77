"""Words of strangers in the window: every label, tip and box shows the letters that it is given.

Qt takes a text that looks like HTML for HTML, with links and images.
"""

from html import escape
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QMessageBox, QWidget

from metaviz.files.text import printable


class PlainLabel(QLabel):
    """A label that never reads its text as HTML."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, text: str) -> None:  # noqa: N802 - Qt's name
        """Show a text, with its control characters as numbers."""
        super().setText(printable(text))


def plain_tip(text: str) -> str:
    """Return a tooltip that shows the letters of a text."""
    shown = printable(text)
    if "<" not in shown and "&lt;" not in shown:
        return shown
    return f"<p>{escape(shown, quote=False).replace(chr(10), '<br>')}</p>"


def plain_words(text: str) -> str:
    """Return the HTML of a text, for what takes HTML alone."""
    return escape(printable(text), quote=False)


def plain_box(box: QMessageBox) -> None:
    """Let a box show its texts as they are."""
    box.setTextFormat(Qt.TextFormat.PlainText)
    labels: list[Any] = box.findChildren(QLabel)
    for label in labels:
        label.setTextFormat(Qt.TextFormat.PlainText)
