"""The session: what is on screen comes back after a restart, and after a crash too."""

import time
import tomllib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PySide6.QtCore import QByteArray, QObject, QTimer, Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.config.options import OptionError, checked
from metaviz.config.run_config import Comparison
from metaviz.gui.experiment.form_values import read_form_state
from metaviz.gui.pages.page_registry import Tab
from metaviz.gui.pages.page_tabs import NAMES
from metaviz.gui.session.page_state import Value, read_views, show_views
from metaviz.gui.session.session_file import SessionFile, layout_of, layout_part
from metaviz.gui.widgets.settings import LAYOUT_VERSION
from metaviz.runs.storage.lock import RunLock, lock_session

if TYPE_CHECKING:
    from metaviz.gui.window.main_window import MainWindow

SOON_MS, EVERY_MS = 1000, 30_000
_OLD = (
    *("window/geometry", "window/state", "form/comparison"),
    *("view/training", "runs/table", "runs/shown"),
)
"""Where earlier versions kept the session: among the preferences."""


class Session(QObject):
    """Restores the window and saves it: soon after a change, every 30 s, and at the end.

    Only one window of a folder saves; another one begins with the same layout and form but shows
    no runs. `noted` carries a sentence for the log.
    """

    noted = Signal(str)

    def __init__(self, window: "MainWindow", home: Path | None) -> None:
        """Read the session of a folder; without one nothing is read or saved."""
        super().__init__(window)
        self._window = window
        self._file = SessionFile(home) if home is not None else None
        self._lock = _locked(home)
        self.last: dict[str, Any] = {}
        self.notes: list[str] = []
        if self._file is not None:
            self.last, note = self._file.read()
            self.notes += [note] if note else []
        self.is_owner = self._file is not None and self._lock is not None
        self.was_cut_off = self.is_owner and self.last.get("ended") is False
        """Whether the program ended without saving for the last time."""
        self._begun = time.time()
        self._awaited = frozenset(map(str, self._part("runs").get("shown", ())))
        """Runs that were shown and have not been found yet."""
        if not self.is_owner:
            self._awaited = frozenset()
        self._views = _tables(self._part("views"))
        """What could not be set yet, as pages or runs were missing, by page and control."""
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SOON_MS)
        self._often = QTimer(self)
        self._often.setInterval(EVERY_MS)
        self._complained = False
        window.closing.leaving.connect(self.save)
        window.closing.ready.connect(self.end)

    def restore(self) -> None:
        """Show docks, table and form as they were left."""
        if not self.last:
            self._take_over()
        window = self._window
        self._restore_layout(self._part("window"))
        window.table.restore(str(self._part("runs").get("table", "")))
        if form := self._part("form"):
            try:
                window.form.show_state(read_form_state(form))
            except (KeyError, TypeError):
                self.notes.append("The last settings do not fit this version.")
        current = self._part("tabs").get("current")
        if current in NAMES:
            window.tabs.open_page(current)

    def _restore_layout(self, part: dict[str, Any]) -> None:
        layout = layout_of(part)
        if layout is None:
            if part:
                self.notes.append(
                    "The window's layout was left out: it is damaged, or of an earlier version."
                )
            return
        with self._file.restoring() if self._file and self.is_owner else nullcontext(True) as may:
            if not may:
                self.notes.append(
                    "The last start ended while the window's layout was restored, so it was left "
                    "out."
                )
                return
            geometry, state = layout
            self._window.restoreGeometry(QByteArray(geometry))
            self._window.restoreState(QByteArray(state), LAYOUT_VERSION)

    @Slot(object)
    def restore_view(self, page: Tab) -> None:
        """Look at a page as it was left; what waits for its runs is tried again with them."""
        name = page.export_name
        if name in self._views:
            left = show_views({name: cast("QWidget", page)}, self._views)
            del self._views[name]
            if not self._all_shown():
                self._views |= left

    def begin(self) -> None:
        """Save from now on."""
        window = self._window
        window.runs.ticked.connect(self._forget_awaited)
        for signal in (
            window.form.changed,
            window.runs.visibility_changed,
            window.tabs.currentChanged,
            window.undo_stack.indexChanged,
            window.conductor.phase_changed,
            window.arrangement.moved,
        ):
            signal.connect(self._soon.start)
        self._soon.timeout.connect(self.save)
        self._often.timeout.connect(self.save)
        self._often.start()
        self.save()

    def save_every(self, seconds: int) -> None:
        """Save so often, besides after changes."""
        self._often.setInterval(1000 * seconds)

    def shown_before(self, ids: list[str]) -> list[str]:
        """Return which of these runs, found just now, were shown in the last session."""
        again = [name for name in ids if name in self._awaited]
        self._awaited -= frozenset(again)
        return again

    @Slot()
    def save(self) -> None:
        """Save now."""
        self._save(ended=False)

    @Slot()
    def end(self) -> None:
        """Save for the last time."""
        self._save(ended=True)
        self.is_owner = False
        self._soon.stop()
        self._often.stop()
        if self._lock is not None:
            self._lock.release()

    def values(self, *, ended: bool) -> dict[str, Any]:
        """Return the session as it is now."""
        window = self._window
        live = window.live.records.values()
        views = dict(self._views)
        for name, view in read_views(window.tabs.made_pages()).items():
            views[name] = {**view, **views.get(name, {})}
        geometry, state = window.saveGeometry().data(), window.saveState(LAYOUT_VERSION).data()
        return {
            "ended": ended,
            "begun": self._begun,
            "window": layout_part(bytes(geometry), bytes(state)),
            "form": window.form.state().plain(),
            "runs": {
                "shown": sorted(window.runs.shown() | self._awaited),
                "training": sorted(record.id for record in live if not record.ended),
                "table": window.table.state_text(),
            },
            "tabs": {"current": NAMES[window.tabs.currentIndex()]},
            "views": views,
        }

    def _part(self, name: str) -> dict[str, Any]:
        found = self.last.get(name)
        return found if isinstance(found, dict) else {}

    def _take_over(self) -> None:
        """Take what an earlier version kept among the preferences, once."""
        preferences = self._window.preferences
        geometry = preferences.read("window/geometry", QByteArray())
        if geometry.isEmpty():
            return
        state = preferences.read("window/state", QByteArray())
        self.last = {
            "window": layout_part(bytes(geometry.data()), bytes(state.data())),
            "runs": {"table": preferences.read("runs/table", "")},
        }
        self._awaited = frozenset(preferences.read("runs/shown", "").splitlines())
        try:
            text = preferences.read("form/comparison", "")
            if text:
                self._window.form.show_comparison(checked(Comparison, tomllib.loads(text)), "")
        except (OptionError, tomllib.TOMLDecodeError, RecursionError):
            self.notes.append("The last settings do not fit this version.")
        preferences.forget(_OLD)

    @Slot()
    def _forget_awaited(self) -> None:
        """Believe a person's ticks rather than those of the last session."""
        self._awaited = frozenset()

    def _all_shown(self) -> bool:
        """Return whether every run of the last session is in the plots that is still there."""
        runs = self._window.runs
        return not self._awaited and len(runs.visible_records()) == len(runs.shown())

    def _save(self, *, ended: bool) -> None:
        if not self.is_owner or self._file is None:
            return
        try:
            self._file.write(self.values(ended=ended))
        except OSError as error:
            if not self._complained:
                self._complained = True
                self.noted.emit(f"The session cannot be saved, so a restart begins anew: {error}.")


def _locked(home: Path | None) -> RunLock | None:
    try:
        return lock_session(home) if home is not None else None
    except OSError:  # said where the session is to be saved
        return RunLock(None)


def _tables(views: object) -> dict[str, dict[str, Value]]:
    """Read views by page and control, whatever stands in the file."""
    if not isinstance(views, Mapping):
        return {}
    return {
        str(name): {str(k): v for k, v in view.items() if isinstance(v, bool | int | str)}
        for name, view in views.items()
        if isinstance(view, Mapping)
    }
