"""What the command palette offers: everything that the window can do now, gathered anew."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Slot
from PySide6.QtGui import QAction

from metaviz.config.run_config import presets
from metaviz.gui.widgets.command_palette import Offer, Palette
from metaviz.gui.widgets.commands import shortcut_text

if TYPE_CHECKING:
    from metaviz.gui.window.main_window import MainWindow

_RUNS, _KEPT = 20, 30
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


class PaletteDesk(QObject):
    """Opens the palette, and remembers what was run."""

    def __init__(self, window: "MainWindow") -> None:
        """Listen to the command."""
        super().__init__(window)
        self._window = window
        self.palette: Palette | None = None
        window.commands["palette"].triggered.connect(self.open)

    @Slot()
    def open(self) -> None:
        """Open the palette over the window."""
        recent = self._window.preferences.read(_RECENT, "").split("\n")
        palette = Palette(list(self.offers()), [title for title in recent if title], self._window)
        palette.chosen.connect(self._remember)
        palette.finished.connect(self._on_closed)
        palette.place_over(self._window)
        self.palette = palette
        palette.open()
        palette.line.setFocus()

    def offers(self) -> Iterator[Offer]:
        """Yield everything that can be done."""
        window = self._window
        for action in window.commands.all():
            if action.objectName() != "action_palette":
                yield _of_action(action, _plain(action))
        yield from self._of_views()
        for action in window.table.view.actions():
            if action.isVisible() and action.text():
                yield _of_action(action, f"Runs: {_plain(action)}", _NOT_IN_TABLE)
        yield from self._of_form()
        for row in window.runs.rows[:_RUNS]:
            yield Offer(
                f"Show run {row.label}",
                partial(self._show_run, row.id),
                tip=f"Tick the run and select it in the table. It is {row.summary.state}.",
            )

    def _of_views(self) -> Iterator[Offer]:
        window = self._window
        tabs = window.tabs
        for place in range(tabs.count()):
            title = tabs.tabText(place).replace("&", "")
            tip = tabs.tabToolTip(place)
            yield Offer(
                f"Show {title} tab",
                partial(self._show_tab, place),
                reason="" if tabs.isTabEnabled(place) else tip,
                tip=tip,
            )
        for action in window.arrangement.toggles():
            verb = "Hide" if action.isChecked() else "Show"
            yield _of_action(action, f"{verb} {_plain(action)}")
        for action in window.theme_menu.menu.actions():
            yield _of_action(action, f"Theme: {_plain(action)}")

    def _of_form(self) -> Iterator[Offer]:
        window = self._window
        form = window.form
        for place, problem in enumerate(form.catalogue.problems):
            choose: Callable[[], object] = partial(form.problem_box.setCurrentIndex, place)
            yield Offer(f"Problem: {problem.title}", choose, tip=problem.summary)
        ticked = form.algorithms.ticked()
        for entry in form.catalogue.algorithms:
            verb = "Untick" if entry.id in ticked else "Tick"
            yield Offer(
                f"{verb} {entry.title}",
                partial(self._tick, entry.id),
                reason=entry.unsuited(form.problem),
                tip=entry.summary,
            )
        for name, path in presets().items():
            yield Offer(
                f"Load preset {name}",
                partial(window.files.read_configuration, path),
                tip="Fill the form with the settings of a published experiment.",
            )

    def _show_tab(self, place: int) -> None:
        self._window.comfort.leave_welcome()
        self._window.tabs.setCurrentIndex(place)

    def _tick(self, name: str) -> None:
        item = self._window.form.algorithms.item_of(name)
        on = item.checkState(0) == Qt.CheckState.Checked
        item.setCheckState(0, Qt.CheckState.Unchecked if on else Qt.CheckState.Checked)

    def _show_run(self, name: str) -> None:
        self._window.runs.tick([name], visible=True)
        self._window.table.select(name)

    @Slot(str)
    def _remember(self, title: str) -> None:
        preferences = self._window.preferences
        recent = preferences.read(_RECENT, "").split("\n")
        kept = [title, *(other for other in recent if other and other != title)]
        preferences.write(_RECENT, "\n".join(kept[:_KEPT]))

    @Slot()
    def _on_closed(self) -> None:
        self.palette = None


def _plain(action: QAction) -> str:
    return action.text().replace("&", "")


def _of_action(action: QAction, title: str, usual: str = "") -> Offer:
    """Return an offer of an action; where it is disabled, its tip or this table says why."""
    reason = ""
    if not action.isEnabled():
        name = action.objectName().removeprefix("action_")
        told = action.toolTip()
        generic = action.statusTip() in told and name not in {"run", "queue", "sweep"}
        fallback = usual or (_NOT_SELECTED if name.startswith("queue_") else told)
        reason = _REASONS.get(name) or (fallback if generic else told)
    return Offer(title, action.trigger, shortcut_text(action), reason, action.statusTip())
