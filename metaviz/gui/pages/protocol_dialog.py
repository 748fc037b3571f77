"""The settings of an evaluation on held-out tasks."""

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QVBoxLayout, QWidget

from metaviz.config.options import OptionError, checked, specs
from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.widgets.controls import explained, press_on_enter, text_label
from metaviz.gui.widgets.layouts import fill
from metaviz.gui.widgets.option_form import OptionForm


class ProtocolDialog(QDialog):
    """Asks which tasks runs are evaluated on; `chosen` carries an EvaluationProtocol."""

    chosen = Signal(object)

    def __init__(
        self, protocol: EvaluationProtocol, parent: QWidget | None = None, told: str = ""
    ) -> None:
        """Show a protocol, and what there is to say of the runs that follow it."""
        super().__init__(parent)
        self.setObjectName("protocolDialog")
        explained(self, "/page/benchmark")
        self.setWindowTitle("Evaluation protocol")
        self.form = OptionForm(specs(EvaluationProtocol), "protocol.")
        self.form.set_changes(protocol.model_dump())
        about = (
            "Papers report 600 tasks or more; 10 000 take the interval below a fifth of a per "
            f"cent. All runs are evaluated on the same tasks. {told}".strip()
        )
        self.note = text_label("protocolNote", text=about)
        buttons = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(buttons.Ok | buttons.Cancel)
        press_on_enter(self.buttons, self.buttons.button(buttons.Ok))
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.form.changed.connect(self._check)
        fill(QVBoxLayout(self), self.note, self.form, self.buttons)
        self.setMinimumWidth(380)

    def accept(self) -> None:
        """Hand the protocol on."""
        try:
            protocol = checked(EvaluationProtocol, self.form.changes())
        except OptionError as error:
            self.note.setText(str(error))
            return
        self.chosen.emit(protocol)
        super().accept()

    @Slot()
    def _check(self) -> None:
        self.buttons.button(QDialogButtonBox.StandardButton.Ok).setEnabled(
            not self.form.first_error()
        )


def protocol_text(protocol: EvaluationProtocol) -> str:
    """Return a protocol in a few words."""
    parts = [f"{protocol.tasks} {protocol.split} tasks"]
    if protocol.shots is not None:
        parts.append(f"{protocol.shots}-shot")
    if protocol.query_shots is not None:
        parts.append(f"{protocol.query_shots} query examples")
    if protocol.steps is not None:
        parts.append(f"k = {protocol.steps}")
    if not protocol.together:
        parts.append("query examples one by one")
    parts.append(f"seed {protocol.seed}")
    if protocol.draws == "training":
        parts.append("drawn as training draws")
    return ", ".join(parts)
