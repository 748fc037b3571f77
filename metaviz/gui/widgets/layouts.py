"""How widgets are laid out: rows and columns of labelled controls, and the tab order."""

from collections.abc import Iterator
from itertools import pairwise

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import (
    QBoxLayout,
    QHBoxLayout,
    QLayout,
    QScrollArea,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.widgets.flow_layout import FlowLayout
from metaviz.gui.widgets.plain_text import PlainLabel

Part = QWidget | QLayout | str | tuple[str, QWidget] | None
"""A widget, a layout, a text, a control with its label before it, or None for what room is left."""


def fill(layout: QBoxLayout, *parts: Part, stretch: QWidget | QLayout | None = None) -> None:
    """Put parts into a layout; one of them may take what room is left."""
    for part in parts:
        if part is None:
            layout.addStretch(1)
        elif isinstance(part, QLayout):
            layout.addLayout(part, int(part is stretch))
        elif isinstance(part, tuple):
            label = PlainLabel(part[0])
            label.setBuddy(part[1])
            fill(layout, label, part[1], stretch=stretch)
        else:
            widget = PlainLabel(part) if isinstance(part, str) else part
            layout.addWidget(widget, int(widget is stretch))


def row(
    *parts: Part,
    spacing: int = 8,
    stretch: QWidget | None = None,
    inside: QWidget | None = None,
    margins: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> QHBoxLayout:
    """Return parts side by side, with margins within a widget where one is given."""
    made = QHBoxLayout(inside) if inside is not None else QHBoxLayout()
    if inside is not None:
        made.setContentsMargins(*margins)
    made.setSpacing(spacing)
    fill(made, *parts, stretch=stretch)
    return made


def flow(
    *parts: QWidget | str | tuple[str, QWidget],
    spacing: int = 8,
    stretch: QWidget | None = None,
    inside: QWidget | None = None,
) -> FlowLayout:
    """Return controls side by side, in several rows where there is too little room for one.

    A control stays beside its label; the one that is stretched takes what room its row leaves.
    """
    made = FlowLayout(inside, spacing=spacing)
    for part in parts:
        widget = _labelled(part) if isinstance(part, tuple) else part
        widget = PlainLabel(widget) if isinstance(widget, str) else widget
        made.addWidget(widget)
        whole = part[1] if isinstance(part, tuple) else part
        if stretch is not None and whole is stretch:
            made.stretched = widget
    return made


def _labelled(part: tuple[str, QWidget]) -> QWidget:
    """Return a widget with a control and its label, which is there as long as the control is."""
    box = Labelled(part[1])
    row(part, spacing=4, stretch=part[1], inside=box)
    return box


class Labelled(QWidget):
    """A control with its label, both hidden where the control is."""

    def __init__(self, control: QWidget) -> None:
        """Follow a control."""
        super().__init__()
        control.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Appear and vanish with the control."""
        if event.type() in {QEvent.Type.ShowToParent, QEvent.Type.HideToParent}:
            self.setVisible(event.type() == QEvent.Type.ShowToParent)
        return super().eventFilter(watched, event)


def column(
    widget: QWidget | None,
    *parts: Part,
    stretch: QWidget | QLayout | None = None,
    margins: tuple[int, int, int, int] = (0, 0, 0, 0),
    spacing: int | None = None,
) -> QWidget:
    """Put parts below each other into a widget, or into a new one for None."""
    widget = widget or QWidget()
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(*margins)
    if spacing is not None:
        layout.setSpacing(spacing)
    fill(layout, *parts, stretch=stretch)
    return widget


def alternatives(*widgets: QWidget, parent: QWidget) -> tuple[QWidget, QStackedLayout]:
    """Return a widget that shows one of some others, and the layout that chooses which."""
    box = QWidget(parent)
    layout = QStackedLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return box, layout


def order_tabs(widget: QWidget) -> None:
    """Set the tab order by the layouts, also where widgets were inserted later."""
    for before, after in pairwise(_in_order(widget)):
        QWidget.setTabOrder(before, after)


def _in_order(widget: QWidget) -> Iterator[QWidget]:
    if isinstance(widget, QScrollArea):
        content = widget.widget()
        if content is not None:
            yield from _in_order(content)
        return
    if widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
        yield widget
        return
    layout = widget.layout()
    if layout is not None:
        yield from _of_layout(layout)


def _of_layout(layout: QLayout) -> Iterator[QWidget]:
    for place in range(layout.count()):
        item = layout.itemAt(place)
        inner, child = (item.layout(), item.widget()) if item is not None else (None, None)
        if inner is not None:
            yield from _of_layout(inner)
        elif child is not None:
            yield from _in_order(child)
