"""Choosing what to export, in which format and size."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from PySide6.QtCore import QSignalBlocker, QUrl, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
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

from metaviz.files.atomic import write_text
from metaviz.gui.background.task import Task
from metaviz.gui.pages.compare_page import CompareTab
from metaviz.gui.pages.episode_page import EpisodeTab
from metaviz.gui.pages.page import PlotPage
from metaviz.gui.pages.page_registry import VIEWS
from metaviz.gui.widgets.controls import (
    close_buttons,
    combo,
    explained,
    named,
    press_on_enter,
    push_button,
    read_control,
    switch,
    text_label,
)
from metaviz.gui.widgets.layouts import fill, row
from metaviz.gui.widgets.settings_file import Settings
from metaviz.runs.analysis.curve_charts import fan, without_slider
from metaviz.runs.export.tensorboard import MISSING, has_tensorboard, write_event_files
from metaviz.runs.model.record import Record
from metaviz.runs.storage.store import open_run

if TYPE_CHECKING:
    from metaviz.charts.matplotlib import Page
    from metaviz.charts.values import Chart

FORMATS = {"png": "PNG", "pdf": "PDF", "svg": "SVG"}
_PLOTS = {
    "training": "&Training curves",
    "comparison": "Com&parison of groups",
    "parallel": "Parallel coordinates, as they are shown",
    "inner": "&Inner loop",
    "fan": "Predictions on one task, &for each run",
    "convergence": "Con&vergence",
    "gradients": "Meta-&gradients",
    "geometry": "Learned g&eometry of the chosen run",
    "mirror": "&Mirror map of the chosen run",
    "posterior": "P&osterior of the chosen run",
    "benchmark": "&Benchmark: published results and ours",
    "episode": "E&pisode: the task that is shown",
    "predict": "Pre&dictions of your own examples",
    "theory": "Theor&y: the view that is shown",
    "playground": "Playgro&und, as it is shown",
}
PRESETS = {
    "single": ("Single column, 8.5 × 6 cm", 8.5, 6.0, 8.0),
    "double": ("Double column, 17.5 × 9 cm", 17.5, 9.0, 9.0),
    "slide": ("Slide, 25.4 × 14.3 cm", 25.4, 14.3, 18.0),
}
"""Width and height in centimetres and the font in points of usual places for figures."""
_OWN = "own"
_LEGENDS = {"below": "below the axes", "inside": "inside the axes", "none": "none"}
_REMEMBERED = "export"
_NARROW_CM = 12.0
Job = Callable[[Path], bool]
"""Writes a file, and returns whether there was anything to write."""

Number = TypeVar("Number", QSpinBox, QDoubleSpinBox)


class ExportDialog(QDialog):
    """Writes the chosen plots and tables into a folder, on another thread."""

    def __init__(
        self,
        tabs: Sequence[PlotPage],
        records: list[Record],
        parent: QWidget | None = None,
        folders: dict[str, Path] | None = None,
        settings: Settings | None = None,
        only: str = "",
    ) -> None:
        """Offer the plots of these tabs, and the tables and a report of these runs.

        `folders` are those of the runs by id: the report reads their evaluations there. `only` is
        the plot that is ticked at first; without it all is that can be drawn. The settings keep
        where and how a person exported last.
        """
        super().__init__(parent)
        self.setWindowTitle("Export")
        self.setObjectName("exportDialog")
        explained(self, "/page/export")
        self._charts: dict[str, Callable[[], Chart | None]] = {t.export_name: t.chart for t in tabs}
        self._blank = {tab.export_name for tab in tabs if not tab.shows_something}
        self._alone = {tab.export_name: tab for tab in tabs if tab.stands_alone}
        compare = next((tab for tab in tabs if isinstance(tab, CompareTab)), None)
        self._comparison = compare.exported_view() if compare is not None else None
        self._episodes = [
            tab.result for tab in tabs if isinstance(tab, EpisodeTab) and tab.result is not None
        ]
        parallel = compare.parallel_chart() if compare is not None else None
        if parallel is not None:
            self._charts["parallel"] = lambda: parallel
        self._records = records
        self._folders = folders or {}
        self._settings = settings or Settings(None)
        self.written: list[Path] = []
        self._own_tables: dict[str, str] = {}
        self._is_writing = False
        self._cancelled = Event()
        explanation = "Figures are drawn in the light theme, with legend and units."
        self.status = text_label("exportStatus", text=explanation)
        buttons = close_buttons(self, "exportClose", "Close")
        self.open_folder = push_button("exportOpen", "Open fol&der")
        self.open_folder.setAutoDefault(False)
        self.open_folder.setEnabled(False)
        self.open_folder.clicked.connect(self._open)
        buttons.addButton(self.open_folder, QDialogButtonBox.ButtonRole.ActionRole)
        self.export = push_button("exportButton", "&Export")
        buttons.addButton(self.export, QDialogButtonBox.ButtonRole.ActionRole)
        press_on_enter(buttons, self.export)
        self.export.clicked.connect(self.start)
        choices = row(self._what(), self._how(), spacing=8)
        fill(QVBoxLayout(self), choices, self._where(), self.status, buttons)
        self._recall()
        if only:
            self._tick(only)
        self.export.setFocus()
        if not records and self._alone:
            self.status.setText("There are no runs to export yet, only what needs none.")
        elif not records:
            self.status.setText("There are no runs to export yet: run a comparison first.")
            self.export.setEnabled(False)

    def page(self) -> "Page":
        """Return the chosen size and resolution."""
        from metaviz.charts.matplotlib import Page

        size = self.width_cm.value(), self.height_cm.value(), self.dpi.value()
        return Page(
            *size,
            self.font_size.value(),
            self.legend.currentData(),
            caption=not self.caption.isChecked(),
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
        self.open_folder.setEnabled(False)
        self.status.setText("Writing…")
        self._remember()
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
        self._cancelled.clear()

        def write() -> tuple[list[Path], str]:
            return _write(folder, jobs, writers, self._cancelled, task)

        task = Task(write, self._on_written, self._on_failed, self)
        task.progressed.connect(self.status.setText)
        task.start()

    def reject(self) -> None:
        """Close; while files are being written, stop after the one that is at it."""
        if self._is_writing:
            self._cancelled.set()
            self.status.setText("Stopping after this file…")
            return
        super().reject()

    def _jobs(self, plots: list[str], formats: list[str]) -> list[tuple[str, Job]]:
        """Return what is written under which name: figures, and captions that stand beside."""
        page = self.page()
        charts = {name: chart for name, chart in self._charts.items() if name in plots}
        if "fan" in plots:
            charts |= _fans(self._records)
        jobs: list[tuple[str, Job]] = [
            (f"{name}.{kind}", partial(_save, chart, page))
            for name, chart in charts.items()
            for kind in formats
        ]
        if not page.caption:
            jobs += [(f"{name}.txt", partial(_save_caption, c)) for name, c in charts.items()]
        return jobs

    def _report(self, folder: Path) -> list[Path]:
        from metaviz.runs.export.html_report import write_report

        return write_report(self._whole(), self._folders, folder / "report" / "report.html")

    def _event_files(self, folder: Path) -> list[Path]:
        return write_event_files(self._whole(), folder / "tensorboard")

    def _tables(self, folder: Path) -> list[Path]:
        from metaviz.runs.export.tables import write_tables

        written = []
        if self._records:
            found = self._whole()
            written += write_tables(
                found, folder, self._folders.values(), self._comparison, self._episodes
            )
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
        self.open_folder.setEnabled(bool(written))
        folder = written[0].parent if written else Path()
        text = f"Wrote {len(written)} files to {folder}." if written else ""
        self.status.setText(f"{error} {text}".strip() or "Nothing was chosen.")

    def _what(self) -> QGroupBox:
        box = QGroupBox("What")
        self.plots: dict[str, QCheckBox] = {}
        for name, text in _PLOTS.items():
            if name in self._charts or name == "fan":
                self.plots[name] = switch(f"export_{name}", text, "Draw this plot.")
                possible = self._possible(name)
                self.plots[name].setChecked(
                    possible and (name not in self._alone or not self._records)
                )
                self.plots[name].setEnabled(possible)
        self.tables = switch(
            "exportTables",
            "Ta&bles: metrics, inner loop, summary, geometry, charts, evaluations",
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
        sizes = {name: about[0] for name, about in PRESETS.items()} | {_OWN: "Own size"}
        self.preset = combo("exportPreset", "Size of figures for", sizes)
        form.addRow("&Size", self.preset)
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
        self.legend = combo("exportLegend", "Where the legend stands", _LEGENDS)
        form.addRow("Le&gend", self.legend)
        self.caption = switch(
            "exportCaption",
            "Captions in te&xt files of their own",
            "Write what lines and bands mean into NAME.txt, not below the figure.",
        )
        form.addRow("", self.caption)
        self.preset.setCurrentIndex(self.preset.findData(_OWN))
        self.preset.currentIndexChanged.connect(self._take_preset)
        for field in (self.width_cm, self.height_cm, self.font_size):
            field.valueChanged.connect(self._on_size)
        return box

    @Slot()
    def _take_preset(self) -> None:
        """Take the size and font of a usual place; narrow figures have no room for captions."""
        about = PRESETS.get(self.preset.currentData())
        if about is None:
            return
        for field, value in zip(self._sizes(), about[1:], strict=True):
            with QSignalBlocker(field):
                field.setValue(value)
        self.caption.setChecked(about[1] < _NARROW_CM)

    @Slot()
    def _on_size(self) -> None:
        """Name the place that has the size that was typed, if there is one."""
        sizes = tuple(field.value() for field in self._sizes())
        found = next((name for name, about in PRESETS.items() if about[1:] == sizes), _OWN)
        with QSignalBlocker(self.preset):
            self.preset.setCurrentIndex(self.preset.findData(found))

    def _sizes(self) -> tuple[QDoubleSpinBox, QDoubleSpinBox, QDoubleSpinBox]:
        return self.width_cm, self.height_cm, self.font_size

    def _tick(self, only: str) -> None:
        """Tick one plot and nothing else."""
        for name, box in self.plots.items():
            box.setChecked(name == only and box.isEnabled())
        for box in (self.tables, self.report, self.events):
            box.setChecked(False)

    def _kept(self) -> dict[str, QCheckBox | QComboBox | QSpinBox | QDoubleSpinBox]:
        """Return the controls that are remembered, by name."""
        controls: dict[str, QCheckBox | QComboBox | QSpinBox | QDoubleSpinBox] = {
            **self.formats,
            "width": self.width_cm,
            "height": self.height_cm,
            "dpi": self.dpi,
            "font": self.font_size,
            "legend": self.legend,
            "caption": self.caption,
        }
        return controls

    def _remember(self) -> None:
        """Keep folder, formats and size for the next time."""
        self._settings.write(f"{_REMEMBERED}/folder", self.folder.text())
        for name, control in self._kept().items():
            self._settings.write(f"{_REMEMBERED}/{name}", str(read_control(control)))

    def _recall(self) -> None:
        """Show folder, formats and size of the last time; what cannot be read stays as it is."""
        self.folder.setText(self._settings.read(f"{_REMEMBERED}/folder", self.folder.text()))
        for name, control in self._kept().items():
            text = self._settings.read(f"{_REMEMBERED}/{name}", "")
            if isinstance(control, QCheckBox):
                control.setChecked(text == "True" if text else control.isChecked())
            elif isinstance(control, QComboBox):
                control.setCurrentIndex(max(0, control.findData(text)))
            elif text:
                with suppress(ValueError, OverflowError):
                    whole = isinstance(control, QSpinBox)
                    control.setValue(int(text) if whole else float(text))  # type: ignore[arg-type]

    @Slot()
    def _open(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.written[0].parent)))

    def _where(self) -> QHBoxLayout:
        folder = QLineEdit(str(Path.home() / "metaviz-export"))
        self.folder = named(folder, "exportFolder", "Folder to write to")
        browse = push_button("exportBrowse", "Browse…")
        browse.setAutoDefault(False)
        browse.clicked.connect(self._browse)
        return row(("Fo&lder", self.folder), browse, spacing=6, stretch=self.folder)

    @Slot()
    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder to write to", self.folder.text())
        if chosen:
            self.folder.setText(chosen)


def _write(
    folder: Path,
    jobs: Sequence[tuple[str, "Job"]],
    writers: Sequence[Callable[[Path], list[Path]]],
    cancelled: Event,
    task: Task,
) -> tuple[list[Path], str]:
    """Write everything; return what was written, and a sentence where the disk refused.

    Matplotlib without pyplot needs no main thread.
    """
    written: list[Path] = []
    count = len(jobs) + len(writers)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, (name, job) in enumerate(jobs, 1):
            task.send(task.progressed, f"Writing {place} of {count}: {name}")
            if job(folder / name):
                written.append(folder / name)
            if cancelled.is_set():
                return written, "Stopped."
        for place, write in enumerate(writers, len(jobs) + 1):
            task.send(task.progressed, f"Writing {place} of {count}…")
            written += write(folder)
            if cancelled.is_set():
                return written, "Stopped."
    except OSError as error:
        if not error.strerror:
            return written, str(error)
        return written, (
            f"Cannot write to {folder}: {error.strerror}. Choose a folder that you may write to."
        )
    return written, ""


def _save(made: Callable[[], "Chart | None"], page: "Page", path: Path) -> bool:
    """Draw a chart into a file, if there is one."""
    from metaviz.charts.matplotlib import figure_of
    from metaviz.runs.export.figures import save_figure

    chart = made()
    if chart is None:
        return False
    save_figure(figure_of(chart, page), path)
    return True


def _save_caption(made: Callable[[], "Chart | None"], path: Path) -> bool:
    """Write what a figure's lines mean, if it has any."""
    from metaviz.charts.matplotlib import caption_of

    chart = made()
    text = "" if chart is None else caption_of(chart)
    if not text:
        return False
    write_text(path, f"{text[:1].upper()}{text[1:]}.\n")
    return True


def _fans(records: list[Record]) -> dict[str, Callable[[], "Chart | None"]]:
    shown = {record.id: fan(record) for record in records}
    return {
        f"fan-{name}": partial(without_slider, drawn)
        for name, drawn in shown.items()
        if drawn is not None
    }


def _number(name: str, box: Number, limits: tuple[int, int], value: int, unit: str) -> Number:
    """Let a box of numbers hold values within limits."""
    box.setObjectName(name)
    box.setRange(*limits)
    box.setValue(value)
    box.setSuffix(unit)
    return box
