"""How pages are laid out: rows of labelled controls, splitters, sliders and tables to read."""

from collections.abc import Sequence
from typing import TypeVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QBoxLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QSlider,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

Part = QWidget | QBoxLayout | str | tuple[str, QWidget] | None
"""A widget, a layout, a text, a control with its label before it, or None for what room is left."""


def fill(layout: QBoxLayout, *parts: Part, stretch: QWidget | QBoxLayout | None = None) -> None:
    """Put parts into a layout; one of them may take what room is left."""
    for part in parts:
        if part is None:
            layout.addStretch(1)
        elif isinstance(part, QBoxLayout):
            layout.addLayout(part, int(part is stretch))
        elif isinstance(part, tuple):
            label = QLabel(part[0])
            label.setBuddy(part[1])
            fill(layout, label, part[1], stretch=stretch)
        else:
            widget = QLabel(part) if isinstance(part, str) else part
            layout.addWidget(widget, int(widget is stretch))


def row(
    *parts: Part, spacing: int = 8, stretch: QWidget | None = None, inside: QWidget | None = None
) -> QHBoxLayout:
    """Return parts side by side, within a widget where one is given."""
    made = QHBoxLayout(inside) if inside is not None else QHBoxLayout()
    if inside is not None:
        made.setContentsMargins(0, 0, 0, 0)
    made.setSpacing(spacing)
    fill(made, *parts, stretch=stretch)
    return made


def column(
    widget: QWidget | None,
    *parts: Part,
    stretch: QWidget | QBoxLayout | None = None,
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


def page(widget: QWidget, *parts: Part, stretch: QWidget, spacing: int | None = None) -> None:
    """Lay a page out, with the margins that all pages have."""
    column(widget, *parts, stretch=stretch, margins=(6, 6, 6, 2), spacing=spacing)


def split(
    name: str, *widgets: QWidget, upright: bool = False, sizes: Sequence[int] = ()
) -> QSplitter:
    """Return widgets side by side, or below each other, with edges that a person can move."""
    made = QSplitter(Qt.Orientation.Vertical if upright else Qt.Orientation.Horizontal)
    made.setObjectName(name)
    for widget in widgets:
        made.addWidget(widget)
    made.setChildrenCollapsible(False)
    if sizes:
        made.setSizes(list(sizes))
    return made


Widget = TypeVar("Widget", bound=QWidget)


def named(widget: Widget, name: str, title: str = "", tip: str = "") -> Widget:
    """Give a widget its object name, its name for screen readers and its tip."""
    widget.setObjectName(name)
    widget.setAccessibleName(title)
    widget.setToolTip(tip)
    widget.setStatusTip(tip)
    return widget


def slider(
    name: str, title: str, tip: str, *, transient: bool = False, ticks: bool = False
) -> QSlider:
    """Return a slider; a transient one is not remembered."""
    made = named(QSlider(Qt.Orientation.Horizontal), name, title, tip)
    if transient:
        made.setProperty("transient", True)
        made.setPageStep(1)
    if ticks:
        made.setTickPosition(QSlider.TickPosition.TicksBelow)
    return made


def follow(made: QSlider, last: int) -> None:
    """Let a slider reach the last place, and stay at the newest if it was there; emits nothing."""
    newest = made.value() == made.maximum()
    made.blockSignals(True)
    made.setMaximum(max(0, last))
    if newest:
        made.setValue(made.maximum())
    made.blockSignals(False)
    made.setEnabled(last > 0)


def plain_label(name: str, text: str = "", title: str = "", *, wraps: bool = True) -> QLabel:
    """Return a label that shows its text as it is; without wrapping it may be cut."""
    label = named(QLabel(text), name, title)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(wraps)
    if not wraps:
        label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


class ReadTable(QTableWidget):
    """A table to read, whose columns explain themselves."""

    def __init__(self, name: str, title: str, columns: Sequence[tuple[str, str]]) -> None:
        """Show no rows under columns with a title and a tip."""
        super().__init__()
        named(self, name, title)
        self.setAlternatingRowColors(True)
        self.setTabKeyNavigation(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.set_columns(columns)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.horizontalHeader().setStretchLastSection(True)

    def set_columns(self, columns: Sequence[tuple[str, str]]) -> None:
        """Name the columns: a title and a tip each."""
        self.setColumnCount(len(columns))
        for at, (text, tip) in enumerate(columns):
            header = QTableWidgetItem(text)
            header.setToolTip(tip)
            self.setHorizontalHeaderItem(at, header)

    def put(
        self, place: int, at: int, text: str, *, number: bool, tip: str = ""
    ) -> QTableWidgetItem:
        """Write a cell; numbers stand on the right."""
        item = QTableWidgetItem(text)
        item.setToolTip(tip)
        if number:
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(place, at, item)
        return item
