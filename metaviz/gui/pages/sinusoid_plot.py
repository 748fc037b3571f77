"""The sinusoid fan: truth, support points and predictions after 0..K inner steps."""

from dataclasses import replace

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QLabel, QWidget

from metaviz.charts.values import Lines
from metaviz.gui.pages.layouts import column, row
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import combo, connect_controls, offer, whole_number
from metaviz.runs.analysis.curve_charts import fan, fan_tasks
from metaviz.runs.model.labels import labels
from metaviz.runs.model.record import Record

NONE_DRAWN = "This problem draws no functions; the curves above tell what adaptation does."
WAITING = "Truth, support points and predictions after each inner step appear here."


class FanPlot(QWidget):
    """One fixed task of one run; the prediction after the chosen step is drawn bold."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show an empty plot."""
        super().__init__(parent)
        self.setObjectName("fan")
        self._records: list[Record] = []
        self._k, self._evaluation = 0, -1
        self.plot = ChartView("fanPlot", "Predictions on one sinusoid task", self)
        self.run = combo("fanRun", "Run", {})
        self.run.setMinimumContentsLength(14)
        tip = "Which of the drawn evaluation tasks is shown."
        self.task = whole_number("fanTask", "Task", tip, (1, 1))
        self.caption = QLabel()
        choices = ("predictions of", self.run), ("on tas&k", self.task), self.caption, None
        column(self, row(*choices, spacing=6), self.plot, stretch=self.plot)
        connect_controls(self.refresh, self.run, self.task)

    def show_records(self, records: list[Record]) -> None:
        """Offer these runs."""
        self._records = records
        offer(self.run, labels(records))

    def show_step(self, k: int, evaluation: int) -> None:
        """Draw step k of an evaluation (counted from the last, -1) bold."""
        self._k, self._evaluation = k, evaluation
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Draw the chosen run, task and step."""
        record = next((r for r in self._records if r.id == self.run.currentData()), None)
        shown = fan(record, self.task.value() - 1, self._evaluation) if record else None
        evaluated = any(record.evaluations for record in self._records)
        drawn = any("predictions" in p.arrays for r in self._records for p in r.pictures)
        self.setVisible(drawn or not evaluated)
        self.task.setEnabled(shown is not None)
        if shown is None or shown.slider is None or record is None:
            message = NONE_DRAWN if evaluated else WAITING
            self.plot.show_chart(Lines(id="fan", message=message))
            self.caption.setText("")
            return
        tasks, k = fan_tasks(record), min(self._k, shown.slider.count - 1)
        self.task.setMaximum(tasks)
        when = shown.title.rpartition(", ")[2]
        self.caption.setText(f"of {tasks}, at {when}, k = {k}")
        self.plot.show_chart(replace(shown, title=""), place=k)
