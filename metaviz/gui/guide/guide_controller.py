"""Opens the guide: at its first page, or at what has the keyboard."""

from collections.abc import Iterator

from PySide6.QtCore import QEvent, QObject, Qt, Slot
from PySide6.QtGui import QAction, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QApplication, QDialog, QWidget

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import specs
from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.experiment.shared_form import SEEDS
from metaviz.gui.guide.explained import told_of
from metaviz.gui.guide.guide_window import GuideWindow
from metaviz.gui.widgets.preferences import Preferences
from metaviz.guide.chosen import Further
from metaviz.guide.library import HOME, Library
from metaviz.guide.topics import Topic

FURTHER = (
    Further("", "", (SEEDS,)),
    Further("protocol", "evaluations on [Benchmark](/page/benchmark)", specs(EvaluationProtocol)),
    Further("preferences", "[Preferences](/page/preferences)", specs(Preferences)),
)
"""Options of the window's forms that are in no catalogue."""


class GuideController(QObject):
    """Has one guide for the window, and one for a dialog that keeps the window waiting."""

    def __init__(
        self, catalogue: Catalogue, contents: QAction, key: QAction, window: QWidget
    ) -> None:
        """Listen to the command that opens the guide, and to the one for what has the keyboard."""
        super().__init__(window)
        self.library = Library(catalogue, FURTHER)
        self._key, self._window = key, window
        self.guide: GuideWindow | None = None
        contents.triggered.connect(self.open_first)
        key.triggered.connect(self.open_here)
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._on_focus)

    def use(self, catalogue: Catalogue) -> None:
        """Tell of another catalogue."""
        self.library = Library(catalogue, FURTHER)
        if self.guide is not None:
            self.guide.use(self.library)

    def about(self, widget: QWidget | None) -> Topic | None:
        """Return what the guide tells of a widget or of what it lies in; None for nothing."""
        return next(self._topics(widget), None)

    @Slot()
    def open_first(self) -> None:
        """Open the guide where it was left, or at its first page."""
        self.open(self.guide.address if self.guide is not None else HOME)

    @Slot()
    def open_here(self) -> None:
        """Open the guide at what has the keyboard."""
        found = self.about(QApplication.focusWidget())
        self.open(HOME if found is None else found.address)

    @Slot(str)
    def open(self, address: str) -> None:
        """Open the guide at an address."""
        dialog = QApplication.activeModalWidget()
        if dialog is not None:
            guide = GuideWindow(self.library, dialog)
            guide.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        else:
            guide = self.guide = self.guide or GuideWindow(self.library, self._window)
        guide.open_address(address)
        guide.show()
        guide.raise_()
        guide.activateWindow()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Open the guide by its key in a dialog, which the window's commands do not reach."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            pressed = QKeySequence(event.keyCombination())
            if pressed in self._key.shortcuts():
                self.open_here()
                return True
        return False

    def _topics(self, widget: QWidget | None) -> Iterator[Topic]:
        for words in told_of(widget):
            found = self.library.topic(words) or self.library.named(words)
            if found is not None:
                yield found

    @Slot(QWidget, QWidget)
    def _on_focus(self, old: QWidget | None, new: QWidget | None) -> None:
        if old is not None:
            old.removeEventFilter(self)
        inside = new.window() if new is not None else None
        if new is not None and isinstance(inside, QDialog) and not isinstance(inside, GuideWindow):
            new.installEventFilter(self)
