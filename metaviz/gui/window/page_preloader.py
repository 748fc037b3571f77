"""Pages that nobody has looked at yet are made while the window has nothing else to do."""

from PySide6.QtCore import QObject, QTimer, Slot

from metaviz.gui.background.training_controller import Conductor
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.runs.run_follower import Following

PAUSE_MS = 300


class SpareTime(QObject):
    """Makes one page a turn, so that a click on a tab need not wait.

    Not while runs train, here or elsewhere: making one holds the window up for 50 to 150 ms.
    """

    def __init__(
        self, tabs: Tabs, conductor: Conductor, following: Following, parent: QObject
    ) -> None:
        """Wait until the engine is loaded."""
        super().__init__(parent)
        self._tabs, self._conductor, self._following = tabs, conductor, following
        self._timer = QTimer(self)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._make_one)
        conductor.phase_changed.connect(self._look)
        following.changed.connect(self._look)

    @Slot()
    def _look(self) -> None:
        if self._conductor.phase != "idle" or self._following.records:
            self._timer.stop()
        elif self._tabs.missing() and not self._timer.isActive():
            self._timer.start()

    @Slot()
    def _make_one(self) -> None:
        self._timer.stop()  # a page that cannot be made is not tried again and again
        if missing := self._tabs.missing():
            self._tabs.page(missing[0])
            self._timer.start()
