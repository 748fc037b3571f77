"""Pages that nobody has looked at yet are made while the window has nothing else to do."""

from PySide6.QtCore import QObject, QTimer, Slot

from metaviz.gui.background.training_controller import TrainingController
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.runs.run_follower import RunFollower

PAUSE_MS = 300


class PagePreloader(QObject):
    """Makes one page a turn, so that a click on a tab need not wait.

    Not while runs train, here or elsewhere: making one holds the window up for 50 to 150 ms.
    """

    def __init__(
        self, tabs: Tabs, controller: TrainingController, follower: RunFollower, parent: QObject
    ) -> None:
        """Wait until the engine is loaded."""
        super().__init__(parent)
        self._tabs, self._controller, self._follower = tabs, controller, follower
        self._timer = QTimer(self)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._make_one)
        controller.phase_changed.connect(self._update_timer)
        follower.changed.connect(self._update_timer)

    @Slot()
    def _update_timer(self) -> None:
        if self._controller.phase != "idle" or self._follower.records:
            self._timer.stop()
        elif self._tabs.missing() and not self._timer.isActive():
            self._timer.start()

    @Slot()
    def _make_one(self) -> None:
        self._timer.stop()  # a page that cannot be made is not tried again and again
        if missing := self._tabs.missing():
            self._tabs.page(missing[0])
            self._timer.start()
