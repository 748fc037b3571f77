"""The search field of the runs table: it waits for a pause, completes words, shows mistakes."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QObject, QStringListModel, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QCompleter,
    QListView,
    QMessageBox,
    QWidget,
)

from metaviz.gui.widgets.controls import named, search_line, text_label, tool_button
from metaviz.gui.widgets.layouts import column, row
from metaviz.gui.widgets.theme import current_theme, tint
from metaviz.runs.table.search import HELP, Query, QueryError, completions, parse
from metaviz.runs.table.summary import Entry

_PAUSE_MS = 150
_MOST_WORDS = 40


class SearchField(QWidget):
    """A line to search runs with. A mistake is shown below it, and the last valid search stays."""

    searched = Signal(object)

    def __init__(
        self, entries: Callable[[], Sequence[Entry]], keys: Sequence[str], parent: QWidget
    ) -> None:
        """Complete words from what `entries` returns; `keys` are hyperparameters besides theirs."""
        super().__init__(parent)
        self._keys = tuple(keys)
        self._entries = entries
        self.query: Query = parse("")
        tip = "Show only runs that match; “Syntax” explains the language. (Ctrl+F; Esc clears)"
        placeholder = "Search: algo:maml alpha<0.1 tag:paper"
        self.line = search_line("runs_search", "Search runs", placeholder, tip)
        self.line.setMinimumWidth(120)
        self.line.installEventFilter(self)
        tip = "Explain the search language."
        self.help = tool_button("runs_search_help", "Syntax", tip, "How to search")
        self.help.clicked.connect(self._explain)
        self.mistake = text_label("runs_search_mistake")
        self.mistake.hide()
        self._words = QStringListModel(self)
        self._completer = QCompleter(self._words, self)
        self._completer.setWidget(self.line)
        self._completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
        self._popup = named(QListView(self), "runs_search_words", "Words to search with")
        self._completer.setPopup(self._popup)
        self._completer.activated.connect(self._complete)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self.apply)
        self.line.textChanged.connect(self._pause.start)
        self.line.textEdited.connect(self._offer_words)
        self.line.returnPressed.connect(self.apply)
        above = row(self.line, self.help, spacing=2, stretch=self.line)
        column(self, above, self.mistake, spacing=1)

    def set_text(self, text: str) -> None:
        """Search for something now."""
        self.line.setText(text)
        self.apply()

    @Slot()
    def apply(self) -> None:
        """Search for what is written, or show what is wrong with it."""
        self._pause.stop()
        keys = dict.fromkeys(key for entry in self._entries() for key in entry.keys)
        try:
            query = parse(self.line.text(), [*keys, *self._keys])
        except QueryError as error:
            self._show_mistake(str(error))
            return
        self._show_mistake("")
        self.query = query
        self.searched.emit(query)

    def restyle(self) -> None:
        """Take the current theme's colours."""
        tint(self.mistake, current_theme().error)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Clear the field by Escape."""
        escape = isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape
        if watched is self.line and escape and event.type() == QEvent.Type.KeyPress:
            self.set_text("")
            return True
        return super().eventFilter(watched, event)

    def _show_mistake(self, sentence: str) -> None:
        self.mistake.setText(sentence)
        self.mistake.setVisible(bool(sentence))
        self.restyle()

    @Slot(str)
    def _offer_words(self, text: str) -> None:
        before = text[: self.line.cursorPosition()]
        words = completions(before, self._entries())[:_MOST_WORDS]
        self._words.setStringList(words)
        if words and not (len(words) == 1 and before.endswith(words[0])):
            self._completer.complete()
        else:
            self._popup.hide()

    @Slot(str)
    def _complete(self, word: str) -> None:
        text, place = self.line.text(), self.line.cursorPosition()
        start = place
        while start > 0 and not text[start - 1].isspace() and text[start - 1] not in "()-":
            start -= 1
        self.line.setText(text[:start] + word + text[place:])
        self.line.setCursorPosition(start + len(word))

    @Slot()
    def _explain(self) -> None:
        box = QMessageBox(self)
        box.setObjectName("search_help")
        box.setWindowTitle("How to search")
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText("Words and conditions with spaces between must all hold.")
        box.setInformativeText("\n".join(f"•  {line}" for line in HELP))
        box.setStandardButtons(QMessageBox.StandardButton.Close)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()
