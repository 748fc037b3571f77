"""Which letters of a window's texts clash: Alt and the letter would go from one to the next."""

import re
from collections import defaultdict
from collections.abc import Iterator

from PySide6.QtWidgets import (
    QAbstractButton,
    QGroupBox,
    QLabel,
    QMenu,
    QMenuBar,
    QTabBar,
    QToolBar,
    QWidget,
)

_LETTER = re.compile(r"&([^&\s])")


def letter(text: str) -> str:
    """Return the letter that a text is reached by, empty for none."""
    found = _LETTER.search(text.replace("&&", ""))
    return found[1].casefold() if found else ""


def texts(window: QWidget) -> Iterator[str]:
    """Yield the texts of a window whose letters work now."""
    for bar in window.findChildren(QMenuBar):
        yield from (action.text() for action in bar.actions() if action.isVisible())
    for label in window.findChildren(QLabel):
        if _is_live(label, window) and label.buddy() is not None:
            yield label.text()
    for button in window.findChildren(QAbstractButton):
        if _is_live(button, window) and not isinstance(button.parentWidget(), QToolBar):
            yield button.text()
    for group in window.findChildren(QGroupBox):
        if _is_live(group, window):
            yield group.title()
    for tabs in window.findChildren(QTabBar):
        if _is_live(tabs, window):
            yield from (tabs.tabText(at) for at in range(tabs.count()) if tabs.isTabEnabled(at))


def clashes(texts_of_one: Iterator[str] | list[str]) -> dict[str, list[str]]:
    """Return letters that several texts have."""
    found: dict[str, list[str]] = defaultdict(list)
    for text in texts_of_one:
        if letter(text):
            found[letter(text)].append(text)
    return {name: several for name, several in found.items() if len(several) > 1}


def of_menus(window: QWidget) -> dict[str, dict[str, list[str]]]:
    """Return the clashes within each menu of a window."""
    found = {}
    for menu in window.findChildren(QMenu):
        inside = clashes([action.text() for action in menu.actions() if action.isVisible()])
        if inside:
            found[menu.title() or menu.objectName()] = inside
    return found


def _is_live(widget: QWidget, window: QWidget) -> bool:
    return widget.isVisibleTo(window) and widget.window() is window.window() and widget.isEnabled()
