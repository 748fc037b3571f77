"""Runs as files: packed into a zip, imported from one, and their weights for other programs."""

import logging
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QRunnable, QThreadPool, Signal, Slot
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from metaviz import paths
from metaviz.gui.background.engine_protocol import Errand
from metaviz.gui.background.training_controller import Conductor
from metaviz.gui.runs.runs_dock import RunsTable
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.message_boxes import question
from metaviz.runs.storage.archive import pack_run, unpack_run
from metaviz.runs.storage.store import StoreError

WEIGHTS = "weights"
COMMANDS = ("pack_run", "save_weights", "import_run")


class RunFiles(QObject):
    """Commands on run files. `imported` carries the folder of a run that came in."""

    said = Signal(str)
    failed = Signal(str, str)
    imported = Signal(object)

    def __init__(
        self, table: RunsTable, conductor: Conductor, commands: Actions, window: QWidget
    ) -> None:
        """Listen to the commands, and add those on a run to the table's context menu."""
        super().__init__(window)
        self._table, self._conductor, self._window = table, conductor, window
        self._commands = commands
        self._jobs: list[_Job] = []
        table.add_commands([commands[name] for name in COMMANDS[:2]])
        commands["pack_run"].triggered.connect(self.ask_pack)
        commands["save_weights"].triggered.connect(self.ask_weights)
        commands["import_run"].triggered.connect(self.ask_import)
        table.view.selectionModel().selectionChanged.connect(self.update_actions)
        table.arrangement.modelReset.connect(self.update_actions)
        conductor.worker.answered.connect(self._on_answered)
        conductor.worker.unanswered.connect(self._on_unanswered)
        conductor.phase_changed.connect(self.update_actions)
        self.update_actions()

    @Slot()
    def update_actions(self) -> None:
        """Enable what the selection allows; a tip says why where it does not."""
        stored = self._folder() is not None
        reason = "" if stored else "Select one stored run in the table first."
        phase = self._conductor.phase
        busy = "" if phase in {"idle", "paused"} else "The engine is busy or not there yet."
        for name, why in (("pack_run", reason), ("save_weights", reason or busy)):
            self._commands[name].setEnabled(not why)
            self._commands[name].setToolTip(why or self._commands[name].statusTip())

    @Slot()
    def ask_pack(self) -> None:
        """Ask where to, and pack the selected run."""
        folder = self._folder()
        if folder is None:
            return
        chosen, _ = QFileDialog.getSaveFileName(
            self._window,
            "Pack run",
            str(Path.home() / f"{folder.name}.zip"),
            "Zip archives (*.zip)",
        )
        if chosen:
            self.pack(folder, Path(chosen))

    def pack(self, folder: Path, path: Path) -> None:
        """Pack a run into an archive, beside the window."""
        target = path if path.suffix.lower() == ".zip" else path.with_name(f"{path.name}.zip")

        def act() -> Path:
            pack_run(folder, target)
            return target

        self._start(act, self._on_packed)

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
        box = question(
            "import_question",
            "Import run",
            f"Import the run in {path.name}?",
            f"It is unpacked into {paths.runs_dir()} and shown in the table.",
            self._window,
        )
        yes = box.addButton("&Import", QMessageBox.ButtonRole.AcceptRole)
        no = box.addButton("&Cancel", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(yes)
        box.setEscapeButton(no)
        box.setProperty("archive", str(path))
        yes.clicked.connect(self._on_import_wanted)
        box.open()

    def import_run(self, path: Path) -> None:
        """Unpack a run into the folder of runs, beside the window."""
        root = paths.runs_dir()
        self._start(lambda: unpack_run(path, root), self._on_imported)

    @Slot()
    def ask_weights(self) -> None:
        """Ask where to, and save the newest weights of the selected run."""
        folder = self._folder()
        if folder is None:
            return
        suggestion = str(Path.home() / f"{folder.name}.safetensors")
        chosen, _ = QFileDialog.getSaveFileName(
            self._window, "Save weights", suggestion, "Safetensors (*.safetensors)"
        )
        if chosen:
            self.save_weights(folder, Path(chosen))

    def save_weights(self, folder: Path, path: Path) -> None:
        """Have the engine write the newest weights of a run as safetensors."""
        ending = ".safetensors"
        target = path if path.suffix.lower() == ending else path.with_name(path.name + ending)
        self._conductor.ask(Errand(WEIGHTS, lambda engine, _: engine.save_weights(folder, target)))

    def _folder(self) -> Path | None:
        rows = self._table.selected()
        return rows[0].folder if len(rows) == 1 else None

    def _start(self, act: Callable[[], Path], done: Callable[[Path], None]) -> None:
        job = _Job(act)
        job.signals.done.connect(done)
        job.signals.failed.connect(self._on_failed)
        self._jobs = [one for one in self._jobs if not one.over] + [job]
        QThreadPool.globalInstance().start(job)

    @Slot()
    def _on_import_wanted(self) -> None:
        button = self.sender()
        box = button.parent() if button is not None else None
        while box is not None and not box.property("archive"):
            box = box.parent()
        if box is not None:
            self.import_run(Path(str(box.property("archive"))))

    @Slot(object)
    def _on_packed(self, path: Path) -> None:
        self.said.emit(f"Packed the run as {path}")

    @Slot(object)
    def _on_imported(self, folder: Path) -> None:
        self.said.emit(f"Imported {folder.name}")
        self.imported.emit(folder)

    @Slot(str)
    def _on_failed(self, sentence: str) -> None:
        self.failed.emit(sentence, "")

    @Slot(str, object)
    def _on_answered(self, kind: str, answer: object) -> None:
        if kind == WEIGHTS:
            self.said.emit(f"Saved the weights as {answer}")

    @Slot(str, str)
    def _on_unanswered(self, kind: str, sentence: str) -> None:
        if kind == WEIGHTS:
            self.failed.emit(sentence, "")


_log = logging.getLogger("metaviz.run_files")


class _Signals(QObject):
    done = Signal(object)
    failed = Signal(str)


class _Job(QRunnable):
    """Packs or unpacks in the pool."""

    def __init__(self, act: Callable[[], Path]) -> None:
        super().__init__()
        self.setAutoDelete(False)
        self.signals, self.over = _Signals(), False
        self._act = act

    def run(self) -> None:
        try:
            self.signals.done.emit(self._act())
        except StoreError as error:
            self.signals.failed.emit(str(error))
        except Exception as error:  # noqa: BLE001 - a door: the window must hear that it ended
            _log.exception("A run could not be packed or unpacked")
            self.signals.failed.emit(f"The run could not be copied: {error}.")
        finally:
            self.over = True
