"""The rail: one button for each group of views, beside the plots in every state."""

from collections.abc import Callable

from PySide6.QtCore import QSize, Qt, Slot
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QSizePolicy, QToolBar, QToolButton, QWidget

from metaviz.gui.pages.page_registry import GROUPS
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.widgets.commands import Actions, shortcut_text
from metaviz.gui.widgets.controls import spoken

_ICON = QSize(24, 24)
_PADDING = 10


class ViewRail(QToolBar):
    """Opens groups of views, and shows which one is in front."""

    def __init__(
        self, actions: Actions, tabs: Tabs, leave: Callable[[], object], parent: QWidget
    ) -> None:
        """Make the buttons; `leave` brings the plots to the front where they are covered."""
        super().__init__("Views", parent)
        self.setObjectName("rail")
        self.setAccessibleName("Groups of views")
        self.setMovable(False)
        self.setOrientation(Qt.Orientation.Vertical)
        self.setIconSize(_ICON)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        self._actions, self._tabs, self._leave = actions, tabs, leave
        self._group = QActionGroup(self)
        for group in GROUPS:
            action = self._group.addAction(actions[f"group_{group}"])
            action.setData(group)
            self.addAction(action)
            button = self.widgetForAction(action)
            if isinstance(button, QToolButton):
                button.setObjectName(f"rail_{group}")
                button.setAccessibleName(spoken(action.text()))
                button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
                button.setFixedWidth(self._width())
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self._group.triggered.connect(self._open)
        tabs.groups_changed.connect(self.show_groups)
        self.show_groups()

    def _width(self) -> int:
        """Return the width that the longest title needs."""
        titles = (spoken(self._actions[f"group_{group}"].text()) for group in GROUPS)
        return max(map(self.fontMetrics().horizontalAdvance, titles)) + _PADDING

    @Slot()
    def show_groups(self) -> None:
        """Mark the group in front; those that have nothing to open say why."""
        for action in self._group.actions():
            has_views = self._tabs.has_views(action.data())
            action.setVisible(has_views)
            reason = self._tabs.why_closed(action.data()) if has_views else "There is no view."
            tip = f"{action.statusTip()} ({shortcut_text(action)})"
            self._actions.allow(action.objectName().removeprefix("action_"), reason, tip)
            action.setChecked(action.data() == self._tabs.group)

    @Slot(object)
    def _open(self, action: QAction) -> None:
        self._leave()
        self._tabs.open_group(action.data())
        self.show_groups()
