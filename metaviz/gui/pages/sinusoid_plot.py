"""The sinusoid fan: truth, support points and predictions after 0..K inner steps."""

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Slot
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

from metaviz.gui.plotting.plot_widget import Line, PlotPanel
from metaviz.gui.widgets.controls import combo, offer
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.curves import Fan, fan
from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import labels

NONE_DRAWN = "This problem draws no functions; the curves above tell what adaptation does."
WAITING = "Truth, support points and predictions after each inner step appear here."


class FanPlot(QWidget):
    """One fixed task of one run; the prediction after the chosen step is drawn bold."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show an empty plot."""
        super().__init__(parent)
        self.setObjectName("fan")
        self._records: list[Record] = []
        self._theme: Theme | None = None
        self._k, self._evaluation = 0, -1
        self.plot = PlotPanel("fanPlot", "Predictions on one sinusoid task", self)
        self.plot.set_labels("x", "y")
        self.run = combo("fanRun", "Run", {})
        self.run.setMinimumContentsLength(14)
        self.task = QSpinBox()
        self.task.setObjectName("fanTask")
        self.task.setAccessibleName("Task")
        self.task.setToolTip("Which of the drawn evaluation tasks is shown.")
        self.task.setRange(1, 1)
        row = QHBoxLayout()
        for text, widget in (("predictions of", self.run), ("on tas&k", self.task)):
            label = QLabel(text)
            label.setBuddy(widget)
            row.addWidget(label)
            row.addWidget(widget)
        self.caption = QLabel()
        row.addWidget(self.caption)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.plot, 1)
        self.run.currentIndexChanged.connect(self.refresh)
        self.task.valueChanged.connect(self.refresh)

    def show_records(self, records: list[Record]) -> None:
        """Offer these runs."""
        self._records = records
        offer(self.run, labels(records))
        self.refresh()

    def show_step(self, k: int, evaluation: int) -> None:
        """Draw step k of an evaluation (counted from the last, -1) bold."""
        self._k, self._evaluation = k, evaluation
        self.refresh()

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        self._theme = theme
        self.plot.apply_theme(theme)
        self.refresh()

    def current(self) -> Fan | None:
        """Return what is shown, or None where there is nothing to draw."""
        record = next((r for r in self._records if r.id == self.run.currentData()), None)
        if record is None:
            return None
        return fan(record, self.task.value() - 1, self._evaluation)

    @Slot()
    def refresh(self) -> None:
        """Draw the chosen run, task and step."""
        shown = self.current()
        evaluated = any(record.evaluations for record in self._records)
        drawn = any("predictions" in p.arrays for r in self._records for p in r.pictures)
        self.setVisible(drawn or not evaluated)
        self.plot.set_message("" if shown else NONE_DRAWN if evaluated else WAITING)
        self.task.setEnabled(shown is not None)
        if shown is None or self._theme is None:
            self.plot.draw([])
            self.caption.setText("")
            return
        self.task.setMaximum(shown.tasks)
        k = min(self._k, len(shown.predictions) - 1)
        self.caption.setText(f"of {shown.tasks}, at meta-step {shown.step}, k = {k}")
        self.plot.draw(self._lines(shown, k))
        self.plot.setXRange(float(shown.x[0]), float(shown.x[-1]))

    def _lines(self, shown: Fan, k: int) -> list[Line]:
        theme = self._theme
        if theme is None:
            return []
        steps = shown.landmarks()
        span = (0.4, 1.0) if theme.name == "dark" else (0.1, 0.9)
        colours = pg.colormap.get("viridis").map(np.linspace(*span, len(steps)), mode="qcolor")
        lines = [Line("truth", shown.x, shown.truth, theme.foreground, "truth", "dash", 1.5)]
        for step, colour in zip(steps, colours, strict=True):
            trained = " (trained K)" if step == shown.trained_steps else ""
            y = shown.predictions[step]
            legend = f"k = {step}{trained}"
            lines.append(Line(f"k{step}", shown.x, y, colour.name(), legend, width=1.2))
        chosen = shown.predictions[k]
        lines.append(Line("chosen", shown.x, chosen, theme.accent, f"chosen k = {k}", width=3.0))
        lines.append(
            Line(
                "support",
                shown.support_x,
                shown.support_y,
                theme.foreground,
                "support points",
                width=0.0,
                dots=8.0,
            )
        )
        return lines
