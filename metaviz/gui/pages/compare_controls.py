"""What is compared, and how: the two rows of controls above the curves."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QWidget

from metaviz.config.quantities import QUANTITIES, quantity_of
from metaviz.gui.pages.layouts import column, flow
from metaviz.gui.plotting.group_menu import add_keys
from metaviz.gui.widgets.controls import (
    Control,
    ShareSlider,
    choose_silently,
    combo,
    connect_controls,
    enable_only,
    menu_button,
    menu_choice,
    named,
    offer,
    read_fields,
    show_fields,
    switch,
    toggled_keys,
    tool_button,
)
from metaviz.runs.analysis.alignment import BAND_TIPS, BANDS
from metaviz.runs.analysis.comparison import (
    AXES,
    MEASURES,
    STATISTICS,
    ComparisonView,
    measure_of,
)
from metaviz.runs.analysis.pooled import IQM_BAND_TIP, IQM_TIP
from metaviz.runs.model.record import Record
from metaviz.runs.table.columns import Columns

_AXES = {"step": "Meta-step"} | {name: quantity_of(name).label for name in AXES if name != "step"}
_SWITCHES = {
    "log_y": ("compareLogY", "log &y", "Logarithmic vertical axis."),
    "log_x": ("compareLogX", "log &x", "Logarithmic horizontal axis."),
    "robust": (
        "compareRobust",
        "robust range",
        "Fit the axis to most of the values: rare spikes leave the plot, and are counted.",
    ),
    "members": ("compareMembers", "single r&uns", "Show every run of a group as a thin line."),
}


class CompareControls(QWidget):
    """Yields a ComparisonView; `changed` is emitted when it is another."""

    changed = Signal()

    def __init__(
        self, keys: Callable[[], list[str]], columns: Columns, parent: QWidget | None = None
    ) -> None:
        """Offer what there is; `keys` returns what runs can be grouped by."""
        super().__init__(parent)
        self.setObjectName("compareControls")
        self._keys, self._columns = keys, columns
        self._group_keys: tuple[str, ...] | None = None
        self.undecided = True
        """Whether nobody has chosen a quantity yet."""
        self.measure = combo("compareMeasure", "Compared quantity", _short(MEASURES), letters=15)
        self.axis = combo("compareAxis", "Horizontal axis", _AXES, letters=9)
        tip = "Which interval over the runs of a group the band shows."
        self.band = combo("compareBand", "Interval of the band", BANDS, tip, letters=7)
        for place in range(self.band.count()):
            tip = BAND_TIPS[self.band.itemData(place)]
            self.band.setItemData(place, tip, Qt.ItemDataRole.ToolTipRole)
        tip = "What the table shows of where groups end. The curves are means of runs."
        self.statistic = combo("compareStatistic", "Statistic of the table", STATISTICS, tip, 9)
        self.statistic.setItemData(1, f"{IQM_TIP}. {IQM_BAND_TIP}.", Qt.ItemDataRole.ToolTipRole)
        self.group = tool_button("compareGroup", "Group", "")
        self._menu = menu_button(self.group)
        self._menu.setObjectName("compareGroupMenu")
        self._menu.aboutToShow.connect(self.fill_groups)
        self._menu.triggered.connect(self._on_group)
        tip = "Smooth each run by a bias-corrected running mean, then average."
        smoothing = ShareSlider("compareSmoothing", "Smoothing of every run", tip, (40, 140))
        switches = {name: switch(*about) for name, about in _SWITCHES.items()}
        chosen: dict[str, Control] = {"measure": self.measure, "axis": self.axis, "band": self.band}
        chosen["statistic"] = self.statistic
        self._fields = {**chosen, "smoothing": smoothing, **switches}
        self.partly = QAction("Mean wherever two runs have data", self)
        self.partly.setObjectName("comparePartly")
        self.partly.setCheckable(True)
        self.partly.setToolTip("Not only where all runs of a group have data; n says how many.")
        self._first = flow(self.measure, ("over", self.axis), self.band, spacing=6)
        smooth = ("Smoothi&ng", smoothing), smoothing.text
        self._second = flow(*smooth, *switches.values(), self.group, spacing=7)
        column(self, self._first, self._second, spacing=2)
        self._show_group()
        show_fields(self._fields, ComparisonView())
        # Before it is told that there is another choice: until a person has made one it is usual.
        self.measure.currentIndexChanged.connect(self._on_chosen)
        self.measure.activated.connect(self._on_chosen)
        connect_controls(self.changed, *self._fields.values())
        self.partly.toggled.connect(self.changed)

    def view(self) -> ComparisonView:
        """Return what is chosen."""
        chosen = read_fields(self._fields)
        return ComparisonView(**chosen, keys=self._group_keys, partly=self.partly.isChecked())

    def show_view(self, view: ComparisonView) -> None:
        """Show another choice; emits `changed` once."""
        self.undecided = False
        if self.measure.findData(view.measure) < 0:
            self.measure.addItem(_short([view.measure])[view.measure], view.measure)
        with QSignalBlocker(self):
            show_fields(self._fields, view)
            self.partly.setChecked(view.partly)
        self.use_keys(view.keys)

    def state(self) -> dict[str, Any]:
        """Return the choice as plain values."""
        return {**asdict(self.view()), "keys": list(self._group_keys or ()) or self._whole()}

    def restore(self, values: dict[str, Any]) -> None:
        """Take remembered values; unknown ones and those of another kind are passed over."""
        self.show_view(view_of(values))

    def offer(self, measures: list[str], shown: str, records: Sequence[Record] = ()) -> None:
        """Grey out what no run has recorded; until a person has chosen, choose what is shown."""
        chosen = [self.measure.currentData()] if not self.undecided else []
        offer(self.measure, _short(dict.fromkeys([*MEASURES, *chosen, *measures]), records))
        enable_only(self.measure, measures)
        if self.undecided and self.measure.currentData() != shown:
            choose_silently(self.measure, shown)

    def add_to_first_row(self, widget: QWidget) -> None:
        """Put a widget to the right of the first row."""
        self._first.addWidget(widget)

    def add_to_second_row(self, widget: QWidget) -> None:
        """Put a widget after the other controls of the second row."""
        self._second.addWidget(widget)

    def use_keys(self, keys: tuple[str, ...] | None) -> None:
        """Group by other keys; None leaves out the seed only."""
        self._group_keys = keys
        self._show_group()
        self.changed.emit()

    @Slot()
    def fill_groups(self) -> None:
        """Offer the keys that the shown runs have."""
        menu, chosen = self._menu, self._group_keys
        menu.clear()
        for text, keys in (
            ("All but the seed", None),
            ("Every run alone", ("id",)),
            ("All runs", ()),
        ):
            menu_choice(menu, text, keys, checked=chosen == keys)
        menu.addSeparator()
        menu.addAction(self.partly)
        menu.addSeparator()
        add_keys(menu, self._keys(), chosen, self._columns)

    def _whole(self) -> str:
        return "all but the seed" if self._group_keys is None else "all runs"

    def _show_group(self) -> None:
        keys = ", ".join(self._group_keys or ()) or self._whole()
        tip = f"Runs with equal values are one curve. Grouped by: {keys}."
        named(self.group, "compareGroup", f"Group runs by: {keys}", tip)

    @Slot()
    def _on_chosen(self) -> None:
        self.undecided = False

    def _on_group(self, action: QAction) -> None:
        if action is not self.partly:
            self.use_keys(toggled_keys(self._group_keys, action))


def _short(names: Iterable[str], records: Sequence[Record] = ()) -> dict[str, str]:
    """Return the words for measures that a narrow box has room for."""
    found = {}
    for name in names:
        title = measure_of(name, records).title.replace(" adaptation", "")
        title = title.replace(", batch mean", ", batch").replace(", evaluation tasks", ", eval")
        found[name] = title[:1].upper() + title[1:]
        if name.endswith("residual"):
            found[name] = found[name].removesuffix(", batch")
    return found | {n: "Meta-gradient length" for n in found if n == "meta_gradient_norm"}


def view_of(values: dict[str, Any]) -> ComparisonView:
    """Return a view from plain values; what makes no sense is left as usual."""
    view = ComparisonView()
    names = {field.name for field in fields(view)} - {"keys", "smoothing"}
    known_measures = {*MEASURES, *QUANTITIES, *(f"eval_{name}" for name in QUANTITIES)}
    choices: dict[str, Any] = {"axis": AXES, "band": BANDS, "statistic": STATISTICS}
    known: dict[str, Any] = {
        name: values[name]
        for name in names
        if type(values.get(name)) is type(getattr(view, name))
        and values[name] in {**choices, "measure": known_measures}.get(name, values.values())
    }
    keys, smoothing = values.get("keys"), values.get("smoothing")
    if isinstance(keys, list) and all(isinstance(key, str) for key in keys):
        known["keys"] = tuple(keys)
    elif keys == "all runs":
        known["keys"] = ()
    if isinstance(smoothing, int | float) and 0 <= smoothing < 1:
        known["smoothing"] = float(smoothing)
    return replace(view, **known)
