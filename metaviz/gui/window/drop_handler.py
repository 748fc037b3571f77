"""What comes into the window as files: dropped, imported or brought back by name."""

from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.gui.runs.archive_commands import RunFiles
from metaviz.gui.runs.row import Row
from metaviz.gui.runs.run_reader import Library
from metaviz.gui.runs.runs_dock import RunsTable
from metaviz.gui.session.saved_views import SavedViews
from metaviz.gui.window.drop_overlay import Dropping
from metaviz.gui.window.file_commands import FileCommands


class Incoming(QObject):
    """Hands drops to whom they concern, and ticks a run that came by itself."""

    said = Signal(str)
    failed = Signal(str, str)

    def __init__(
        self,
        table: RunsTable,
        library: Library,
        files: FileCommands,
        run_files: RunFiles,
        views: SavedViews,
        window: QWidget,
    ) -> None:
        """Watch the window for drops; create it after the window listens to the library."""
        super().__init__(window)
        self._table, self._library = table, library
        self._awaited: set[Path] = set()
        self.dropping = Dropping(window)
        self.dropping.runs_dropped.connect(self.show_runs)
        self.dropping.archive_dropped.connect(run_files.offer_import)
        self.dropping.view_dropped.connect(views.import_view)
        self.dropping.configuration_dropped.connect(files.read_configuration)
        self.dropping.failed.connect(self.failed)
        run_files.imported.connect(self.show_runs)
        for part in (run_files, views):
            part.said.connect(self.said)
            part.failed.connect(self.failed)
        table.model.reading.connect(self._on_reading)
        library.unreadable.connect(self._on_unreadable)

    @Slot(object)
    def show_runs(self, folder: Path) -> None:
        """List the runs of a folder, or one run, which is ticked, too."""
        row = next((row for row in self._table.model.rows if row.folder == folder), None)
        if row is not None:
            self._tick([row])
            return
        self._awaited.add(folder)
        self._library.scan(folder)

    def take(self, rows: list[Row]) -> None:
        """Tick those of the runs in the table that were waited for."""
        awaited = [row for row in rows if row.folder in self._awaited]
        if awaited:
            self._awaited -= {row.folder for row in awaited if row.folder is not None}
            self._tick(awaited)

    @Slot(str)
    def _on_unreadable(self, sentence: str) -> None:
        """Say what is wrong with a run that was waited for."""
        for folder in [place for place in self._awaited if str(place) in sentence]:
            self._awaited.discard(folder)
            self.failed.emit(sentence, "")

    def _tick(self, rows: list[Row]) -> None:
        self._table.model.show([row.id for row in rows], visible=True)
        self._table.select(rows[0].id)

    @Slot(int, int)
    def _on_reading(self, done: int, total: int) -> None:
        self.said.emit(f"Read {done} of {total} runs" if done < total else f"Read {total} runs")
