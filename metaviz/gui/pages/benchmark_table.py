"""Parts of the benchmark page: the filter of published results, and its two tables."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from metaviz.gui.widgets.controls import combo, offer
from metaviz.gui.widgets.theme import Theme, curve_color
from metaviz.runs.analysis.benchmark import Choice, Row, Worst, backbone_text
from metaviz.runs.analysis.published import published

_ANY = -1
_RESULTS = (
    ("Result", "Our runs first, then published results, the best on top"),
    ("Value ± 95 %", "Mean over tasks ± 1.96 s/√n; accuracies in per cent. Published: as printed"),
    ("Minus published", "Difference to the published number of the same method"),
    (
        "What differs",
        "From the published experiment: it is not the same, and what is known of it. Step sizes "
        "are on the mean loss, where many papers sum over the classes",
    ),
    ("k = 0", "Mean before adaptation"),
    (
        "Minus the first",
        "Difference to the first run, task by task, with its 95 % bootstrap interval",
    ),
    ("Better / worse", "Tasks on which a run does better or worse than the first"),
    ("p", "Two-sided sign test: how likely such counts are if neither were better"),
)
_DIFFERS, _WIDEST = 3, 260
_WORST = (
    ("Gain", "Accuracy won, or loss taken off"),
    ("Task", "Its number in the list of tasks, counted from 0"),
    ("Run", "Algorithm and seed"),
    ("k = 0", "Before adaptation"),
    ("After k", "After the run's inner steps"),
)


class PublishedFilter(QWidget):
    """Which published results are listed. `changed` tells that other ones are."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Offer what there is, and begin with miniImageNet's 5-way 1-shot."""
        super().__init__(parent)
        rows = published()
        self.dataset = combo("benchmarkDataset", "Data set of published results", {})
        self.ways = combo("benchmarkWays", "Ways of published results", {})
        self.shots = combo("benchmarkShots", "Shots of published results", {})
        self.backbone = combo("benchmarkBackbone", "Networks of published results", {})
        offer(
            self.dataset, _with_all("", "all data sets", {row.dataset: row.dataset for row in rows})
        )
        offer(self.ways, _with_all(_ANY, "all ways", {row.ways: _ways(row.ways) for row in rows}))
        offer(self.shots, _with_all(_ANY, "all shots", {r.shots: _shots(r.shots) for r in rows}))
        offer(
            self.backbone,
            _with_all("", "all networks", {r.backbone: backbone_text(r.backbone) for r in rows}),
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for box in self._boxes():
            box.currentIndexChanged.connect(self.changed)
            box.setMinimumContentsLength(5)
            box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            layout.addWidget(box, 1)
        self.choose(Choice("miniImageNet", 5, 1))

    def choice(self) -> Choice:
        """Return what is chosen."""
        values = (box.currentData() for box in self._boxes())
        return Choice(*(None if value in ("", _ANY) else value for value in values))

    def choose(self, choice: Choice) -> None:
        """Choose data, ways and shots without a signal, also those that nobody published on."""
        ways, shots = choice.ways or 0, choice.shots or 0
        values = (
            (self.dataset, choice.dataset, choice.dataset or ""),
            (self.ways, ways, _ways(ways)),
            (self.shots, shots, _shots(shots)),
        )
        for box, value, text in values:
            box.blockSignals(True)
            if box.findData(value) < 0:
                box.addItem(text, value)
            box.setCurrentIndex(box.findData(value))
            box.blockSignals(False)

    def _boxes(self) -> tuple[QComboBox, ...]:
        return self.dataset, self.ways, self.shots, self.backbone


class _Table(QTableWidget):
    """A table to read, whose columns explain themselves."""

    def __init__(self, name: str, title: str, columns: Sequence[tuple[str, str]]) -> None:
        super().__init__(0, len(columns))
        self.setObjectName(name)
        self.setAccessibleName(title)
        self.setAlternatingRowColors(True)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        for column, (text, tip) in enumerate(columns):
            header = QTableWidgetItem(text)
            header.setToolTip(tip)
            self.setHorizontalHeaderItem(column, header)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.horizontalHeader().setStretchLastSection(True)

    def put(self, row: int, column: int, text: str, *, number: bool) -> QTableWidgetItem:
        """Write a cell; numbers stand on the right."""
        item = QTableWidgetItem(text)
        if number:
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(row, column, item)
        return item


class ResultTable(_Table):
    """Our runs and published results."""

    def __init__(self) -> None:
        """Show nothing yet."""
        super().__init__("benchmarkTable", "Results of our runs and published ones", _RESULTS)

    def show_rows(self, rows: Sequence[Row], theme: Theme | None) -> None:
        """Show these rows; names of our runs have their colours."""
        self.setRowCount(len(rows))
        for place, row in enumerate(rows):
            for column, text in enumerate(_cells(row)):
                number = column not in {0, _DIFFERS}
                item = self.put(place, column, text, number=number)
                item.setToolTip(text if column else f"{row.name}: {row.details}")
                if not column and row.color and theme is not None:
                    item.setForeground(curve_color(row.color, theme))
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
        self.resizeColumnsToContents()
        self.setColumnWidth(_DIFFERS, min(_WIDEST, self.columnWidth(_DIFFERS)))


class WorstTable(_Table):
    """The tasks that gain least."""

    def __init__(self) -> None:
        """Show nothing yet."""
        super().__init__("benchmarkWorst", "The five tasks that gain least", _WORST)
        self.tasks: list[Worst] = []

    def show_tasks(self, tasks: list[Worst]) -> None:
        """Show these tasks."""
        self.tasks = tasks
        self.setRowCount(len(tasks))
        for place, one in enumerate(tasks):
            texts = (
                *(f"{one.gain:+.4g}", str(one.task), one.label),
                *(f"{one.before:.4g}", f"{one.after:.4g}"),
            )
            for column, text in enumerate(texts):
                self.put(place, column, text, number=text != one.label)
        self.resizeColumnsToContents()


def _with_all(value: Any, text: str, others: dict[Any, str]) -> dict[Any, str]:
    return {value: text} | dict(sorted(others.items()))


def _ways(ways: int) -> str:
    return f"{ways}-way" if ways else "regression"


def _shots(shots: int) -> str:
    return f"{shots}-shot"


def _cells(row: Row) -> tuple[str, ...]:
    half = "" if row.half_width is None else f" ± {row.half_width:.2g}"
    apart = row.minus_published
    differs = "; ".join(row.remarks)
    if row.beside is not None:
        differs = f"{row.beside.name}: {differs or 'nothing that is known'}"
    return (
        row.name,
        f"{row.value:.4g}{half}",
        "" if apart is None else f"{apart:+.3g}",
        differs or row.details,
        "" if row.before is None else f"{row.before:.4g}",
        row.minus_first,
        row.counts,
        row.p,
    )
