"""The images of one episode, a class in each row: support images first, then query images."""

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QRect, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeyEvent, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QWidget

from metaviz.gui.widgets.images import qimage
from metaviz.gui.widgets.theme import current_theme
from metaviz.runs.model.dataset import SampleEpisode, exchanged

_SMALLEST, _LARGEST = 40, 160
_GAP, _BETWEEN, _MARGIN = 4, 20, 8
_QUERIES_WANTED, _QUERY_SHARE = 3, 3
_PHOTOGRAPH, _WORTH_ENLARGING = 64, 1.3
_COLOURS = 3


@dataclass(frozen=True)
class _Plan:
    """Where images go, in logical pixels: `side` of an image, `pitch` from row to row."""

    side: int
    pitch: int
    left: int
    top: int
    support: int
    query: int

    @property
    def query_left(self) -> int:
        return self.left + self.support * (self.side + _GAP) + _BETWEEN - _GAP


class SampleGrid(QAbstractScrollArea):
    """Shows an episode; left and right ask for the one before and after, up and down scroll."""

    turned = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__(parent)
        self.setObjectName("sample_grid")
        self.setAccessibleName("Images of the episode")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setToolTip("Left and right arrow keys turn to the episode before and after.")
        self.viewport().setBackgroundRole(QPalette.ColorRole.Base)
        self.viewport().setAutoFillBackground(True)
        self.swapped = False
        self._episode: SampleEpisode | None = None
        self._images: dict[tuple[str, int, int], QImage] = {}

    def show_episode(self, episode: SampleEpisode | None) -> None:
        """Show another episode."""
        self._episode = episode
        self._images.clear()
        self.verticalScrollBar().setValue(0)
        self._arrange()
        self.setAccessibleDescription(described(episode) if episode is not None else "")

    def set_swapped(self, *, swapped: bool) -> None:
        """Exchange red and blue, or show images as they are."""
        self.swapped = swapped
        self._images.clear()
        self.viewport().update()

    def columns(self) -> tuple[int, int]:
        """Return how many support and query images of each class there is room for."""
        plan = self._plan()
        return (plan.support, plan.query) if plan is not None else (0, 0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Find the room for the images again."""
        super().resizeEvent(event)
        self._images.clear()
        self._arrange()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Turn to another episode, or scroll."""
        direction = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0)
        if direction:
            self.turned.emit(direction)
        else:
            super().keyPressEvent(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Paint headings, labels and images."""
        episode, plan = self._episode, self._plan()
        painter = QPainter(self.viewport())
        if episode is not None and plan is not None:
            self._paint(painter, episode, plan)
        if self.hasFocus():
            painter.setPen(QColor(current_theme().accent))
            painter.drawRect(self.viewport().rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint(self, painter: QPainter, episode: SampleEpisode, plan: _Plan) -> None:
        offset = self.verticalScrollBar().value()
        height = self.fontMetrics().height()
        muted = QColor(current_theme().muted)
        painter.setPen(muted)
        parts = (
            ("Support", plan.left, plan.support, episode.shots, episode.support),
            ("Query", plan.query_left, plan.query, episode.queries, episode.query),
        )
        for title, left, shown, count, _ in parts:
            text = title if shown == count else f"{title}, {shown} of {count}"
            # Room for a heading that is longer than its images are wide.
            painter.drawText(left, _MARGIN - offset + self.fontMetrics().ascent(), text)
        for row in range(len(episode.support)):
            top = plan.top + row * plan.pitch - offset
            label = QRect(_MARGIN, top, plan.left - _MARGIN, plan.side)
            painter.setPen(muted)
            painter.drawText(label, Qt.AlignmentFlag.AlignVCenter, f"class {row + 1}")
            for title, left, shown, _, images in parts:
                for place in range(shown):
                    image = self._image(title, row, place, images, plan.side)
                    across = left + place * (plan.side + _GAP)
                    painter.drawImage(across, top, image)
                    painter.setPen(QColor(current_theme().grid))
                    painter.drawRect(across - 1, top - 1, plan.side + 1, plan.side + 1)
        if len(episode.support) < episode.ways:
            painter.setPen(muted)
            bottom = plan.top + len(episode.support) * plan.pitch - offset
            text = f"{len(episode.support)} of {episode.ways} classes"
            painter.drawText(_MARGIN, bottom + height, text)

    def _image(self, part: str, row: int, place: int, images: np.ndarray, side: int) -> QImage:
        key = (part, row, place)
        if key not in self._images:
            levels = images[row, place]
            if self.swapped and len(levels) == _COLOURS:
                levels = exchanged(levels)
            self._images[key] = scaled(levels, side, self.devicePixelRatioF())
        return self._images[key]

    def _plan(self) -> _Plan | None:
        episode = self._episode
        if episode is None:
            return None
        rows, native = len(episode.support), episode.support.shape[-1]
        metrics = self.fontMetrics()
        top = 2 * _MARGIN + metrics.height()
        left = 2 * _MARGIN + metrics.horizontalAdvance(f"class {rows}") + _MARGIN
        room = (self.viewport().height() - top - _MARGIN) // rows - _GAP
        width = self.viewport().width() - left - _BETWEEN - _MARGIN + 2 * _GAP
        wanted = episode.support.shape[1] + min(_QUERIES_WANTED, episode.query.shape[1])
        largest = max(_SMALLEST, min(room, width // wanted - _GAP, _LARGEST))
        side = _sharp_side(native, largest, self.devicePixelRatioF())
        fit = width // (side + _GAP)
        fit = max(2, fit)
        query = min(episode.query.shape[1], max(1, fit // _QUERY_SHARE))
        support = min(episode.support.shape[1], fit - query)
        query = min(episode.query.shape[1], fit - support)
        # Rows stand a little apart where there is room, so that a tall window is not half empty.
        pitch = max(side + _GAP, min(side + 4 * _GAP, room + _GAP))
        return _Plan(side, pitch, left, top, support, query)

    def _arrange(self) -> None:
        plan, bar = self._plan(), self.verticalScrollBar()
        if plan is None or self._episode is None:
            bar.setRange(0, 0)
            return
        rows = len(self._episode.support)
        cut = rows < self._episode.ways
        below = self.fontMetrics().height() + _MARGIN if cut else 0
        height = plan.top + rows * plan.pitch - _GAP + _MARGIN + below
        room = self.viewport().height()
        bar.setRange(0, max(0, height - room))
        bar.setPageStep(room)
        bar.setSingleStep(plan.pitch)
        self.viewport().update()


def described(episode: SampleEpisode) -> str:
    """Say how large an episode is, in one sentence."""
    return (
        f"{episode.ways} classes, {_images(episode.shots, 'support')} "
        f"and {_images(episode.queries, 'query')} of each."
    )


def _images(count: int, kind: str) -> str:
    return f"{count} {kind} image{'' if count == 1 else 's'}"


def _sharp_side(native: int, room: int, ratio: float) -> int:
    """Return the side of an image within `room`: whole pixels for small images."""
    times = int(room * ratio) // native
    if not times or (native >= _PHOTOGRAPH and room * ratio > _WORTH_ENLARGING * native):
        return room
    return int(times * native / ratio)


def scaled(levels: np.ndarray, side: int, ratio: float) -> QImage:
    """Return an image (channels, height, width) of `side` logical pixels.

    Images enlarged by a whole factor show their pixels, which is what a network gets.
    """
    target = round(side * ratio)
    smooth = Qt.TransformationMode.SmoothTransformation
    mode = Qt.TransformationMode.FastTransformation if target % levels.shape[-1] == 0 else smooth
    made = qimage(levels).scaled(target, target, Qt.AspectRatioMode.IgnoreAspectRatio, mode)
    made.setDevicePixelRatio(ratio)
    return made
