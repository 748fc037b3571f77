"""Opens files that are dropped on the window or imported."""

from pathlib import Path

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QWidget

from metaviz.gui.runs.archive_commands import ArchiveCommands
from metaviz.gui.runs.row import Row
from metaviz.gui.runs.run_reader import RunReader
from metaviz.gui.runs.runs_dock import RunsDock
from metaviz.gui.session.saved_views import SavedViews
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.window.drop_overlay import DropOverlay
from metaviz.gui.window.file_commands import FileCommands


class DropHandler(QObject):
    """Opens what is dropped, and ticks a run that was opened by itself."""

    def __init__(
        self,
        table: RunsDock,
        reader: RunReader,
        files: FileCommands,
        archive_commands: ArchiveCommands,
        views: SavedViews,
        notifier: Notifier,
        window: QWidget,
    ) -> None:
        """Watch the window for drops; create it after the window listens to the reader."""
        super().__init__(window)
        self._table, self._reader = table, reader
        self._notifier = notifier
        self._awaited: set[Path] = set()
        self.overlay = DropOverlay(notifier, window)
        self.overlay.runs_dropped.connect(self.show_runs)
        self.overlay.archive_dropped.connect(archive_commands.offer_import)
        self.overlay.view_dropped.connect(views.import_view)
        self.overlay.configuration_dropped.connect(files.read_configuration)
        archive_commands.imported.connect(self.show_runs)
        table.model.reading.connect(self._on_reading)
        reader.unreadable.connect(self._on_unreadable)

    @Slot(object)
    def show_runs(self, folder: Path) -> None:
        """List the runs of a folder, or one run, which is ticked, too."""
        row = next((row for row in self._table.model.rows if row.folder == folder), None)
        if row is not None:
            self._tick([row])
            return
        self._awaited.add(folder)
        self._reader.scan(folder)

    def show_found(self, rows: list[Row]) -> None:
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
            self._notifier.fail(sentence)

    def _tick(self, rows: list[Row]) -> None:
        self._table.model.show([row.id for row in rows], visible=True)
        self._table.select(rows[0].id)

    @Slot(int, int)
    def _on_reading(self, done: int, total: int) -> None:
        self._notifier.inform(
            f"Read {done} of {total} runs" if done < total else f"Read {total} runs"
        )
