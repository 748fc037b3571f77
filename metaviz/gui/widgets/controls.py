"""Small controls, named for screen readers: a choice, a switch, a scrolled area."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QFrame, QLabel, QLayout, QScrollArea, QWidget


def text_label(name: str, title: str = "", text: str = "") -> QLabel:
    """Return a label for sentences, which are plain text and wrapped."""
    label = QLabel(text)
    label.setObjectName(name)
    label.setAccessibleName(title)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label


def combo(name: str, title: str, choices: dict[str, str]) -> QComboBox:
    """Return a choice of values (the items' data) with their texts."""
    box = QComboBox()
    box.setObjectName(name)
    box.setAccessibleName(title)
    box.setToolTip(title)
    for value, text in choices.items():
        box.addItem(text, value)
    return box


def offer(box: QComboBox, choices: Mapping[Any, str]) -> None:
    """Offer other values; what was chosen stays chosen where it is still offered. Emits nothing."""
    if [(box.itemData(i), box.itemText(i)) for i in range(box.count())] == list(choices.items()):
        return
    chosen = box.currentData()
    box.blockSignals(True)
    box.clear()
    for value, text in choices.items():
        box.addItem(text, value)
    box.setCurrentIndex(max(0, box.findData(chosen)) if choices else -1)
    box.blockSignals(False)


def switch(name: str, text: str, tip: str) -> QCheckBox:
    """Return a switch."""
    box = QCheckBox(text)
    box.setObjectName(name)
    box.setToolTip(tip)
    box.setAccessibleName(text.replace("&", ""))
    return box


def scrolling(name: str, title: str, content: QWidget) -> QScrollArea:
    """Return an area that scrolls its content up and down where it does not fit."""
    scroll = QScrollArea()
    scroll.setObjectName(name)
    scroll.setAccessibleName(title)
    scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidgetResizable(True)
    scroll.setWidget(content)
    return scroll


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
