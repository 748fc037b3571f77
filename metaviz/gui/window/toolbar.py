"""The toolbar: commands of training, how far it is, and how long it will take."""

import time
from collections import deque

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QProgressBar, QSizePolicy, QToolBar, QToolButton, QWidget

from metaviz.gui.background.training_controller import BUSY, Phase
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.controls import named, spoken
from metaviz.gui.widgets.durations import clock
from metaviz.gui.widgets.layouts import column
from metaviz.gui.widgets.plain_text import PlainLabel, plain_tip

_PARTS = 1000
_LEAST_SECONDS = 2.0
_SAMPLES = 40
"""So many samples, two in a second, give the speed: some evaluations are among them."""


class Stopwatch:
    """Counts the seconds of training, without pauses."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._since: float | None = None

    def run(self, *, running: bool) -> None:
        """Start or stop counting."""
        now = time.monotonic()
        if self._since is not None:
            self._sum += now - self._since
        self._since = now if running else None

    def reset(self) -> None:
        """Set to zero, and do not count."""
        self._sum, self._since = 0.0, None

    @property
    def seconds(self) -> float:
        """What was counted until now."""
        return self._sum + (time.monotonic() - self._since if self._since is not None else 0.0)


class TrainingToolbar(QToolBar):
    """Shows the phase, progress over all runs and the time left."""

    def __init__(self, actions: Actions, parent: QWidget | None = None) -> None:
        """Put the commands of training in order."""
        super().__init__("Run bar", parent)
        self.setObjectName("run_bar")
        self.setMovable(False)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        for name in ("run", "pause", "step", "stop", "abort"):
            self.addAction(actions[name])
            self._name_button(actions, name)
        self.progress = named(QProgressBar(self), "progress", "Progress of all runs")
        self.time_left = named(PlainLabel(parent=self), "time_left", "Time left")
        device = PlainLabel("Loading PyTorch…", self)
        self.device = named(device, "device", "Device", "What “auto” trains on.")
        self._watch = Stopwatch()
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._set_up_widgets()

    def show_phase(self, phase: Phase) -> None:
        """Follow what training is doing."""
        self._watch.run(running=phase == "training")
        if phase == "starting":
            self._watch.reset()
            self._samples.clear()
            self.progress.setRange(0, 0)
        elif phase in BUSY:
            self.progress.setRange(0, _PARTS)
        self.progress.setVisible(phase in BUSY)
        self.time_left.setVisible(phase in BUSY)
        words = {"starting": "Starting…", "paused": "Paused", "stopping": "Saving…"}
        self.time_left.setText(words.get(phase, ""))

    def show_progress(
        self, done: int, total: int, *, paused: bool, waiting: bool = False, doing: str = ""
    ) -> None:
        """Show how many of all meta-steps were taken, and how long the others will take.

        What a run is `doing` instead is told where no time is known, and after the last meta-step.

        The speed of the last samples gives the time, so that what went before (compiling, the
        first evaluation) does not count; not at all while runs are `waiting`.
        """
        self.progress.setRange(0, _PARTS)
        share = done / total if total else 0.0
        self.progress.setValue(round(share * _PARTS))
        self.progress.setToolTip(plain_tip(f"{done} of {total} meta-steps of all runs"))
        if paused:
            self.time_left.setText("Paused")
            return
        told = f"{doing[:1].upper()}{doing[1:]}…" if doing else ""
        if waiting:
            self._samples.clear()
            self.time_left.setText(told)
            return
        now = self._watch.seconds
        self._samples.append((now, done))
        since, first = self._samples[0]
        is_known = done > first and now - since > _LEAST_SECONDS
        if is_known and done < total:
            left = (total - done) * (now - since) / (done - first)
            self.time_left.setText(f"{clock(left)} left")
        elif told:
            self.time_left.setText(told)

    def _name_button(self, actions: Actions, name: str) -> None:
        button = self.widgetForAction(actions[name])
        if isinstance(button, QToolButton):
            button.setObjectName(f"button_{name}")
            button.setAccessibleName(spoken(actions[name].text()))
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def _set_up_widgets(self) -> None:
        self.progress.setRange(0, _PARTS)
        self.progress.setMaximumWidth(220)
        self.progress.setMinimumWidth(80)
        self.progress.setFormat("%p %")
        self.time_left.setMinimumWidth(self.fontMetrics().horizontalAdvance("00:00:00 left"))
        self.time_left.setContentsMargins(8, 0, 8, 0)
        self.device.setContentsMargins(8, 0, 10, 0)
        gap = QWidget(self)
        gap.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.addSeparator()
        # Visibility goes through the row, which keeps its width: the toolbar never jumps.
        self.addWidget(_steady(self.progress))
        self.addWidget(_steady(self.time_left))
        self.addWidget(gap)
        self.addWidget(self.device)


def _steady(widget: QWidget) -> QWidget:
    policy = widget.sizePolicy()
    policy.setRetainSizeWhenHidden(True)
    widget.setSizePolicy(policy)
    return column(None, widget, margins=(4, 0, 4, 0))
