"""Groups of runs compared: curves with bands beside a table, and their hyperparameters."""

from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QMenu, QStackedWidget, QToolButton, QWidget

from metaviz.charts.values import Lines, Parallel
from metaviz.gui.pages.compare_controls import CompareControls
from metaviz.gui.pages.compare_plot import ComparePlot, CompareWorker, Ready, Request
from metaviz.gui.pages.compare_table import GroupTable
from metaviz.gui.pages.layouts import column, page, split
from metaviz.gui.pages.page import PlotPage
from metaviz.gui.pages.parallel_page import ParallelPage
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import make_bold, text_label, tool_button
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.comparison import ComparisonView, compared, usual_view
from metaviz.runs.analysis.curve_charts import comparison_chart
from metaviz.runs.analysis.pooled import profile_chart
from metaviz.runs.analysis.smoothing import few_points_text
from metaviz.runs.model.record import Record
from metaviz.runs.table.columns import Columns
from metaviz.runs.table.groups import BASIC
from metaviz.runs.table.summary import entry_of

EMPTY = (
    "Tick runs in the Runs table: those that differ in their seed only become one curve.\n"
    "The band is the interval over them."
)
NO_TASKS = "A profile is of evaluations: choose an evaluated quantity above, of runs that have one."
NOTHING = "No shown run has recorded this: choose another quantity above."
WAITING = "The shown runs have not recorded this yet. It is drawn as soon as they have."
_NO_TEST = (
    "Nothing is tested: that takes two groups of several seeds, or of one seed that both have."
)
_SOON_MS, _LIVE_MS = 60, 200
_ROOMY = 380
_CURVES, _GROUPS, _PARALLEL, _PROFILE = range(4)
_SEGMENTS = (
    ("Curves", "Curves", "Means of groups with bands."),
    ("TableOnly", "Groups", "The table of groups."),
    ("Parallel", "Parallel", "Every run as a line over its hyperparameters."),
    (
        *("Profile", "Profile"),
        "Performance profile: for each τ the share of tasks, over all runs, at least so good.",
    ),
)
# Fusion shows on a dark ground hardly which one is pressed.
_PRESSED = (
    "QToolButton:checked { background: palette(highlight);"
    " color: palette(highlighted-text); border-radius: 3px; padding: 3px }"
)


class CompareTab(PlotPage):
    """Compares the shown runs. `drawn` is emitted when the plot shows what is chosen."""

    view_changed = Signal()
    drawn = Signal()
    brushed = Signal(object)
    export_name = "comparison"
    live = True

    def __init__(self, columns: Columns | None = None, parent: QWidget | None = None) -> None:
        """Show nothing yet; columns give hyperparameters their titles."""
        super().__init__("compare", parent)
        self.shown: Ready | None = None
        """What is drawn now."""
        self._view: ComparisonView | None = None
        self._in_parallel = False
        self.columns = columns or Columns()
        self.controls = CompareControls(self._group_keys, self.columns, self)
        self.groups = GroupTable(self.controls.statistic, self)
        self.plot = ComparePlot(self.groups.baseline, self)
        self.plot.show_chart(Lines(id="comparison", message=EMPTY))
        self.readout = text_label("compareReadout", "Numbers at the pointer")
        self.readout.setMinimumHeight(2 * self.fontMetrics().height() + 2)
        self.readout.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.verdict = make_bold(text_label("compareVerdict", "What the numbers allow to say"))
        self.verdict.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.verdict.setVisible(False)
        self.parallel = ParallelPage(self.columns, self)
        self.profile = ChartView(
            "compareProfilePlot", "Share of tasks that are at least so good", self
        )
        self.profile_hint = text_label("compareProfileHint", "What the profile shows")
        self._work = CompareWorker(self)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._lay_out()
        self._connect()

    @property
    def view(self) -> ComparisonView:
        """What is compared, and how."""
        return self.controls.view()

    @property
    def busy(self) -> bool:
        """Whether something that was chosen is not drawn yet."""
        return self._work.busy or self._soon.isActive()

    def show_records(self, records: list[Record]) -> None:
        """Show these runs."""
        if self._in_parallel or self.parallel.plot.brushes:
            self.parallel.show_records(records)
        super().show_records(records)

    def drawing(self) -> list[Piece]:
        """Return what compares what has been recorded until now, once the page is in front."""
        return [self._follow]

    def _follow(self) -> None:
        if not self.isVisible():
            self._soon.stop()
        elif all(record.ended for record in self._records):
            self._ask()
        elif not self._soon.isActive():
            self._soon.start(_LIVE_MS)

    def showEvent(self, event: Any) -> None:
        """Compare what came while another page was in front."""
        super().showEvent(event)
        self._ask()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Thin the curves to the new width."""
        super().resizeEvent(event)
        self._arrange()
        self._ask_soon()

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        super().apply_theme(theme)
        if self.shown is not None:
            self._show(self.shown)

    def offer_views(self, menu: QMenu) -> None:
        """Offer saved views."""
        tip = "Keep this choice under a name, or bring another back."
        button = tool_button("compareViews", "Views", tip, "Saved views")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setMenu(menu)
        self.controls.add_to_second_row(button)

    def shown_chart(self) -> Lines | Parallel:
        """Return what is in front: curves, a profile, or runs over their hyperparameters."""
        if self._segments.checkedId() == _PROFILE and self.shown is not None:
            return profile_chart(self.shown.curves, NO_TASKS)
        return (self._in_parallel and self.parallel_chart()) or self.chart()

    def parallel_chart(self) -> Parallel | None:
        """Return runs over their hyperparameters; None before somebody looked at them."""
        chart = self.parallel.plot.figure()
        return chart if chart.axes else None

    def chart(self) -> Lines:
        """Return what is compared, in full detail."""
        view = self.exported_view()
        return comparison_chart(compared(self._records, view), view)

    def exported_view(self) -> ComparisonView:
        """Return what is compared, or what is usual where the page was not looked at yet."""
        # Asked from the thread that exports, too: no widget is read.
        return self._view or usual_view(self._records)

    def state(self) -> dict[str, Any]:
        """Return the choice as plain values."""
        return {
            **self.controls.state(),
            "baseline": self.groups.base_label,
            "level": self.groups.level.text(),
            "page": self._segments.checkedId(),
            "result": self.parallel.result.currentData(),
            "order": self.parallel.plot.order,
        }

    def restore(self, values: dict[str, Any]) -> None:
        """Take remembered values; those that make no sense are passed over."""
        self.controls.restore(values)
        self.groups.level.setText(str(values.get("level", ""))[:20])
        self.groups.use_base(str(values.get("baseline", "")))
        found = self.parallel.result.findData(values.get("result", ""))
        self.parallel.result.setCurrentIndex(max(0, found))
        order = values.get("order")
        if isinstance(order, list) and all(isinstance(key, str) for key in order):
            self.parallel.plot.use_order(order)
        page = values.get("page")
        buttons = self._segments.buttons()
        if isinstance(page, int) and 0 <= page < len(buttons):
            buttons[page].click()

    def _lay_out(self) -> None:
        self._above = column(None, self.plot, self.readout, stretch=self.plot, spacing=0)
        self.split = split("compareSplit", self._above, self.groups, upright=True)
        self.split.setStretchFactor(0, 3)
        self.split.setStretchFactor(1, 1)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.split)
        self.pages.addWidget(self.parallel)
        told = column(None, self.profile, self.profile_hint, stretch=self.profile, spacing=0)
        self.pages.addWidget(told)
        self._segments = QButtonGroup(self)
        for place, (name, text, tip) in enumerate(_SEGMENTS):
            button = tool_button(f"compare{name}", text, tip)
            button.setCheckable(True)
            button.setStyleSheet(_PRESSED)
            button.setChecked(place == 0)
            self._segments.addButton(button, place)
            self.controls.add_to_first_row(button)
        page(self, self.controls, self.verdict, self.pages, stretch=self.pages)

    def _connect(self) -> None:
        self.controls.changed.connect(self._ask)
        self.controls.changed.connect(self.view_changed)
        self.plot.read.connect(self.readout.setText)
        self.plot.brushed.connect(self._ask_soon)
        self.groups.base_changed.connect(self.plot.show_numbers)
        self._work.ready.connect(self._on_ready)
        self._soon.timeout.connect(self._ask)
        self._segments.idToggled.connect(self._arrange)
        self.parallel.brushed.connect(self.brushed)

    @Slot()
    def _arrange(self, *_segment: object) -> None:
        """Show curves and table together where there is room, or else the one that is chosen."""
        chosen, roomy = self._segments.checkedId(), self.height() >= _ROOMY
        self._segments.button(_GROUPS).setVisible(not roomy)
        if chosen == _GROUPS and roomy:
            self._segments.button(_CURVES).setChecked(True)
            return
        if chosen == _PARALLEL and not self._in_parallel:
            self.parallel.show_records(self._records)
        self._in_parallel = chosen == _PARALLEL
        self.pages.setCurrentIndex({_PARALLEL: 1, _PROFILE: 2}.get(chosen, 0))
        self._show_profile()
        self._above.setVisible(roomy or chosen != _GROUPS)
        self.groups.setVisible(roomy or chosen == _GROUPS)

    def _absent(self) -> str:
        """Say why nothing is drawn."""
        if not self._records:
            return EMPTY
        begun = any(len(record) or record.evaluations for record in self._records)
        waits = not begun and any(not record.ended for record in self._records)
        return WAITING if waits else NOTHING

    def _show_profile(self) -> None:
        if self._segments.checkedId() == _PROFILE and self.shown is not None:
            chart = profile_chart(self.shown.curves, NO_TASKS)
            self.profile.show_chart(chart)
            self.profile_hint.setText(f"{chart.caption[:1].upper()}{chart.caption[1:]}")

    def _group_keys(self) -> list[str]:
        own = dict.fromkeys(
            key for record in self._records for key in entry_of(record, None).values
        )
        return [*BASIC, "tags", *own]

    @Slot()
    def _ask_soon(self, *_span: object) -> None:
        self._soon.start(_SOON_MS)

    @Slot()
    def _ask(self) -> None:
        self._soon.stop()
        if self._in_parallel and not all(record.ended for record in self._records):
            self.parallel.show_records(self._records)
        width, usual = max(self.plot.width(), 1), self.controls.undecided
        if not usual:
            self._view = self.view
        self._work.ask(Request(tuple(self._records), self.view, width, self.plot.span(), usual))

    @Slot(object)
    def _on_ready(self, ready: Ready) -> None:
        again = self.shown is not None and self.shown.curves is ready.curves
        self.shown, self._view = ready, ready.view
        self.controls.offer(ready.measures, ready.view.measure, self._records)
        self._show(ready, again=again)
        self.drawn.emit()

    def _show(self, ready: Ready, *, again: bool = False) -> None:
        """Draw; where the curves are the same `again`, the table is left as it is."""
        if not again:
            self.groups.show_curves(ready, self._theme)
            self.verdict.setText(ready.verdict.sentence)
            self.verdict.setToolTip(plain_tip(ready.verdict.tip or _NO_TEST))
            self.verdict.setVisible(bool(ready.verdict.sentence))
            self._show_profile()
        message = ready.chart.message if ready.curves else self._absent()
        few = few_points_text(ready.view.smoothing, (one.points for one in ready.curves))
        x = replace(ready.chart.x, title=ready.chart.x.title + few)
        self.plot.show_ready(replace(ready, chart=replace(ready.chart, x=x, message=message)))
