"""The main window: docks around the plots, and one place where commands are enabled."""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QEvent, Qt, Signal, Slot
from PySide6.QtGui import QCloseEvent, QIcon, QKeyEvent, QUndoStack
from PySide6.QtWidgets import QMainWindow

from metaviz import __version__, paths
from metaviz.config.catalogue import Catalogue
from metaviz.config.run_config import Comparison
from metaviz.gui.background.engine_protocol import EngineLoader
from metaviz.gui.background.training_controller import BUSY, Phase, TrainingController
from metaviz.gui.background.training_worker import EngineInfo
from metaviz.gui.dataset.dataset_controller import DatasetController
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.guide.guide_controller import GuideController
from metaviz.gui.guide.tour import Tour
from metaviz.gui.pages.page_tabs import Tabs
from metaviz.gui.queue.enqueue_commands import EnqueueCommands
from metaviz.gui.queue.queue_controller import QueueController
from metaviz.gui.runs.archive_commands import ArchiveCommands
from metaviz.gui.runs.live_runs import LiveRuns
from metaviz.gui.runs.mark_editor import MarkEditor
from metaviz.gui.runs.resume_commands import ResumeCommands
from metaviz.gui.runs.row import Row, row_of
from metaviz.gui.runs.run_follower import RunFollower
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.runs.run_reader import RunReader
from metaviz.gui.runs.runs_dock import RunsDock
from metaviz.gui.session.crash_recovery import CrashRecovery
from metaviz.gui.session.form_undo import FormUndo, ShownRunsUndo
from metaviz.gui.session.page_state import PageStates
from metaviz.gui.session.page_undo import PageUndo
from metaviz.gui.session.saved_views import SavedViews
from metaviz.gui.session.session import Part, Session, form_part, tabs_part
from metaviz.gui.session.shown_runs import ShownRuns
from metaviz.gui.widgets.announcer import Announcer
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.controls import command_button, named
from metaviz.gui.widgets.key_bindings import KeyBindings
from metaviz.gui.widgets.layouts import column
from metaviz.gui.widgets.log_dock import LogDock
from metaviz.gui.widgets.message_bar import MessageBar
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.redraw_timer import RedrawTimer
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.widgets.theme import Theme, current_theme
from metaviz.gui.widgets.theme_menu import ThemeMenu
from metaviz.gui.window.about_dialog import HelpCommands
from metaviz.gui.window.dock_layout import DockLayout
from metaviz.gui.window.drop_handler import DropHandler
from metaviz.gui.window.editing_keys import WindowKeys
from metaviz.gui.window.engine_requests import EngineRequests
from metaviz.gui.window.file_commands import FileCommands
from metaviz.gui.window.menus import build_menus
from metaviz.gui.window.notifications import DesktopNotifier
from metaviz.gui.window.page_preloader import PagePreloader
from metaviz.gui.window.palette_actions import (
    PaletteController,
    command_entries,
    form_entries,
    guide_entries,
    preset_entries,
    run_entries,
    tab_entries,
    table_entries,
    view_entries,
)
from metaviz.gui.window.preferences_dialog import PreferencesController
from metaviz.gui.window.shutdown import Shutdown
from metaviz.gui.window.status_line import StatusLine
from metaviz.gui.window.toolbar import TrainingToolbar
from metaviz.gui.window.training_commands import TrainingCommands
from metaviz.gui.window.view_rail import ViewRail
from metaviz.gui.window.welcome_controller import WelcomeController
from metaviz.runs.model.record import Record
from metaviz.runs.storage.worker_process import usable_cores

TABLE_SECONDS = 0.5


class MainWindow(QMainWindow):
    """Everything on screen. It shows before the engine is loaded; `begin` starts the rest."""

    closed = Signal()
    KEYS = (("Pause or go on, unless a field has the focus", "Space"),)

    def __init__(self, catalogue: Catalogue, loader: EngineLoader, settings: Settings) -> None:
        """Build the window for a catalogue; `loader` is called on the worker's thread."""
        super().__init__()
        self.setObjectName("window")
        self.setWindowIcon(QIcon(str(paths.resource("icons/metaviz.svg"))))
        self.settings = settings
        self.notifier = Notifier(self)
        self.announcer = Announcer(self)
        self.theme_menu = ThemeMenu(settings, self)
        self.commands = Actions(self)
        self.undo_stack = QUndoStack(self)
        self.controller = TrainingController(loader, self)
        self.reader = RunReader(self)
        # The keyboard goes from widget to widget in the order in which they are made.
        self.form = ExperimentDock(catalogue, self)
        self.runs = RunListModel()
        self.runs.setParent(self)
        self.table = RunsDock(self.runs, self, catalogue)
        self.log = LogDock(self)
        self.tabs = Tabs(self, self.table.columns)
        self.messages = MessageBar(self)
        self.toolbar = TrainingToolbar(self.commands, self)
        self._make_run_parts()
        self._make_commands()
        self._make_session_parts()
        self._redraw_timer = RedrawTimer(self)
        self._listed = 0.0
        self._assemble()
        self._connect()
        self._restore()
        self._show_title()
        self.update_actions()

    def _make_run_parts(self) -> None:
        """Make what shows, trains and queues runs."""
        notifier = self.notifier
        self.mark_editor = MarkEditor(self.runs, self.reader, self.undo_stack, notifier)
        self.table.marks.use(self.mark_editor)
        self.live = LiveRuns(self.controller.worker, self.runs, self.log, notifier)
        self.follower = RunFollower(self.runs, self.log, self)
        self.queue_controller = QueueController(
            *(self.follower, self.log, self.commands, self.settings, notifier),
            *(paths.data_dir(), self),
        )
        self.dataset_controller = DatasetController(
            self.controller, self.form, self.commands["look"], self
        )
        self.shutdown = Shutdown(
            self.controller, self.reader, self.follower, self.queue_controller, self
        )
        self.page_preloader = PagePreloader(self.tabs, self.controller, self.follower, self)

    def _make_commands(self) -> None:
        """Make what acts when a command is triggered."""
        commands, notifier = self.commands, self.notifier
        self.training_commands = TrainingCommands(
            self.controller, self.form, commands, notifier, self
        )
        self.files = FileCommands(self.form, self.settings, notifier, self)
        self.engine_requests = EngineRequests(self.controller, self.form, self.tabs, notifier, self)
        self.resume_commands = ResumeCommands(self.table, self.controller, commands, notifier, self)
        self.help = HelpCommands(commands, notifier, self)
        self.guide = GuideController(self.form.catalogue, commands["guide"], commands["help"], self)
        self.archive_commands = ArchiveCommands(
            self.table, self.controller, commands, notifier, self
        )
        self.enqueue_commands = EnqueueCommands(
            self.queue_controller, self.form, self.controller, commands, notifier, self
        )
        self.saved_views = SavedViews(
            self.tabs, self.table, paths.data_dir() / "views", notifier, self
        )
        self.drop_handler = DropHandler(
            *(self.table, self.reader, self.files, self.archive_commands, self.saved_views),
            *(notifier, self),
        )

    def _make_session_parts(self) -> None:
        """Make welcome page, undo of views, notifications and what comes back after a restart."""
        self.welcome = WelcomeController(
            *(self.tabs, self.runs, self.form, self.controller, self.training_commands),
            *(self.queue_controller, self.commands, self.notifier, self),
        )
        self.tour = Tour(self._open_page, self.tabs.page, self.settings, self)
        self.tour.more_requested.connect(self.guide.open)
        self.commands["tour"].triggered.connect(self.tour.start)
        self.welcome.demo_over.connect(self._on_demo_over)
        self.desktop_notifier = DesktopNotifier(self, self.isActiveWindow)
        self.page_undo = PageUndo(self.tabs, self.undo_stack)
        self.shown_runs = ShownRuns(self.runs, self.live, self.table)
        self.page_states = PageStates(self.tabs, self.shown_runs)

    def begin(self) -> None:
        """Load what the first paint did not need: engine, plots, icons and stored runs."""
        self.statusBar().showMessage("Loading PyTorch…")
        # Icons first: what loads them waits for every module that another thread imports.
        self.commands.use_icons(current_theme())
        self.controller.load()
        self.tabs.begin(current_theme())
        self.reader.scan(paths.runs_dir())
        self.queue_controller.open()
        self.session.begin(
            (
                *(self.form.changed, self.runs.visibility_changed, self.tabs.currentChanged),
                *(self.undo_stack.indexChanged, self.controller.phase_changed),
                self.dock_layout.moved,
            )
        )
        self.recovery.begin()

    def show_records(self, records: list[Record]) -> None:
        """Show runs that are in memory, with all plots."""
        self.tabs.begin(current_theme())
        self.commands.use_icons(current_theme())
        self.runs.add([row_of(record, None, keep=True) for record in records[::-1]], first=True)
        self.runs.show_only([record.id for record in records])

    @Slot()
    def update_actions(self) -> None:
        """Enable what makes sense now."""
        commands = self.commands
        self.training_commands.update_actions()
        shown = bool(self.runs.visible_records())
        commands["export"].setEnabled(shown and self.tabs.ready)
        commands["copy_plot"].setEnabled(shown and self.tabs.ready)
        commands["save_configuration"].setEnabled(not self.form.reason)
        self.enqueue_commands.update_actions()
        self.resume_commands.update_actions()

    def event(self, event: QEvent) -> bool:
        """Keep tips out of the status bar: they stand at the pointer, and would hide what it says.

        A button that is disabled by its own click would also never take its tip away again.
        """
        return event.type() == QEvent.Type.StatusTip or super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Pause by the space bar, where no widget wanted it."""
        if event.key() == Qt.Key.Key_Space and self.commands["pause"].isEnabled():
            self.commands["pause"].trigger()
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Close once all threads have ended; until then ask and wait."""
        if self.shutdown.may_close:
            event.accept()
            self.closed.emit()
            return
        event.ignore()
        self.shutdown.ask()

    def _assemble(self) -> None:
        stack = self.welcome.stack
        self.rail = ViewRail(self.commands, self.tabs, self.welcome.leave, self)
        plots = (self.messages, self.tabs.problem_bar, stack)
        self.setCentralWidget(column(None, *plots, stretch=stack, spacing=0))
        self.dock_layout = DockLayout(
            self,
            self.toolbar,
            self.rail,
            self.form,
            self.table,
            self.queue_controller.dock,
            self.log,
        )
        self.log.add_command(self.commands["open_log"])
        keys = ("export", "copy_plot", "palette", "run")
        self.window_keys = WindowKeys([self.commands[name] for name in keys], self)
        menus = (self.saved_views.menu, self.theme_menu.menu)
        build_menus(self, self.commands, self.dock_layout.toggles(), menus)
        for name in ("sweep", "queue"):
            self.form.help_strip.add_button(command_button(f"form_{name}", self.commands[name]))
        self.queue_status = named(PlainLabel(parent=self), "queue_status", "Progress of the queue")
        self.statusBar().addPermanentWidget(self.queue_status)
        self.statusBar().setObjectName("status")
        self.status_line = StatusLine(
            self.controller, self.live, self.toolbar.time_left.text, self.statusBar()
        )

    def _connect(self) -> None:
        worker, reader, messages = self.controller.worker, self.reader, self.messages
        worker.loaded.connect(self._on_loaded)
        worker.failed.connect(messages.show_error)
        worker.refused.connect(self._on_refused)
        worker.finished.connect(self._on_finished)
        worker.ended.connect(self.desktop_notifier.on_run_ended)
        self.controller.phase_changed.connect(self._on_phase)
        reader.found.connect(self._on_found)
        reader.changed.connect(self._on_folder_changed)
        reader.opened.connect(self.runs.add_record)
        reader.opened.connect(self._follow)
        reader.unreadable.connect(self.notifier.warn)
        self.follower.changed.connect(self._set_redrawing)
        queue = self.queue_controller
        queue.progressed.connect(self.queue_status.setText)
        queue.pool.event_received.connect(self.desktop_notifier.on_queue_event)
        queue.emptied.connect(self.desktop_notifier.on_queue_emptied)
        self.runs.record_requested.connect(reader.read)
        self.runs.visibility_changed.connect(self._on_visibility)
        self.table.settings_requested.connect(self.files.use_run)
        self.table.marks.deletion_requested.connect(reader.delete)
        self.table.bar.brushes_cleared.connect(self.tabs.clear_brushes)
        self.tabs.requests.brushed.connect(self.table.keep_only)
        self.welcome.page.run_requested.connect(self._show_run)
        self.live.diverged.connect(messages.show_divergence)
        self.live.run_ended.connect(self.announcer.on_run_ended)
        self.notifier.failed.connect(self.announcer.on_failed)
        worker.failed.connect(self.announcer.on_failed)
        messages.remedy_requested.connect(self.resume_commands.mend)
        self.notifier.informed.connect(self.show_status)
        self.notifier.warned.connect(partial(self.log.add, "warning"))
        self.notifier.failed.connect(messages.show_error)
        self.form.changed.connect(self.update_actions)
        self.form.help_requested.connect(self.guide.open_here)
        self.form.changed.connect(self._show_title)
        for signal in (
            *(self.notifier.informed, self.form.changed),
            *(self.commands[name].triggered for name in ("queue_pause", "queue_resume")),
        ):
            signal.connect(self._hide_message)
        self.training_commands.started.connect(messages.hide)
        self.training_commands.started.connect(partial(self.tabs.open_page, "training"))
        self.files.runs_requested.connect(reader.scan)
        self.theme_menu.switched.connect(self._on_theme)
        self._redraw_timer.tick.connect(self._tick)
        self.log.run_requested.connect(self._show_logged_run)
        self._connect_commands()

    def _connect_commands(self) -> None:
        slots: dict[str, Callable[..., object]] = {
            "open_runs": self.files.open_runs,
            "open_configuration": self.files.open_configuration,
            "save_configuration": self.files.save_configuration,
            "reset_form": self._reset_form,
            "export": self._export,
            "copy_plot": partial(self.files.copy_plot, self.tabs),
            "undo": self.undo_stack.undo,
            "redo": self.undo_stack.redo,
            "reset_field": self.form.reset_focused,
            "find": self._find,
            "quit": self.close,
            "full_screen": self._full_screen,
            "reset_layout": self.dock_layout.reset,
            "runs_below": self.dock_layout.put_below,
        }
        self.commands.connect(slots)
        self.undo_stack.indexChanged.connect(self._show_undo)
        self._show_undo()

    def _restore(self) -> None:
        """Show the window as it was left, before it is seen."""
        # Only a changed value is written, which shows whether the file can be.
        self.settings.write("window/opened_by", __version__)
        self.settings.save()
        if self.settings.note:
            self.notifier.warn(self.settings.note)
        parts = {
            "window": Part(self.dock_layout.state, self.dock_layout.restore),
            "form": form_part(self.form),
            "runs": Part(self.shown_runs.state, self.shown_runs.restore),
            "views": Part(self.page_states.state, self.page_states.restore),
            "tabs": tabs_part(self.tabs),
        }
        home = paths.data_dir() if self.settings.is_stored else None
        self.session = Session(parts, home, self.settings, self.notifier)
        for signal, slots in (
            (self.shutdown.started, (self.session.save, self._on_shutdown)),
            (self.shutdown.finished, (self.session.end, self.close)),
        ):
            for slot in slots:
                signal.connect(slot)
        self.session.restore()
        self.recovery = CrashRecovery(
            *(self.messages, self.controller, self.queue_controller, self.reader, self.notifier),
            self.session.last,
            was_cut_off=self.session.was_cut_off,
        )
        self.form_undo = FormUndo(self.form, self.undo_stack)
        self.shown_runs_undo = ShownRunsUndo(self.runs, self.undo_stack)
        self._make_preferences()
        self._make_palette()

    def _make_preferences(self) -> None:
        """Apply what a person prefers."""
        self.preferences = PreferencesController(
            {
                "theme": self.theme_menu.choose,
                "workers": self.queue_controller.dock.workers.setValue,
                "device": self._set_device,
                "welcome": self.welcome.set_wanted,
                "notify": self.desktop_notifier.set_on,
                "confirm_close": self.shutdown.set_asks,
                "autosave": self.session.save_every,
                "log_level": self._set_log_level,
            },
            self.commands["preferences"],
            self.settings,
            KeyBindings(self.commands, self.settings, self),
            self,
        )
        if not self.session.last and self.preferences.now.device != "auto":
            self.preferences.apply("device")

    def _make_palette(self) -> None:
        """List everything that the window can do."""
        self.palette_controller = PaletteController(
            (
                partial(command_entries, self.commands),
                partial(tab_entries, self.tabs, self._show_tab),
                partial(view_entries, self.dock_layout, self.theme_menu.menu),
                partial(table_entries, self.table.view),
                partial(form_entries, self.form),
                partial(preset_entries, self.files.read_configuration),
                partial(run_entries, self.runs, self._show_run),
                partial(guide_entries, lambda: self.guide.library, self.guide.open),
            ),
            self.commands["palette"],
            self.settings,
            self,
        )

    @Slot(str)
    def show_status(self, sentence: str) -> None:
        """Show a passing remark in the status bar."""
        self.statusBar().showMessage(sentence, 8000)

    @Slot()
    def _hide_message(self) -> None:
        """Hide a message that has been dealt with; the log keeps it."""
        if self.controller.phase != "broken":
            self.messages.hide()

    def _set_device(self, device: str) -> None:
        field = self.form.field("device")
        if field is not None:
            field.set_value(device)

    def _set_log_level(self, level: str) -> None:
        self.log.keep_from(level)
        logging.getLogger("metaviz").setLevel(level.upper())

    def _show_tab(self, place: int) -> None:
        self.welcome.leave()
        self.tabs.setCurrentIndex(place)

    def _open_page(self, name: str) -> None:
        self.welcome.leave()
        self.tabs.open_page(name)

    @Slot()
    def _on_demo_over(self) -> None:
        """Say after the first demo what there is to see."""
        if not self.tour.was_seen:
            self.tour.start()

    @Slot(str)
    def _show_run(self, name: str) -> None:
        """Tick a run, and select it in the table."""
        self.runs.tick([name], visible=True)
        self.table.select(name)

    @Slot()
    def _reset_form(self) -> None:
        problem = self.form.problem
        device = self.preferences.now.device
        defaults = Comparison(problem=problem.id, steps=problem.steps, device=device)
        self.form.show_comparison(defaults, "reset all settings")

    @Slot()
    def _export(self) -> None:
        self.files.export(self.tabs, self.runs.visible_records(), self.runs.folders())

    @Slot(bool)
    def _full_screen(self, full: bool) -> None:
        self.showFullScreen() if full else self.showNormal()

    @Slot(object)
    def _on_loaded(self, info: EngineInfo) -> None:
        self.form.show_catalogue(info.catalogue)
        self.guide.use(info.catalogue)
        self.toolbar.device.setText(info.device_text)
        on_gpu = info.device_text.startswith("CUDA")
        most = 1 if on_gpu else usable_cores()
        self.queue_controller.allow_workers(most)
        self.preferences.most_workers = most
        self.help.device_text = info.device_text
        self.show_status(f"Ready: {info.device_text}")

    @Slot()
    def _show_title(self, share: float = 0.0) -> None:
        """Name the problem, and while runs train how far they are."""
        parts = [self.form.problem.title]
        if self.controller.phase in BUSY:
            paused = self.controller.phase == "paused"
            parts.insert(0, "paused" if paused else f"{100 * share:.0f} %")
        self.setWindowTitle(" – ".join([*parts, "MetaViz"]))

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
        self.toolbar.show_phase(phase)
        self._show_title()
        self.commands.show_paused(current_theme(), paused=phase == "paused")
        self._set_redrawing()
        self.update_actions()

    @Slot()
    def _set_redrawing(self) -> None:
        """Redraw while something trains, here or in another process."""
        if self.controller.phase in BUSY or self.follower.records:
            self._redraw_timer.start()
        elif self._redraw_timer.running:
            self._redraw_timer.stop()
            self.tabs.refresh()
            self.runs.refresh()

    @Slot(object)
    def _follow(self, record: Record) -> None:
        """Go on reading a run that was opened while another process trains it."""
        folder = record.environment.get("folder")
        if not record.ended and folder and record.id not in self.live.records:
            self.follower.follow(Path(str(folder)))

    @Slot(object)
    def _on_found(self, rows: list[Row]) -> None:
        self.runs.update(rows)
        self.runs.add(rows, first=False)
        self.drop_handler.show_found(
            [row for new in rows if (row := self.runs.find(new.id)) is not None]
        )
        again = self.shown_runs.take_found([row.id for row in rows])
        if again and not self.controller.busy:
            self.runs.show(again, visible=True)

    @Slot(object, object)
    def _on_folder_changed(self, rows: list[Row], missing: list[str]) -> None:
        """Follow what other programs, or this one, changed in the folder of runs."""
        self.runs.update(rows)
        for row in rows:
            row.is_new = True
        self.runs.add(rows, first=True)
        self.runs.remove_missing(missing)

    @Slot()
    def _find(self) -> None:
        self.dock_layout.show_table()
        self.table.focus_search()

    @Slot(str, str)
    def _show_logged_run(self, name: str, label: str) -> None:
        """Select the run that a line of the log is about; labels are found newest first."""
        rows = self.runs.rows
        found = [r.id for r in rows if r.id == name] or [r.id for r in rows if r.label == label]
        if found:
            self.dock_layout.show_table()
            self.table.select(found[0])
        else:
            self.show_status("That run is not in the table")

    @Slot()
    def _show_undo(self) -> None:
        """Show in the commands what they would undo and do again."""
        stack = self.undo_stack
        for name, can, what in (
            ("undo", stack.canUndo(), stack.undoText()),
            ("redo", stack.canRedo(), stack.redoText()),
        ):
            self.commands[name].setEnabled(can)
            self.commands[name].setText(f"&{name.capitalize()} {what}".rstrip())

    @Slot()
    def _on_visibility(self) -> None:
        self.tabs.show_records(self.runs.visible_records())
        self.update_actions()

    @Slot(object)
    def _on_theme(self, theme: Theme) -> None:
        self.form.restyle()
        self.messages.restyle()
        self.runs.restyle()
        self.queue_controller.dock.restyle()
        self.table.restyle()
        self.log.restyle()
        self.welcome.page.restyle()
        self.preferences.restyle()
        if self.tabs.ready:
            self.tabs.apply_theme(theme)
            self.commands.use_icons(theme)

    @Slot()
    def _on_shutdown(self) -> None:
        self.settings.save()
        if self.shutdown.busy:
            self.statusBar().showMessage("Stopping and saving…")
        else:
            self.hide()

    @Slot()
    def _tick(self) -> None:
        """Show what is new: in the plots or, now and then, beside them, never in one paint."""
        now = time.monotonic()
        if now - self._listed < TABLE_SECONDS:
            self._redraw_timer.schedule(self.tabs.pieces())
            return
        self._listed = now
        self._redraw_timer.schedule([self._list])

    def _list(self) -> None:
        self.runs.refresh()
        if self.controller.phase == "starting":
            self.toolbar.show_doing(self.live.doing)
        elif self.controller.busy:
            done, total = self.live.progress()
            paused = self.controller.phase == "paused"
            left = self.live.seconds_left()
            self.toolbar.show_progress(done, total, left, paused=paused, doing=self.live.doing)
            self._show_title(done / total if total else 0.0)
