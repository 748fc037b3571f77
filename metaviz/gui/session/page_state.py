"""How the plots are looked at: what a person sets in the tabs' toolbars, by object name."""

from collections.abc import Iterator, Mapping
from typing import cast

from PySide6.QtWidgets import QCheckBox, QComboBox, QSlider, QSpinBox, QWidget

Control = QComboBox | QCheckBox | QSlider | QSpinBox
Value = bool | int | str
_KINDS = (QComboBox, QCheckBox, QSlider, QSpinBox)
_INSIDE = "qt_"


def controls(page: QWidget) -> Iterator[Control]:
    """Yield the named controls of a page; those that only move through time are left out."""
    for kind in _KINDS:
        for widget in page.findChildren(kind):
            name = widget.objectName()
            if name and not name.startswith(_INSIDE) and not widget.property("transient"):
                yield cast("Control", widget)


def read_control(control: Control) -> Value:
    """Return what a control is set to."""
    if isinstance(control, QComboBox):
        data = control.currentData()
        return data if isinstance(data, bool | int | str) else control.currentText()
    return control.isChecked() if isinstance(control, QCheckBox) else control.value()


def show_control(control: Control, value: Value) -> bool:
    """Set a control; return whether it can be set to that."""
    if isinstance(control, QComboBox):
        place = control.findData(value)
        place = place if place >= 0 else control.findText(str(value))
        if place < 0:
            return False
        control.setCurrentIndex(place)
    elif isinstance(control, QCheckBox):
        control.setChecked(bool(value))
    else:
        if isinstance(value, str) or not control.minimum() <= value <= control.maximum():
            return False
        control.setValue(value)
    return True


def read_views(pages: Mapping[str, QWidget]) -> dict[str, dict[str, Value]]:
    """Return what every page's controls are set to."""
    return {
        name: {
            control.objectName(): read_control(control)
            for control in controls(page)
            if not (isinstance(control, QComboBox) and control.count() == 0)
        }
        for name, page in pages.items()
    }


def show_views(
    pages: Mapping[str, QWidget], wanted: Mapping[str, Mapping[str, Value]]
) -> dict[str, dict[str, Value]]:
    """Set controls; return what could not be set, for instance runs that are not shown yet."""
    left: dict[str, dict[str, Value]] = {}
    for name, page in pages.items():
        for control in controls(page):
            values = wanted.get(name, {})
            key = control.objectName()
            if key in values and not show_control(control, values[key]):
                left.setdefault(name, {})[key] = values[key]
    return left
