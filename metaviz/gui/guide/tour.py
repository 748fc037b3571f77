"""Three remarks after the demo: each points at a part of the window, and never covers it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from metaviz.gui.widgets.controls import make_bold, named, push_button, text_label
from metaviz.gui.widgets.layouts import fill, row
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.widgets.theme import current_theme

SEEN = "guide/tour_seen"
_WIDTH, _GAP, _FRAME = 300, 10, 2
_AGAIN_MS = 30


@dataclass(frozen=True)
class Remark:
    """One remark: the page that it opens, what it points at there, and where to read on."""

    page: str
    target: str
    """Object name of a widget of the page."""
    title: str
    text: str
    address: str


REMARKS = (
    Remark(
        "training",
        "trainingPlot",
        "The gap is what was learned",
        "Each method has two lines: the loss before it has seen the five points of a task, and "
        "after it has adapted to them. The gap between the two is what meta-learning gained. "
        "Where it grows, a method has learned to learn.",
        "/term/before-and-after",
    ),
    Remark(
        "inner",
        "innerK",
        "Watch a single adaptation",
        "Move k from 0 upwards: each step fits the curve to the five points a little better. "
        "Beyond the trained number of steps you see whether more would still help.",
        "/guide/sinusoids",
    ),
    Remark(
        "comparison",
        "comparePlot",
        "Which method is better?",
        "Here runs are compared on the same tasks, each mean with an interval. A single seed says "
        "little: write 0-4 into Seeds, run again, and read what the numbers allow to say.",
        "/guide/compare",
    ),
)


class Callout(QFrame):
    """A remark beside a widget, with a frame around that widget."""

    asked_next = Signal()
    closed = Signal()
    more_requested = Signal()

    def __init__(self, window: QWidget) -> None:
        """Make an empty remark over a window."""
        super().__init__(window)
        named(self, "callout", "Remark")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setFixedWidth(_WIDTH)
        self._window = window
        self.frame = _Frame(window)
        self.title = make_bold(PlainLabel())
        self.title.setWordWrap(True)
        self.text = text_label("callout_text", "Remark")
        self.place = PlainLabel()
        self.more = push_button("callout_more", "More…", "Read on in the guide.")
        self.next = push_button("callout_next", "Next", "The next remark.")
        self.close_button = push_button("callout_close", "Close", "Close the remarks (Esc).")
        self.more.clicked.connect(self.more_requested)
        self.next.clicked.connect(self.asked_next)
        self.close_button.clicked.connect(self.closed)
        buttons = row(self.place, None, self.more, self.close_button, self.next, spacing=6)
        fill(QVBoxLayout(self), self.title, self.text, buttons)
        self.hide()

    def show_remark(self, remark: Remark, number: int, count: int) -> None:
        """Show the words of a remark."""
        self.title.setText(remark.title)
        self.text.setText(remark.text)
        self.place.setText(f"{number} of {count}")
        self.next.setText("Done" if number == count else "Next")
        self.next.setAccessibleName(self.next.text())
        theme = current_theme()
        self.setStyleSheet(
            f"#callout {{ background: {theme.raised}; border: {_FRAME}px solid {theme.accent};"
            " border-radius: 6px; }"
        )
        self.setAccessibleName(f"{remark.title}. {remark.text}")

    def point_at(self, target: QRect) -> None:
        """Stand beside a rectangle of the window, with a frame around it."""
        size = QSize(_WIDTH, max(self.heightForWidth(_WIDTH), self.sizeHint().height()))
        self.setGeometry(QRect(beside(target, size, self._window.rect()), size))
        self.frame.setGeometry(target.adjusted(-_FRAME, -_FRAME, _FRAME, _FRAME))
        for part in (self.frame, self):
            part.show()
            part.raise_()

    def hide(self) -> None:
        """Take the remark and its frame away."""
        self.frame.hide()
        super().hide()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Close by Escape."""
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        else:
            super().keyPressEvent(event)


class Tour(QObject):
    """Shows the remarks, one after another; they come by themselves only once."""

    more_requested = Signal(str)

    def __init__(
        self,
        open_page: Callable[[str], object],
        page_of: Callable[[str], QWidget],
        settings: Settings,
        window: QWidget,
    ) -> None:
        """Take what opens a page of the plots, and what returns it."""
        super().__init__(window)
        self._open_page, self._page_of = open_page, page_of
        self._settings, self._window = settings, window
        self._at = -1
        self._target: QWidget | None = None
        self.callout = Callout(window)
        self.callout.asked_next.connect(self.next)
        self.callout.closed.connect(self.end)
        self.callout.more_requested.connect(self._on_more)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._place)

    @property
    def was_seen(self) -> bool:
        """Whether a person has seen it to its end, or closed it."""
        return self._settings.read(SEEN, False)

    @Slot()
    def start(self) -> None:
        """Show the first remark."""
        self._at = -1
        self.next()

    @Slot()
    def next(self) -> None:
        """Show the next remark, or end after the last."""
        self._forget()
        self._at += 1
        if self._at >= len(REMARKS):
            self.end()
            return
        remark = REMARKS[self._at]
        self._open_page(remark.page)
        self._target = self._page_of(remark.page).findChild(QWidget, remark.target)
        for widget in self._watched():
            widget.installEventFilter(self)
        self.callout.show_remark(remark, self._at + 1, len(REMARKS))
        self._soon.start(0)

    @Slot()
    def end(self) -> None:
        """Close, and remember that it was seen."""
        self._forget()
        self.callout.hide()
        self._settings.write(SEEN, True)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow what is pointed at; end where a person goes elsewhere."""
        kind = event.type()
        if kind in {QEvent.Type.Resize, QEvent.Type.Move}:
            self._soon.start(0)
        elif kind == QEvent.Type.Hide and watched is self._target:
            self.end()
        return False

    def _watched(self) -> Iterator[QWidget]:
        yield self._window
        if self._target is not None:
            yield self._target

    def _forget(self) -> None:
        for widget in self._watched():
            widget.removeEventFilter(self)
        self._target = None
        self._soon.stop()

    @Slot()
    def _place(self) -> None:
        target = self._target
        if target is not None and not target.isVisible():
            # A page that was made just now is laid out in a later turn.
            self._soon.start(_AGAIN_MS)
        elif target is not None:
            place = QRect(target.mapTo(self._window, QPoint()), target.size())
            is_new = not self.callout.isVisible()
            self.callout.point_at(place)
            if is_new:
                self.callout.next.setFocus()

    @Slot()
    def _on_more(self) -> None:
        self.more_requested.emit(REMARKS[self._at].address)


class _Frame(QWidget):
    """A frame that lets every click through."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the frame in the accent colour."""
        painter = QPainter(self)
        painter.setPen(QPen(QColor(current_theme().accent), _FRAME))
        painter.drawRect(self.rect().adjusted(1, 1, -1, -1))


def beside(target: QRect, size: QSize, room: QRect) -> QPoint:
    """Return where something of a size stands in a room without covering the target.

    Below, above, left and right are tried in turn. Where there is too little room on every side
    it stands in the corner that covers least of the target.
    """
    inner = room.adjusted(_GAP, _GAP, -_GAP, -_GAP)
    x = min(max(target.center().x() - size.width() // 2, inner.left()), _last_x(inner, size))
    y = min(max(target.center().y() - size.height() // 2, inner.top()), _last_y(inner, size))
    places = (
        QPoint(x, target.bottom() + 1 + _GAP),
        QPoint(x, target.top() - _GAP - size.height()),
        QPoint(target.left() - _GAP - size.width(), y),
        QPoint(target.right() + 1 + _GAP, y),
    )
    for place in places:
        if inner.contains(QRect(place, size)):
            return place
    corners = [
        QPoint(left, top)
        for left in (inner.left(), _last_x(inner, size))
        for top in (_last_y(inner, size), inner.top())
    ]
    return min(corners, key=lambda corner: _covered(QRect(corner, size), target))


def _last_x(room: QRect, size: QSize) -> int:
    return max(room.left(), room.right() + 1 - size.width())


def _last_y(room: QRect, size: QSize) -> int:
    return max(room.top(), room.bottom() + 1 - size.height())


def _covered(one: QRect, other: QRect) -> int:
    common = one.intersected(other)
    return max(0, common.width()) * max(0, common.height())
