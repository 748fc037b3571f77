"""The foot of the experiment dock: help for what has the focus, and what Run would do."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from metaviz.config.catalogue import AlgorithmEntry
from metaviz.config.options import OptionSpec
from metaviz.config.run_config import Comparison
from metaviz.gui.experiment.algorithm_list import describe
from metaviz.gui.widgets.controls import scrolling, text_label, tool_button
from metaviz.gui.widgets.layouts import column, row
from metaviz.gui.widgets.option_field import help_text
from metaviz.gui.widgets.theme import current_theme, tint

_HELP_LINES = 3


class HelpStrip(QFrame):
    """Always in sight below the form."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        hint = "Choose a field or an algorithm to read what it does."
        self.help = text_label("help", text=hint)
        self.reason = text_label("reason")
        self.count = text_label("run_count")
        self.help.setAlignment(Qt.AlignmentFlag.AlignTop)
        tip = "Open the guide at what has the keyboard: all of it, and the terms it uses."
        self.more = tool_button("help_more", "More (F1)", tip, "More about this in the guide")
        self.more.setAutoRaise(True)
        # The keyboard stays where it is, as that says what is asked about.
        self.more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._row = row(self.more, None, spacing=8)
        parts = (self._steady_help(), self.count, self._row)
        column(self, *parts, margins=(8, 4, 8, 8), spacing=4)
        self.restyle()

    def _steady_help(self) -> QScrollArea:
        """Keep the height, so that no field moves with the focus or when something is wrong."""
        both = column(None, self.reason, self.help, None, spacing=4)
        self._area = scrolling("help_scroll", "Help", both)
        self._area.setFixedHeight(self.fontMetrics().lineSpacing() * _HELP_LINES)
        return self._area

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
            self._area.verticalScrollBar().setValue(0)
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
