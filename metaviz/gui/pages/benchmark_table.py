"""Parts of the benchmark page: the filter of published results, and its two tables."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QWidget

from metaviz.gui.pages.layouts import ReadTable, row
from metaviz.gui.widgets.controls import combo, cut_after, offer
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
    """Which published results are listed. `changed` is emitted when others are."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Offer what there is, and begin with miniImageNet's 5-way 1-shot."""
        super().__init__(parent)
        rows = published()
        self.dataset = combo("benchmarkDataset", "Data set of published results", {})
        self.ways = combo("benchmarkWays", "Ways of published results", {})
        self.shots = combo("benchmarkShots", "Shots of published results", {})
        self.backbone = combo("benchmarkBackbone", "Networks of published results", {})
        choices: tuple[tuple[Any, str, dict[Any, str]], ...] = (
            ("", "all data sets", {row.dataset: row.dataset for row in rows}),
            (_ANY, "all ways", {row.ways: _ways(row.ways) for row in rows}),
            (_ANY, "all shots", {row.shots: _shots(row.shots) for row in rows}),
            ("", "all networks", {row.backbone: backbone_text(row.backbone) for row in rows}),
        )
        for box, (value, text, others) in zip(self._boxes(), choices, strict=True):
            offer(box, {value: text} | dict(sorted(others.items())))
        for box in self._boxes():
            box.currentIndexChanged.connect(self.changed)
            cut_after(box, 5)
        layout = row(*self._boxes(), spacing=6, inside=self)
        for place in range(layout.count()):
            layout.setStretch(place, 1)
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
            with QSignalBlocker(box):
                if box.findData(value) < 0:
                    box.addItem(text, value)
                box.setCurrentIndex(box.findData(value))

    def _boxes(self) -> tuple[QComboBox, ...]:
        return self.dataset, self.ways, self.shots, self.backbone


class ResultTable(ReadTable):
    """Our runs and published results."""

    def __init__(self) -> None:
        """Show nothing yet."""
        super().__init__("benchmarkTable", "Results of our runs and published ones", _RESULTS)

    def show_rows(self, rows: Sequence[Row], theme: Theme | None) -> None:
        """Show these rows; names of our runs have their colours."""
        self.setRowCount(len(rows))
        for place, one in enumerate(rows):
            for column, text in enumerate(_cells(one)):
                number = column not in {0, _DIFFERS}
                tip = text if column else f"{one.name}: {one.details}"
                item = self.put(place, column, text, number=number, tip=tip)
                if not column and one.color and theme is not None:
                    item.setForeground(curve_color(one.color, theme))
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
        self.resizeColumnsToContents()
        self.setColumnWidth(_DIFFERS, min(_WIDEST, self.columnWidth(_DIFFERS)))


class WorstTable(ReadTable):
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
