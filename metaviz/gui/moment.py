"""Which run is looked at, and at which of its evaluations."""

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSizePolicy, QSlider, QWidget

from metaviz.gui.choices import combo
from metaviz.runs.curves import labels
from metaviz.runs.geometry import geometry_pictures
from metaviz.runs.record import Record


class Moment(QWidget):
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
        self.run = combo(f"{name}Run", "Run", {})
        self.run.setToolTip("The run whose geometry is shown.")
        self.run.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.run.setMinimumContentsLength(18)
        self.run.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.run.setMaximumWidth(280)
        self.time = QSlider(Qt.Orientation.Horizontal)
        self.time.setObjectName(f"{name}Time")
        self.time.setAccessibleName("Evaluation shown")
        self.time.setToolTip("Go back to earlier evaluations; the number is the meta-step.")
        self.time.setPageStep(1)
        self.time.setMinimumWidth(70)
        self.step_text = QLabel()
        self.step_text.setObjectName(f"{name}Step")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        run_label, time_label = QLabel("r&un"), QLabel("&at meta-step")
        run_label.setBuddy(self.run)
        time_label.setBuddy(self.time)
        for widget in (run_label, self.run, time_label, self.time, self.step_text):
            row.addWidget(widget)
        row.setStretchFactor(self.run, 1)
        row.setStretchFactor(self.time, 2)
        self.run.currentIndexChanged.connect(self._take)
        self.time.valueChanged.connect(self._take)
        self.offer([])

    def offer(self, records: list[Record]) -> None:
        """Offer these runs; the chosen one and the newest evaluation stay chosen."""
        names = labels(records)
        self._records = records
        if [self.run.itemData(i) for i in range(self.run.count())] != list(names) or [
            self.run.itemText(i) for i in range(self.run.count())
        ] != list(names.values()):
            chosen = self.run.currentData()
            self.run.blockSignals(True)
            self.run.clear()
            for name, label in names.items():
                self.run.addItem(label, name)
            self.run.setCurrentIndex(max(0, self.run.findData(chosen)) if names else -1)
            self.run.blockSignals(False)
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
        newest = self.time.value() == self.time.maximum()
        self.time.blockSignals(True)
        self.time.setMaximum(max(0, len(self.steps) - 1))
        if newest:
            self.time.setValue(self.time.maximum())
        self.time.blockSignals(False)
        self.time.setEnabled(len(self.steps) > 1)
        self.place = self.time.value()
        widest = self.step_text.fontMetrics().horizontalAdvance(str(max(self.steps, default=0)))
        self.step_text.setMinimumWidth(widest)
        self.step_text.setText(str(self.steps[self.place]) if self.steps else "")
