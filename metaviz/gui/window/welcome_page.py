"""The welcome page: what can be done first, the last runs, and what meta-learning is."""

from collections.abc import Sequence
from typing import NamedTuple

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.widgets.controls import (
    explained,
    make_bold,
    named,
    push_button,
    scrolling,
    text_label,
)
from metaviz.gui.widgets.layouts import column, fill, row
from metaviz.gui.widgets.plain_text import PlainLabel
from metaviz.gui.widgets.theme import current_theme, tint

LAST = 5
_TITLE_SIZE = 1.5
_ABOUT = (
    "Meta-learning learns how to learn from a handful of examples. In the inner loop, parameters "
    "adapt to one task by a few gradient steps on its support set. In the outer loop, the adapted "
    "parameters are judged on other examples of that task, the query set, and what the inner loop "
    "begins with – initial weights, in some methods also step sizes or a whole geometry – is "
    "moved so that the next adaptation ends better. So look at the loss before and after "
    "adaptation: a method has learned to learn where the gap between them grows."
)


class ToldRun(NamedTuple):
    """What the list of last runs tells of one."""

    id: str
    label: str
    problem: str
    result: str
    state: str
    started: str

    @property
    def text(self) -> str:
        """All of it in a line."""
        parts = (self.label, self.problem, self.result, self.state, self.started)
        return "  –  ".join(filter(None, parts))


class Card(QFrame):
    """One thing to begin with: what it is, and a button."""

    def __init__(self, name: str, title: str, text: str, verb: str) -> None:
        """Write the card; `verb` is on the button."""
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        heading = make_bold(PlainLabel(title))
        heading.setWordWrap(True)
        self.text = text_label("", text=text)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.button = push_button(f"welcome_{name}", verb, text, title)
        self.button.setAccessibleDescription(text)
        layout = QVBoxLayout(self)
        fill(layout, heading, self.text, self.button, stretch=self.text)
        layout.setAlignment(self.button, Qt.AlignmentFlag.AlignLeft)


class WelcomePage(QWidget):
    """Cards, the last runs and a paragraph. `run_requested` carries the id of a run."""

    run_requested = Signal(str)
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Write the page."""
        super().__init__(parent)
        named(self, "welcome", "Welcome")
        explained(self, "/page/welcome")
        self._listed: list[ToldRun] | None = None
        self.about = text_label("welcome_about", text=_ABOUT)
        self.last_heading = make_bold(PlainLabel("Last runs"))
        self._last = QVBoxLayout()
        self._last.setSpacing(2)
        parts = (self._head(), self.about, self._cards(), self.last_heading, self._last, None)
        content = column(None, *parts, margins=(24, 16, 24, 16), spacing=12)
        column(self, scrolling("welcome_scroll", "Welcome", content))
        self.show_runs([])

    def show_runs(self, runs: Sequence[ToldRun]) -> None:
        """List the last runs."""
        listed = list(runs)
        if listed == self._listed:
            return
        self._listed = listed
        while (item := self._last.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.setParent(None)
                old.deleteLater()
        for place, run in enumerate(listed):
            button = push_button(
                f"welcome_run_{place}",
                run.text,
                "Show this run in the plots.",
                f"Show run {run.text}",
            )
            button.setFlat(True)
            button.setProperty("run", run.id)
            button.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
            button.clicked.connect(self._want_run)
            self._last.addWidget(button)
        self.last_heading.setVisible(bool(listed))

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        tint(self.about, current_theme().muted)

    def _head(self) -> QHBoxLayout:
        title = make_bold(PlainLabel("Welcome to MetaViz"), _TITLE_SIZE)
        tip = "Show the plots instead. Help > Welcome brings the page back."
        close = push_button("welcome_close", "&Close this page", tip, "Close the welcome page")
        close.clicked.connect(self.closed)
        return row(title, close, stretch=title)

    def _cards(self) -> QGridLayout:
        self.demo = Card(
            "demo",
            "30-second demo",
            "Train MAML, first-order MAML and Reptile on sinusoids, and watch them learn to adapt.",
            "Start the &demo",
        )
        self.reproduction = Card(
            "reproduction",
            "Reproduce the sinusoid comparison",
            "MAML against joint training with the settings of the MAML paper. "
            "You are told how long it takes before anything is queued.",
            "Est&imate…",
        )
        self.runs = Card(
            "runs",
            "Open runs",
            "Show runs of another folder, for instance from a cluster or a colleague.",
            "&Open a folder…",
        )
        self.data = Card(
            "data",
            "Look at data",
            "See what few-shot episodes look like: an invented script needs no download.",
            "&Look…",
        )
        grid = QGridLayout()
        grid.setSpacing(10)
        cards = (self.demo, self.reproduction, self.runs, self.data)
        for place, card in enumerate(cards):
            grid.addWidget(card, place // 2, place % 2)
        for at in (0, 1):
            grid.setColumnStretch(at, 1)
        return grid

    @Slot()
    def _want_run(self) -> None:
        button = self.sender()
        if isinstance(button, QPushButton):
            self.run_requested.emit(str(button.property("run")))
