"""The main window: docks around the plots, and one place where commands are enabled."""

import tomllib

from PySide6.QtCore import QByteArray, Qt, QTimer, QUrl, Signal, Slot
from PySide6.QtGui import QCloseEvent, QDesktopServices, QGuiApplication, QIcon, QKeyEvent
from PySide6.QtWidgets import QDockWidget, QMainWindow, QMessageBox, QToolButton, QVBoxLayout, QWidget

from metaviz import paths
from metaviz.catalogue import Catalogue
from metaviz.config import Comparison, to_toml
from metaviz.gui.about import about_dialog, diagnostics, shortcuts_dialog
from metaviz.gui.actions import Actions
from metaviz.gui.closing import Closing
from metaviz.gui.conductor import Conductor
from metaviz.gui.engine import EngineLoader
from metaviz.gui.experiment import ExperimentPanel
from metaviz.gui.files import FileCommands
from metaviz.gui.library import Library
from metaviz.gui.live import LiveRuns
from metaviz.gui.log_panel import LogPanel
from metaviz.gui.menus import build_menus
from metaviz.gui.messages import MessageBar
from metaviz.gui.preferences import LAYOUT_VERSION, Preferences
from metaviz.gui.run_bar import RunBar
from metaviz.gui.runs_model import RunsModel
from metaviz.gui.runs_table import RunsTable
from metaviz.gui.tabs import Tabs, as_start
from metaviz.gui.theme import Theme, current_theme
from metaviz.gui.theme_menu import ThemeMenu
from metaviz.gui.worker import Loaded
from metaviz.options import OptionError, checked

REFRESH_MS = 50
TABLE_EVERY = 4
_DOWNLOADS = {"omniglot": "Omniglot, about 16 MB, from github.com/brendenlake/omniglot"}


class MainWindow(QMainWindow):
    """Everything on screen. It shows before the engine is loaded; `begin` starts the rest."""

    gone = Signal()

    def __init__(
        self, catalogue: Catalogue, loader: EngineLoader, preferences: Preferences
    ) -> None:
        """Build the window for a catalogue; `loader` is called on the worker's thread."""
        super().__init__()
        self.setObjectName("window")
        self.setWindowTitle("MetaViz")
        self.setWindowIcon(QIcon(str(paths.resource("icons/metaviz.svg"))))
        self.preferences = preferences
        self.device_text = ""
        self.theme_menu = ThemeMenu(preferences, self)
        self.commands = Actions(self)
        self.conductor = Conductor(loader, self)
        self.library = Library(self)
        self.form = ExperimentPanel(catalogue, self)
        self.runs = RunsModel()
        self.runs.setParent(self)
        self.table = RunsTable(self.runs, self)
        self.log = LogPanel(self)
        self.tabs = Tabs(self)
        self.messages = MessageBar(self)
        self.run_bar = RunBar(self.commands, self)
        self.live = LiveRuns(self.conductor.worker, self.runs, self.log, self)
        self.files = FileCommands(self.form, preferences, self)
        self.closing = Closing(self.conductor, self.library, self)
        self._timer = QTimer(self)
        self._ticks = 0
        self._asked_gradients = False
        self._assemble()
        self._connect()
        self._restore()
        self.update_actions()

    def begin(self) -> None:
        """Load what the first paint did not need: plots, icons, stored runs, then the engine."""
        self.statusBar().showMessage("Loading PyTorch…")
        self.tabs.complete(current_theme())
        self.commands.use_icons(current_theme())
        self.library.scan(paths.runs_dir())
        self.conductor.load()

    @Slot()
    def update_actions(self) -> None:
        """Enable what makes sense now; the run action says why it is disabled."""
        phase, busy = self.conductor.phase, self.conductor.busy
        reason = self._why_not_run()
        commands = self.commands
        commands["run"].setEnabled(not reason)
        tip = reason or "Train the ticked algorithms. (Ctrl+Return)"
        commands["run"].setToolTip(tip)
        commands["run"].setStatusTip(tip)
        for name in ("pause", "step", "stop", "abort"):
            commands[name].setEnabled(phase in {"training", "paused"})
        shown = bool(self.runs.visible_records())
        commands["export"].setEnabled(shown and bool(self.tabs.pages))
        commands["copy_plot"].setEnabled(shown and bool(self.tabs.pages))
        commands["save_configuration"].setEnabled(not self.form.reason.text())
        self.form.download.setEnabled(not busy and not self.conductor.downloading)

    def show_layout(self) -> None:
        """Put docks and toolbar where they belong."""
        for dock, area in (
            (self._docks[0], Qt.DockWidgetArea.LeftDockWidgetArea),
            (self._docks[1], Qt.DockWidgetArea.BottomDockWidgetArea),
            (self._docks[2], Qt.DockWidgetArea.BottomDockWidgetArea),
        ):
            dock.setFloating(False)
            self.addDockWidget(area, dock)
            dock.show()
        self.tabifyDockWidget(self._docks[1], self._docks[2])
        self._docks[1].raise_()
        self.run_bar.show()
        self.resizeDocks([self._docks[0]], [370], Qt.Orientation.Horizontal)
        self.resizeDocks([self._docks[1]], [190], Qt.Orientation.Vertical)

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
        column.addWidget(self.tabs, 1)
        self.setCentralWidget(centre)
        self.setDockNestingEnabled(True)
        self.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        self._docks = [
            self._dock("Experiment", "experiment", self.form),
            self._dock("Runs", "runs", self.table),
            self._dock("Log", "log", self.log),
        ]
        self.addToolBar(self.run_bar)
        toggles = [dock.toggleViewAction() for dock in self._docks]
        toggles.append(self.run_bar.toggleViewAction())
        for action, dock in zip(toggles, (*self._docks, self.run_bar), strict=True):
            action.setText(f"&{action.text()}")
            action.setStatusTip(f"Show or hide “{dock.windowTitle()}”.")
            action.setToolTip(action.statusTip())
        build_menus(self, self.commands, toggles, self.theme_menu.menu)
        button = QToolButton(self.form)
        button.setObjectName("form_run")
        button.setAccessibleName("Run")
        button.setDefaultAction(self.commands["run"])
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.form.count_row.addWidget(button)
        self.statusBar().setObjectName("status")
        self.resize(1280, 800)
        self.show_layout()

    def _dock(self, title: str, name: str, content: QWidget) -> QDockWidget:
        dock = QDockWidget(title, self)
        dock.setObjectName(f"dock_{name}")
        dock.setWidget(content)
        return dock

    def _connect(self) -> None:
        worker = self.conductor.worker
        worker.loaded.connect(self._on_loaded)
        worker.failed.connect(self.messages.show_error)
        worker.refused.connect(self._on_refused)
        worker.finished.connect(self._on_finished)
        worker.gradients_ready.connect(self.tabs.show_gradients)
        worker.gradients_failed.connect(self.tabs.show_gradients_error)
        worker.download_reported.connect(self._on_download_line)
        worker.downloaded.connect(self._on_downloaded)
        worker.download_failed.connect(self.messages.show_error)
        self.conductor.phase_changed.connect(self._on_phase)
        self.library.found.connect(self._on_found)
        self.library.opened.connect(self.runs.take_record)
        self.library.unreadable.connect(self._on_unreadable)
        self.runs.record_wanted.connect(self.library.read)
        self.runs.visibility_changed.connect(self._on_visibility)
        self.table.settings_wanted.connect(self.files.use_run)
        self.live.troubled.connect(self.messages.show_error)
        self.form.changed.connect(self.update_actions)
        self.form.download_wanted.connect(self._on_download_wanted)
        self.tabs.gradients_wanted.connect(self._on_gradients_wanted)
        self.files.said.connect(self._say)
        self.files.failed.connect(self.messages.show_error)
        self.files.runs_wanted.connect(self.library.scan)
        self.theme_menu.switched.connect(self._on_theme)
        self.closing.leaving.connect(self._on_leaving)
        self.closing.ready.connect(self.close)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._tick)
        self._connect_commands()

    def _connect_commands(self) -> None:
        slots = {
            "run": self._run,
            "pause": self._pause,
            "step": self.conductor.step,
            "stop": self.conductor.stop,
            "abort": self._ask_abort,
            "open_runs": self.files.open_runs,
            "open_configuration": self.files.open_configuration,
            "save_configuration": self.files.save_configuration,
            "reset_form": self._reset_form,
            "export": self._export,
            "copy_plot": self._copy_plot,
            "quit": self.close,
            "full_screen": self._full_screen,
            "reset_layout": self.show_layout,
            "shortcuts": self._show_shortcuts,
            "copy_diagnostics": self._copy_diagnostics,
            "open_log": self._open_log,
            "about": self._show_about,
        }
        for name, slot in slots.items():
            self.commands[name].triggered.connect(slot)

    def _restore(self) -> None:
        geometry = self.preferences.read("window/geometry", QByteArray())
        if not geometry.isEmpty():
            self.restoreGeometry(geometry)
            self.restoreState(self.preferences.read("window/state", QByteArray()), LAYOUT_VERSION)
        text = self.preferences.read("form/comparison", "")
        if text:
            try:
                self.form.show_comparison(checked(Comparison, tomllib.loads(text)))
            except (OptionError, tomllib.TOMLDecodeError):
                self.log.add("warning", "The last settings do not fit this version.")

    def _remember(self) -> None:
        self.preferences.write("window/geometry", self.saveGeometry())
        self.preferences.write("window/state", self.saveState(LAYOUT_VERSION))
        if not self.form.reason.text():
            self.preferences.write("form/comparison", to_toml(self.form.comparison()))
        self.preferences.save()

    def _why_not_run(self) -> str:
        phase = self.conductor.phase
        if phase == "loading":
            return "PyTorch is still loading."
        if phase == "broken":
            return "The engine could not be loaded; the message above the plots says why."
        if phase != "idle":
            return "Runs are training: stop them first."
        if self.conductor.downloading:
            return "A download is under way."
        return self.form.reason.text()
