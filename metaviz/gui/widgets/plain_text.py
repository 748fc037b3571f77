"""Words of strangers in the window: every label, tip and box shows the letters that it is given.

Qt takes a text that looks like HTML for HTML, with links and images.
"""

from html import escape
from typing import Any

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QLabel, QMessageBox, QToolTip, QWidget

from metaviz.files.text import printable


class PlainLabel(QLabel):
    """A label that never reads its text as HTML.

    The end of a line for which there is no room is left out; a tip shows the whole.
    """

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, text: str) -> None:  # noqa: N802 - Qt's name
        """Show a text, with its control characters as numbers."""
        super().setText(printable(text))

    def shown(self) -> str:
        """Return what there is room for."""
        text, room = self.text(), self.contentsRect().width() - 2 * self.margin()
        # Letters of labels that name another widget are underlined, which Qt alone does.
        if self.wordWrap() or self.buddy() is not None or "\n" in text:
            return text
        if self.fontMetrics().horizontalAdvance(text) <= room:
            return text
        return self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what there is room for."""
        shown = self.shown()
        if shown == self.text():
            super().paintEvent(event)
            return
        painter = QPainter(self)
        about = int(self.alignment()), self.palette(), self.isEnabled(), shown
        self.style().drawItemText(painter, self.contentsRect(), *about, self.foregroundRole())

    def event(self, event: QEvent) -> bool:
        """Show all of a line that is cut under the pointer."""
        cut = event.type() == QEvent.Type.ToolTip and self.shown() != self.text()
        if cut and isinstance(event, QHelpEvent):
            whole = dict.fromkeys(filter(None, (plain_tip(self.text()), self.toolTip())))
            QToolTip.showText(event.globalPos(), "\n".join(whole), self)
            return True
        return super().event(event)


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
