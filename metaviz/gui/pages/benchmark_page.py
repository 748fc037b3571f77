"""Held-out tasks: our runs beside published results, and what single tasks tell."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSplitter,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.pages.benchmark_plots import DotPlot, RobustnessMap, TaskPlot
from metaviz.gui.pages.benchmark_table import PublishedFilter, ResultTable, WorstTable
from metaviz.gui.pages.protocol_dialog import ProtocolDialog, protocol_text
from metaviz.gui.widgets.controls import combo, offer, scrolling
from metaviz.gui.widgets.theme import Theme, tint
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
from metaviz.runs.model.evaluation import Judgement
from metaviz.runs.model.record import Record
from metaviz.runs.model.robustness import MOST_TASKS, Robustness, factor_text, stored_robustness
from metaviz.runs.model.styles import labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metaviz.runs.figures.base import Page

EMPTY = (
    "Tick trained runs below and press Evaluate: each one's weights adapt to the same tasks of "
    "classes that training never saw."
)
NO_MAP = (
    "Press Vary steps: how the chosen run does with larger, smaller, more and fewer inner steps "
    "than it was trained with."
)
NO_TASKS = "Press Evaluate: what adaptation gains on every single task appears here."


class BenchmarkTab(QWidget):
    """A table of results, and pictures of what is behind them."""

    evaluation_wanted = Signal(object, object)
    robustness_wanted = Signal(object, object)
    episode_wanted = Signal(str, object, int)
    recalled = Signal()
    export_name = "benchmark"

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show what is published."""
        super().__init__(parent)
        self.setObjectName("benchmarkTab")
        self.protocol = EvaluationProtocol()
        self._records: list[Record] = []
        self._judged: list[Judged] = []
        self._shown: list[Judged] = []
        self._lists: list[tuple[Any, ...]] = []
        self._rows: list[Row] = []
        self._theme: Theme | None = None
        self._busy = False
        self.table = ResultTable()
        self.dots = DotPlot()
        self.map = RobustnessMap()
        self.tasks = TaskPlot()
        self.worst = WorstTable()
        self.filter = PublishedFilter()
        self._lay_out()
        self._set_busy(busy=False)

    def show_records(self, records: list[Record]) -> None:
        """Show what is stored with these runs."""
        self._records = records
        offer(self.run, labels(records))
        if not self._busy:
            self._say("")
        self.evaluate.setEnabled(bool(records) and not self._busy)
        self.vary.setEnabled(bool(records) and not self._busy)
        self.read_again()

    def refresh(self) -> None:
        """Keep what was evaluated: it changes on demand only."""

    def read_again(self) -> None:
        """Read the stored results of the shown runs."""
        self._judged = judged_runs(self._records, _folders(self._records))
        lists = task_lists(self._judged)
        offer(self.list, dict(enumerate(lists.values())))
        self._lists = list(lists)
        self.list.setEnabled(bool(lists))
        self._take_list()
        self._draw_map()

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        for plot in (self.dots, self.map, self.tasks):
            plot.apply_theme(theme)
        self._fill()
        self._draw_map()

    def figure(self, page: "Page") -> "Figure | None":
        """Draw the results for a paper; None where no run was evaluated."""
        if not self._shown:
            return None
        from metaviz.runs.figures.benchmark import benchmark_figure

        return benchmark_figure(self._drawn(), measure_text(self._rows), page)

    @property
    def shows_something(self) -> bool:
        """Whether there is a figure to draw."""
        return bool(self._shown)

    @Slot(str)
    def show_progress(self, line: str) -> None:
        """Say how far an evaluation is."""
        self._set_busy(busy=True)
        self._say(line)

    def show_done(self, judgements: Sequence[Judgement]) -> None:
        """Show what was evaluated; without judgements the steps were varied."""
        self._set_busy(busy=False)
        self._say("")
        self.read_again()
        if judgements:
            self._show_list(judgements[-1].task_list)

    @Slot(str)
    def show_error(self, sentence: str) -> None:
        """Say why an evaluation failed; what was evaluated before it is shown."""
        self._set_busy(busy=False)
        before = set(self._lists)
        self.read_again()
        for task_list in self._lists:
            if task_list not in before:
                self._show_list(task_list)
        self._say(sentence, wrong=sentence != "Cancelled.")

    def _show_list(self, task_list: tuple[Any, ...]) -> None:
        self.list.setCurrentIndex(self._lists.index(task_list))

    def _lay_out(self) -> None:
        self.views = QTabWidget()
        self.views.setObjectName("benchmarkViews")
        self.views.setAccessibleName("Pictures of the evaluation")
        self.views.setDocumentMode(True)
        self.views.addTab(
            scrolling("benchmarkScroll", "Published results and ours", self.dots),
            "&Published and ours",
        )
        self.views.addTab(self._map_page(), "&Step size and number of steps")
        self.views.addTab(self._task_page(), "S&ingle tasks")
        body = QSplitter(Qt.Orientation.Vertical)
        body.setObjectName("benchmarkBody")
        body.addWidget(self.table)
        body.addWidget(self.views)
        body.setChildrenCollapsible(False)
        body.setSizes([220, 380])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 2)
        layout.setSpacing(4)
        layout.addLayout(self._actions())
        layout.addWidget(self.status)
        layout.addLayout(self._filters())
        layout.addWidget(body, 1)
        self.tasks.chosen.connect(self._want_episode)
        self.worst.itemActivated.connect(self._want_worst)

    def _actions(self) -> QHBoxLayout:
        self.evaluate = _button(
            "benchmarkEvaluate",
            "E&valuate",
            "Adapt the ticked runs' stored weights to the tasks of the protocol.",
        )
        self.vary = _button(
            "benchmarkVary",
            "Vary s&teps",
            "Evaluate the run chosen below with seven step sizes and up to twice its inner steps, "
            f"on at most {MOST_TASKS} tasks.",
        )
        self.settings = _button("benchmarkProtocol", "Pro&tocol…", "Which tasks, and how.")
        self.cancel = _button("benchmarkCancel", "&Cancel", "Stop the evaluation.")
        self.told = QLabel(f"Next: {protocol_text(self.protocol)}")
        self.told.setObjectName("benchmarkTold")
        self.told.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.status = QLabel()
        self.status.setObjectName("benchmarkStatus")
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        self.status.setWordWrap(True)
        self.evaluate.clicked.connect(self._want_evaluation)
        self.vary.clicked.connect(self._want_robustness)
        self.settings.clicked.connect(self._open_protocol)
        self.cancel.clicked.connect(self.recalled)
        row = QHBoxLayout()
        row.setSpacing(8)
        for widget in (self.evaluate, self.vary, self.settings):
            row.addWidget(widget)
        row.addWidget(self.told, 1)
        row.addWidget(self.cancel)
        return row

    def _filters(self) -> QHBoxLayout:
        self.list = combo("benchmarkList", "List of tasks that runs were evaluated on", {})
        self.list.setMinimumContentsLength(12)
        self.list.setSizeAdjustPolicy(
            self.list.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.list.currentIndexChanged.connect(self._take_list)
        self.filter.changed.connect(self._fill)
        ours, theirs = QLabel("&Ours:"), QLabel("Pu&blished:")
        ours.setBuddy(self.list)
        theirs.setBuddy(self.filter.dataset)
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(ours)
        row.addWidget(self.list, 2)
        row.addWidget(theirs)
        row.addWidget(self.filter, 4)
        return row

    def _map_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 4, 0, 0)
        row = QHBoxLayout()
        self.run = combo("benchmarkRun", "Run whose steps are varied", {})
        self.run.setMinimumContentsLength(18)
        self.run.currentIndexChanged.connect(self._draw_map)
        self.remark = QLabel()
        self.remark.setObjectName("benchmarkRemark")
        self.remark.setWordWrap(True)
        row.addWidget(self.run)
        row.addWidget(self.remark, 1)
        column.addLayout(row)
        column.addWidget(self.map, 1)
        self.map.clicked.connect(self._tell_cell)
        return page

    def _task_page(self) -> QWidget:
        page = QSplitter(Qt.Orientation.Horizontal)
        page.setObjectName("benchmarkTasksBody")
        page.addWidget(self.tasks)
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(4, 4, 0, 0)
        hint = QLabel("Least gain. Enter or double-click opens the task.")
        hint.setWordWrap(True)
        column.addWidget(hint)
        column.addWidget(self.worst, 1)
        page.addWidget(side)
        page.setChildrenCollapsible(False)
        page.setSizes([520, 300])
        return page

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
        self.table.show_rows(self._rows, self._theme)
        self.dots.show_rows(self._drawn(), measure_text(self._rows))
        self.tasks.set_message("" if self._shown else NO_TASKS)
        self.tasks.show_tasks(self._shown)
        self.worst.show_tasks(worst_tasks(self._shown))
        if not self._busy and not self._shown:
            self._say(EMPTY)

    @Slot()
    def _draw_map(self) -> None:
        found = self._stored_map()
        self.remark.setText("" if found is None else _map_text(found))
        if found is None:
            self.map.clear_map(NO_MAP)
        elif self._theme is not None:
            self.map.show_map(found)

    @Slot(int, int)
    def _tell_cell(self, row: int, k: int) -> None:
        """Say what a cell of the map stands for."""
        found = self._stored_map()
        if found is not None:
            value, half = (found.unit * v[row, k] for v in (found.mean, found.half_width))
            size = factor_text(found, found.factors[row])
            self.remark.setText(f"{size}, k = {k}: {value:.4g} ± {half:.2g}")

    def _stored_map(self) -> Robustness | None:
        folder = _folders(self._records).get(str(self.run.currentData()))
        return None if folder is None else stored_robustness(folder)

    @Slot()
    def _want_evaluation(self) -> None:
        folders = list(_folders(self._records).values())
        self._begin()
        self.evaluation_wanted.emit(folders, self.protocol)

    @Slot()
    def _want_robustness(self) -> None:
        folder = _folders(self._records)[str(self.run.currentData())]
        self.views.setCurrentIndex(1)
        self._begin()
        few = min(self.protocol.tasks, MOST_TASKS)
        self.robustness_wanted.emit([folder], self.protocol.model_copy(update={"tasks": few}))

    @Slot(str, int)
    def _want_episode(self, record: str, task: int) -> None:
        """Ask for one of the tasks that were judged, as it was judged."""
        judged = next(one for one in self._shown if one.record == record)
        self.episode_wanted.emit(record, protocol_of(judged), task)

    @Slot(object)
    def _want_worst(self, item: QTableWidgetItem) -> None:
        one = self.worst.tasks[item.row()]
        self._want_episode(one.record, one.task)

    @Slot()
    def _open_protocol(self) -> None:
        dialog = ProtocolDialog(self.protocol, self)
        dialog.chosen.connect(self._take_protocol)
        dialog.open()

    @Slot(object)
    def _take_protocol(self, protocol: EvaluationProtocol) -> None:
        self.protocol = protocol
        self.told.setText(f"Next: {protocol_text(protocol)}")

    def _begin(self) -> None:
        self._set_busy(busy=True)
        self._say("Reading the data…")

    def _set_busy(self, *, busy: bool) -> None:
        self._busy = busy
        for button in (self.evaluate, self.vary):
            button.setEnabled(bool(self._records) and not busy)
        self.cancel.setVisible(busy)

    def _say(self, sentence: str, *, wrong: bool = False) -> None:
        self.status.setText(sentence)
        self.status.setVisible(bool(sentence))
        if self._theme is not None:
            tint(self.status, self._theme.error if wrong else self._theme.muted)


def protocol_of(judged: Judged) -> EvaluationProtocol:
    """Return the protocol that a judgement was made by."""
    told = judged.judgement.protocol
    return EvaluationProtocol(
        tasks=told["tasks"],
        split=told["split"],
        seed=told["seed"],
        shots=told["shots"],
        query_shots=told["query"],
        steps=told["k"],
        together=told["together"],
    )


def _map_text(found: Robustness) -> str:
    told = found.protocol
    return (
        f"{told['tasks']} {told['split']} tasks, weights of step {found.step}. The frame is as "
        "trained, colours are differences to it. Click a cell for its value."
    )


def _folders(records: list[Record]) -> dict[str, Path]:
    return {r.id: Path(r.environment["folder"]) for r in records if "folder" in r.environment}


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setAccessibleName(text.replace("&", "").rstrip("…"))
    button.setToolTip(tip)
    return button
