"""Opening and saving: runs, configurations, exports. Everything asks where first."""

from io import BytesIO
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QFileDialog, QWidget

from metaviz import paths
from metaviz.config.options import OptionError
from metaviz.config.run_config import comparison_of, read_comparison, to_toml
from metaviz.files.atomic import write_text
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.widgets.settings_file import Settings
from metaviz.runs.model.record import Record

_TOML = "Configurations (*.toml);;All files (*)"


class FileCommands(QObject):
    """File commands of the window. `runs_requested` carries a folder of runs."""

    runs_requested = Signal(object)

    def __init__(
        self, form: ExperimentDock, settings: Settings, notifier: Notifier, window: QWidget
    ) -> None:
        """Act on a form; last folders are kept in the settings."""
        super().__init__(window)
        self._form, self._settings = form, settings
        self._notifier, self._window = notifier, window

    def open_runs(self) -> None:
        """Ask for a folder of runs."""
        chosen = QFileDialog.getExistingDirectory(
            self._window, "Open runs", self._folder("runs", paths.runs_dir())
        )
        if chosen:
            self._settings.write("folders/runs", chosen)
            self.runs_requested.emit(Path(chosen))

    def open_configuration(self) -> None:
        """Ask for a TOML file and fill the form from it."""
        chosen, _ = QFileDialog.getOpenFileName(
            self._window, "Open configuration", self._folder("configurations", Path.home()), _TOML
        )
        if chosen:
            self.read_configuration(Path(chosen))

    def read_configuration(self, path: Path) -> None:
        """Fill the form from a TOML file; a mistake in it is shown, and the form stays as it is."""
        try:
            self._form.show_comparison(read_comparison(path), f"configuration {path.stem}")
        except OptionError as error:
            self._notifier.fail(f"{path.name} cannot be used. {error}", str(path))
            return
        self._settings.write("folders/configurations", str(path.parent))
        self._notifier.inform(f"Opened {path}")

    def save_configuration(self) -> None:
        """Ask for a place and write the form there as TOML."""
        suggestion = Path(self._folder("configurations", Path.home())) / "comparison.toml"
        chosen, _ = QFileDialog.getSaveFileName(
            self._window, "Save configuration", str(suggestion), _TOML
        )
        if chosen:
            self.write_configuration(Path(chosen))

    def write_configuration(self, path: Path) -> None:
        """Write the form as TOML, which `metaviz compare --config` reads."""
        try:
            write_text(path, to_toml(self._form.comparison()))
        except OptionError as error:
            self._notifier.fail(f"The form cannot be saved yet. {error}")
            return
        except OSError as error:
            self._notifier.fail(f"Cannot write {path}: {error.strerror}. Choose another folder.")
            return
        self._settings.write("folders/configurations", str(path.parent))
        self._notifier.inform(f"Saved {path}")

    def use_run(self, config: dict[str, Any]) -> None:
        """Fill the form with the settings of a run."""
        try:
            self._form.show_comparison(
                comparison_of(config), f"settings of a run of {config['algorithm']}"
            )
        except OptionError as error:
            self._notifier.fail(f"The settings of this run cannot be used. {error}")
            return
        self._notifier.inform(f"The form has the settings of {config['algorithm']}")

    def export(self, tabs: Tabs, records: list[Record], folders: dict[str, Path]) -> None:
        """Open the export dialog."""
        from metaviz.gui.window.export_dialog import ExportDialog

        pages = tabs.pages
        tabs.catch_up()
        front = tabs.current_page()
        only = front.export_name if front is not None and front.shows_something else ""
        about = pages, records, self._window, folders, self._settings
        dialog = ExportDialog(*about, only=only)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def copy_plot(self, tabs: Tabs) -> None:
        """Copy the figure of the page in front as a picture."""
        page = tabs.current_page()
        if page is None:
            return
        from metaviz.charts.matplotlib import Page, figure_of

        stream = BytesIO()
        QGuiApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        try:
            chart = page.shown_chart()
            if chart is not None:
                figure_of(chart, Page(dpi=200)).savefig(stream, format="png")
        except ValueError as error:
            self._notifier.fail(f"The plot cannot be copied: {error}")
            return
        finally:
            QGuiApplication.restoreOverrideCursor()
        if chart is None:
            self._notifier.inform("There is nothing to copy on this page yet")
            return
        QGuiApplication.clipboard().setImage(QImage.fromData(stream.getvalue()))
        self._notifier.inform("Copied the plot")

    def _folder(self, kind: str, default: Path) -> str:
        return self._settings.read(f"folders/{kind}", str(default))
