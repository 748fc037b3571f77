"""What makes the window pleasant: palette, undo, session, welcome page, notices, preferences."""

from typing import TYPE_CHECKING, cast

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QWidget

from metaviz import paths
from metaviz.gui.pages.page import Tab
from metaviz.gui.session.crash_recovery import Recovery
from metaviz.gui.session.form_undo import FormHistory, ShownHistory
from metaviz.gui.session.page_undo import ViewHistory
from metaviz.gui.session.session import Session
from metaviz.gui.window.notifications import Notices
from metaviz.gui.window.palette_actions import PaletteDesk
from metaviz.gui.window.preferences_dialog import PreferencesDesk
from metaviz.gui.window.welcome_controller import WelcomeDesk

if TYPE_CHECKING:
    from metaviz.gui.window.main_window import MainWindow


class Comfort(QObject):
    """Holds these parts and joins them with the window."""

    def __init__(self, window: "MainWindow") -> None:
        """Make all parts; `restore` and `begin` follow the window's own."""
        super().__init__(window)
        self._window = window
        home = paths.data_dir() if window.preferences.outlive_window else None
        self.session = Session(window, home)
        self.recovery = Recovery(window, self.session.last, cut_off=self.session.was_cut_off)
        self.palette = PaletteDesk(window)
        self.welcome = WelcomeDesk(window)
        self.notices = Notices(window, window.isActiveWindow)
        self.views = ViewHistory(window.undo_stack, self)
        window.conductor.worker.ended.connect(self.notices.on_run_ended)
        window.queueing.crew.happened.connect(self.notices.on_queue_happened)
        window.queueing.emptied.connect(self.notices.on_queue_over)
        self.session.noted.connect(self._on_noted)
        window.tabs.shown.connect(self.session.restore_view)
        window.tabs.made.connect(self._on_page_made)

    def restore(self) -> None:
        """Show the window as it was left, before it is seen."""
        self.session.restore()
        self.preferences = PreferencesDesk(self._window)
        self.history = FormHistory(self._window.form, self._window.undo_stack)
        self.shown = ShownHistory(self._window.runs, self._window.undo_stack)
        for sentence in self.session.notes:
            self._on_noted(sentence)
        self.welcome.update_page()

    def begin(self) -> None:
        """Save the session from now on, and say what an unexpected end left."""
        self.session.begin()
        self.recovery.tell()

    def leave_welcome(self) -> None:
        """Show the plots, because somebody wants to see one."""
        if self.welcome.is_shown:
            self.welcome.leave()

    @Slot(object)
    def _on_page_made(self, page: Tab) -> None:
        """Let what a person sets on a page be undone."""
        self.views.watch(cast("QWidget", page))

    @Slot(str)
    def _on_noted(self, sentence: str) -> None:
        self._window.log.add("warning", sentence)
