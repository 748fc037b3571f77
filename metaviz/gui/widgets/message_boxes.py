"""Questions: before something cannot be undone, and for a text."""

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QInputDialog, QLabel, QMessageBox, QWidget

from metaviz.gui.widgets.plain_text import plain_box

_Role = QMessageBox.ButtonRole


def ask(
    parent: QWidget,
    name: str,
    title: str,
    text: str,
    details: str,
    yes: tuple[str, Callable[[], object]],
    no: str = "&Cancel",
    *,
    destroys: bool = False,
    usually_yes: bool = False,
) -> QMessageBox:
    """Open a question; `yes` is a button with what it does. The box deletes itself afterwards."""
    box = QMessageBox(parent)
    box.setObjectName(name)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle(title)
    box.setText(text)
    box.setInformativeText(details)
    plain_box(box)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    accept = box.addButton(yes[0], _Role.DestructiveRole if destroys else _Role.AcceptRole)
    accept.clicked.connect(yes[1])
    reject = box.addButton(no, _Role.RejectRole)
    box.setDefaultButton(accept if usually_yes else reject)
    box.setEscapeButton(reject)
    box.open()
    return box


def input_dialog(parent: QWidget, name: str, title: str, label: str) -> QInputDialog:
    """Return a dialog that asks for a value; it deletes itself once it is answered."""
    box = QInputDialog(parent)
    box.setObjectName(name)
    box.setWindowTitle(title)
    box.setLabelText(label)
    for part in box.findChildren(QLabel):
        part.setTextFormat(Qt.TextFormat.PlainText)
    box.finished.connect(box.deleteLater)
    return box
