"""Small controls of plots: a choice and a switch, named for screen readers."""

from PySide6.QtWidgets import QCheckBox, QComboBox


def combo(name: str, title: str, choices: dict[str, str]) -> QComboBox:
    """Return a choice of values (the items' data) with their texts."""
    box = QComboBox()
    box.setObjectName(name)
    box.setAccessibleName(title)
    box.setToolTip(title)
    for value, text in choices.items():
        box.addItem(text, value)
    return box


def switch(name: str, text: str, tip: str) -> QCheckBox:
    """Return a switch."""
    box = QCheckBox(text)
    box.setObjectName(name)
    box.setToolTip(tip)
    box.setAccessibleName(text.replace("&", ""))
    return box
