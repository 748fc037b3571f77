"""A chart with a slider below it, where the chart has an axis to move along."""

from dataclasses import replace

from PySide6.QtCore import QSignalBlocker, Slot
from PySide6.QtWidgets import QWidget

from metaviz.charts.values import Chart
from metaviz.gui.pages.layouts import column, row, slider
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.plain_text import PlainLabel

_TIP = "Move through the states that the chart shows."


class ScrubbedChart(QWidget):
    """Draws a chart at the place of its own slider, which stays while charts of one id change."""

    def __init__(self, name: str, title: str, parent: QWidget | None = None) -> None:
        """Show nothing; `name` and `title` are those of the plot."""
        super().__init__(parent)
        self.view = ChartView(name, title, self)
        self.place = slider(f"{name}Place", "Place in the chart", _TIP, transient=True, ticks=True)
        self.title = PlainLabel()
        self.title.setBuddy(self.place)
        self.at = PlainLabel()
        self._chart: Chart | None = None
        column(self, self.view, row(self.title, self.place, self.at), stretch=self.view)
        self.place.valueChanged.connect(self._draw)

    def placed(self, chart: Chart) -> Chart:
        """Return a chart as it is drawn here: its slider stands where this one does."""
        if chart.slider is None or self._chart is None or self._chart.id != chart.id:
            return chart
        return replace(chart, slider=replace(chart.slider, start=self.place.value()))

    def show_chart(self, chart: Chart) -> None:
        """Show a chart; a slider begins where the chart says."""
        known = self._chart.id if self._chart is not None else ""
        self._chart = chart
        for widget in (self.title, self.place, self.at):
            widget.setVisible(chart.slider is not None)
        if chart.slider is not None:
            with QSignalBlocker(self.place):
                self.place.setRange(0, chart.slider.count - 1)
                if known != chart.id:
                    self.place.setValue(chart.slider.start)
            self.place.setEnabled(chart.slider.count > 1)
            self.place.setAccessibleName(chart.slider.title)
            self.title.setText(chart.slider.title)
        self._draw()

    @Slot()
    def _draw(self) -> None:
        if self._chart is None:
            return
        if self._chart.slider is not None:
            self.at.setText(f"{self.place.value()} of {self.place.maximum()}")
        self.view.show_chart(self._chart, place=self.place.value())
