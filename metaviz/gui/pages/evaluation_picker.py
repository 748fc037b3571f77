"""Which run is looked at, and at which of its evaluations."""

from collections.abc import Callable

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QSizePolicy, QWidget

from metaviz.gui.pages.layouts import follow, row, slider
from metaviz.gui.pages.page import PlotPage
from metaviz.gui.widgets.controls import combo, named, offer
from metaviz.gui.widgets.plain_text import PlainLabel, plain_tip
from metaviz.runs.analysis.geometry import geometry_pictures
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record

_TIP = "Go back to earlier evaluations; the number is the meta-step."


class EvaluationPicker(QWidget):
    """A choice of a run and a slider over the evaluations that pictured its geometry."""

    changed = Signal()

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        """Offer nothing yet; `name` begins the object names of the controls."""
        super().__init__(parent)
        self.setObjectName(f"{name}Moment")
        self.record: Record | None = None
        self.place = 0
        self.steps: list[int] = []
        self._records: list[Record] = []
        tip = "The run whose geometry is shown."
        self.run = combo(f"{name}Run", "Run", {}, tip, letters=18)
        self.run.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.run.setMaximumWidth(280)
        self.time = slider(f"{name}Time", "Evaluation shown", _TIP, transient=True)
        self.time.setMinimumWidth(70)
        self.step_text = named(PlainLabel(), f"{name}Step")
        parts = ("r&un", self.run), ("a&t meta-step", self.time), self.step_text
        made = row(*parts, spacing=6, inside=self)
        made.setStretchFactor(self.run, 1)
        made.setStretchFactor(self.time, 2)
        self.run.currentIndexChanged.connect(self._take)
        self.time.valueChanged.connect(self._take)
        self.offer([])

    def offer(self, records: list[Record]) -> None:
        """Offer these runs; the chosen one and the newest evaluation stay chosen."""
        names = labels(records)
        self._records = records
        offer(self.run, names)
        self.run.setEnabled(bool(names))
        self._follow()

    def choose(self, place: int) -> None:
        """Go to one of the evaluations, counted from 0."""
        self.time.setValue(place)

    @Slot()
    def _take(self) -> None:
        self._follow()
        self.changed.emit()

    def _follow(self) -> None:
        """Let the slider reach every evaluation, and stay at the newest if it was there."""
        name = self.run.currentData()
        self.record = next((record for record in self._records if record.id == name), None)
        pictures = geometry_pictures(self.record) if self.record is not None else []
        self.steps = [picture.step for picture in pictures]
        follow(self.time, len(self.steps) - 1)
        self.place = self.time.value()
        widest = self.step_text.fontMetrics().horizontalAdvance(str(max(self.steps, default=0)))
        self.step_text.setMinimumWidth(widest)
        self.step_text.setText(str(self.steps[self.place]) if self.steps else "")
        self.time.setToolTip(plain_tip(self._tip()))

    def _tip(self) -> str:
        if self.record is None or not self.record.is_thinned:
            return _TIP
        shown = f"{len(self.record.pictures)} of {self.record.pictured} evaluations"
        return f"{_TIP} {shown} are offered, evenly spread; the run's folder holds all."


class EvaluationPage(PlotPage):
    """A page about one run at one of its evaluations, drawn only while it is in front.

    A subclass takes in what it needs of the run in `take_evaluation`.
    """

    lazy = True

    def __init__(
        self, name: str, belongs: Callable[[Record], bool], parent: QWidget | None = None
    ) -> None:
        """Offer the runs that belong here; `name` begins the object names of the controls."""
        super().__init__(name, parent)
        self._belongs = belongs
        self.picker = EvaluationPicker(name, self)
        self.picker.changed.connect(self._take)

    def take_records(self) -> None:
        """Offer the runs that belong here."""
        self.picker.offer([record for record in self._records if self._belongs(record)])
        self.take_evaluation()

    def take_evaluation(self) -> None:
        """Take in the chosen run and evaluation."""
        raise NotImplementedError

    @Slot()
    def _take(self) -> None:
        self.take_evaluation()
        self.redraw()
