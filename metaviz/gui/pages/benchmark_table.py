"""Parts of the benchmark page: the filter of published results, and its two tables."""

import math
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QComboBox, QWidget

from metaviz.gui.pages.layouts import flow
from metaviz.gui.widgets.controls import combo, connect_controls, cut_after, offer
from metaviz.gui.widgets.read_table import Cell
from metaviz.gui.widgets.theme import Theme, curve_color
from metaviz.runs.analysis.benchmark import Choice, Row, Worst, backbone_text
from metaviz.runs.analysis.published import published
from metaviz.runs.model.statistics import interval_text, number_text

_ANY = -1
RESULTS = (
    ("Result", "Our runs first, then published results, the best on top"),
    ("Value ± 95 %", "Mean over tasks ± 1.96 s/√n; accuracies in per cent. Published: as printed"),
    ("Difference to published", "Difference to the published number of the same method"),
    (
        "Evaluated at; differs in",
        "Meta-step and k of the evaluation, and what is known to differ from the published "
        "experiment. Step sizes "
        "are on the mean loss, where many papers sum over the classes",
    ),
    ("k = 0", "Mean before adaptation"),
    (
        "Difference to the first",
        "Difference to the first run, task by task, with its 95 % bootstrap interval",
    ),
    ("Better / worse", "Tasks on which a run does better or worse than the first"),
    (
        "sign test p",
        "Two-sided sign test over tasks: how likely such counts are if neither were better. It "
        "asks how often, the interval beside it how much; seeds of training are in neither",
    ),
)
DIFFERS = 3
"""The column that says what differs."""
WORST = (
    ("Gain", "Gain of accuracy, or reduction of query loss"),
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
        self._boxes = {field: self._box(field, *about) for field, about in _FILTERS.items()}
        self.dataset, self.ways, self.shots, self.backbone, self.collection = self._boxes.values()
        flow(*self._boxes.values(), spacing=6, inside=self)
        self.choose(Choice("miniImageNet", 5, 1))
        connect_controls(self.changed, *self._boxes.values())

    def choice(self) -> Choice:
        """Return what is chosen."""
        values = {field: box.currentData() for field, box in self._boxes.items()}
        return Choice(**{k: None if v in ("", _ANY) else v for k, v in values.items()})

    def choose(self, choice: Choice) -> None:
        """Choose data, ways and shots without a signal, also those that nobody published on."""
        for field, value in (
            ("dataset", choice.dataset or ""),
            ("ways", choice.ways or 0),
            ("shots", choice.shots or 0),
        ):
            box = self._boxes[field]
            with QSignalBlocker(box):
                if box.findData(value) < 0:
                    box.addItem(_FILTERS[field][2](value), value)
                box.setCurrentIndex(box.findData(value))

    def _box(
        self, field: str, title: str, every: dict[Any, str], text: Callable[[Any], str]
    ) -> QComboBox:
        """Return a choice of the published values of a field; `every` leaves none out."""
        box = combo(f"benchmark{field.title()}", f"{title} of published results", {})
        values = sorted({getattr(one, field) for one in published()})
        offer(box, every | {value: text(value) for value in values})
        cut_after(box, 12)
        return box


_FILTERS: dict[str, tuple[str, dict[Any, str], Callable[[Any], str]]] = {
    "dataset": ("Data set", {"": "all data sets"}, str),
    "ways": ("Ways", {_ANY: "all ways"}, lambda n: f"{n}-way" if n else "regression"),
    "shots": ("Shots", {_ANY: "all shots"}, lambda n: f"{n}-shot"),
    "backbone": ("Networks", {"": "all networks"}, backbone_text),
    "collection": ("Collection", {"": "papers and LibFewShot"}, str),
}


def result_cells(row: Row, theme: Theme | None) -> list[str | Cell]:
    """Return the cells of a result; names of our runs have their colours."""
    apart = row.minus_published
    differs = "; ".join(row.remarks)
    if row.beside is not None:
        differs = f"{row.beside.name}: {differs or 'nothing that is known'}"
    color = curve_color(row.color, theme) if row.color and theme is not None else None
    return [
        Cell(row.name, f"{row.name}: {row.details}", color, bold=color is not None),
        _value(row),
        "" if apart is None else number_text(apart, "+.3g"),
        differs or row.details,
        "" if row.before is None else number_text(row.before),
        row.minus_first,
        row.counts,
        row.p,
    ]


def _value(row: Row) -> str:
    """Return a result with its interval, a published one as it was printed."""
    half = math.nan if row.half_width is None else row.half_width
    if row.record or not math.isfinite(half):
        return interval_text(row.value, half) or number_text(row.value)
    return f"{row.value:g} ± {half:g}"


def worst_cells(task: Worst) -> list[str]:
    """Return the cells of one of the tasks that gain least."""
    losses = number_text(task.before), number_text(task.after)
    return [number_text(task.gain, "+.4g"), str(task.task), task.label, *losses]
