"""The toolbar: commands of training, how far it is, and how long it will take."""

import time

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QProgressBar, QSizePolicy, QToolBar, QToolButton, QWidget

from metaviz.gui.background.training_controller import BUSY, Phase
from metaviz.gui.widgets.commands import Actions
from metaviz.gui.widgets.controls import named, spoken
from metaviz.gui.widgets.durations import clock
from metaviz.gui.widgets.layouts import column
from metaviz.gui.widgets.plain_text import PlainLabel, plain_tip

_PARTS = 1000
_MOMENT = 1.0
"""What takes less long, in seconds, is not told: the words would flicker."""


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
        self._doing_since = 0.0
        self._set_up_widgets()

    def show_phase(self, phase: Phase) -> None:
        """Follow what training is doing."""
        if phase == "starting":
            self._doing_since = time.monotonic()
            self.progress.setRange(0, 0)
        elif phase in BUSY:
            self.progress.setRange(0, _PARTS)
        self.progress.setVisible(phase in BUSY)
        self.time_left.setVisible(phase in BUSY)
        words = {"starting": "Starting…", "paused": "Paused", "stopping": "Saving…"}
        self.time_left.setText(words.get(phase, ""))

    def show_progress(
        self, done: int, total: int, left: float | None, *, paused: bool, doing: str = ""
    ) -> None:
        """Show how many of all meta-steps were taken, and how many seconds are left, if known.

        What runs are `doing` besides is told as soon as it takes longer than a moment, and where
        no time is known.
        """
        self.progress.setRange(0, _PARTS)
        share = done / total if total else 0.0
        self.progress.setValue(round(share * _PARTS))
        self.progress.setToolTip(plain_tip(f"{done} of {total} meta-steps of all runs"))
        if paused:
            self.time_left.setText("Paused")
            return
        now = time.monotonic()
        if not doing:
            self._doing_since = now
        takes_long = now - self._doing_since > _MOMENT
        known = "" if left is None else f"{clock(left)} left"
        told = _begun(doing) if takes_long or not known else ""
        self.time_left.setText(", ".join(filter(None, (told, known))) or self.time_left.text())

    def show_doing(self, doing: str) -> None:
        """Show what is done before the first meta-step."""
        self.time_left.setText(_begun(doing) or "Starting…")

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


def _begun(doing: str) -> str:
    return f"{doing[:1].upper()}{doing[1:]}"


def _steady(widget: QWidget) -> QWidget:
    policy = widget.sizePolicy()
    policy.setRetainSizeWhenHidden(True)
    widget.setSizePolicy(policy)
    return column(None, widget, margins=(4, 0, 4, 0))
