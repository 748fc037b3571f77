"""The line above the runs table: search, columns, groups, baseline, trash."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QMenu, QToolButton, QWidget

from metaviz.gui.plotting.group_menu import add_keys
from metaviz.gui.runs.search_field import SearchField
from metaviz.gui.widgets.controls import (
    choose_silently,
    menu_button,
    menu_choice,
    named,
    toggled_keys,
    tool_button,
)
from metaviz.gui.widgets.editors import ChoiceBox
from metaviz.gui.widgets.layouts import fill, flow
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.runs.table.columns import Columns
from metaviz.runs.table.groups import INTERVAL_TIPS, INTERVALS, Interval, Result
from metaviz.runs.table.summary import Entry

_SEARCH_WIDTH = 240


class RunsToolbar(QWidget):
    """Buttons and the search field; they only emit requests."""

    columns_requested = Signal()
    differing_requested = Signal(bool)
    grouping_requested = Signal(object)
    interval_requested = Signal(str)
    result_requested = Signal(str)
    baseline_cleared = Signal()
    trash_requested = Signal(bool)
    brushes_cleared = Signal()

    def __init__(
        self,
        entries: Callable[[], Sequence[Entry]],
        keys: Callable[[], list[str]],
        columns: Columns,
        parent: QWidget,
    ) -> None:
        """Offer `keys` to group by; searches know hyperparameters of `entries` and `columns`."""
        super().__init__(parent)
        self._keys, self._columns = keys, columns
        self.group_keys: tuple[str, ...] | None = ()
        self.search = SearchField(entries, columns.spec_keys(), self)
        self.columns = tool_button(
            "runs_columns", "Columns", "Choose which columns there are, and their order."
        )
        self.columns.clicked.connect(self.columns_requested)
        self.differing = tool_button(
            "runs_differing",
            "Differing",
            "Only differing: of all hyperparameters show exactly those in which the listed runs "
            "differ; a run without the setting counts as different.",
            "Only differing",
        )
        self.differing.setCheckable(True)
        self.differing.toggled.connect(self.differing_requested)
        self.group = tool_button(
            "runs_group", "Group", "Put runs together that differ in their seed only, or by keys."
        )
        self._group_menu = self._menu(self.group)
        self._group_menu.aboutToShow.connect(self._fill_groups)
        self._group_menu.triggered.connect(self._on_group)
        self.interval = named(
            ChoiceBox(self),
            "runs_interval",
            "Interval of groups",
            "Which interval over the runs of a group stands behind ±.",
        )
        for place, (key, text) in enumerate(INTERVALS.items()):
            self.interval.addItem(text, key)
            tip = INTERVAL_TIPS[key]
            self.interval.setItemData(place, tip, Qt.ItemDataRole.ToolTipRole)
        self.interval.setMinimumContentsLength(7)
        self.interval.currentIndexChanged.connect(self._on_interval)
        self.interval.hide()
        self.baseline = tool_button(
            "runs_baseline", "Baseline", "Which result is compared with the baseline.", "Baseline"
        )
        self._result = self._fill_baseline(self._menu(self.baseline))
        self.trash = tool_button("runs_trash", "Trash", "Show the runs in the trash instead.")
        self.trash.setCheckable(True)
        self.trash.toggled.connect(self.trash_requested)
        self.brushed = tool_button(
            "runs_brushed",
            "Brushed ✕",
            "Only runs that are brushed on the Compare page are listed; a click lists all again.",
            "List runs that are not brushed, too",
        )
        self.brushed.clicked.connect(self.brushes_cleared)
        self.brushed.hide()
        rest = (self.columns, self.differing, self.group, self.interval, self.baseline, self.trash)
        buttons = (self.brushed, *rest)
        self._layout = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._layout.setContentsMargins(4, 4, 4, 4)
        self._layout.setSpacing(4)
        self._row = QWidget(self)
        self._row.setLayout(flow(*buttons, spacing=4))
        fill(self._layout, self.search, self._row, stretch=self.search)
        self._layout.setAlignment(self._row, Qt.AlignmentFlag.AlignTop)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put the search above the buttons where there is no room beside them."""
        super().resizeEvent(event)
        direction = QBoxLayout.Direction
        is_wide = event.size().width() > self._row.sizeHint().width() + _SEARCH_WIDTH
        self._layout.setDirection(direction.LeftToRight if is_wide else direction.TopToBottom)

    def minimumSizeHint(self) -> QSize:
        """Ask for the width of search and buttons one above the other."""
        hint = super().minimumSizeHint()
        wide = max(self._row.minimumSizeHint().width(), self.search.minimumSizeHint().width())
        return QSize(wide + 8, hint.height())

    def show_grouping(self, keys: Sequence[str] | None) -> None:
        """Show on the buttons how runs are grouped."""
        self.group_keys = None if keys is None else tuple(keys)
        self.interval.setVisible(self.group_keys != ())
        told = ", ".join(keys or ()) or ("all but the seed" if keys is None else "nothing")
        self.group.setText("Group" if self.group_keys == () else "Grouped")
        self.group.setToolTip(plain_tip(f"Grouped by: {told}."))

    def show_interval(self, interval: Interval) -> None:
        """Choose an interval without emitting a request."""
        choose_silently(self.interval, interval)

    def show_result(self, result: Result) -> None:
        """Choose the compared result without emitting a request."""
        for action in self._result.actions():
            action.setChecked(action.data() == result)

    def _on_interval(self) -> None:
        self.interval_requested.emit(str(self.interval.currentData()))

    def _menu(self, button: QToolButton) -> QMenu:
        menu = menu_button(button)
        menu.setObjectName(f"{button.objectName()}_menu")
        return menu

    def _fill_groups(self) -> None:
        menu, chosen = self._group_menu, self.group_keys
        menu.clear()
        menu_choice(menu, "Do not group", (), checked=chosen == ())
        menu_choice(menu, "All but the seed", None, checked=chosen is None)
        menu.addSeparator()
        add_keys(menu, self._keys(), chosen, self._columns)

    def _on_group(self, action: QAction) -> None:
        self.grouping_requested.emit(toggled_keys(self.group_keys, action))

    def _fill_baseline(self, menu: QMenu) -> QActionGroup:
        group = QActionGroup(self)
        for result in ("loss", "accuracy"):
            action = menu_choice(menu, f"Compare {result}", result, checked=False)
            action.setObjectName(f"action_compare_{result}")
            group.addAction(action)
        group.triggered.connect(self._on_result)
        menu.addSeparator()
        clear = menu.addAction("No baseline")
        clear.setObjectName("action_no_baseline")
        clear.setToolTip("Take the column of differences away.")
        clear.triggered.connect(self.baseline_cleared)
        return group

    def _on_result(self, action: QAction) -> None:
        self.result_requested.emit(str(action.data()))
