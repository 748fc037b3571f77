"""A place for a page that scrolls it where there is less room than it needs to be read."""

from PySide6.QtCore import QEvent, QObject, QSize
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from metaviz.gui.widgets.controls import named


class PageArea(QScrollArea):
    """Gives its page all room, and never less than its layout needs in the width at hand.

    Unlike a resizable QScrollArea it asks for the least height and not for the usual one, which
    plots do not need.
    """

    def __init__(self, page: QWidget, name: str, title: str) -> None:
        """Hold a page."""
        super().__init__()
        named(self, name, title)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidget(page)
        page.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Fit the page where what it needs has changed."""
        if event.type() in {QEvent.Type.LayoutRequest, QEvent.Type.Show}:
            self._fit()
        return super().eventFilter(watched, event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the page to the new size."""
        super().resizeEvent(event)
        self._fit()

    def minimumSizeHint(self) -> QSize:
        """Need next to nothing: what does not fit is scrolled."""
        return QSize(80, 60)

    def sizeHint(self) -> QSize:
        """Ask for what the page asks for."""
        page = self.widget()
        return super().sizeHint() if page is None else page.sizeHint()

    def _fit(self) -> None:
        page = self.widget()
        if page is None:
            return
        room = self.maximumViewportSize()
        needed = _needed(page, room.width())
        if needed.height() > room.height():
            room.setWidth(room.width() - self.verticalScrollBar().sizeHint().width())
            needed = _needed(page, room.width())
        if needed.width() > room.width():
            room.setHeight(room.height() - self.horizontalScrollBar().sizeHint().height())
        page.resize(room.expandedTo(needed))


def _needed(page: QWidget, width: int) -> QSize:
    """Return the least size of a page that is so wide, or wider where it needs more."""
    layout = page.layout()
    if layout is None:
        return page.minimumSizeHint()
    least = layout.totalMinimumSize()
    if layout.hasHeightForWidth():
        wide = max(width, least.width())
        high = layout.totalMinimumHeightForWidth(wide)
        return QSize(least.width(), high)
    return least
