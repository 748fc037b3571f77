"""The line above the runs table: search, columns, groups, baseline, trash."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QHBoxLayout, QMenu, QToolButton, QWidget

from metaviz.gui.runs.search_field import SearchField
from metaviz.gui.widgets.editors import ChoiceBox
from metaviz.runs.table.groups import INTERVAL_TIPS, INTERVALS, Interval, Result
from metaviz.runs.table.summary import Entry

_SEED_ONLY = "All but the seed"


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
        known: Sequence[str],
        parent: QWidget,
    ) -> None:
        """Offer `keys` to group by; searches know hyperparameters of `entries` and `known`."""
        super().__init__(parent)
        self._keys = keys
        self.group_keys: tuple[str, ...] | None = ()
        self.search = SearchField(entries, known, self)
        self.columns = self._button(
            "runs_columns", "Columns", "Choose which columns there are, and their order."
        )
        self.columns.clicked.connect(self.columns_requested)
        self.differing = self._button(
            "runs_differing",
            "≠",
            "Only differing: of all hyperparameters show exactly those in which the listed runs "
            "differ; absent is a value of its own.",
            "Only differing",
            checkable=True,
        )
        self.differing.toggled.connect(self.differing_requested)
        self.group = self._button(
            "runs_group", "Group", "Put runs together that differ in their seed only, or by keys."
        )
        self._group_menu = self._menu(self.group, self._fill_groups)
        self.interval = ChoiceBox(self)
        self.interval.setObjectName("runs_interval")
        self.interval.setAccessibleName("Interval of groups")
        for place, (key, text) in enumerate(INTERVALS.items()):
            self.interval.addItem(text, key)
            tip = INTERVAL_TIPS[key]
            self.interval.setItemData(place, tip, Qt.ItemDataRole.ToolTipRole)
        self.interval.setToolTip("Which interval over the runs of a group stands behind ±.")
        self.interval.setStatusTip(self.interval.toolTip())
        self.interval.setMinimumContentsLength(7)
        self.interval.currentIndexChanged.connect(self._on_interval)
        self.interval.hide()
        self.baseline = self._button(
            "runs_baseline", "Δ", "Which result is compared with the baseline.", "Baseline"
        )
        self._result = self._fill_baseline(self._menu(self.baseline, None))
        self.trash = self._button(
            "runs_trash", "Trash", "Show the runs in the trash instead.", checkable=True
        )
        self.trash.toggled.connect(self.trash_requested)
        self.brushed = self._button(
            "runs_brushed",
            "Brushed ✕",
            "Only runs that are brushed on the Compare page are listed; a click lists all again.",
            "List runs that are not brushed, too",
        )
        self.brushed.clicked.connect(self.brushes_cleared)
        self.brushed.hide()
        row = QHBoxLayout(self)
        row.setContentsMargins(2, 2, 2, 2)
        row.setSpacing(2)
        row.addWidget(self.search, 1)
        row.addWidget(self.brushed, 0, Qt.AlignmentFlag.AlignTop)
        rest = (self.columns, self.differing, self.group, self.interval, self.baseline, self.trash)
        for widget in rest:
            row.addWidget(widget, 0, Qt.AlignmentFlag.AlignTop)

    def show_grouping(self, keys: Sequence[str] | None) -> None:
        """Show on the buttons how runs are grouped."""
        self.group_keys = None if keys is None else tuple(keys)
        self.interval.setVisible(self.group_keys != ())
        told = ", ".join(keys or ()) or ("all but the seed" if keys is None else "nothing")
        self.group.setText("Group" if self.group_keys == () else "Grouped")
        self.group.setToolTip(f"Grouped by: {told}.")

    def show_interval(self, interval: Interval) -> None:
        """Choose an interval without emitting a request."""
        blocked = self.interval.blockSignals(True)
        self.interval.setCurrentIndex(self.interval.findData(interval))
        self.interval.blockSignals(blocked)

    def show_result(self, result: Result) -> None:
        """Choose the compared result without emitting a request."""
        for action in self._result.actions():
            action.setChecked(action.data() == result)

    def _on_interval(self) -> None:
        self.interval_requested.emit(str(self.interval.currentData()))

    def _button(
        self, name: str, text: str, tip: str, spoken: str = "", *, checkable: bool = False
    ) -> QToolButton:
        button = QToolButton(self)
        button.setObjectName(name)
        button.setText(text)
        button.setAccessibleName(spoken or text)
        button.setToolTip(tip)
        button.setStatusTip(tip)
        button.setCheckable(checkable)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        return button

    def _menu(self, button: QToolButton, fill: Callable[[], None] | None) -> QMenu:
        menu = QMenu(button)
        menu.setObjectName(f"{button.objectName()}_menu")
        menu.setToolTipsVisible(True)
        if fill is not None:
            menu.aboutToShow.connect(fill)
        button.setMenu(menu)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        return menu

    def _fill_groups(self) -> None:
        menu = self._group_menu
        menu.clear()
        for text, keys in (("Do not group", ()), (_SEED_ONLY, None)):
            action = menu.addAction(text)
            action.setCheckable(True)
            action.setChecked(self.group_keys == keys)
            action.setData(keys)
            action.triggered.connect(self._on_whole_choice)
        menu.addSeparator()
        for key in self._keys():
            action = menu.addAction(key)
            action.setCheckable(True)
            action.setChecked(key in (self.group_keys or ()))
            action.triggered.connect(self._on_key)

    def _on_whole_choice(self) -> None:
        chosen = self.sender()
        if isinstance(chosen, QAction):
            keys = None if chosen.text() == _SEED_ONLY else ()
            self.grouping_requested.emit(keys)

    def _on_key(self) -> None:
        chosen = self.sender()
        if isinstance(chosen, QAction):
            keys = [key for key in self.group_keys or () if key != chosen.text()]
            if chosen.isChecked():
                keys.append(chosen.text())
            self.grouping_requested.emit(tuple(keys))

    def _fill_baseline(self, menu: QMenu) -> QActionGroup:
        group = QActionGroup(self)
        for result in ("loss", "accuracy"):
            action = menu.addAction(f"Compare {result}")
            action.setObjectName(f"action_compare_{result}")
            action.setCheckable(True)
            action.setData(result)
            action.triggered.connect(self._on_result)
            group.addAction(action)
        menu.addSeparator()
        clear = menu.addAction("No baseline")
        clear.setObjectName("action_no_baseline")
        clear.setToolTip("Take the column of differences away.")
        clear.triggered.connect(self.baseline_cleared)
        return group

    def _on_result(self) -> None:
        chosen = self.sender()
        if isinstance(chosen, QAction):
            self.result_requested.emit(str(chosen.data()))
