"""The session: what is on screen comes back after a restart, and after a crash too."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QObject, QTimer, SignalInstance, Slot

from metaviz.config.options import checked
from metaviz.config.run_config import Comparison
from metaviz.files.foreign import parsed_toml
from metaviz.gui.experiment.experiment_dock import ExperimentDock
from metaviz.gui.experiment.form_values import read_form_state
from metaviz.gui.pages.page_tabs import NAMES, Tabs
from metaviz.gui.session.session_file import SessionFile, layout_part
from metaviz.gui.widgets.notifier import Notifier
from metaviz.gui.widgets.settings_file import Settings
from metaviz.runs.storage.lock import RunLock, lock_session

_log = logging.getLogger("metaviz.session")

SOON_MS, EVERY_MS = 1000, 30_000
_OLD_KEYS = (
    *("window/geometry", "window/state", "form/comparison"),
    *("view/training", "runs/table", "runs/shown"),
)
"""Where earlier versions kept the session: among the settings."""


class LeftOutError(ValueError):
    """A part cannot be restored; the text is a sentence that says why."""


@dataclass(frozen=True)
class Part:
    """A part of the window: its state, as values that TOML can hold, and what shows one again."""

    state: Callable[[], Mapping[str, Any]]
    restore: Callable[[Mapping[str, Any]], object]


class Session(QObject):
    """Restores the window and saves it: soon after a change, every 30 s, and at the end.

    Only one window of a folder saves; another one begins with the same layout and form but shows
    no runs.
    """

    def __init__(
        self, parts: Mapping[str, Part], home: Path | None, settings: Settings, notifier: Notifier
    ) -> None:
        """Read the session of a folder; without one nothing is read or saved."""
        super().__init__(notifier)
        self._parts, self._notifier = parts, notifier
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
        self.last = self.last or _old_session(settings)
        self._begun = time.time()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SOON_MS)
        self._often = QTimer(self)
        self._often.setInterval(EVERY_MS)
        for timer in (self._soon, self._often):
            timer.timeout.connect(self.save)
        self._complained = False

    def restore(self) -> None:
        """Show every part as it was left, and warn of those that cannot be."""
        for name, part in self._parts.items():
            state = self.last.get(name)
            if not isinstance(state, Mapping) or not state:
                continue
            if name == "runs" and not self.is_owner:
                state = {**state, "shown": ()}
            try:
                self._restore(name, part, state)
            except LeftOutError as error:
                self.notes.append(str(error))
            except (KeyError, TypeError, ValueError, RecursionError):
                _log.info("What was kept of the %s is left out", name, exc_info=True)
                self.notes.append(f"What was kept of the {name} does not fit this version.")
        for sentence in self.notes:
            self._notifier.warn(sentence)

    def _restore(self, name: str, part: Part, state: Mapping[str, Any]) -> None:
        if name != "window" or self._file is None or not self.is_owner:
            part.restore(state)
            return
        # What Qt reads of a layout can end the process at once, and would at every start.
        with self._file.restoring() as may:
            if not may:
                raise LeftOutError(
                    "The last start ended while the window's layout was restored, so it was left "
                    "out."
                )
            part.restore(state)

    def begin(self, changes: Iterable[SignalInstance]) -> None:
        """Save from now on, soon after each of these signals."""
        for signal in changes:
            signal.connect(self._soon.start)
        self._often.start()
        self.save()

    def save_every(self, seconds: int) -> None:
        """Save so often, besides after changes."""
        self._often.setInterval(1000 * seconds)

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
        states = {name: dict(part.state()) for name, part in self._parts.items()}
        return {"ended": ended, "begun": self._begun, **states}

    def _save(self, *, ended: bool) -> None:
        if not self.is_owner or self._file is None:
            return
        try:
            self._file.write(self.values(ended=ended))
        except OSError as error:
            if not self._complained:
                self._complained = True
                sentence = f"The session cannot be saved, so a restart begins anew: {error}."
                self._notifier.warn(sentence)


def form_part(form: ExperimentDock) -> Part:
    """Return the form; an earlier version kept a comparison as TOML instead of texts."""

    def restore(state: Mapping[str, Any]) -> None:
        if "comparison" in state:
            values = parsed_toml(str(state["comparison"]))
            form.show_comparison(checked(Comparison, values), "")
        else:
            form.show_state(read_form_state(state))

    return Part(lambda: form.state().plain(), restore)


def tabs_part(tabs: Tabs) -> Part:
    """Return which page is in front, and which ones were in their groups."""

    def restore(state: Mapping[str, Any]) -> None:
        groups = state.get("groups")
        if isinstance(groups, Mapping):
            tabs.remember({str(group): str(name) for group, name in groups.items()})
        if state.get("current") in NAMES:
            tabs.open_page(state["current"])

    return Part(
        lambda: {"current": NAMES[tabs.currentIndex()], "groups": tabs.last_opened}, restore
    )


def _locked(home: Path | None) -> RunLock | None:
    try:
        return lock_session(home) if home is not None else None
    except OSError:  # said where the session is to be saved
        return RunLock(None)


def _old_session(settings: Settings) -> dict[str, Any]:
    """Take what an earlier version kept among the settings, once."""
    geometry = settings.read("window/geometry", QByteArray())
    if geometry.isEmpty():
        return {}
    state = settings.read("window/state", QByteArray())
    found = {
        "window": layout_part(bytes(geometry.data()), bytes(state.data())),
        "form": {"comparison": settings.read("form/comparison", "")},
        "runs": {
            "shown": settings.read("runs/shown", "").splitlines(),
            "table": settings.read("runs/table", ""),
        },
    }
    settings.forget(_OLD_KEYS)
    return found
