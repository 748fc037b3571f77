"""A person's own examples: dropped or chosen, and what a run takes them for while it adapts."""

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QMimeData, Signal, Slot
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QWidget

from metaviz.charts.values import Chart, ImageGrid, Lines
from metaviz.gui.pages.layouts import column, flow, page, row, slider, split
from metaviz.gui.pages.page import OnDemandPage, folder_of
from metaviz.gui.plotting.chart_view import ChartView
from metaviz.gui.widgets.controls import (
    combo,
    connect_controls,
    offer,
    push_button,
    scrolling,
    switch,
    text_label,
    whole_number,
)
from metaviz.gui.widgets.layouts import Part
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.analysis.prediction_charts import (
    COLUMNS,
    MOST_SHOWN,
    prediction_chart,
    prediction_path,
)
from metaviz.runs.model.labels import labels
from metaviz.runs.model.prediction import Predicted

EMPTY = (
    "Tick a trained run. Drop a folder with a few pictures of each class, in a folder with "
    "the class's name, on Support, and the pictures to be told on Query; then press Predict."
)
_SUPPORT = "Support: drop a folder with a folder for each class, or an .npz file, here."
_QUERY = "Query: drop pictures, a folder of them, or an .npz file here."
_NO_PATH = "One example's probabilities over the inner steps."
_NAMED = 2
_ROW = 116
"""Pixels from one row of pictures to the next, at least."""


class DropField(QWidget):
    """Takes files and folders, dropped or chosen."""

    changed = Signal()

    def __init__(self, name: str, text: str, parent: QWidget | None = None) -> None:
        """Hold nothing; `text` says what is to be dropped."""
        super().__init__(parent)
        self.setObjectName(f"{name}Field")
        self.setAcceptDrops(True)
        self.paths: tuple[Path, ...] = ()
        self._empty = text
        what = text.partition(":")[0]
        self.label = text_label(f"{name}Text", text=text)
        self.folder_button = push_button(f"{name}Folder", "Folder…", f"{what}: choose a folder.")
        self.files_button = push_button(f"{name}Files", "Files…", f"{what}: choose files.")
        self.folder_button.clicked.connect(self._choose_folder)
        self.files_button.clicked.connect(self._choose_files)
        parts: tuple[Part, ...] = self.label, self.folder_button, self.files_button
        column(self, row(*parts, stretch=self.label), stretch=None)

    def take(self, paths: Sequence[Path]) -> None:
        """Hold these places instead of those before."""
        self.paths = tuple(paths)
        named = ", ".join(path.name for path in self.paths[:_NAMED])
        more = f" and {len(self.paths) - _NAMED} more" if len(self.paths) > _NAMED else ""
        head = self._empty.partition(":")[0]
        self.label.setText(f"{head}: {named}{more}" if self.paths else self._empty)
        self.changed.emit()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take what is a file or folder."""
        if _paths(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Hold what was dropped."""
        event.acceptProposedAction()
        self.take(_paths(event.mimeData()))

    @Slot()
    def _choose_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, self._empty.partition(":")[0])
        if chosen:
            self.take([Path(chosen)])

    @Slot()
    def _choose_files(self) -> None:
        chosen, _ = QFileDialog.getOpenFileNames(self, self._empty.partition(":")[0])
        if chosen:
            self.take([Path(name) for name in chosen])


class PredictTab(OnDemandPage):
    """Query pictures with what they are taken for, a step to look at, and one picture's path."""

    requested = Signal(object, object, object, bool)
    export_name = "predict"
    result: Predicted | None = None

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show nothing yet."""
        super().__init__("predict", parent)
        self.support = DropField("predictSupport", _SUPPORT)
        self.query = DropField("predictQuery", _QUERY)
        self.grid = ChartView("predictGrid", "Query examples and what they are taken for", self)
        self.path = ChartView("predictPath", "One example's path", self)
        self.remarks = text_label("predictRemarks", text=EMPTY)
        self.muted = (self.remarks,)
        self._lay_out()
        for field in (self.support, self.query):
            field.changed.connect(self._offer)
        self._show_nothing()

    def take_records(self) -> None:
        """Offer these runs."""
        offer(self.run, labels(self._records))
        self._offer()

    def drawing(self) -> list[Piece]:
        """Return what draws the predictions at the chosen step."""
        return [self._draw]

    def chart(self) -> Chart | None:
        """Return what is shown; None before anything was predicted."""
        found = self.result
        return None if found is None else prediction_chart(found, self.step.value())

    def tables(self) -> dict[str, str]:
        """Return the predictions after every step."""
        from metaviz.runs.export.tables import csv_text

        found = self.result
        return {} if found is None else {"predict.csv": csv_text(found.header(), found.rows())}

    @Slot()
    def request(self) -> None:
        """Ask for the predictions of the chosen run."""
        folder = folder_of(self.record_of(self.run))
        if folder is None or not self.support.paths or not self.query.paths:
            return
        self.show_busy("Adapting…")
        together = self.together.isChecked()
        self.requested.emit(folder, self.support.paths, self.query.paths, together)

    @Slot(object)
    def show_result(self, found: Predicted) -> None:
        """Show predictions after the run's own number of steps."""
        self.result = found
        self.ask_button.setEnabled(True)
        last = len(found.support_loss) - 1
        self.step.setRange(0, last)
        self.step.setEnabled(last > 0)
        self.step.setValue(found.k)
        self.number.setRange(1, len(found.names))
        more = len(found.names) - MOST_SHOWN
        told = [f"The first {MOST_SHOWN} are shown; Export writes all."] if more > 0 else []
        self.remarks.setText(" ".join([*found.remarks, *told]))
        self.remarks.setVisible(bool(self.remarks.text()))
        self._draw()

    def _lay_out(self) -> None:
        tip = "Adapt the run's stored weights to the support examples, and predict the others."
        self.ask_button = push_button("predictAsk", "Pre&dict", tip)
        self.ask_button.clicked.connect(self.request)
        self.run = combo("predictRun", "Run", {}, letters=18)
        tip = "Predict all query examples as one batch, whose statistics BatchNorm uses."
        self.together = switch("predictTogether", "to&gether", tip, on=True)
        self.area = scrolling("predictScroll", "Query examples", self.grid)
        body = split("predictBody", self.area, self.path, sizes=(560, 340))
        choices = flow(self.ask_button, self.run, self.together)
        parts = choices, self.support, self.query, self._scrubber(), self.status, self.remarks
        page(self, *parts, body, stretch=body, spacing=4)

    def _scrubber(self) -> QHBoxLayout:
        self.step = slider(
            "predictStep",
            "Inner step k",
            "Move through the inner steps.",
            transient=True,
            ticks=True,
        )
        self.at = PlainLabel()
        self.at.setMinimumWidth(self.fontMetrics().horizontalAdvance("k = 00 of 00"))
        tip = "Whose path is drawn on the right, counted from 1."
        self.number = whole_number("predictNumber", "Query example", tip, (1, 1))
        self.number.setProperty("transient", True)
        connect_controls(self.redraw, self.step, self.number)
        title = PlainLabel("i&nner step")
        title.setBuddy(self.step)
        parts = title, self.step, self.at, ("e&xample", self.number)
        return row(*parts, stretch=self.step)

    @Slot()
    def _offer(self) -> None:
        ready = bool(self._records and self.support.paths and self.query.paths)
        self.ask_button.setEnabled(ready)

    def _show_nothing(self) -> None:
        self.ask_button.setEnabled(False)
        self.grid.show_chart(Lines(id="predict", message=EMPTY))
        self.path.show_chart(Lines(id="predict-path", message=_NO_PATH))
        self.remarks.hide()

    def _draw(self) -> None:
        found = self.result
        if found is None:
            return
        k, number = self.step.value(), self.number.value() - 1
        self.at.setText(f"k = {k} of {self.step.maximum()}")
        chosen = number if number < MOST_SHOWN else None
        shown = prediction_chart(found, k, chosen)
        rows = -(-min(len(found.names), MOST_SHOWN) // COLUMNS)
        self.grid.setMinimumHeight(rows * _ROW if isinstance(shown, ImageGrid) else 0)
        self.grid.show_chart(shown)
        self.path.show_chart(prediction_path(found, number, k))
        share = found.accuracy(k)
        right = "" if share is None else f" · {share:.0%} right where the class is known"
        self.show_status(f"{found.label}: {len(found.names)} query examples{right}")


def _paths(data: QMimeData) -> list[Path]:
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
