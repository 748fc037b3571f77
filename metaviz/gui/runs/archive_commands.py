"""Runs as files: packed into a zip, imported from one, and their weights for other programs."""

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QFileDialog, QWidget

from metaviz import paths
from metaviz.gui.background.task import Task
from metaviz.gui.background.training_controller import TrainingController
from metaviz.gui.runs.runs_dock import RunsDock
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.message_boxes import ask
from metaviz.gui.widgets.notifier import Notifier
from metaviz.runs.storage.archive import pack_run, unpack_run

COMMANDS = ("pack_run", "save_weights", "import_run")


class ArchiveCommands(QObject):
    """Commands on run files. `imported` carries the folder of a run that came in."""

    imported = Signal(object)

    def __init__(
        self,
        table: RunsDock,
        controller: TrainingController,
        commands: Actions,
        notifier: Notifier,
        window: QWidget,
    ) -> None:
        """Listen to the commands, and add those on a run to the table's context menu."""
        super().__init__(window)
        self._table, self._controller, self._window = table, controller, window
        self._commands, self._notifier = commands, notifier
        table.add_commands([commands[name] for name in COMMANDS[:2]])
        commands["pack_run"].triggered.connect(self.ask_pack)
        commands["save_weights"].triggered.connect(self.ask_weights)
        commands["import_run"].triggered.connect(self.ask_import)
        table.view.selectionModel().selectionChanged.connect(self.update_actions)
        table.tree_model.modelReset.connect(self.update_actions)
        controller.phase_changed.connect(self.update_actions)
        self.update_actions()

    @Slot()
    def update_actions(self) -> None:
        """Enable what the selection allows; a tip says why where it does not."""
        stored = self._folder() is not None
        reason = "" if stored else "Select one stored run in the table first."
        phase = self._controller.phase
        busy = "" if phase in {"idle", "paused"} else "The engine is busy or not there yet."
        for name, why in (("pack_run", reason), ("save_weights", reason or busy)):
            self._commands.allow(name, why)

    @Slot()
    def ask_pack(self) -> None:
        """Ask where to, and pack the selected run."""
        self._ask_target("Pack run", ".zip", "Zip archives", self.pack)

    def pack(self, folder: Path, path: Path) -> None:
        """Pack a run into an archive, beside the window."""
        target = path if path.suffix.lower() == ".zip" else path.with_name(f"{path.name}.zip")

        def pack() -> Path:
            pack_run(folder, target)
            return target

        Task(pack, self._on_packed, self._notifier.fail, self).start()

    @Slot()
    def ask_import(self) -> None:
        """Ask for an archive, and import the run in it."""
        chosen, _ = QFileDialog.getOpenFileName(
            self._window, "Import run", str(Path.home()), "Zip archives (*.zip);;All files (*)"
        )
        if chosen:
            self.import_run(Path(chosen))

    def offer_import(self, path: Path) -> None:
        """Ask whether an archive is to be imported."""
        ask(
            self._window,
            "import_question",
            "Import run",
            f"Import the run in {path.name}?",
            f"It is unpacked into {paths.runs_dir()} and shown in the table.",
            ("&Import", lambda: self.import_run(path)),
            usually_yes=True,
        )

    def import_run(self, path: Path) -> None:
        """Unpack a run into the folder of runs, beside the window."""
        root = paths.runs_dir()
        Task(lambda: unpack_run(path, root), self._on_imported, self._notifier.fail, self).start()

    @Slot()
    def ask_weights(self) -> None:
        """Ask where to, and save the newest weights of the selected run."""
        self._ask_target("Save weights", ".safetensors", "Safetensors", self.save_weights)

    def save_weights(self, folder: Path, path: Path) -> None:
        """Write the newest weights of a run as safetensors."""
        ending = ".safetensors"
        target = path if path.suffix.lower() == ending else path.with_name(path.name + ending)
        self._controller.ask(
            lambda engine, _: engine.save_weights(folder, target),
            self._on_weights_saved,
            self._notifier.fail,
        )

    def _ask_target(
        self, title: str, ending: str, kind: str, save: Callable[[Path, Path], None]
    ) -> None:
        """Ask where to save something of the selected run, and save it there."""
        folder = self._folder()
        if folder is None:
            return
        place, kinds = str(Path.home() / f"{folder.name}{ending}"), f"{kind} (*{ending})"
        chosen, _ = QFileDialog.getSaveFileName(self._window, title, place, kinds)
        if chosen:
            save(folder, Path(chosen))

    def _folder(self) -> Path | None:
        rows = self._table.selected()
        return rows[0].folder if len(rows) == 1 else None

    @Slot(object)
    def _on_packed(self, path: Path) -> None:
        self._notifier.inform(f"Packed the run as {path}")

    @Slot(object)
    def _on_imported(self, folder: Path) -> None:
        self._notifier.inform(f"Imported {folder.name}")
        self.imported.emit(folder)

    @Slot(object)
    def _on_weights_saved(self, path: Path) -> None:
        self._notifier.inform(f"Saved the weights as {path}")
