"""The foot of the experiment dock: help for what has the focus, and what Run would do."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from metaviz.config.catalogue import AlgorithmEntry
from metaviz.config.options import OptionSpec
from metaviz.config.run_config import Comparison
from metaviz.gui.experiment.algorithm_list import describe
from metaviz.gui.widgets.controls import scrolling
from metaviz.gui.widgets.option_field import help_text
from metaviz.gui.widgets.theme import current_theme, tint

_HELP_LINES = 6


class HelpStrip(QFrame):
    """Always in sight below the form."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.help = QLabel("Choose a field or an algorithm to read what it does.", self)
        self.reason = QLabel(self)
        self.count = QLabel(self)
        for label, name in (
            (self.help, "help"),
            (self.reason, "reason"),
            (self.count, "run_count"),
        ):
            label.setObjectName(name)
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.help.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._row = QHBoxLayout()
        self._row.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 6, 10, 6)
        column.addWidget(self._steady_help())
        column.addWidget(self.reason)
        column.addWidget(self.count)
        column.addLayout(self._row)
        self.restyle()

    def _steady_help(self) -> QScrollArea:
        """Keep the help's height, so that the form does not jump when the focus moves."""
        area = scrolling("help_scroll", "Help", self.help)
        area.setFixedHeight(self.fontMetrics().lineSpacing() * _HELP_LINES)
        return area

    def add_button(self, button: QWidget) -> None:
        """Put a button at the right of the last line, below the count."""
        self._row.addWidget(button)

    def explain(self, what: OptionSpec | AlgorithmEntry) -> None:
        """Say what something is."""
        if isinstance(what, AlgorithmEntry):
            self.help.setTextFormat(Qt.TextFormat.RichText)
            self.help.setText(describe(what))
            return
        self.help.setTextFormat(Qt.TextFormat.PlainText)
        self.help.setText(f"{what.title}: {help_text(what)}")

    def show_reason(self, sentence: str) -> None:
        """Say why nothing can run."""
        self.reason.setText(sentence)
        self.reason.setVisible(bool(sentence))
        if sentence:
            self.count.setText("Nothing to run yet")

    def show_count(self, comparison: Comparison) -> None:
        """Say how many runs there will be."""
        algorithms, seeds = len(comparison.algorithms), len(comparison.seeds)
        runs = _number(algorithms * seeds, "run")
        self.count.setText(f"{runs}: {_number(algorithms, 'algorithm')} × {_number(seeds, 'seed')}")

    def restyle(self) -> None:
        """Take the colours of the current theme."""
        tint(self.help, current_theme().muted)
        tint(self.reason, current_theme().error)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
