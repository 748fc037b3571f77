"""Questions that must be answered before something cannot be undone."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QMessageBox, QWidget


def question(name: str, title: str, text: str, details: str, parent: QWidget) -> QMessageBox:
    """Make a question without buttons; it deletes itself once it is answered."""
    box = QMessageBox(parent)
    box.setObjectName(name)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle(title)
    box.setText(text)
    box.setInformativeText(details)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    return box


def abort_question(parent: QWidget) -> tuple[QMessageBox, QAbstractButton]:
    """Make the question before runs are aborted; also return its button that aborts."""
    box = question(
        "abort_question",
        "Abort",
        "Abort all runs?",
        "They end now and are marked as aborted. What was stored until here stays on disk.",
        parent,
    )
    abort = box.addButton("&Abort", QMessageBox.ButtonRole.DestructiveRole)
    keep = box.addButton("&Keep training", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(keep)
    box.setEscapeButton(keep)
    return box, abort
