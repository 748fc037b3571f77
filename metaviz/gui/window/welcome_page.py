"""The welcome page: what can be done first, the last runs, and what meta-learning is."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from metaviz.gui.runs.row import Row
from metaviz.gui.widgets.controls import scrolling
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


class Card(QFrame):
    """One thing to begin with: what it is, and a button."""

    def __init__(self, name: str, title: str, text: str, verb: str, parent: QWidget) -> None:
        """Write the card; `verb` is on the button."""
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        heading, self.text = QLabel(title, self), QLabel(text, self)
        font = heading.font()
        font.setBold(True)
        heading.setFont(font)
        heading.setWordWrap(True)
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.button = QPushButton(verb, self)
        self.button.setObjectName(f"welcome_{name}")
        self.button.setAccessibleName(title)
        self.button.setAccessibleDescription(text)
        self.button.setToolTip(text)
        self.button.setStatusTip(text)
        layout = QVBoxLayout(self)
        layout.addWidget(heading)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.button, 0, Qt.AlignmentFlag.AlignLeft)


class WelcomePage(QWidget):
    """Cards, the last runs and a paragraph. `run_requested` carries the id of a run."""

    run_requested = Signal(str)
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        """Write the page."""
        super().__init__(parent)
        self.setObjectName("welcome")
        self._listed: list[tuple[str, str, str]] | None = None
        self.setAccessibleName("Welcome")
        content = QWidget(self)
        self._column = QVBoxLayout(content)
        self._column.setContentsMargins(24, 16, 24, 16)
        self._column.setSpacing(12)
        self._column.addLayout(self._head())
        self.about = QLabel(_ABOUT, self)
        self.about.setObjectName("welcome_about")
        self.about.setWordWrap(True)
        self._column.addWidget(self.about)
        self._add_cards()
        self.last_heading = QLabel("Last runs", self)
        font = self.last_heading.font()
        font.setBold(True)
        self.last_heading.setFont(font)
        self._column.addWidget(self.last_heading)
        self._last = QVBoxLayout()
        self._last.setSpacing(2)
        self._column.addLayout(self._last)
        self._column.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scrolling("welcome_scroll", "Welcome", content))
        self.show_runs([])

    def show_runs(self, rows: Sequence[Row]) -> None:
        """List the last runs."""
        listed = [(row.id, row.label, row.summary.state) for row in rows[:LAST]]
        if listed == self._listed:
            return
        self._listed = listed
        while (item := self._last.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.setParent(None)
                old.deleteLater()
        for place, row in enumerate(rows[:LAST]):
            button = QPushButton(f"{row.label}  –  {row.summary.state}", self)
            button.setObjectName(f"welcome_run_{place}")
            button.setAccessibleName(f"Show run {row.label}, {row.summary.state}")
            button.setToolTip("Show this run in the plots.")
            button.setStatusTip("Show this run in the plots.")
            button.setFlat(True)
            button.setProperty("run", row.id)
            button.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
            button.clicked.connect(self._want_run)
            self._last.addWidget(button)
        self.last_heading.setVisible(bool(rows))

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        tint(self.about, current_theme().muted)

    def _head(self) -> QHBoxLayout:
        title = QLabel("Welcome to MetaViz", self)
        font = title.font()
        font.setPointSizeF(font.pointSizeF() * _TITLE_SIZE)
        font.setBold(True)
        title.setFont(font)
        close = QPushButton("&Close this page", self)
        close.setObjectName("welcome_close")
        close.setAccessibleName("Close the welcome page")
        close.setToolTip("Show the plots instead. Help > Welcome brings the page back.")
        close.clicked.connect(self.closed)
        row = QHBoxLayout()
        row.addWidget(title, 1)
        row.addWidget(close)
        return row

    def _add_cards(self) -> None:
        self.demo = Card(
            "demo",
            "30-second demo",
            "Train MAML, first-order MAML and Reptile on sinusoids, and watch them learn to adapt.",
            "Start the &demo",
            self,
        )
        self.reproduction = Card(
            "reproduction",
            "Reproduce the sinusoid comparison",
            "MAML against joint training with the settings of the MAML paper. "
            "You are told how long it takes before anything is queued.",
            "Est&imate…",
            self,
        )
        self.runs = Card(
            "runs",
            "Open runs",
            "Show runs of another folder, for instance from a cluster or a colleague.",
            "Open a &folder…",
            self,
        )
        self.data = Card(
            "data",
            "Look at data",
            "See what few-shot episodes look like: an invented script needs no download.",
            "&Look…",
            self,
        )
        grid = QGridLayout()
        grid.setSpacing(10)
        cards = (self.demo, self.reproduction, self.runs, self.data)
        for place, card in enumerate(cards):
            grid.addWidget(card, place // 2, place % 2)
        for column in (0, 1):
            grid.setColumnStretch(column, 1)
        self._column.addLayout(grid)

    @Slot()
    def _want_run(self) -> None:
        button = self.sender()
        if isinstance(button, QPushButton):
            self.run_requested.emit(str(button.property("run")))
