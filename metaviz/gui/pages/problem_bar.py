"""The choice of one problem where shown runs have several: their losses share no axis."""

from collections import Counter
from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.gui.widgets.controls import named, offer, text_label
from metaviz.gui.widgets.editors import ChoiceBox
from metaviz.gui.widgets.layouts import row
from metaviz.runs.model.labels import problem_title
from metaviz.runs.model.record import Record


class ProblemBar(QWidget):
    """Is seen only where there is something to choose; `chosen` follows each change of problem."""

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Know no run."""
        super().__init__(parent)
        self.setObjectName("problem_bar")
        tip = "Curves of different problems are not drawn in one picture: their losses differ."
        self.box = named(ChoiceBox(self), "shown_problem", "Problem shown", tip)
        self.remark = text_label("shown_problem_remark", wraps=False)
        parts = ("Problem shown", self.box), self.remark
        row(*parts, stretch=self.remark, inside=self, margins=(8, 4, 8, 0))
        self.problem = ""
        self._known: frozenset[str] = frozenset()
        self._is_asked = True
        self.box.activated.connect(self._choose)
        self.hide()

    def show_records(self, records: Sequence[Record]) -> None:
        """Offer the problems of these runs; one of a run that is new goes first."""
        counts = Counter(record.problem for record in records)
        new = [record.problem for record in records if record.id not in self._known]
        self._known = frozenset(record.id for record in records)
        if new and len(set(new)) == 1:
            self.problem = new[0]
        elif self.problem not in counts:
            self.problem = max(counts, key=lambda one: counts[one], default="")
        offer(self.box, {name: f"{problem_title(name)} ({n})" for name, n in counts.items()})
        self.box.setCurrentIndex(self.box.findData(self.problem))
        self._tell(counts)

    def kept(self, records: Sequence[Record]) -> list[Record]:
        """Return the runs of the chosen problem."""
        return [record for record in records if record.problem == self.problem]

    @Slot()
    def _choose(self) -> None:
        self.problem = str(self.box.currentData())
        self.chosen.emit()

    def _tell(self, counts: Counter[str]) -> None:
        others = counts.total() - counts[self.problem]
        noun = "run of another problem is" if others == 1 else "runs of other problems are"
        self.remark.setText(f"{others} {noun} ticked, too, and not drawn here.")
        self._show_where_asked()

    def ask(self, *, asked: bool) -> None:
        """Be seen only in front of pages that draw one problem."""
        self._is_asked = asked
        self._show_where_asked()

    def _show_where_asked(self) -> None:
        self.setVisible(self._is_asked and self.box.count() > 1)
