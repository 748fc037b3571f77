"""Choosing what to export, in which format and size."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PySide6.QtCore import Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.background.task import Task
from metaviz.gui.pages.compare_page import CompareTab
from metaviz.gui.pages.page import PlotPage
from metaviz.gui.pages.page_registry import VIEWS
from metaviz.gui.widgets.controls import close_buttons, named, push_button, switch, text_label
from metaviz.gui.widgets.layouts import fill, row
from metaviz.runs.analysis.curve_charts import fan, without_slider
from metaviz.runs.export.tensorboard import MISSING, has_tensorboard, write_event_files
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metaviz.charts.matplotlib import Page
    from metaviz.charts.values import Chart

FORMATS = {"png": "PNG", "pdf": "PDF", "svg": "SVG"}
_PLOTS = {
    "training": "&Training curves",
    "comparison": "Com&parison of groups",
    "parallel": "Parallel coordinates, as they are shown",
    "inner": "&Inner loop",
    "fan": "Sinusoid &fan of each run",
    "convergence": "Con&vergence",
    "gradients": "Meta-&gradients",
    "geometry": "Learned g&eometry of the chosen run",
    "mirror": "&Mirror map of the chosen run",
    "benchmark": "&Benchmark: published results and ours",
    "episode": "E&pisode: the task that is shown",
    "theory": "Theor&y: the view that is shown",
    "playground": "Playgro&und, as it is shown",
}
Draw = Callable[["Page"], "Figure | None"]

Number = TypeVar("Number", QSpinBox, QDoubleSpinBox)


class ExportDialog(QDialog):
    """Writes the chosen plots and tables into a folder, on another thread."""

    def __init__(
        self,
        tabs: Sequence[PlotPage],
        records: list[Record],
        parent: QWidget | None = None,
        folders: dict[str, Path] | None = None,
    ) -> None:
        """Offer the plots of these tabs, and the tables and a report of these runs.

        `folders` are those of the runs by id: the report reads their evaluations there.
        """
        super().__init__(parent)
        self.setWindowTitle("Export")
        self.setObjectName("exportDialog")
        self._draw: dict[str, Draw] = {tab.export_name: _draw(tab) for tab in tabs}
        self._blank = {tab.export_name for tab in tabs if not tab.shows_something}
        self._alone = {tab.export_name: tab for tab in tabs if tab.stands_alone}
        compare = next((tab for tab in tabs if isinstance(tab, CompareTab)), None)
        self._comparison = compare.exported_view() if compare is not None else None
        parallel = compare.parallel_chart() if compare is not None else None
        if parallel is not None:
            self._draw["parallel"] = partial(_figure, parallel)
        self._records = records
        self._folders = folders or {}
        self.written: list[Path] = []
        self._own_tables: dict[str, str] = {}
        self._is_writing = False
        explanation = "Figures are drawn in the light theme, with legend and units."
        self.status = text_label("exportStatus", text=explanation)
        buttons = close_buttons(self, "exportClose", "Close")
        self.export = push_button("exportButton", "&Export")
        buttons.addButton(self.export, QDialogButtonBox.ButtonRole.ActionRole)
        self.export.setDefault(True)
        self.export.clicked.connect(self.start)
        fill(QVBoxLayout(self), self._what(), self._how(), self._where(), self.status, buttons)
        if not records and self._alone:
            self.status.setText("There are no runs to export yet, only what needs none.")
        elif not records:
            self.status.setText("There are no runs to export yet: run a comparison first.")
            self.export.setEnabled(False)

    def page(self) -> "Page":
        """Return the chosen size and resolution."""
        from metaviz.charts.matplotlib import Page

        return Page(
            self.width_cm.value(), self.height_cm.value(), self.dpi.value(), self.font_size.value()
        )

    @Slot()
    def start(self) -> None:
        """Write what is chosen."""
        folder = Path(self.folder.text().strip() or ".").expanduser()
        plots = [name for name, box in self.plots.items() if box.isChecked()]
        formats = [name for name, box in self.formats.items() if box.isChecked()]
        others = any(box.isChecked() for box in (self.tables, self.report, self.events))
        if plots and not formats and not others:
            self.status.setText("Choose at least one format: PNG, PDF or SVG.")
            return
        self.export.setEnabled(False)
        self.status.setText("Writing…")
        writers = [
            write
            for box, write in (
                (self.tables, self._tables),
                (self.report, self._report),
                (self.events, self._event_files),
            )
            if box.isChecked()
        ]
        chosen = [tab for name, tab in self._alone.items() if name in plots]
        self._own_tables = {name: text for tab in chosen for name, text in tab.tables().items()}
        jobs = self._jobs(plots, formats)
        self._is_writing = True
        Task(lambda: _write(folder, jobs, writers), self._on_written, self._on_failed, self).start()

    def reject(self) -> None:
        """Close, unless files are being written."""
        if not self._is_writing:
            super().reject()

    def _jobs(self, plots: list[str], formats: list[str]) -> list[tuple[str, Draw]]:
        page = self.page()
        draws = {name: draw for name, draw in self._draw.items() if name in plots}
        if "fan" in plots:
            draws |= _fans(self._records)

        def with_page(draw: Draw) -> Draw:
            return lambda _: draw(page)

        return [
            (f"{name}.{kind}", with_page(draw)) for name, draw in draws.items() for kind in formats
        ]

    def _report(self, folder: Path) -> list[Path]:
        from metaviz.runs.export.html_report import write_report

        return write_report(self._whole(), self._folders, folder / "report" / "report.html")

    def _event_files(self, folder: Path) -> list[Path]:
        return write_event_files(self._whole(), folder / "tensorboard")

    def _tables(self, folder: Path) -> list[Path]:
        from metaviz.files.atomic import write_text
        from metaviz.runs.export.tables import write_tables

        written = []
        if self._records:
            found = self._whole()
            written += write_tables(found, folder, self._folders.values(), self._comparison)
        for name, text in self._own_tables.items():
            write_text(folder / name, text)
            written.append(folder / name)
        return written

    def _whole(self) -> list[Record]:
        """Return the runs, those of which the window keeps a part of the pictures read anew."""
        return [
            open_run(self._folders[one.id]) if one.is_thinned and one.id in self._folders else one
            for one in self._records
        ]

    @Slot(str)
    def _on_failed(self, sentence: str) -> None:
        self._on_written(([], f"The export failed: {sentence}"))

    @Slot(object)
    def _on_written(self, result: tuple[list[Path], str]) -> None:
        self._is_writing = False
        written, error = result
        self.written = written
        self.export.setEnabled(True)
        folder = written[0].parent if written else Path()
        text = f"Wrote {len(written)} files to {folder}." if written else ""
        self.status.setText(f"{error} {text}".strip() or "Nothing was chosen.")

    def _what(self) -> QGroupBox:
        box = QGroupBox("What")
        self.plots: dict[str, QCheckBox] = {}
        for name, text in _PLOTS.items():
            if name in self._draw or name == "fan":
                self.plots[name] = switch(f"export_{name}", text, "Draw this plot.")
                possible = self._possible(name)
                self.plots[name].setChecked(
                    possible and (name not in self._alone or not self._records)
                )
                self.plots[name].setEnabled(possible)
        self.tables = switch(
            "exportTables",
            "Ta&bles: metrics, inner loop, summary, geometry, evaluations",
            "Tidy tables of the visible runs, numbers in full precision.",
        )
        self.tables.setChecked(True)
        self.report = switch(
            "exportReport",
            "Re&port: one HTML file with all of it",
            "Results, figures, settings that differ, environment, and how to repeat the runs; its "
            "figures, table and configurations lie beside it. Takes a while with many runs.",
        )
        self.events = switch(
            "exportEvents",
            "Tensor&Board event files",
            "One folder of event files per run, with losses, evaluations and hyperparameters."
            if has_tensorboard()
            else MISSING,
        )
        self.report.setEnabled(bool(self._records))
        self.events.setEnabled(has_tensorboard() and bool(self._records))
        parts = (*self.plots.values(), self.tables, self.report, self.events)
        fill(QVBoxLayout(box), *parts)
        return box

    def _possible(self, name: str) -> bool:
        """Return whether there is anything to draw."""
        needs: dict[str, Callable[[Record], bool]] = {
            **{view.id: view.need.has for view in VIEWS if view.need is not None},
            "fan": lambda record: fan(record) is not None,
        }
        if name in self._blank:
            return False
        if name in self._alone:
            return True
        return any(map(needs.get(name, lambda _: True), self._records))

    def _how(self) -> QGroupBox:
        box = QGroupBox("Figures")
        form = QFormLayout(box)
        self.formats = {
            name: switch(f"export_{name}", text, f"Write {text} files.")
            for name, text in FORMATS.items()
        }
        self.formats["png"].setChecked(True)
        form.addRow("Formats", row(*self.formats.values(), None, spacing=6))
        self.width_cm = _number("exportWidth", QDoubleSpinBox(), (2, 200), 16, " cm")
        self.width_cm.setDecimals(1)
        self.height_cm = _number("exportHeight", QDoubleSpinBox(), (2, 200), 10, " cm")
        self.height_cm.setDecimals(1)
        self.dpi = _number("exportDpi", QSpinBox(), (30, 1200), 300, " dpi")
        self.font_size = _number("exportFont", QDoubleSpinBox(), (4, 40), 9, " pt")
        form.addRow("&Width", self.width_cm)
        form.addRow("&Height", self.height_cm)
        form.addRow("&Resolution of PNG", self.dpi)
        form.addRow("F&ont", self.font_size)
        return box

    def _where(self) -> QHBoxLayout:
        folder = QLineEdit(str(Path.home() / "metaviz-export"))
        self.folder = named(folder, "exportFolder", "Folder to write to")
        browse = push_button("exportBrowse", "Bro&wse…")
        browse.setAutoDefault(True)
        browse.clicked.connect(self._browse)
        return row(("Fo&lder", self.folder), browse, spacing=6, stretch=self.folder)

    @Slot()
    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder to write to", self.folder.text())
        if chosen:
            self.folder.setText(chosen)


def _write(
    folder: Path,
    jobs: list[tuple[str, Draw]],
    writers: Sequence[Callable[[Path], list[Path]]],
) -> tuple[list[Path], str]:
    """Write everything; return what was written, and a sentence where the disk refused.

    Matplotlib without pyplot needs no main thread.
    """
    from metaviz.charts.matplotlib import Page
    from metaviz.runs.export.figures import save_figure

    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in jobs:
            figure = draw(Page())
            if figure is not None:
                save_figure(figure, folder / name)
                written.append(folder / name)
        for write in writers:
            written += write(folder)
    except OSError as error:
        if not error.strerror:
            return written, str(error)
        return written, (
            f"Cannot write to {folder}: {error.strerror}. Choose a folder that you may write to."
        )
    return written, ""


def _draw(tab: PlotPage) -> Draw:
    return lambda page: _figure(tab.chart(), page)


def _fans(records: list[Record]) -> dict[str, Draw]:
    shown = {record.id: fan(record) for record in records}
    return {
        f"fan-{name}": partial(_figure, without_slider(drawn))
        for name, drawn in shown.items()
        if drawn is not None
    }


def _figure(chart: "Chart | None", page: "Page") -> "Figure | None":
    from metaviz.charts.matplotlib import figure_of

    return None if chart is None else figure_of(chart, page)


def _number(name: str, box: Number, limits: tuple[int, int], value: int, unit: str) -> Number:
    """Let a box of numbers hold values within limits."""
    box.setObjectName(name)
    box.setRange(*limits)
    box.setValue(value)
    box.setSuffix(unit)
    return box
