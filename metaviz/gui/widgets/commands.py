"""Every command of the window, declared once and shared by menus, toolbar and keyboard."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QIcon, QKeySequence
from PySide6.QtWidgets import QStyle, QWidget

from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.widgets.theme import Theme

_Pixmap = QStyle.StandardPixmap
_Role = QAction.MenuRole
_Standard = QKeySequence.StandardKey


@dataclass(frozen=True)
class Command:
    """What a command is called, what it does, its keys and its picture.

    Where the platform has keys of its own for it, `standard`, they go before `keys`, which may be
    several with "; " between them.
    """

    name: str
    text: str
    tip: str
    keys: str = ""
    icon: str = ""
    checkable: bool = False
    role: QAction.MenuRole = _Role.NoRole
    standard: QKeySequence.StandardKey | None = None

    @property
    def sequences(self) -> list[QKeySequence]:
        """The keys that it has unless a person chose others."""
        found = [] if self.standard is None else QKeySequence.keyBindings(self.standard)[:1]
        own = QKeySequence.listFromString(self.keys) if self.keys else []
        return [*found, *(keys for keys in own if keys not in found)]


COMMANDS = (
    Command("run", "&Run", "Train the ticked algorithms.", "Ctrl+Return", "mdi6.play"),
    Command("pause", "&Pause", "Pause training, or go on.", "F6", "mdi6.pause"),
    Command(
        "step",
        "&One meta-step",
        "Pause, and let every run take one meta-step.",
        "F10",
        "mdi6.debug-step-over",
    ),
    Command("stop", "&Stop and keep", "End training now; everything is kept.", "F7", "mdi6.stop"),
    Command(
        "abort", "&Abort…", "End training and mark the runs as aborted.", "", "mdi6.close-octagon"
    ),
    Command(
        "resume",
        "Resume s&elected runs",
        "Train the selected runs further, each from its newest checkpoint.",
        "Ctrl+Shift+Return",
        "mdi6.play-circle-outline",
    ),
    Command(
        "mend",
        "Fix a &diverged run…",
        "Let a run that diverged go on from its last good checkpoint, with a change.",
        "",
        "mdi6.bandage",
    ),
    Command(
        "repeat",
        "Repea&t this run",
        "Train a run's settings again, and say whether every bit is the same.",
        "",
        "mdi6.repeat",
    ),
    Command(
        "fine_tune",
        "&Fine-tune this run",
        "Train its settings as a new run that starts from its weights.",
        "",
        "mdi6.tune",
    ),
    Command(
        "queue",
        "&Queue",
        "Queue the form's runs: they train one after another in processes of their own.",
        "Ctrl+Shift+Q",
        "mdi6.tray-plus",
    ),
    Command(
        "sweep",
        "S&weep…",
        "Queue runs over ranges of hyperparameters.",
        "Ctrl+Shift+W",
        "mdi6.chart-scatter-plot",
    ),
    Command("queue_pause", "&Go", "Train what waits in the queue.", "", "mdi6.play-pause"),
    Command(
        "queue_next",
        "Run &next",
        "Train the selected runs before all others that wait.",
        "",
        "mdi6.arrow-collapse-up",
    ),
    Command("queue_up", "Move &up", "Train earlier.", "Alt+Up", "mdi6.arrow-up"),
    Command("queue_down", "Move &down", "Train later.", "Alt+Down", "mdi6.arrow-down"),
    Command(
        "queue_resume",
        "Resum&e",
        "Let interrupted runs go on from their checkpoints: the selected ones, or all.",
        "",
        "mdi6.play-circle-outline",
    ),
    Command(
        "queue_retry",
        "Re&try",
        "Train the selected runs again from the start, as new runs.",
        "",
        "mdi6.repeat",
    ),
    Command(
        "queue_remove",
        "&Remove from queue",
        "Take the selected runs out of the queue; what was trained stays.",
        "Delete",
        "mdi6.close",
    ),
    Command(
        "queue_clear",
        "&Clear finished",
        "Take everything that is over out of the queue; the runs stay.",
        "",
        "mdi6.broom",
    ),
    Command(
        "open_runs",
        "&Open runs…",
        "Show the runs of a folder.",
        "Ctrl+O",
        "mdi6.folder-open",
        standard=_Standard.Open,
    ),
    Command(
        "import_run",
        "&Import run…",
        "Unpack a run from a zip archive into the folder of runs.",
        "",
        "mdi6.archive-arrow-down-outline",
    ),
    Command(
        "pack_run",
        "Pac&k as zip…",
        "Write the selected run into one zip archive, for another machine.",
        "",
        "mdi6.archive-arrow-up-outline",
    ),
    Command(
        "save_weights",
        "Save &weights…",
        "Write the newest weights of the selected run as safetensors, for other programs.",
        "",
        "mdi6.content-save-outline",
    ),
    Command(
        "open_configuration",
        "Open &configuration…",
        "Fill the form from a TOML file.",
        "Ctrl+Shift+O",
        "mdi6.file-import",
    ),
    Command(
        "save_configuration",
        "&Save configuration…",
        "Write the form to a TOML file, which the command line reads too.",
        "Ctrl+S",
        "mdi6.content-save",
        standard=_Standard.Save,
    ),
    Command(
        "reset_form",
        "Reset &all settings",
        "Put every setting back to its default.",
        "",
        "mdi6.restore",
    ),
    Command(
        "undo",
        "&Undo",
        "Take back the last change.",
        "Ctrl+Z",
        "mdi6.undo",
        standard=_Standard.Undo,
    ),
    Command(
        "redo",
        "&Redo",
        "Make the change again.",
        "Ctrl+Shift+Z",
        "mdi6.redo",
        standard=_Standard.Redo,
    ),
    Command(
        "reset_field",
        "Reset this &setting",
        "Put the setting that has the keyboard back to its default.",
        "Ctrl+R",
        "mdi6.restore",
    ),
    Command(
        "palette",
        "&Command palette…",
        "Type a few letters of anything that the window can do.",
        "Ctrl+K; Ctrl+Shift+P",
        "mdi6.text-search",
    ),
    Command(
        "preferences",
        "Prefere&nces…",
        "Choose theme, workers, notifications and more.",
        "Ctrl+,",
        "mdi6.cog",
        role=_Role.PreferencesRole,
        standard=_Standard.Preferences,
    ),
    Command(
        "find",
        "&Find runs",
        "Search the runs table.",
        "Ctrl+F",
        "mdi6.magnify",
        standard=_Standard.Find,
    ),
    Command(
        "group_train", "&Train", "Losses over meta-steps.", "1", "mdi6.chart-line", checkable=True
    ),
    Command(
        "group_adapt",
        "&Adapt",
        "What adaptation to a task does: inner loop, convergence, samples, single tasks.",
        "2",
        "mdi6.stairs-down",
        checkable=True,
    ),
    Command(
        "group_compare",
        "&Compare",
        "Which method is better: curves with intervals, benchmark beside published results.",
        "3",
        "mdi6.scale-balance",
        checkable=True,
    ),
    Command(
        "group_learned",
        "&Learned",
        "What methods have learned beside a start: step sizes, masks, mirror maps, embeddings.",
        "4",
        "mdi6.lightbulb-on-outline",
        checkable=True,
    ),
    Command(
        "group_theory",
        "T&heory",
        "Meta-gradients, optimality, expansion, implicit priors, a playground.",
        "5",
        "mdi6.function-variant",
        checkable=True,
    ),
    Command(
        "group_search",
        "&Search",
        "Runs that propose the next ones.",
        "6",
        "mdi6.graph-outline",
        checkable=True,
    ),
    Command(
        "look",
        "Look at the &data…",
        "Show what the data hold, and some episodes of them.",
        "Ctrl+D",
        "mdi6.image-search",
    ),
    Command(
        "export", "&Export…", "Write tables and figures of the shown runs.", "Ctrl+E", "mdi6.export"
    ),
    Command(
        "copy_plot",
        "Copy &plot",
        "Copy the figure of the current tab, as it would be exported.",
        "Ctrl+Shift+C",
        "mdi6.content-copy",
    ),
    Command(
        "quit",
        "&Quit",
        "Close the window.",
        "Ctrl+Q",
        "mdi6.exit-to-app",
        role=_Role.QuitRole,
        standard=_Standard.Quit,
    ),
    Command(
        "full_screen",
        "&Full screen",
        "Fill the screen.",
        "F11",
        checkable=True,
        standard=_Standard.FullScreen,
    ),
    Command("runs_below", "Runs belo&w the plots", "Put runs, queue and log below the plots."),
    Command("reset_layout", "Reset la&yout", "Put docks and toolbar back where they belong."),
    Command(
        "welcome",
        "&Welcome",
        "Show the welcome page: a demo, a reproduction, the last runs.",
        "",
        "mdi6.hand-wave-outline",
    ),
    Command(
        "guide",
        "&Guide",
        "Read tutorials, the glossary, and about every method and setting.",
        "",
        "mdi6.book-open-variant",
    ),
    Command(
        "tour",
        "Three &remarks",
        "Show what to look at after a first run: the gap, one adaptation, the comparison.",
        "",
        "mdi6.message-text-outline",
    ),
    Command(
        "help",
        "Help on what &has the keyboard",
        "Open the guide at the field, method, page or table that has the keyboard.",
        "F1",
        "mdi6.help-circle-outline",
        standard=_Standard.HelpContents,
    ),
    Command("shortcuts", "&Keyboard shortcuts", "List every key.", "Ctrl+F1", "mdi6.keyboard"),
    Command("copy_diagnostics", "Copy &diagnostics", "Copy versions and paths for a bug report."),
    Command("open_log", "Open log &folder", "Show the folder that holds the log file."),
    Command("about", "&About MetaViz", "Say what this is.", role=_Role.AboutRole),
)

_STANDARD = {
    "run": _Pixmap.SP_MediaPlay,
    "pause": _Pixmap.SP_MediaPause,
    "step": _Pixmap.SP_MediaSeekForward,
    "stop": _Pixmap.SP_MediaStop,
    "abort": _Pixmap.SP_DialogCancelButton,
}
"""Pictures for the first moments, until the icon font has been loaded."""


class Actions:
    """The window's actions by name."""

    def __init__(self, parent: QWidget) -> None:
        """Make every action as a child of the window."""
        self._actions = {command.name: _action(command, parent) for command in COMMANDS}
        for name, pixmap in _STANDARD.items():
            self[name].setIcon(parent.style().standardIcon(pixmap))

    def __getitem__(self, name: str) -> QAction:
        """Return an action."""
        return self._actions[name]

    def all(self) -> list[QAction]:
        """Return every action, in the order of declaration."""
        return list(self._actions.values())

    def connect(self, slots: Mapping[str, Callable[..., object]]) -> None:
        """Call these when the commands are triggered."""
        for name, slot in slots.items():
            self[name].triggered.connect(slot)

    def allow(self, name: str, reason: str, tip: str = "") -> None:
        """Enable a command unless there is a reason not to, which its tip then says."""
        self[name].setEnabled(not reason)
        self[name].setToolTip(plain_tip(reason or tip or usual_tip(self[name])))

    def use_icons(self, theme: Theme) -> None:
        """Draw the icons in the theme's colours; the first call loads the icon font."""
        for command in COMMANDS:
            if command.icon:
                self[command.name].setIcon(icon(command.icon, theme))

    def show_paused(self, theme: Theme, *, paused: bool) -> None:
        """Show on the pause action what it would do."""
        self["pause"].setText("Res&ume" if paused else "&Pause")
        self["pause"].setIcon(icon("mdi6.play-pause" if paused else "mdi6.pause", theme))


def icon(name: str, theme: Theme) -> QIcon:
    """Return a picture of the icon font in the theme's colours."""
    import qtawesome

    made: QIcon = qtawesome.icon(name, color=theme.foreground, color_disabled=theme.grid)
    return made


def shortcut_text(action: QAction) -> str:
    """Return the keys of an action as the desktop writes them."""
    return action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)


def view_action(
    view: QWidget, name: str, text: str, tip: str, slot: Callable[..., object], keys: str = ""
) -> QAction:
    """Return an action that works while a view has the focus, with its keys in the tip."""
    action = QAction(text, view)
    action.setObjectName(f"action_{view.objectName()}_{name}")
    action.setStatusTip(tip)
    action.setToolTip(plain_tip(f"{tip} ({keys})" if keys else tip))
    if keys:
        action.setShortcut(QKeySequence(keys))
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
    action.triggered.connect(slot)
    view.addAction(action)
    return action


def _action(command: Command, parent: QWidget) -> QAction:
    action = QAction(command.text, parent)
    action.setObjectName(f"action_{command.name}")
    action.setCheckable(command.checkable)
    action.setMenuRole(command.role)
    action.setStatusTip(command.tip)
    set_keys(action, command.sequences)
    return action


def set_keys(action: QAction, keys: Sequence[QKeySequence]) -> None:
    """Give an action keys, and tell the first of them in its tip."""
    action.setShortcuts(keys)
    action.setToolTip(plain_tip(usual_tip(action)))


def usual_tip(action: QAction) -> str:
    """Return what an action does, with its keys."""
    keys = shortcut_text(action)
    return f"{action.statusTip()} ({keys})" if keys else action.statusTip()
