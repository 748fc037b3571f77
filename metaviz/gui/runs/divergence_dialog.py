"""What can be done about a run that diverged."""

from pathlib import Path

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QCommandLinkButton,
    QDialog,
    QDialogButtonBox,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.widgets.controls import explained, named, text_label
from metaviz.gui.widgets.layouts import fill
from metaviz.runs.model.events import Divergence

_WIDTH = 460
_MEANING = {
    "half-inner": "Adaptation takes smaller steps.",
    "half-outer": "The meta-parameters move less in each meta-step.",
    "clip": "Longer meta-gradients are scaled down to this length.",
    "skip-task": "That meta-step averages over the other tasks of its batch.",
}


class DivergenceDialog(QDialog):
    """Offers the remedies of a run that diverged; `chosen` carries its folder and a remedy's id."""

    chosen = Signal(object, str)

    def __init__(
        self, run: str, folder: Path, message: str, divergence: Divergence, parent: QWidget
    ) -> None:
        """Show what broke, and one button per remedy."""
        super().__init__(parent)
        self.setObjectName("remedy_dialog")
        explained(self, "/guide/diverged")
        self.setWindowTitle(f"{run} diverged")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumWidth(_WIDTH)
        self._folder = folder
        texts = (
            message.partition(" What may help")[0],
            "It can go on from its last good checkpoint with a change, which is stored with the "
            "run and made again whenever the run is repeated:",
        )
        layout = QVBoxLayout(self)
        fill(layout, *(text_label("", text=text) for text in texts))
        for remedy in divergence.remedies:
            button = QCommandLinkButton(remedy.label, _MEANING.get(remedy.id, ""), self)
            named(button, f"remedy_{remedy.id}", remedy.label)
            button.setProperty("remedy", remedy.id)
            button.clicked.connect(self._choose)
            layout.addWidget(button)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel, self)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)

    @Slot()
    def _choose(self) -> None:
        sender: QObject = self.sender()
        self.chosen.emit(self._folder, str(sender.property("remedy")))
        self.accept()
