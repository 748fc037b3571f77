"""Held-out tasks: our runs beside published results, and single tasks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLayout, QTableWidgetItem, QTabWidget, QWidget

from metaviz.charts.values import Lines, Scatter
from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.pages.benchmark_table import (
    DIFFERS,
    RESULTS,
    WORST,
    PublishedFilter,
    result_cells,
    worst_cells,
)
from metaviz.gui.pages.layouts import column, flow, named, page, row, split
from metaviz.gui.pages.page import PlotPage, folder_of
from metaviz.gui.pages.protocol_dialog import ProtocolDialog, protocol_text
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import (
    combo,
    connect_controls,
    offer,
    push_button,
    scrolling,
    text_label,
)
from metaviz.gui.widgets.read_table import ReadTable
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.analysis.benchmark import (
    Judged,
    Row,
    judged_runs,
    measure_text,
    newest,
    rows_of,
    same_data,
    task_lists,
    worst_tasks,
)
from metaviz.runs.analysis.needs import INNER_LOOP
from metaviz.runs.analysis.result_charts import benchmark_chart, robustness_chart, tasks_chart
from metaviz.runs.model.evaluation import Judgement, draws_of, draws_text
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record
from metaviz.runs.model.robustness import MOST_TASKS, Robustness, factor_text, stored_robustness
from metaviz.runs.model.statistics import interval_text

EMPTY = (
    "Tick trained runs and press Evaluate: each one's weights adapt to the same tasks of "
    "classes that training never saw."
)
NO_MAP = (
    "Press Vary steps: how the chosen run does with larger, smaller, more and fewer inner steps "
    "than it was trained with."
)
NO_ROWS = "There are no results on these data yet: press Evaluate, or choose other data above."
_HINT = "Least gain. Enter or double-click opens the task."
_ROW, _WIDEST = 17, 260
_BUTTONS = (
    (
        "Evaluate",
        "Eval&uate",
        "Adapt the ticked runs' stored weights to the tasks of the protocol.",
    ),
    (
        *("Vary", "Vary s&teps"),
        "Evaluate the run chosen below with seven step sizes and up to twice its inner steps, on "
        f"at most {MOST_TASKS} tasks.",
    ),
    ("Protocol", "Protoco&l…", "Which tasks, and how."),
    ("Cancel", "&Cancel", "Stop the evaluation."),
)
NO_TASKS = "Press Evaluate: what adaptation gains on every single task appears here."


class BenchmarkTab(PlotPage):
    """A table of results, and pictures of what is behind them."""

    evaluation_requested = Signal(object, object)
    robustness_requested = Signal(object, object)
    episode_requested = Signal(str, object, int)
    cancel_requested = Signal()
    export_name = "benchmark"
    on_demand = True

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show what is published."""
        super().__init__("benchmark", parent)
        self.protocol = EvaluationProtocol()
        self._judged: list[Judged] = []
        self._told: list[Judgement] = []
        """What was evaluated from here, which a folder that is not to be written cannot keep."""
        self._shown: list[Judged] = []
        self._lists: list[tuple[Any, ...]] = []
        self._rows: list[Row] = []
        self._busy = False
        title = "Results of our runs and published ones"
        self.table = ReadTable("benchmarkTable", title, RESULTS, words=(0, DIFFERS))
        self.dots = ChartView("benchmarkDots", "Published results and ours")
        self.map = ChartView("benchmarkRobustness", "Step size and number of steps at test time")
        self.tasks = ChartView("benchmarkTasks", "Gain of adaptation on each task")
        self.tasks.setToolTip("Click a dot to see what the run does on that task.")
        title = "The five tasks that gain least"
        self.worst = ReadTable("benchmarkWorst", title, WORST, words=(2,))
        self.filter = PublishedFilter()
        self._lay_out()
        self._set_busy(busy=False)

    def take_records(self) -> None:
        """Show what is stored with the shown runs."""
        steps = [record.id for record in self._records if INNER_LOOP.has(record)]
        names = labels(self._records)
        offer(self.run, {name: names[name] for name in steps})
        self._set_busy(busy=self._busy, line=self.status.text() if self._busy else "")
        self.read_again()

    def read_again(self) -> None:
        """Read the stored results of the shown runs."""
        self._judged = judged_runs(self._records, _folders(self._records), self._told)
        lists = task_lists(self._judged)
        offer(self.list, dict(enumerate(lists.values())))
        self._lists = list(lists)
        self.list.setEnabled(bool(lists))
        self._take_list()
        self._draw_map()

    def drawing(self) -> list[Piece]:
        """Return what fills the tables and draws the pictures."""
        return [self._fill, self._draw_map]

    def chart(self) -> Scatter | None:
        """Return the results; None where no run was evaluated."""
        return benchmark_chart(self._drawn(), measure_text(self._rows)) if self._shown else None

    @property
    def shows_something(self) -> bool:
        """Whether there is a figure to draw."""
        return bool(self._shown)

    @Slot(str)
    def show_progress(self, line: str) -> None:
        """Say how far an evaluation is."""
        self._set_busy(busy=True, line=line)

    def show_done(self, judgements: Sequence[Judgement]) -> None:
        """Show what was evaluated; without judgements the steps were varied."""
        self._set_busy(busy=False)
        self._told += judgements
        self.read_again()
        if judgements:
            self._show_list(judgements[-1].task_list)

    @Slot(str)
    def show_error(self, sentence: str) -> None:
        """Say why an evaluation failed; what was evaluated before it is shown."""
        before = set(self._lists)
        self._set_busy(busy=False)
        self.read_again()
        for task_list in self._lists:
            if task_list not in before:
                self._show_list(task_list)
        self.show_status(sentence, wrong=sentence != "Cancelled.")

    def _show_list(self, task_list: tuple[Any, ...]) -> None:
        self.list.setCurrentIndex(self._lists.index(task_list))

    def show_status(self, sentence: str, *, wrong: bool = False) -> None:
        """Say what the page does; the line has no height where there is nothing to say."""
        super().show_status(sentence, wrong=wrong)
        self.status.setVisible(bool(sentence))

    def _lay_out(self) -> None:
        self.views = named(QTabWidget(), "benchmarkViews", "Pictures of the evaluation")
        self.views.setDocumentMode(True)
        dots = scrolling("benchmarkScroll", "Published results and ours", self.dots)
        self.views.addTab(dots, "Publishe&d and ours")
        self.views.addTab(self._map_page(), "&Step size and number of steps")
        self.views.addTab(self._task_page(), "S&ingle tasks")
        body = split("benchmarkBody", self.table, self.views, upright=True, sizes=(220, 380))
        rows = self._actions(), self.status, self._filters()
        page(self, *rows, body, stretch=body, spacing=4)

    def _actions(self) -> QHBoxLayout:
        self.evaluate, self.vary, self.settings, self.cancel = (
            push_button(f"benchmark{name}", text, tip) for name, text, tip in _BUTTONS
        )
        told = f"Next: {protocol_text(self.protocol)}"
        self.next = text_label("benchmarkTold", text=told, wraps=False)
        self.evaluate.clicked.connect(self._want_evaluation)
        self.vary.clicked.connect(self._want_robustness)
        self.settings.clicked.connect(self._open_protocol)
        self.cancel.clicked.connect(self.cancel_requested)
        buttons = self.evaluate, self.vary, self.settings
        return row(*buttons, self.next, self.cancel, stretch=self.next)

    def _filters(self) -> QLayout:
        title = "List of tasks that runs were evaluated on"
        self.list = combo("benchmarkList", title, {}, letters=12)
        connect_controls(self._take_list, self.list)
        self.filter.changed.connect(self._fill)
        return flow(("&Ours:", self.list), ("Pu&blished:", self.filter), stretch=self.filter)

    def _map_page(self) -> QWidget:
        self.run = combo("benchmarkRun", "Run whose steps are varied", {}, letters=18)
        connect_controls(self._draw_map, self.run)
        self.remark = text_label("benchmarkRemark")
        self.map.picked.connect(self._on_cell_picked)
        above = row(self.run, self.remark, spacing=6, stretch=self.remark)
        return column(None, above, self.map, stretch=self.map, margins=(0, 4, 0, 0))

    def _task_page(self) -> QWidget:
        self.hint = text_label("benchmarkHint", text=_HINT)
        self.tasks.picked.connect(self._on_task_picked)
        self.worst.itemActivated.connect(self._want_worst)
        side = column(None, self.hint, self.worst, stretch=self.worst, margins=(4, 4, 0, 0))
        return split("benchmarkTasksBody", self.tasks, side, sizes=(520, 300))

    def _drawn(self) -> list[Row]:
        """Return the rows that share an axis."""
        return [row for row in self._rows if row.is_loss == self._rows[0].is_loss]

    @Slot()
    def _take_list(self) -> None:
        """Show the chosen list of tasks, and what is published for the same data."""
        place = self.list.currentData()
        key = self._lists[place] if place is not None else None
        self._shown = newest(self._judged, key)
        if self._shown:
            self.filter.choose(same_data(self._shown[0].judgement))
        self._fill()

    @Slot()
    def _fill(self) -> None:
        self._rows = rows_of(self._shown, self.filter.choice())
        self.table.show_rows([result_cells(one, self._theme) for one in self._rows])
        self.table.setColumnWidth(DIFFERS, min(_WIDEST, self.table.columnWidth(DIFFERS)))
        drawn = self._drawn()
        self.dots.show_chart(benchmark_chart(drawn, measure_text(self._rows), NO_ROWS))
        self.dots.setMinimumHeight(max(140, _ROW * len(drawn) + 60))
        known = {one.record for one in self._shown}
        shown = [record for record in self._records if record.id in known]
        left_out = INNER_LOOP.left_out(shown, "nothing is gained step by step")
        self.hint.setText(f"{_HINT} {left_out}".strip())
        self.tasks.show_chart(tasks_chart(self._shown, left_out or NO_TASKS), fine=False)
        self._worst = worst_tasks(self._shown)
        self.worst.show_rows([worst_cells(one) for one in self._worst])
        if not self._busy and not self._shown:
            self.show_status(EMPTY)

    @Slot()
    def _draw_map(self) -> None:
        found = self._stored_map()
        left_out = INNER_LOOP.left_out(self._records, "there is no step size to vary")
        alone = bool(left_out) and not self.run.count()
        self.run.setVisible(not alone)
        told = "" if alone else left_out, "" if found is None else _map_text(found)
        self.remark.setText(" ".join(filter(None, told)))
        empty = Lines(id="robustness", message=INNER_LOOP.missing if alone else NO_MAP)
        self.map.show_chart(empty if found is None else robustness_chart(found))

    @Slot(str, str, int)
    def _on_cell_picked(self, _chart: str, _name: str, cell: int) -> None:
        """Say what a cell of the map stands for."""
        found = self._stored_map()
        if found is not None:
            place, k = divmod(cell, found.mean.shape[1])
            value, half = (found.unit * v[place, k] for v in (found.mean, found.half_width))
            size = factor_text(found, found.factors[place])
            self.remark.setText(f"{size}, k = {k}: {interval_text(value, half)}")

    def _stored_map(self) -> Robustness | None:
        folder = folder_of(self.record_of(self.run))
        return None if folder is None else stored_robustness(folder)

    @Slot()
    def _want_evaluation(self) -> None:
        folders = list(_folders(self._records).values())
        self._set_busy(busy=True, line="Reading the data…")
        self.evaluation_requested.emit(folders, self.protocol)

    @Slot()
    def _want_robustness(self) -> None:
        folder = folder_of(self.record_of(self.run))
        self.views.setCurrentIndex(1)
        self._set_busy(busy=True, line="Reading the data…")
        few = min(self.protocol.tasks, MOST_TASKS)
        self.robustness_requested.emit([folder], self.protocol.model_copy(update={"tasks": few}))

    @Slot(str, str, int)
    def _on_task_picked(self, _chart: str, record: str, task: int) -> None:
        """Ask for one of the tasks that were judged, as it was judged."""
        judged = next(one for one in self._shown if one.record == record)
        self.episode_requested.emit(record, protocol_of(judged), task)

    @Slot(object)
    def _want_worst(self, item: QTableWidgetItem) -> None:
        one = self._worst[item.row()]
        self._on_task_picked("tasks", one.record, one.task)

    @Slot()
    def _open_protocol(self) -> None:
        told = INNER_LOOP.left_out(self._records, "the number of inner steps is not used there")
        dialog = ProtocolDialog(self.protocol, self, told)
        dialog.chosen.connect(self._take_protocol)
        dialog.open()

    @Slot(object)
    def _take_protocol(self, protocol: EvaluationProtocol) -> None:
        self.protocol = protocol
        self.next.setText(f"Next: {protocol_text(protocol)}")

    def _set_busy(self, *, busy: bool, line: str = "") -> None:
        self._busy = busy
        self.evaluate.setEnabled(bool(self._records) and not busy)
        self.vary.setEnabled(self.run.count() > 0 and not busy)
        self.cancel.setVisible(busy)
        self.show_status(line)


def protocol_of(judged: Judged) -> EvaluationProtocol:
    """Return the protocol that a judgement was made by."""
    about = judged.judgement.protocol
    same = {name: about[name] for name in ("tasks", "split", "seed", "together")}
    same |= {"shots": about["shots"] or None, "query_shots": about["query"] or None}
    draws = draws_of(about)
    return EvaluationProtocol(steps=about["k"], draws=draws, **same)


def _map_text(found: Robustness) -> str:
    about = found.protocol
    return (
        f"{about['tasks']} {about['split']} tasks{draws_text(about)}, weights of step "
        f"{found.step}. The frame marks what it was trained with; colours show the value minus "
        "that one. Click a cell for "
        "its value."
    )


def _folders(records: list[Record]) -> dict[str, Path]:
    return {record.id: folder for record in records if (folder := folder_of(record))}
