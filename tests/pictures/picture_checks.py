"""What is wrong with how a window looks: told from what it paints and where its widgets are.

`faults` reads one window as it is shown now. It knows nothing of single pages.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPoint, QRectF, Qt
from PySide6.QtGui import QImage, QPalette
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractScrollArea,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QGraphicsTextItem,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMainWindow,
    QProgressBar,
    QScrollBar,
    QSlider,
    QSplitterHandle,
    QStatusBar,
    QStyle,
    QStyleOptionComboBox,
    QTabBar,
    QToolButton,
    QWidget,
)

from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.plotting.legend import Legend
from metaviz.gui.widgets.cut_choice import CutChoice
from metaviz.gui.widgets.plain_text import PlainLabel
from tests.pictures.painted_texts import PaintedText, painted_texts, visible_widgets

LEAST_CONTRAST = 4.5
LEAST_POINTS = 7.0
_TOLERANCE, _APART = 1.5, 1.5
_LEAST_PLOT = (70.0, 40.0)
_LOW = 4
"""Fields may be as low as others of their row."""
_FEWEST_NUMBERS, _NUMBERED_FROM = 2, 100.0
_EVERYWHERE = QRectF(-1e6, -1e6, 2e6, 2e6)
_CONTROLS = (QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox, QSlider)
_FRAMES = (QScrollBar, QSplitterHandle)


@dataclass(frozen=True)
class Fault:
    """Something wrong: `kind` names the rule, `where` the widget."""

    kind: str
    what: str
    where: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} [{self.where}]"


@dataclass(frozen=True)
class _Seen:
    """A painted text with the room that it must stay within, and that it can be seen in."""

    painted: PaintedText
    room: QRectF
    sight: QRectF

    @property
    def ink(self) -> QRectF:
        return self.painted.ink


def faults(window: QWidget, *, colors: bool = True) -> list[Fault]:
    """Return everything that is wrong with a window; without `colors` contrast is not looked at."""
    widgets = [one for one in visible_widgets(window) if not _behind(one)]
    rooms: dict[QWidget, tuple[QRectF, QRectF]] = {}
    for widget in widgets:
        _measure(widget, window, rooms)
    texts = list(_seen_texts(window, rooms))
    found = [
        *_off_screen(window),
        *_outside(widgets, window, rooms),
        *_covered(widgets),
        *_squeezed(widgets),
        *_unnumbered(widgets),
        *_clipped(texts),
        *_cut(texts, window),
        *_overlapping(texts),
        *_small(texts),
        *(_faint(texts, window) if colors else ()),
    ]
    return list(dict.fromkeys(found))


def _name(widget: QWidget) -> str:
    """Return what a widget is called, or what the nearest one around it is called."""
    inner = type(widget).__name__
    while widget.parentWidget() is not None and widget.objectName()[:3] in {"", "qt_"}:
        widget = widget.parentWidget()
    return (
        widget.objectName() if type(widget).__name__ == inner else f"{widget.objectName()} {inner}"
    )


def _behind(widget: QWidget | None) -> bool:
    """Return whether a widget is in a dock that another one of its tabs hides."""
    while widget is not None:
        if isinstance(widget, QDockWidget) and not widget.isFloating():
            return widget.geometry().right() < 0 or widget.geometry().bottom() < 0
        widget = widget.parentWidget()
    return False


def _measure(
    widget: QWidget, window: QWidget, rooms: dict[QWidget, tuple[QRectF, QRectF]]
) -> tuple[QRectF, QRectF]:
    """Return the room that a widget's texts have, and what of it is in sight, within the window.

    What a person can scroll to is room, but not in sight.
    """
    if widget in rooms:
        return rooms[widget]
    own = QRectF(QRectF(widget.rect()).translated(widget.mapTo(window, QPoint())))
    if widget is window:
        rooms[widget] = own, own
        return rooms[widget]
    parent = widget.parentWidget()
    room, sight = _measure(parent, window, rooms)
    across, down = _scrolls(widget, parent)
    free = _loosened(own, across=across, down=down)
    within = _loosened(room, across=across, down=down)
    rooms[widget] = free.intersected(within), own.intersected(sight)
    return rooms[widget]


def _scrolls(widget: QWidget, parent: QWidget) -> tuple[bool, bool]:
    """Return whether a person can scroll what a widget shows, across and down."""
    if isinstance(widget, QTabBar):
        arrows = [one for one in widget.findChildren(QToolButton) if one.isVisible()]
        return bool(arrows), False
    if isinstance(parent, QHeaderView):
        parent = parent.parentWidget()
    elif not isinstance(parent, QAbstractScrollArea) or parent.viewport() is not widget:
        return False, False
    across, down = parent.horizontalScrollBar(), parent.verticalScrollBar()
    return across.maximum() > across.minimum(), down.maximum() > down.minimum()


def _loosened(room: QRectF, *, across: bool, down: bool) -> QRectF:
    """Return a room that has no ends in the directions in which a person can scroll."""
    made = QRectF(room)
    if down:
        made.setTop(_EVERYWHERE.top())
        made.setBottom(_EVERYWHERE.bottom())
    if across:
        made.setLeft(_EVERYWHERE.left())
        made.setRight(_EVERYWHERE.right())
    return made


def _seen_texts(window: QWidget, rooms: dict[QWidget, tuple[QRectF, QRectF]]) -> Iterator[_Seen]:
    """Yield the texts of which something is in sight."""
    boxes: dict[QWidget, list[tuple[QRectF, QRectF]]] = {}
    for one in painted_texts(window):
        if one.owner not in rooms or one.color.alpha() == 0:
            continue
        room, sight = rooms[one.owner]
        if isinstance(one.owner, QComboBox):
            room = room.intersected(_edit_field(one.owner, window))
        view = one.owner.parentWidget()
        if isinstance(view, QHeaderView):
            room = room.intersected(_section(view, one, window))
        if isinstance(view, pg.GraphicsView):
            if one.owner not in boxes:
                boxes[one.owner] = list(_boxed_texts(view, window))
            for place, box in boxes[one.owner]:
                if place.contains(one.ink.center()):
                    room, sight = room.intersected(box), sight.intersected(box)
        if sight.intersects(one.ink):
            yield _Seen(one, room, sight)


def _edit_field(box: QComboBox, window: QWidget) -> QRectF:
    """Return where a choice shows its text: the arrow hides what goes on beyond it."""
    about = QStyleOptionComboBox()
    box.initStyleOption(about)
    kind, part = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
    field = box.style().subControlRect(kind, about, part, box)
    return QRectF(field).translated(box.mapTo(window, QPoint()))


def _section(header: QHeaderView, one: PaintedText, window: QWidget) -> QRectF:
    """Return the section of a header in which a text stands."""
    origin = one.owner.mapTo(window, QPoint())
    center = one.ink.center().toPoint() - origin
    if header.orientation() == Qt.Orientation.Horizontal:
        number = header.logicalIndexAt(center.x())
        start, size = header.sectionViewportPosition(number), header.sectionSize(number)
        return QRectF(origin.x() + start, _EVERYWHERE.top(), size, _EVERYWHERE.height())
    number = header.logicalIndexAt(center.y())
    start, size = header.sectionViewportPosition(number), header.sectionSize(number)
    return QRectF(_EVERYWHERE.left(), origin.y() + start, _EVERYWHERE.width(), size)


def _boxed_texts(view: pg.GraphicsView, window: QWidget) -> Iterator[tuple[QRectF, QRectF]]:
    """Yield where texts within the axes of a plot are, and the axes that they are cut at."""
    origin = view.viewport().mapTo(window, QPoint())
    for item in view.scene().items():
        if not isinstance(item, QGraphicsTextItem) or not item.isVisible():
            continue
        above = item.parentItem()
        while above is not None and not isinstance(above, pg.ViewBox):
            above = above.parentItem()
        if above is not None:
            place, box = (
                QRectF(view.mapFromScene(one.sceneBoundingRect()).boundingRect())
                for one in (item, above)
            )
            yield place.translated(origin).adjusted(-1, -1, 1, 1), box.translated(origin)


def _off_screen(window: QWidget) -> Iterator[Fault]:
    room, needs = window.screen().availableSize(), window.frameSize()
    if window.isWindow() and (needs.width() > room.width() or needs.height() > room.height()):
        size = f"{needs.width()} x {needs.height()} on {room.width()} x {room.height()}"
        yield Fault("off screen", size, _name(window))


def _outside(
    widgets: Sequence[QWidget], window: QWidget, rooms: dict[QWidget, tuple[QRectF, QRectF]]
) -> Iterator[Fault]:
    """Yield controls and labels that no scrolling brings into the window."""
    for widget in widgets:
        if widget is window or not isinstance(widget, (*_CONTROLS, QLabel, ChartView)):
            continue
        room, _ = rooms[widget.parentWidget()]
        own = QRectF(widget.rect()).translated(widget.mapTo(window, QPoint()))
        inside = own.intersected(room)
        lost = max(own.width() - inside.width(), own.height() - inside.height())
        if lost > _TOLERANCE and own.width() > 0 and own.height() > 0:
            yield Fault("outside", f"{lost:.0f} pixels are never in sight", _name(widget))


def _covered(widgets: Sequence[QWidget]) -> Iterator[Fault]:
    """Yield widgets that another one of the same parent lies upon."""
    for parent in widgets:
        if isinstance(parent, QAbstractScrollArea | QMainWindow | QLineEdit | QTabBar):
            continue
        shown = [
            one
            for one in parent.children()
            if isinstance(one, QWidget)
            and one.isVisible()
            and not one.isWindow()
            and not isinstance(one, _FRAMES)
            and not one.testAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        ]
        for below, above in combinations(shown, 2):
            both = below.geometry().intersected(above.geometry())
            if min(both.width(), both.height()) > 2:
                yield Fault("covered", f"by {_name(above)}", _name(below))


def _squeezed(widgets: Sequence[QWidget]) -> Iterator[Fault]:
    for widget in widgets:
        if isinstance(widget, ChartView):
            yield from _squeezed_plot(widget)
        elif isinstance(widget, _CONTROLS) and not isinstance(
            widget.parentWidget(), QComboBox | QAbstractSpinBox | QLineEdit | QTabBar | QScrollBar
        ):
            least = widget.minimumSizeHint().boundedTo(widget.maximumSize())
            short = least.width() - widget.width(), least.height() - widget.height()
            if short[0] > 1 or short[1] > _LOW:
                yield Fault("squeezed", f"{short[0]} x {short[1]} pixels too small", _name(widget))


def _squeezed_plot(view: ChartView) -> Iterator[Fault]:
    if view.panels or not (view.traces or view.images or view.boxes):
        return
    room = view.getPlotItem().getViewBox().sceneBoundingRect()
    if room.width() < _LEAST_PLOT[0] or room.height() < _LEAST_PLOT[1]:
        size = f"axes of {room.width():.0f} x {room.height():.0f} pixels"
        yield Fault("squeezed", size, _name(view))


def _unnumbered(widgets: Sequence[QWidget]) -> Iterator[Fault]:
    """Yield axes on which too few numbers stand to read a value."""
    for view in widgets:
        if not isinstance(view, pg.PlotWidget) or not view.getPlotItem().isVisible():
            continue
        for side in ("left", "bottom"):
            axis = view.getPlotItem().getAxis(side)
            few = getattr(axis, "whole", False) and np.ptp(axis.range) <= _FEWEST_NUMBERS
            if few or not axis.isVisible() or axis._tickLevels is not None:
                continue
            if axis.picture is None:
                continue
            size = axis.size()
            long = size.height() if side == "left" else size.width()
            texts = axis.picture[2] if isinstance(axis.picture, tuple) else ()
            if long >= _NUMBERED_FROM and len(texts) < _FEWEST_NUMBERS:
                yield Fault("unnumbered", f"{len(texts)} numbers on the {side} axis", _name(view))


def _clipped(texts: Sequence[_Seen]) -> Iterator[Fault]:
    for one in texts:
        within = one.ink.intersected(one.room)
        lost = max(one.ink.width() - within.width(), one.ink.height() - within.height())
        if lost > _TOLERANCE and not isinstance(one.painted.owner, QLineEdit):
            what = f"“{one.painted.text}” by {lost:.0f} pixels"
            yield Fault("clipped", what, _name(one.painted.owner))


def _cut(texts: Sequence[_Seen], window: QWidget) -> Iterator[Fault]:
    """Yield texts whose end is left out, where no tip shows the whole."""
    for one in texts:
        shown = one.painted.text.strip()
        if "…" not in shown:
            continue
        owner = one.painted.owner
        place = owner.mapFrom(window, one.ink.center().toPoint())
        if any(shown in whole for whole in _own_texts(owner, place)):
            continue
        start = shown.partition("…")[0].strip()
        if not any(start in _plain(tip) for tip in _tips(owner, place)):
            yield Fault("cut", f"“{shown}” has no tip", _name(owner))


def _own_texts(owner: QWidget, place: QPoint) -> list[str]:
    """Return the texts that a widget was given, of an item view those at a place."""
    found = [
        getattr(owner, name)()
        for name in ("text", "currentText", "placeholderText", "title", "windowTitle")
        if callable(getattr(owner, name, None))
    ]
    if isinstance(owner, QTabBar):
        found += [owner.tabText(i) for i in range(owner.count())]
    if isinstance(owner, Legend):
        found += [key.text for key in owner.keys]
    if isinstance(owner, QStatusBar):
        found.append(owner.currentMessage())
    parent = owner.parentWidget()
    if isinstance(parent, pg.GraphicsView):
        found += [item.toPlainText() for item in _free_texts(parent)]
    if isinstance(parent, QHeaderView):
        found.append(_header_data(parent, place, Qt.ItemDataRole.DisplayRole))
    elif isinstance(parent, QAbstractItemView):
        found.append(_cell_data(parent, place, Qt.ItemDataRole.DisplayRole))
    plain = [one.replace("&", "") for one in found if isinstance(one, str)]
    return [line for one in plain for line in (one, *one.splitlines())]


def _free_texts(view: pg.GraphicsView) -> Iterator[QGraphicsTextItem]:
    """Yield the texts of a plot that are not the names of its axes, which may be cut."""
    for item in view.scene().items():
        if isinstance(item, QGraphicsTextItem) and not isinstance(item.parentItem(), pg.AxisItem):
            yield item


def _tips(owner: QWidget, place: QPoint) -> Iterator[str]:
    parent = owner.parentWidget()
    if isinstance(owner, PlainLabel):
        yield owner.text()  # it shows the whole by itself
    if isinstance(owner, QTabBar):
        yield owner.tabToolTip(owner.tabAt(place))
    if isinstance(parent, pg.GraphicsView):
        for item in parent.scene().items(parent.mapToScene(place)):
            yield item.toolTip()
    elif isinstance(parent, QHeaderView):
        yield _header_data(parent, place, Qt.ItemDataRole.ToolTipRole)
    elif isinstance(parent, QAbstractItemView):
        yield _cell_data(parent, place, Qt.ItemDataRole.ToolTipRole)
    yield owner.whole_tip() if isinstance(owner, CutChoice) else owner.toolTip()
    if parent is not None:
        yield parent.toolTip()


def _header_data(view: QHeaderView, place: QPoint, role: Qt.ItemDataRole) -> str:
    lies = view.orientation() == Qt.Orientation.Horizontal
    section = view.logicalIndexAt(place.x() if lies else place.y())
    return str(view.model().headerData(section, view.orientation(), role) or "")


def _cell_data(view: QAbstractItemView, place: QPoint, role: Qt.ItemDataRole) -> str:
    return str(view.indexAt(place).data(role) or "")


def _plain(tip: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", tip)).replace("&", "")


def _overlapping(texts: Sequence[_Seen]) -> Iterator[Fault]:
    """Yield pairs of texts whose letters meet."""
    inks = [(one.ink.intersected(one.sight), number) for number, one in enumerate(texts)]
    inks.sort(key=lambda pair: pair[0].left())
    for place, (ink, number) in enumerate(inks):
        for other, second in inks[place + 1 :]:
            if other.left() > ink.right() - _APART:
                break
            both = ink.intersected(other)
            if min(both.width(), both.height()) > _APART:
                first, last = texts[min(number, second)], texts[max(number, second)]
                if not _one_line(first, last, abs(number - second)):
                    what = f"“{first.painted.text}” and “{last.painted.text}”"
                    yield Fault("overlapping", what, _name(last.painted.owner))


def _one_line(first: _Seen, last: _Seen, apart: int) -> bool:
    """Return whether two texts are parts of one, or the same one drawn twice."""
    same_owner = first.painted.owner is last.painted.owner
    near = (first.ink.topLeft() - last.ink.topLeft()).manhattanLength() < 2
    if same_owner and first.painted.text == last.painted.text and near:
        return True
    both = first.ink.intersected(last.ink)
    return (
        same_owner and apart == 1 and both.width() < 3 and isinstance(first.painted.owner, QLabel)
    )


def _small(texts: Sequence[_Seen]) -> Iterator[Fault]:
    for one in texts:
        points = one.painted.points * 72 / 96
        if 0 < points < LEAST_POINTS:
            yield Fault(
                "small", f"“{one.painted.text}” of {points:.1f} pt", _name(one.painted.owner)
            )


def _is_over_a_bar(painted: PaintedText) -> bool:
    """Return whether this is what the filled part of a progress bar covers of its text.

    Its text is painted twice, in two colours, each cut to its part, and cuts are not seen here.
    """
    owner = painted.owner
    over = owner.palette().color(QPalette.ColorRole.HighlightedText)
    return isinstance(owner, QProgressBar) and painted.color.rgb() == over.rgb()


def _faint(texts: Sequence[_Seen], window: QWidget) -> Iterator[Fault]:
    """Yield texts of enabled widgets that hardly differ from what they stand on."""
    picture = window.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    scale = picture.devicePixelRatio()
    high, wide = picture.height(), picture.width()
    pixels = np.frombuffer(picture.constBits(), np.uint32).reshape(high, -1)[:, :wide] & 0xFFFFFF
    for one in texts:
        painted = one.painted
        if not painted.owner.isEnabled() or _is_off(painted) or _is_over_a_bar(painted):
            continue
        ink = one.ink.intersected(one.sight).adjusted(-2, -2, 2, 2)
        left, top = (max(0, int(at * scale)) for at in (ink.left(), ink.top()))
        right, bottom = int(ink.right() * scale) + 1, int(ink.bottom() * scale) + 1
        around = pixels[top:bottom, left:right].ravel()
        if not around.size:
            continue
        own = painted.color.rgb() & 0xFFFFFF
        ground = _ground(around[around != own])
        if ground is None:
            yield Fault("faint", f"“{painted.text}” cannot be seen", _name(painted.owner))
            continue
        share = painted.color.alphaF()
        shade = [
            share * part + (1 - share) * base
            for part, base in zip(_rgb(own), _rgb(ground), strict=True)
        ]
        ratio = contrast(shade, _rgb(ground))
        if ratio < LEAST_CONTRAST - 0.05:
            colors = f"#{own:06x} on #{ground:06x}, {ratio:.1f}"
            yield Fault("faint", f"“{painted.text}” {colors}", _name(painted.owner))


def _ground(pixels: np.ndarray) -> int | None:
    """Return the commonest colour, where shades that are alike, as in gradients, count as one."""
    if not pixels.size:
        return None
    coarse = pixels & 0xF0F0F0
    values, counts = np.unique(coarse, return_counts=True)
    alike = pixels[coarse == values[counts.argmax()]]
    return int(alike[len(alike) // 2])


def _is_off(painted: PaintedText) -> bool:
    """Return whether a text has the colour of what is disabled, as single tabs and cells are."""
    off, palette = QPalette.ColorGroup.Disabled, QApplication.palette()
    roles = (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText)
    return any(palette.color(off, role).rgb() == painted.color.rgb() for role in roles)


def _rgb(number: int) -> list[float]:
    return [float(number >> 16 & 255), float(number >> 8 & 255), float(number & 255)]


def contrast(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the contrast of two colours by the W3C's definition; parts are from 0 to 255."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(parts: Sequence[float]) -> float:
    shares = [part / 255 for part in parts]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
