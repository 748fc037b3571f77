"""A choice that says by dots and a tip where it has too little room for its text."""

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QHelpEvent
from PySide6.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QToolTip

from metaviz.gui.widgets.plain_text import plain_tip


class CutChoice(QComboBox):
    """Leaves out the end of a text that is too long, which its tip then begins with."""

    def initStyleOption(self, option: QStyleOptionComboBox) -> None:  # noqa: N802 - Qt's name
        """Draw what there is room for."""
        super().initStyleOption(option)
        kind, part = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(kind, option, part, self).width() - 4
        mode = Qt.TextElideMode.ElideRight
        option.currentText = self.fontMetrics().elidedText(self.currentText(), mode, room)

    def whole_tip(self) -> str:
        """Return the tip, which begins with the chosen text where that is cut."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        if option.currentText == self.currentText():
            return self.toolTip()
        return "\n".join(filter(None, (plain_tip(self.currentText()), self.toolTip())))

    def event(self, event: QEvent) -> bool:
        """Show the whole tip."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.whole_tip(), self)
            return True
        return super().event(event)
