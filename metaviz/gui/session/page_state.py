"""How the plots are looked at: what a person sets in the tabs' toolbars, by object name."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QSlider, QSpinBox, QWidget

from metaviz.gui.pages.page import Tab
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.session.shown_runs import ShownRuns

Control = QComboBox | QCheckBox | QSlider | QSpinBox
Value = bool | int | str
_KINDS = (QComboBox, QCheckBox, QSlider, QSpinBox)
_INSIDE = "qt_"


def controls(page: QWidget) -> Iterator[Control]:
    """Yield the named controls of a page; those marked as transient are left out."""
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


class PageStates(QObject):
    """Sets the controls of each page as they were left, once the page shows its runs."""

    def __init__(self, tabs: Tabs, shown: ShownRuns) -> None:
        """Remember nothing yet."""
        super().__init__(tabs)
        self._tabs, self._shown = tabs, shown
        self._left: dict[str, dict[str, Value]] = {}
        """What could not be set yet, as pages or runs were missing, by page and control."""
        tabs.shown.connect(self._restore_page)

    def state(self) -> dict[str, dict[str, Value]]:
        """Return what every control is set to, by the page's export name and object name."""
        found = dict(self._left)
        for name, page in self._tabs.made_pages().items():
            found[name] = {
                control.objectName(): read_control(control)
                for control in controls(page)
                if not (isinstance(control, QComboBox) and control.count() == 0)
            } | found.get(name, {})
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take what `state` returned, to be set as pages show their runs."""
        self._left = {
            str(name): {str(k): v for k, v in page.items() if isinstance(v, bool | int | str)}
            for name, page in state.items()
            if isinstance(page, Mapping)
        }

    @Slot(object)
    def _restore_page(self, page: Tab) -> None:
        """Set a page; what waits for its runs is tried again with them."""
        name = page.export_name
        values = self._left.pop(name, {})
        left = {
            key: values[key]
            for control in controls(cast("QWidget", page))
            if (key := control.objectName()) in values and not show_control(control, values[key])
        }
        if left and not self._shown.is_complete:
            self._left[name] = left
