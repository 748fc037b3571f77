"""The sweep dialog: what is varied, the runs, and how long they will take."""

from itertools import islice

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QGridLayout,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionError, Plain, checked
from metaviz.config.run_config import Comparison, RunConfig, parse_seeds
from metaviz.config.sweep import Estimate, Sweep, plan_sweep, sweepable
from metaviz.gui.experiment.form_values import seeds_text
from metaviz.gui.experiment.sweep_axis import SweepAxisRow
from metaviz.gui.widgets.controls import (
    explained,
    named,
    press_on_enter,
    push_button,
    scrolling,
    text_label,
)
from metaviz.gui.widgets.editors import write_value
from metaviz.gui.widgets.layouts import column, fill, row
from metaviz.gui.widgets.read_table import ReadTable
from metaviz.gui.widgets.theme import current_theme, tint

MOST_LISTED = 200
_COLUMNS = (
    ("Algorithm", "What trains"),
    ("Seed", "Seed of weights and tasks"),
    ("What is varied", "The values of this run"),
)
_ROWS_HEIGHT = 150
_SIZE = (640, 540)


class SweepDialog(QDialog):
    """Asks what to vary. `queued` carries runs and a name, `estimate_requested` the runs."""

    queued = Signal(object, str)
    estimate_requested = Signal(object)
    closed = Signal()

    def __init__(
        self,
        comparison: Comparison,
        catalogue: Catalogue,
        values: dict[str, Plain],
        workers: int,
        parent: QWidget | None = None,
    ) -> None:
        """Vary a comparison; `values` are those that the form has, by dotted key."""
        super().__init__(parent)
        self.setObjectName("sweep_dialog")
        explained(self, "/page/sweep")
        self.setWindowTitle("Sweep")
        self._comparison, self._catalogue = comparison, catalogue
        self._known = sweepable(catalogue, comparison)
        self._values, self._workers = values, workers
        self.rows: list[SweepAxisRow] = []
        self._made = 0
        self.sweep: Sweep | None = None
        self._build()
        self.resize(*_SIZE)

    def add_row(self, key: str = "") -> SweepAxisRow:
        """Vary one more hyperparameter: a given one, or the first that is not varied yet."""
        taken = {one.key.currentData() for one in self.rows}
        free = [name for name in ("inner_lr", *self._known) if name not in taken]
        axis = SweepAxisRow(self._made, self._known, self._values, self)
        self._made += 1
        axis.place(self._grid, 2 * self._made)
        axis.changed.connect(self._check)
        axis.removed.connect(self._remove)
        self.rows.append(axis)
        axis.choose(key or free[0])
        return axis

    def runs(self) -> list[RunConfig]:
        """Return the runs. Raises: OptionError with one sentence."""
        return self.sweep.runs() if self.sweep is not None else []

    def show_progress(self, line: str) -> None:
        """Say how far the estimate is."""
        self.time.setText(line)

    def show_estimate(self, estimate: Estimate) -> None:
        """Say how long the runs will take."""
        self.time.setText(f"{estimate.text(self._workers)}.")
        self.estimate.setEnabled(self.sweep is not None)

    def show_error(self, sentence: str) -> None:
        """Say why there is no estimate."""
        self.time.setText(sentence)
        self.estimate.setEnabled(self.sweep is not None)

    def accept(self) -> None:
        """Hand the runs on to be queued."""
        try:
            runs = self.runs()
        except OptionError as error:
            self._show_reason(str(error))
            return
        if runs:
            name = ", ".join(f"{one.key.currentData()}: {one.text.text()}" for one in self.rows)
            self.queued.emit(runs, name)
            super().accept()

    def done(self, result: int) -> None:
        """Emit `closed`: an estimate is not needed any more."""
        self.closed.emit()
        super().done(result)

    def _build(self) -> None:
        self._grid = QGridLayout()
        for at, share in enumerate((4, 2, 4)):
            self._grid.setColumnStretch(at, share)
        content = column(None, self._grid, None, margins=(0, 0, 6, 0))
        area = scrolling("sweep_rows", "What is varied", content)
        area.setMinimumHeight(_ROWS_HEIGHT)
        self.more = push_button(
            "sweep_more",
            "&Vary another",
            "Add a row; every combination of the rows is trained.",
            "Vary another hyperparameter",
        )
        self.more.clicked.connect(self._on_more)
        layout = QVBoxLayout(self)
        title = "Runs of the sweep"
        self.table = ReadTable("sweep_points", title, _COLUMNS, words=(0, 2))
        self.table.setShowGrid(False)
        seeds = self._seeds_form()
        fill(
            layout,
            area,
            row(self.more, None),
            seeds,
            self.table,
            *self._make_footer(),
            stretch=area,
        )
        layout.setStretchFactor(self.table, 2)

    def _seeds_form(self) -> QFormLayout:
        tip = "Every point is trained with each seed. Write 0,1,2 or 0-4."
        seeds = QLineEdit(seeds_text(self._comparison.seeds))
        self.seeds = named(seeds, "sweep_seeds", "Seeds", tip)
        self.seeds.textChanged.connect(self._check)
        tip = "Draws the random values; the same number draws the same ones."
        self.draw = named(QSpinBox(), "sweep_draw", "Seed of random values", tip)
        self.draw.setRange(0, 2**31 - 1)
        self.draw.valueChanged.connect(self._check)
        form = QFormLayout()
        form.addRow("&Seeds", self.seeds)
        form.addRow("Seed of &random values", self.draw)
        self._form = form
        return form

    def _make_footer(self) -> tuple[QWidget, ...]:
        self.reason = text_label("sweep_reason", "Number of runs")
        self.time = text_label("sweep_time", "Estimated time")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel, self)
        tip = "Queue these runs; they train one after another."
        self.accepting = push_button("sweep_queue", "&Queue", tip, "Queue the runs")
        tip = "Take a few steps of each algorithm to tell how long all take."
        self.estimate = push_button("sweep_estimate", "&Estimate", tip, "Estimate the time")
        self.buttons.addButton(self.accepting, QDialogButtonBox.ButtonRole.AcceptRole)
        self.buttons.addButton(self.estimate, QDialogButtonBox.ButtonRole.ActionRole)
        press_on_enter(self.buttons, self.accepting)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.estimate.clicked.connect(self._on_estimate)
        return self.reason, self.time, self.buttons

    @Slot()
    def _on_more(self) -> None:
        self.add_row().text.setFocus(Qt.FocusReason.OtherFocusReason)

    @Slot()
    def _on_estimate(self) -> None:
        try:
            runs = self.runs()
        except OptionError as error:
            self._show_reason(str(error))
            return
        if not runs:
            return
        # The keyboard would go on to "Cancel" otherwise.
        self.accepting.setFocus()
        self.estimate.setEnabled(False)
        self.time.setText("Taking a few steps…")
        self.estimate_requested.emit(runs)

    @Slot(object)
    def _remove(self, axis_row: SweepAxisRow) -> None:
        self.rows.remove(axis_row)
        for widget in axis_row.widgets:
            self._grid.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        axis_row.deleteLater()
        self._check()

    @Slot()
    def _check(self) -> None:
        """Follow every edit: what is wrong, or how many runs there are and which."""
        self.sweep = None
        self.time.clear()
        drawn = any(r.kind.currentData() in {"uniform", "loguniform"} for r in self.rows)
        self._form.setRowVisible(self.draw, drawn)
        try:
            axes, wrong = [], ""
            for axis_row in self.rows:
                axis_row.show_error("")
                try:
                    axis = axis_row.axis(self.draw.value())
                    plan_sweep(self._comparison, [axis], self._catalogue)
                    axes.append(axis)
                except OptionError as error:
                    axis_row.show_error(str(error))
                    wrong = str(error)
            if wrong:
                self._show_reason("Nothing to queue yet: see the row in red.")
                return
            seeds = parse_seeds(self.seeds.text())
            varied = checked(Comparison, {**self._comparison.model_dump(), "seeds": seeds})
            self.sweep = plan_sweep(varied, axes, self._catalogue)
        except OptionError as error:
            self._show_reason(str(error))
            return
        self._show_sweep(self.sweep)

    def _show_sweep(self, sweep: Sweep) -> None:
        count = sweep.count
        self.reason.setText(f"{count} {'run' if count == 1 else 'runs'}")
        tint(self.reason, current_theme().foreground)
        self.accepting.setText(f"&Queue {count}")
        self._enable(yes=True)
        shown = list(islice(sweep.listed(), MOST_LISTED))
        rows = [(name, str(seed), _varied_text(point)) for name, seed, point in shown]
        if count > MOST_LISTED:
            rows.append(("…", "", f"and {count - MOST_LISTED} more"))
        self.table.show_rows(rows)

    def _show_reason(self, sentence: str) -> None:
        self.sweep = None
        self.reason.setText(sentence)
        tint(self.reason, current_theme().error)
        self.accepting.setText("&Queue")
        self.table.setRowCount(0)
        self._enable(yes=False)

    def _enable(self, *, yes: bool) -> None:
        self.accepting.setEnabled(yes)
        self.estimate.setEnabled(yes)


def _varied_text(point: dict[str, Plain]) -> str:
    return ", ".join(f"{key} = {write_value(v) or 'none'}" for key, v in point.items())
