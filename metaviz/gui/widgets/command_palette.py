"""The command palette: type a few letters of anything that the window can do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QModelIndex, QObject, QPoint, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent, QPalette, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QDialog, QFrame, QHeaderView, QTreeView, QWidget

from metaviz.gui.widgets.controls import explained, named, search_line, text_label
from metaviz.gui.widgets.layouts import column
from metaviz.gui.widgets.plain_text import plain_tip

_WORD_START, _CONSECUTIVE, _RECENT, _MOST = 8, 9, 4, 200
_WIDTH, _HEIGHT = 620, 420
_NEVER = -(10**9)
_PLACE = Qt.ItemDataRole.UserRole
_Key = Qt.Key
_MOVES = {_Key.Key_Up, _Key.Key_Down, _Key.Key_PageUp, _Key.Key_PageDown}


@dataclass(frozen=True)
class PaletteEntry:
    """One thing that can be done; `reason` says why it cannot be done now."""

    title: str
    run: Callable[[], object]
    keys: str = ""
    reason: str = ""
    tip: str = ""


def score(query: str, text: str) -> int | None:
    """Return how well a text matches a query, None where it does not.

    Every word of the query must be a subsequence of the text. Letters count 1, more at the start
    of a word and directly after the letter before.
    """
    total = 0
    for word in query.casefold().split():
        found = _score_word(word, text)
        if found is None:
            return None
        total += found
    return total


def ranked(
    entries: Sequence[PaletteEntry], query: str, recent: Sequence[str]
) -> list[PaletteEntry]:
    """Return the entries that match a query, best first; recently used ones come before equals."""
    places = {title: place for place, title in enumerate(recent)}
    found = []
    for number, entry in enumerate(entries):
        points = score(query, entry.title)
        if points is not None:
            place = places.get(entry.title)
            bonus = _RECENT if place is not None else 0
            last = len(places) if place is None else place
            found.append((-points - bonus, last, len(entry.title) if query else 0, number, entry))
    return [item[-1] for item in sorted(found, key=lambda item: item[:-1])]


class CommandPalette(QDialog):
    """A list of entries that is searched by typing. `chosen` carries the title of what is run."""

    chosen = Signal(str)

    def __init__(
        self, entries: Sequence[PaletteEntry], recent: Sequence[str], parent: QWidget
    ) -> None:
        """Show all entries, those used last first."""
        super().__init__(parent, Qt.WindowType.Dialog | Qt.WindowType.FramelessWindowHint)
        named(self, "palette", "Command palette")
        explained(self, "/page/palette")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._entries, self._recent = list(entries), list(recent)
        self._listed: list[PaletteEntry] = []
        placeholder = "Search commands, settings to load, problems, runs…"
        self.line = search_line("palette_search", "Search commands", placeholder)
        self.view = named(QTreeView(self), "palette_list", "Commands found")
        self.reason = text_label("palette_reason", "About the command")
        self._model = QStandardItemModel(0, 2, self)
        self._build()
        self._search("")

    def place_over(self, window: QWidget) -> None:
        """Take the upper middle of a window."""
        width = min(_WIDTH, window.width() - 40)
        self.resize(width, min(_HEIGHT, window.height() - 80))
        corner = QPoint((window.width() - width) // 2, min(70, window.height() // 10))
        self.move(window.mapToGlobal(corner))

    def titles(self) -> list[str]:
        """Return what is listed, from top to bottom."""
        return [entry.title for entry in self._listed]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Move by arrows and run by Return while the cursor stays in the search field."""
        if watched is self.line and isinstance(event, QKeyEvent):
            key, pressed = _Key(event.key()), event.type() == QEvent.Type.KeyPress
            if pressed and key in _MOVES:
                self._move(key)
                return True
            if pressed and key in {_Key.Key_Return, _Key.Key_Enter}:
                self._run()
                return True
        return super().eventFilter(watched, event)

    def _build(self) -> None:
        frame = QFrame(self)
        frame.setFrameShape(QFrame.Shape.StyledPanel)
        column(self, frame)
        column(frame, self.line, self.view, self.reason, margins=(8, 8, 8, 8))
        self.line.installEventFilter(self)
        self.line.textChanged.connect(self._search)
        view = self.view
        view.setModel(self._model)
        view.setHeaderHidden(True)
        view.setRootIsDecorated(False)
        view.setUniformRowHeights(True)
        view.setEditTriggers(QTreeView.EditTrigger.NoEditTriggers)
        view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        view.header().setStretchLastSection(False)
        view.header().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        view.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        view.clicked.connect(self._run)
        view.selectionModel().currentChanged.connect(self._explain)

    @Slot(str)
    def _search(self, query: str) -> None:
        self._listed = ranked(self._entries, query, self._recent)[:_MOST]
        self._model.removeRows(0, self._model.rowCount())
        off = self.palette().brush(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text)
        for entry in self._listed:
            items = [QStandardItem(entry.title), QStandardItem(entry.keys)]
            for item in items:
                item.setToolTip(plain_tip(entry.reason or entry.tip))
                if entry.reason:
                    item.setForeground(off)
                    item.setAccessibleDescription(f"Not now: {entry.reason}")
            self._model.appendRow(items)
        self._explain()
        self.view.setCurrentIndex(self._model.index(0, 0))

    @Slot()
    def _explain(self) -> None:
        entry = self._current()
        if entry is None:
            self.reason.setText("" if self._listed else "Nothing answers to that.")
        else:
            self.reason.setText(f"Not now: {entry.reason}" if entry.reason else entry.tip)

    def _current(self) -> PaletteEntry | None:
        index: QModelIndex = self.view.currentIndex()
        return self._listed[index.row()] if index.isValid() else None

    def _move(self, key: Qt.Key) -> None:
        page = max(1, self.view.viewport().height() // max(1, self.view.sizeHintForRow(0)) - 1)
        steps = {_Key.Key_Up: -1, _Key.Key_PageUp: -page, _Key.Key_PageDown: page}
        row = self.view.currentIndex().row() + steps.get(key, 1)
        last = len(self._listed) - 1
        self.view.setCurrentIndex(self._model.index(min(max(row, 0), last), 0))

    @Slot()
    def _run(self) -> None:
        entry = self._current()
        if entry is None or entry.reason:
            return
        self.chosen.emit(entry.title)
        self.accept()
        entry.run()


def _score_word(word: str, text: str) -> int | None:
    """Return the best points of a word's letters, in order, in a text."""
    low = text.casefold()
    if len(word) > len(low):
        return None
    starts = [i == 0 or not low[i - 1].isalnum() for i in range(len(low))]
    # best[i] is the best score where the letter before was found at i.
    best = [_NEVER] * len(low)
    for number, letter in enumerate(word):
        reached, following = 0 if number == 0 else _NEVER, [_NEVER] * len(low)
        for i, other in enumerate(low):
            if other == letter:
                before = reached
                if number and i and best[i - 1] > _NEVER:
                    before = max(before, best[i - 1] + _CONSECUTIVE)
                if before > _NEVER:
                    following[i] = before + 1 + _WORD_START * starts[i]
            reached = max(reached, best[i])
        best = following
    points = max(best, default=_NEVER)
    return points if points > _NEVER else None
