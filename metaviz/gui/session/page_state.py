"""How the plots are looked at: what a person sets in the tabs' toolbars, by object name."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QCheckBox, QComboBox, QSlider, QSpinBox, QWidget

from metaviz.gui.pages.page import PlotPage
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.session.shown_runs import ShownRuns
from metaviz.gui.widgets.controls import Control, Value, read_control, show_control

_KINDS = (QComboBox, QCheckBox, QSlider, QSpinBox)
_INSIDE = "qt_"


def controls(page: QWidget) -> Iterator[Control]:
    """Yield the named controls of a page; those marked as transient are left out."""
    for kind in _KINDS:
        for widget in page.findChildren(kind):
            name = widget.objectName()
            if name and not name.startswith(_INSIDE) and not widget.property("transient"):
                yield cast("Control", widget)


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
    def _restore_page(self, page: PlotPage) -> None:
        """Set a page; what waits for its runs is tried again with them."""
        name = page.export_name
        values = self._left.pop(name, {})
        left = {
            key: values[key]
            for control in controls(page)
            if (key := control.objectName()) in values and not show_control(control, values[key])
        }
        if left and not self._shown.is_complete:
            self._left[name] = left
