"""The images of one task with what a run takes them for, and one chosen image."""

from dataclasses import dataclass

from PySide6.QtCore import QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from metaviz.gui.widgets.images import qimage
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.model.episode import Episode

_SMALLEST, _LARGEST = 40, 84
_GAP = 10
_BAR = 5
_FRAME = 3
_ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


@dataclass(frozen=True)
class _Cell:
    """An image of the grid: which one it is, and where."""

    support: bool
    number: int
    column: int
    row: int


class EpisodeGrid(QWidget):
    """Support images above, query images below, a column for each class.

    A bar under a query image is the probability of its true class; below it stand the class
    predicted before adaptation and after k steps. What is wrong after k steps is framed and
    marked by a cross. Arrow keys and clicks choose a query image.
    """

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__(parent)
        self.setObjectName("episodeGrid")
        self.setAccessibleName("Support and query images")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.selected = 0
        self.k = 0
        self._episode: Episode | None = None
        self._theme: Theme | None = None
        self._cells: list[_Cell] = []
        self._images: dict[bool, list[QImage]] = {}
        self._room = 600

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        self.update()

    def show_episode(self, episode: Episode | None) -> None:
        """Show a task of images; None shows nothing."""
        self._episode = episode
        self._cells, self._images, self.k = [], {}, 0
        if episode is not None:
            rows = 0
            for support, examples in ((True, episode.support), (False, episode.query)):
                self._images[support] = [qimage(pixels) for pixels in examples.x]
                filled: dict[int, int] = {}
                for number, label in enumerate(examples.y.tolist()):
                    row = filled[label] = filled.get(label, -1) + 1
                    self._cells.append(_Cell(support, number, label, rows + row))
                rows += 1 + max(filled.values(), default=-1)
            self.selected = min(self.selected, len(episode.query.y) - 1)
        self._resize()
        self._describe()

    def show_step(self, k: int) -> None:
        """Show predictions after k inner steps."""
        self.k = k
        self._describe()
        self.update()

    def fit(self, width: int) -> None:
        """Take images as large as fit a width."""
        if width != self._room:
            self._room = width
            self._resize()

    def choose(self, number: int) -> None:
        """Choose a query image."""
        if self._episode is not None and 0 <= number < len(self._episode.query.y):
            self.selected = number
            self._describe()
            self.update()
            self.chosen.emit(number)

    def sizeHint(self) -> QSize:
        """Return the room that all images take."""
        if self._episode is None:
            return QSize(0, 0)
        last = max(self._cells, key=lambda cell: cell.row)
        width = self._left() + self._columns() * (self._side() + _GAP)
        return QSize(width, self._place(last).bottom() + _GAP + 22)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Choose by the arrow keys."""
        step = _ARROWS.get(Qt.Key(event.key()))
        here = next((c for c in self._queries() if c.number == self.selected), None)
        if step is None or here is None:
            super().keyPressEvent(event)
            return
        column, row = here.column + step[0], here.row + step[1]
        there = next((c for c in self._queries() if (c.column, c.row) == (column, row)), None)
        if there is not None:
            self.choose(there.number)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose by a click."""
        cell = self._at(event.position().toPoint())
        if cell is not None and not cell.support:
            self.choose(cell.number)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell an image's prediction where the mouse is."""
        cell = self._at(event.position().toPoint())
        text = self._text(cell.number) if cell is not None and not cell.support else ""
        QToolTip.showText(event.globalPosition().toPoint(), text, self)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what is in sight."""
        episode, theme = self._episode, self._theme
        if episode is None or theme is None:
            return
        painter = QPainter(self)
        metrics = painter.fontMetrics()
        painter.setPen(QColor(theme.muted))
        for column in range(self._columns()):
            left = self._left() + column * (self._side() + _GAP)
            painter.drawText(
                QRect(left, 0, self._side(), self._top()),
                Qt.AlignmentFlag.AlignCenter,
                f"class {column + 1}" if self._side() >= _LARGEST // 2 else str(column + 1),
            )
        for support, title in ((True, "support"), (False, "query")):
            first = next(cell for cell in self._cells if cell.support is support)
            place = self._place(first)
            painter.drawText(
                QRect(0, place.top(), self._left() - _GAP, place.height()),
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                title,
            )
        # Small drawings stay sharp; photographs are smoothed.
        smooth = episode.query.x.shape[-1] > _SMALLEST
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        chances, right = episode.query.probabilities()[self.k], episode.query.right()[self.k]
        first_guess = episode.query.outputs[0].argmax(axis=1)
        guess = episode.query.outputs[self.k].argmax(axis=1)
        for cell in self._cells:
            place = self._place(cell)
            if not place.adjusted(-_FRAME, -_FRAME, _FRAME, 40).intersects(event.rect()):
                continue
            painter.drawImage(place, self._images[cell.support][cell.number])
            if cell.support:
                continue
            n = cell.number
            self._draw_bar(painter, place, float(chances[n, cell.column]), right=bool(right[n]))
            color = theme.foreground if right[n] else theme.error
            painter.setPen(QColor(color))
            text = f"{guess[n] + 1}{'' if right[n] else ' ✗'}"
            text = f"{first_guess[n] + 1} → {text}" if episode.has_steps else text
            below = QRect(place.left() - 4, place.bottom() + _BAR + 3, place.width() + 8, 18)
            if metrics.horizontalAdvance(text) > below.width():
                text = text.partition(" ")[2]
            painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, text)
            if not right[n]:
                _frame(painter, place, theme.error, _FRAME)
            if n == self.selected:
                _frame(painter, place.adjusted(-4, -4, 4, _BAR + 4), theme.accent, 2)

    def _draw_bar(self, painter: QPainter, place: QRect, chance: float, *, right: bool) -> None:
        theme = self._theme
        if theme is None:
            return
        bar = QRect(place.left(), place.bottom() + 2, place.width(), _BAR)
        painter.fillRect(bar, QColor(theme.grid))
        bar.setWidth(round(place.width() * chance))
        painter.fillRect(bar, QColor(theme.accent if right else theme.error))

    def _queries(self) -> list[_Cell]:
        return [cell for cell in self._cells if not cell.support]

    def _side(self) -> int:
        """Return the side of an image on screen."""
        if self._episode is None:
            return _LARGEST
        room = (self._room - self._left()) // self._columns() - _GAP
        return max(_SMALLEST, min(_LARGEST, room))

    def _columns(self) -> int:
        return 1 + max(cell.column for cell in self._cells)

    def _left(self) -> int:
        return self.fontMetrics().horizontalAdvance("support") + 2 * _GAP

    def _top(self) -> int:
        return self.fontMetrics().height() + 6

    def _place(self, cell: _Cell) -> QRect:
        supports = 1 + max(c.row for c in self._cells if c.support)
        side, line = self._side(), self.fontMetrics().height()
        upper = min(cell.row, supports) * (side + _GAP)
        lower = max(0, cell.row - supports) * (side + _BAR + line + _GAP)
        between = 0 if cell.support else _GAP
        left = self._left() + cell.column * (side + _GAP)
        return QRect(left, self._top() + upper + lower + between, side, side)

    def _at(self, point: QPoint) -> _Cell | None:
        return next((cell for cell in self._cells if self._place(cell).contains(point)), None)

    def _resize(self) -> None:
        self.setFixedSize(self.sizeHint())
        self.updateGeometry()
        self.update()

    def _text(self, number: int) -> str:
        episode = self._episode
        if episode is None:
            return ""
        label = int(episode.query.y[number])
        before = int(episode.query.outputs[0, number].argmax()) + 1
        after = int(episode.query.outputs[self.k, number].argmax()) + 1
        chance = 100 * float(episode.query.probabilities()[self.k, number, label])
        steps = f"{before} before adaptation, for {after} after {self.k} steps"
        return (
            f"Query image {number + 1} of class {label + 1}: taken for class "
            f"{steps if episode.has_steps else after}; its own class has {chance:.0f} %."
        )

    def _describe(self) -> None:
        self.setAccessibleDescription(self._text(self.selected))


def _frame(painter: QPainter, place: QRect, color: str, width: int) -> None:
    painter.setPen(QPen(QColor(color), width))
    painter.drawRect(place.adjusted(-1, -1, 0, 0))
