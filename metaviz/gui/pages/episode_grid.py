"""The images of one task with what a run takes them for, and one chosen image."""

import numpy as np
from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip

from metaviz.charts.shapes import shapes_of
from metaviz.charts.values import Lines
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.result_charts import (
    Place,
    episode_grid,
    episode_images,
    episode_places,
)
from metaviz.runs.model.episode import Episode

_SMALLEST, _LARGEST = 48, 94
"""Pixels from one image to the next."""
_MARGINS = 24
_ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


class EpisodeGrid(ChartView):
    """Support images above, query images below, a column for each class.

    A bar under a query image is the probability of its true class; below it stand the class
    predicted before adaptation and after k steps. What is wrong after k steps is framed and
    marked by a cross. Arrow keys and clicks choose a query image.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        """Show nothing yet."""
        super().__init__("episodeGrid", "Support and query images")
        self.setMouseEnabled(x=False, y=False)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.selected = 0
        self.k = 0
        self._episode: Episode | None = None
        self._places: list[Place] = []
        self._images: tuple[np.ndarray | None, ...] = ()
        self._room = 600

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours, on the ground of the page."""
        super().apply_theme(theme)
        self.setBackground(None)

    def show_episode(self, episode: Episode | None) -> None:
        """Show a task of images; None shows nothing."""
        self._episode, self.k = episode, 0
        self._places = [] if episode is None else episode_places(episode)
        if episode is not None:
            self._images = episode_images(episode, self._places)
            self.selected = min(self.selected, len(episode.query.y) - 1)
        self.redraw()
        self.setFixedSize(self.sizeHint())

    def show_step(self, k: int) -> None:
        """Show predictions after k inner steps."""
        self.k = k
        self.redraw()

    def fit(self, width: int) -> None:
        """Take images as large as fit a width."""
        if width != self._room:
            self._room = width
            self.setFixedSize(self.sizeHint())

    def choose(self, number: int) -> None:
        """Choose a query image."""
        if self._episode is not None and 0 <= number < len(self._episode.query.y):
            self.selected = number
            self.redraw()
            self.chosen.emit(number)

    def redraw(self) -> None:
        """Draw images and predictions, and tell screen readers of the chosen one."""
        if self._episode is None:
            self.show_chart(Lines(id="episode"))
            return
        drawn = self._places, self._images, self.selected
        self.show_chart(episode_grid(self._episode, self.k, *drawn))
        self.setAccessibleDescription(self._text(self.selected))

    def sizeHint(self) -> QSize:
        """Return the room that all images take."""
        if self._episode is None:
            return QSize(0, 0)
        shown = shapes_of(self.chart)
        (left, right), (top, bottom) = shown.x.limits or (0, 0), shown.y.limits or (0, 0)
        unit = max(_SMALLEST, min(_LARGEST, (self._room - _MARGINS) / (right - left)))
        return QSize(*(round(unit * size) + _MARGINS for size in (right - left, bottom - top)))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Choose by the arrow keys."""
        step = _ARROWS.get(Qt.Key(event.key()))
        if step is None or self._episode is None:
            super().keyPressEvent(event)
            return
        ways = int(self._episode.query.y.max()) + 1
        row, column = divmod(self._places.index((False, self.selected)), ways)
        row, column = row + step[1], column + step[0]
        inside = 0 <= column < ways and row < len(self._places) // ways
        there = self._places[row * ways + column] if inside else None
        if there is not None and not there[0]:
            self.choose(there[1])

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Choose by a click."""
        number = self._query_at(event)
        if number is not None:
            self.choose(number)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Take the end of a click."""
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell an image's prediction where the mouse is."""
        number = self._query_at(event)
        text = "" if number is None else self._text(number)
        QToolTip.showText(event.globalPosition().toPoint(), text, self)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave scrolling to what surrounds the images."""
        event.ignore()

    def _query_at(self, event: QMouseEvent) -> int | None:
        """Return the number of the query image under the pointer."""
        found = self.cell_at(QPointF(self.mapToScene(event.position().toPoint())))
        place = self._places[int(found[0].rpartition(" ")[2])] if found else None
        return place[1] if place is not None and not place[0] else None

    def _text(self, number: int) -> str:
        episode = self._episode
        if episode is None:
            return ""
        label = int(episode.query.y[number])
        before, after = (int(episode.query.outputs[k, number].argmax()) + 1 for k in (0, self.k))
        chance = 100 * float(episode.query.probabilities()[self.k, number, label])
        steps = f"{before} before adaptation, for {after} after {self.k} steps"
        return (
            f"Query image {number + 1} of class {label + 1}: taken for class "
            f"{steps if episode.has_steps else after}; its own class has {chance:.0f} %."
        )
