"""The main window: docks around the plots, and one place where commands are enabled."""

import time
from pathlib import Path

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QCloseEvent, QIcon, QKeyEvent, QUndoStack
from PySide6.QtWidgets import (
    QLabel,
    QMainWindow,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from metaviz import __version__, paths
from metaviz.config.catalogue import Catalogue
from metaviz.config.run_config import Comparison
from metaviz.gui.background.engine_protocol import EngineLoader
from metaviz.gui.background.training_controller import BUSY, Conductor, Phase
from metaviz.gui.background.training_worker import Loaded
from metaviz.gui.dataset.dataset_controller import Looking
from metaviz.gui.experiment.experiment_dock import ExperimentPanel
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.queue.enqueue_commands import QueueOrders
from metaviz.gui.queue.queue_controller import Queueing
from metaviz.gui.runs.archive_commands import RunFiles
from metaviz.gui.runs.live_runs import LiveRuns
from metaviz.gui.runs.mark_editor import MarksDesk
from metaviz.gui.runs.resume_commands import StoredRuns
from metaviz.gui.runs.row import Row, row_of
from metaviz.gui.runs.run_follower import Following
from metaviz.gui.runs.run_list_model import RunsModel
from metaviz.gui.runs.run_reader import Library
from metaviz.gui.runs.runs_dock import RunsTable
from metaviz.gui.session.saved_views import SavedViews
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.log_dock import LogPanel
from metaviz.gui.widgets.message_bar import MessageBar
from metaviz.gui.widgets.redraw_timer import Pace
from metaviz.gui.widgets.settings import Preferences
from metaviz.gui.widgets.theme import Theme, current_theme
from metaviz.gui.widgets.theme_menu import ThemeMenu
from metaviz.gui.window.about_dialog import HelpCommands
from metaviz.gui.window.comfort import Comfort
from metaviz.gui.window.dock_layout import Layout
from metaviz.gui.window.drop_handler import Incoming
from metaviz.gui.window.engine_requests import Errands
from metaviz.gui.window.file_commands import FileCommands
from metaviz.gui.window.menus import build_menus
from metaviz.gui.window.page_preloader import SpareTime
from metaviz.gui.window.shutdown import Closing
from metaviz.gui.window.status_line import PaceLine
from metaviz.gui.window.toolbar import RunBar
from metaviz.gui.window.training_commands import TrainingDesk
from metaviz.runs.model.record import Record
from metaviz.runs.storage.worker_process import usable_cores

TABLE_SECONDS = 0.5


class MainWindow(QMainWindow):
    """Everything on screen. It shows before the engine is loaded; `begin` starts the rest."""

    gone = Signal()
    KEYS = (("Pause or go on, unless a field has the focus", "Space"),)

    def __init__(
        self, catalogue: Catalogue, loader: EngineLoader, preferences: Preferences
    ) -> None:
        """Build the window for a catalogue; `loader` is called on the worker's thread."""
        super().__init__()
        self.setObjectName("window")
        self.setWindowTitle("MetaViz")
        self.setWindowIcon(QIcon(str(paths.resource("icons/metaviz.svg"))))
        self.preferences = preferences
        self.theme_menu = ThemeMenu(preferences, self)
        self.commands = Actions(self)
        self.conductor = Conductor(loader, self)
        self.library = Library(self)
        self.form = ExperimentPanel(catalogue, self)
        self.runs = RunsModel()
        self.runs.setParent(self)
        self.table = RunsTable(self.runs, self, catalogue)
        self.undo_stack = QUndoStack(self)
        self.marks = MarksDesk(self.runs, self.library, self.undo_stack, self)
        self.table.marks.use(self.marks)
        self.log = LogPanel(self)
        self.tabs = Tabs(self, self.table.columns)
        self.tabs.requests.brushed.connect(self.table.keep_only)
        self.table.bar.brushes_unwanted.connect(self.tabs.clear_brushes)
        self.messages = MessageBar(self)
        self.run_bar = RunBar(self.commands, self)
        self.training = TrainingDesk(self.conductor, self.form, self.commands, self)
        self.live = LiveRuns(self.conductor.worker, self.runs, self.log, self)
        self.files = FileCommands(self.form, preferences, self)
        self.errands = Errands(self.conductor, self.form, self.tabs, self)
        self.looking = Looking(self.conductor, self.form, self.commands["look"], self)
        self.stored_runs = StoredRuns(self.table, self.conductor, self.commands, self)
        self.help = HelpCommands(self.commands, self)
        self.following = Following(self.runs, self.log, self)
        self.run_files = RunFiles(self.table, self.conductor, self.commands, self)
        self.views = SavedViews(self.tabs, self.table, paths.data_dir() / "views", self)
        self.incoming = Incoming(
            self.table, self.library, self.files, self.run_files, self.views, self
        )
        self.queueing = Queueing(
            self.following, self.log, self.commands, preferences, paths.data_dir(), self
        )
        self.queue_orders = QueueOrders(
            self.queueing, self.form, self.conductor, self.commands, self
        )
        self.closing = Closing(self.conductor, self.library, self.following, self.queueing, self)
        self.comfort = Comfort(self)
        self.spare_time = SpareTime(self.tabs, self.conductor, self.following, self)
        self._pace = Pace(self)
        self._listed = 0.0
        self._assemble()
        self._connect()
        self._restore()
        self.update_actions()

    def begin(self) -> None:
        """Load what the first paint did not need: engine, plots, icons and stored runs."""
        self.statusBar().showMessage("Loading PyTorch…")
        # Icons first: what loads them waits for every module that another thread imports.
        self.commands.use_icons(current_theme())
        self.conductor.load()
        self.tabs.begin(current_theme())
        self.library.scan(paths.runs_dir())
        self.queueing.open()
        self.comfort.begin()

    def show_records(self, records: list[Record]) -> None:
        """Show runs that are at hand, with all plots."""
        self.tabs.begin(current_theme())
        self.commands.use_icons(current_theme())
        self.runs.add([row_of(record, None, keep=True) for record in records[::-1]], first=True)
        self.runs.show_only([record.id for record in records])

    @Slot()
    def update_actions(self) -> None:
        """Enable what makes sense now."""
        commands = self.commands
        self.training.update_actions()
        shown = bool(self.runs.visible_records())
        commands["export"].setEnabled(shown and self.tabs.ready)
        commands["copy_plot"].setEnabled(shown and self.tabs.ready)
        commands["save_configuration"].setEnabled(not self.form.reason)
        self.queue_orders.update_actions()
        self.stored_runs.update_actions()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Pause by the space bar, where no widget wanted it."""
        if event.key() == Qt.Key.Key_Space and self.commands["pause"].isEnabled():
            self.commands["pause"].trigger()
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Close once both threads have ended; until then ask and wait."""
        if self.closing.may_close:
            event.accept()
            self.gone.emit()
            return
        event.ignore()
        self.closing.ask()

    def _assemble(self) -> None:
        centre = QWidget(self)
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.messages)
        column.addLayout(self.comfort.welcome.stack, 1)
        self.setCentralWidget(centre)
        self.arrangement = Layout(
            self, self.run_bar, self.form, self.table, self.queueing.panel, self.log
        )
        self.log.add_command(self.commands["open_log"])
        menus = (self.views.menu, self.theme_menu.menu)
        build_menus(self, self.commands, self.arrangement.toggles(), menus)
        for name, title in (("sweep", "Sweep"), ("queue", "Queue"), ("run", "Run")):
            button = QToolButton(self.form)
            button.setObjectName(f"form_{name}")
            button.setAccessibleName(title)
            button.setDefaultAction(self.commands[name])
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            self.form.foot.add_button(button)
        self.queue_status = QLabel(self)
        self.queue_status.setObjectName("queue_status")
        self.queue_status.setAccessibleName("Progress of the queue")
        self.statusBar().addPermanentWidget(self.queue_status)
        self.statusBar().setObjectName("status")
        self.pace_line = PaceLine(
            self.conductor, self.live, self.run_bar.time_left.text, self.statusBar()
        )

    def _connect(self) -> None:
        worker = self.conductor.worker
        worker.loaded.connect(self._on_loaded)
        worker.failed.connect(self.messages.show_error)
        worker.refused.connect(self._on_refused)
        worker.finished.connect(self._on_finished)
        self.conductor.phase_changed.connect(self._on_phase)
        self.library.found.connect(self._on_found)
        self.library.news.connect(self._on_news)
        self.library.opened.connect(self.runs.take_record)
        self.library.opened.connect(self._follow)
        self.following.changed.connect(self._set_pace)
        self.queueing.troubled.connect(self.messages.show_error)
        self.queueing.progressed.connect(self.queue_status.setText)
        self.library.unreadable.connect(self._on_unreadable)
        self.runs.record_wanted.connect(self.library.read)
        self.runs.visibility_changed.connect(self._on_visibility)
        self.table.settings_wanted.connect(self.files.use_run)
        self.table.marks.deletion_wanted.connect(self.library.delete)
        self.live.troubled.connect(self.messages.show_error)
        self.live.diverged.connect(self.messages.show_divergence)
        self.messages.remedy_wanted.connect(self.stored_runs.mend)
        self.form.changed.connect(self.update_actions)
        for source in (self.files, self.errands, self.help, self.queueing, self.marks):
            source.said.connect(self.say)
            source.said.connect(self._let_message_go)
        self.form.changed.connect(self._let_message_go)
        for keeper in (self.views, self.incoming):
            keeper.said.connect(self._let_message_go)
        for name in ("queue_pause", "queue_resume"):
            self.commands[name].triggered.connect(self._let_message_go)
        self.training.begun.connect(self.messages.hide)
        for desk in (self.files, self.errands, self.training, self.stored_runs):
            desk.failed.connect(self.messages.show_error)
        self.marks.troubled.connect(self.messages.show_error)
        self.files.runs_wanted.connect(self.library.scan)
        self.incoming.failed.connect(self.messages.show_error)
        self.incoming.said.connect(self.say)
        self.theme_menu.switched.connect(self._on_theme)
        self.closing.leaving.connect(self._on_leaving)
        self.closing.ready.connect(self.close)
        self._pace.tick.connect(self._tick)
        self.log.run_wanted.connect(self._show_logged_run)
        self._connect_commands()

    def _connect_commands(self) -> None:
        slots = {
            "open_runs": self.files.open_runs,
            "open_configuration": self.files.open_configuration,
            "save_configuration": self.files.save_configuration,
            "reset_form": self._reset_form,
            "export": self._export,
            "copy_plot": self._copy_plot,
            "undo": self.undo_stack.undo,
            "redo": self.undo_stack.redo,
            "find": self._find,
            "quit": self.close,
            "full_screen": self._full_screen,
            "reset_layout": self.arrangement.reset,
        }
        for name, slot in slots.items():
            self.commands[name].triggered.connect(slot)
        self.undo_stack.indexChanged.connect(self._show_undo)
        self._show_undo()

    def _restore(self) -> None:
        # Only what has changed is written, and so tells whether the file can be.
        self.preferences.write("window/opened_by", __version__)
        self.preferences.save()
        if self.preferences.note:
            self.log.add("warning", self.preferences.note)
        self.comfort.restore()

    @Slot(str)
    def say(self, sentence: str) -> None:
        """Show a passing remark in the status bar."""
        self.statusBar().showMessage(sentence, 8000)

    @Slot()
    def _let_message_go(self) -> None:
        """Hide a message that has been dealt with; the log keeps it."""
        if self.conductor.phase != "broken":
            self.messages.hide()

    @Slot()
    def _reset_form(self) -> None:
        problem = self.form.problem
        self.form.show_comparison(
            Comparison(
                problem=problem.id,
                steps=problem.steps,
                device=self.comfort.preferences.wishes.device,
            ),
            "reset all settings",
        )

    @Slot()
    def _export(self) -> None:
        self.files.export(self.tabs, self.runs.visible_records(), self.runs.folders())

    @Slot()
    def _copy_plot(self) -> None:
        self.files.copy_plot(self.tabs)

    @Slot(bool)
    def _full_screen(self, full: bool) -> None:
        self.showFullScreen() if full else self.showNormal()

    @Slot(object)
    def _on_loaded(self, info: Loaded) -> None:
        self.form.show_catalogue(info.catalogue)
        self.run_bar.device.setText(info.device_text)
        on_gpu = info.device_text.startswith("CUDA")
        self.queueing.allow_workers(1 if on_gpu else usable_cores())
        self.help.device_text = info.device_text
        self.say(f"Ready: {info.device_text}")

    @Slot(str, str)
    def _on_refused(self, key: str, sentence: str) -> None:
        if not (key and self.form.show_error(key, sentence)):
            self.messages.show_error(sentence)

    @Slot()
    def _on_finished(self) -> None:
        self.tabs.refresh()
        self.runs.refresh()
        self.update_actions()

    @Slot(str)
    def _on_phase(self, phase: Phase) -> None:
        self.run_bar.show_phase(phase)
        self.commands.show_paused(current_theme(), paused=phase == "paused")
        self._set_pace()
        self.update_actions()

    @Slot()
    def _set_pace(self) -> None:
        """Redraw while something trains, here or in another process."""
        if self.conductor.phase in BUSY or self.following.records:
            self._pace.start()
        elif self._pace.running:
            self._pace.stop()
            self.tabs.refresh()
            self.runs.refresh()

    @Slot(object)
    def _follow(self, record: Record) -> None:
        """Go on reading a run that was opened while another process trains it."""
        folder = record.environment.get("folder")
        if not record.ended and folder and record.id not in self.live.records:
            self.following.follow(Path(str(folder)))

    @Slot(object)
    def _on_found(self, rows: list[Row]) -> None:
        self.runs.update(rows)
        self.runs.add(rows, first=False)
        self.incoming.take([row for new in rows if (row := self.runs.find(new.id)) is not None])
        again = self.comfort.session.shown_before([row.id for row in rows])
        if again and not self.conductor.busy:
            self.runs.show(again, visible=True)

    @Slot(object, object)
    def _on_news(self, rows: list[Row], gone: list[str]) -> None:
        """Follow what other programs, or this one, changed in the folder of runs."""
        self.runs.update(rows)
        for row in rows:
            row.news = True
        self.runs.add(rows, first=True)
        self.runs.vanish(gone)

    @Slot()
    def _find(self) -> None:
        self.arrangement.table.show()
        self.arrangement.table.raise_()
        self.table.focus_search()

    @Slot(str, str)
    def _show_logged_run(self, name: str, label: str) -> None:
        """Select the run that a line of the log is about; labels are found newest first."""
        rows = self.runs.rows
        found = [r.id for r in rows if r.id == name] or [r.id for r in rows if r.label == label]
        if found:
            self.arrangement.table.show()
            self.arrangement.table.raise_()
            self.table.select(found[0])
        else:
            self.say("That run is not in the table")

    @Slot()
    def _show_undo(self) -> None:
        """Let the commands say what they would undo and do again."""
        stack = self.undo_stack
        for name, can, what in (
            ("undo", stack.canUndo(), stack.undoText()),
            ("redo", stack.canRedo(), stack.redoText()),
        ):
            self.commands[name].setEnabled(can)
            self.commands[name].setText(f"&{name.capitalize()} {what}".rstrip())

    @Slot(str)
    def _on_unreadable(self, sentence: str) -> None:
        self.log.add("warning", sentence)

    @Slot()
    def _on_visibility(self) -> None:
        self.tabs.show_records(self.runs.visible_records())
        self.update_actions()

    @Slot(object)
    def _on_theme(self, theme: Theme) -> None:
        self.form.restyle()
        self.messages.restyle()
        self.runs.restyle()
        self.queueing.panel.restyle()
        self.table.restyle()
        self.log.restyle()
        self.comfort.welcome.page.restyle()
        if self.tabs.ready:
            self.tabs.apply_theme(theme)
            self.commands.use_icons(theme)

    @Slot()
    def _on_leaving(self) -> None:
        self.preferences.save()
        if self.closing.busy:
            self.statusBar().showMessage("Stopping and saving…")
        else:
            self.hide()

    @Slot()
    def _tick(self) -> None:
        """Show what is new: in the plots or, now and then, beside them, never in one paint."""
        now = time.monotonic()
        if now - self._listed < TABLE_SECONDS:
            self._pace.spread(self.tabs.pieces())
            return
        self._listed = now
        self._pace.spread([self._list])

    def _list(self) -> None:
        self.runs.refresh()
        if self.conductor.busy:
            done, total = self.live.progress()
            paused = self.conductor.phase == "paused"
            self.run_bar.show_progress(done, total, paused=paused, waiting=self.live.waiting)
