"""Runs, packed runs, configurations and views that are dropped onto the window."""

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QEvent, QMimeData, QObject, Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QWidget

from metaviz.gui.widgets.controls import text_label
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.widgets.theme import current_theme
from metaviz.runs.storage.file_kind import Dropped, description_of, recognised

_MARGIN = 12


class DropOverlay(QObject):
    """Watches a window for drops, shows what they would do, and emits what was dropped."""

    runs_dropped = Signal(object)
    archive_dropped = Signal(object)
    view_dropped = Signal(object)
    configuration_dropped = Signal(object)

    def __init__(self, notifier: Notifier, window: QWidget) -> None:
        """Accept drops on a window."""
        super().__init__(window)
        self._notifier, self._window = notifier, window
        self._found: list[Dropped] = []
        self.label = text_label("dropShade", "What would be opened")
        self.label.setParent(window)
        self.label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.label.hide()
        window.setAcceptDrops(True)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow a drag over the window."""
        if watched is self._window:
            if isinstance(event, QDragEnterEvent):
                return self._enter(event)
            if event.type() == QEvent.Type.DragLeave:
                self.label.hide()
            elif event.type() == QEvent.Type.Drop and isinstance(event, QDropEvent):
                event.acceptProposedAction()
                self.label.hide()
                self.open(_paths(event.mimeData()))
                return True
        return super().eventFilter(watched, event)

    def open(self, paths: Sequence[Path]) -> None:
        """Open what was dropped; what is of no use is said."""
        found = [recognised(path) for path in paths]
        signals = {
            "run": self.runs_dropped,
            "runs": self.runs_dropped,
            "archive": self.archive_dropped,
            "view": self.view_dropped,
            "configuration": self.configuration_dropped,
        }
        for one in found:
            if one.kind in signals:
                signals[one.kind].emit(one.path)
        reasons = [one.reason for one in found if one.kind == "nothing"]
        if reasons:
            self._notifier.fail(reasons[0], "\n".join(reasons[1:]))

    def _enter(self, event: QDragEnterEvent) -> bool:
        paths = _paths(event.mimeData())
        if not paths:
            return False
        event.acceptProposedAction()
        found = [recognised(path) for path in paths]
        theme = current_theme()
        color = theme.error if all(one.kind == "nothing" for one in found) else theme.accent
        self.label.setStyleSheet(
            f"background: {theme.raised}; color: {theme.foreground}; font-size: 15px;"
            f" border: 3px dashed {color}; border-radius: 10px; padding: 20px"
        )
        self.label.setText(description_of(found))
        frame = self._window.rect().adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
        self.label.setGeometry(frame)
        self.label.raise_()
        self.label.show()
        return True


def _paths(data: QMimeData) -> list[Path]:
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
