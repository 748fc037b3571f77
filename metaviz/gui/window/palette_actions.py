"""The entries of the command palette: everything that the window can do now."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QTabWidget, QWidget

from metaviz.config.run_config import presets
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.runs.run_list_model import RunListModel
from metaviz.gui.widgets.command_palette import CommandPalette, PaletteEntry
from metaviz.gui.widgets.commands import Actions, shortcut_text
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.window.dock_layout import DockLayout
from metaviz.guide.chosen import METHODS
from metaviz.guide.library import Library
from metaviz.guide.shipped import TERMS, TUTORIALS

_RUNS, _KEPT = 20, 30
_READ = frozenset({TERMS, TUTORIALS, METHODS})
_RECENT = "palette/recent"
_IDLE = "Nothing is training."
_NO_PLOT = "No run is shown: tick one in the runs table."
_NOT_SELECTED = "Select runs in the Queue dock that this suits."
_NOT_IN_TABLE = "Select runs in the runs table first."
_REASONS = {
    **dict.fromkeys(("pause", "step", "stop", "abort"), _IDLE),
    **dict.fromkeys(("export", "copy_plot"), _NO_PLOT),
    "undo": "There is nothing to undo.",
    "redo": "There is nothing to redo.",
    "look": "This problem has no images.",
    "queue_pause": "Nothing waits in the queue.",
    "queue_clear": "Nothing in the queue is finished.",
}
"""Why commands are disabled whose tips do not say it."""


class PaletteController(QObject):
    """Opens the palette, and remembers what was run."""

    def __init__(
        self,
        sources: Sequence[Callable[[], Iterable[PaletteEntry]]],
        action: QAction,
        settings: Settings,
        window: QWidget,
    ) -> None:
        """Listen to the command; the sources are read each time the palette opens."""
        super().__init__(window)
        self._sources, self._settings, self._window = sources, settings, window
        self.palette: CommandPalette | None = None
        action.triggered.connect(self.open)

    @Slot()
    def open(self) -> None:
        """Open the palette over the window."""
        palette = CommandPalette(self.entries(), self._recent(), self._window)
        palette.chosen.connect(self._remember)
        palette.finished.connect(self._on_closed)
        palette.place_over(self._window)
        self.palette = palette
        palette.open()
        palette.line.setFocus()

    def entries(self) -> list[PaletteEntry]:
        """Return everything that can be done."""
        return [entry for source in self._sources for entry in source()]

    def _recent(self) -> list[str]:
        return [title for title in self._settings.read(_RECENT, "").split("\n") if title]

    @Slot(str)
    def _remember(self, title: str) -> None:
        kept = [title, *(other for other in self._recent() if other != title)]
        self._settings.write(_RECENT, "\n".join(kept[:_KEPT]))

    @Slot()
    def _on_closed(self) -> None:
        self.palette = None


def command_entries(commands: Actions) -> Iterator[PaletteEntry]:
    """Yield the window's commands, but for the palette itself."""
    for action in commands.all():
        if action.objectName() != "action_palette":
            yield _of_action(action, _plain(action))


def tab_entries(tabs: QTabWidget, show: Callable[[int], object]) -> Iterator[PaletteEntry]:
    """Yield the pages of the plots."""
    for place in range(tabs.count()):
        title, tip = tabs.tabText(place).replace("&", ""), tabs.tabToolTip(place)
        reason = "" if tabs.isTabEnabled(place) else tip
        yield PaletteEntry(f"Show {title} tab", partial(show, place), reason=reason, tip=tip)


def view_entries(docks: DockLayout, themes: QMenu) -> Iterator[PaletteEntry]:
    """Yield docks to show and hide, and themes."""
    for action in docks.toggles():
        yield _of_action(action, f"{'Hide' if action.isChecked() else 'Show'} {_plain(action)}")
    for action in themes.actions():
        yield _of_action(action, f"Theme: {_plain(action)}")


def table_entries(view: QWidget) -> Iterator[PaletteEntry]:
    """Yield what can be done with the selected runs."""
    for action in view.actions():
        if action.isVisible() and action.text():
            yield _of_action(action, f"Runs: {_plain(action)}", _NOT_IN_TABLE)


def form_entries(form: ExperimentDock) -> Iterator[PaletteEntry]:
    """Yield problems to choose, and algorithms to tick and untick."""
    for place, problem in enumerate(form.catalogue.problems):
        choose: Callable[[], object] = partial(form.problem_box.setCurrentIndex, place)
        yield PaletteEntry(f"Problem: {problem.title}", choose, tip=problem.summary)
    ticked = form.algorithms.ticked()
    for entry in form.catalogue.algorithms:
        yield PaletteEntry(
            f"{'Untick' if entry.id in ticked else 'Tick'} {entry.title}",
            partial(form.algorithms.toggle, entry.id),
            reason=entry.unsuited(form.problem),
            tip=entry.summary,
        )


def preset_entries(load: Callable[[Path], object]) -> Iterator[PaletteEntry]:
    """Yield the settings of published experiments."""
    tip = "Fill the form with the settings of a published experiment."
    for name, path in presets().items():
        yield PaletteEntry(f"Load preset {name}", partial(load, path), tip=tip)


def run_entries(runs: RunListModel, show: Callable[[str], object]) -> Iterator[PaletteEntry]:
    """Yield the newest runs."""
    for row in runs.rows[:_RUNS]:
        tip = f"Tick the run and select it in the table. It is {row.summary.state}."
        yield PaletteEntry(f"Show run {row.label}", partial(show, row.id), tip=tip)


def guide_entries(
    library: Callable[[], Library], show: Callable[[str], object]
) -> Iterator[PaletteEntry]:
    """Yield tutorials, methods and terms to read about."""
    for topic in library().topics:
        if topic.kind in _READ:
            yield PaletteEntry(f"Guide: {topic.title}", partial(show, topic.address))


def _plain(action: QAction) -> str:
    return action.text().replace("&", "")


def _of_action(action: QAction, title: str, usual: str = "") -> PaletteEntry:
    """Return the entry of an action; where it is disabled, its tip or this table says why."""
    reason = ""
    if not action.isEnabled():
        name, tip = action.objectName().removeprefix("action_"), action.toolTip()
        is_generic = action.statusTip() in tip and name not in {"run", "queue", "sweep"}
        fallback = usual or (_NOT_SELECTED if name.startswith("queue_") else tip)
        reason = _REASONS.get(name) or (fallback if is_generic else tip)
    return PaletteEntry(title, action.trigger, shortcut_text(action), reason, action.statusTip())
