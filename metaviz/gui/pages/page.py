"""What pages have in common that show evaluations: they are drawn anew where there are new ones."""

from PySide6.QtCore import Slot
from PySide6.QtWidgets import QWidget

from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.runs.model.record import Record


class EvaluatedPage(QWidget):
    """Knows which evaluations of its runs it has drawn; a subclass says how in `_drawing`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show no run."""
        super().__init__(parent)
        self._records: list[Record] = []
        self._seen: list[tuple[str, int, int]] = []

    def refresh(self) -> None:
        """Draw what was evaluated meanwhile."""
        for piece in self.pieces():
            piece()

    def pieces(self) -> list[Piece]:
        """Return what `refresh` has to do; nothing where nothing was evaluated."""
        now = self._evaluated()
        if now == self._seen:
            return []
        self._seen = now
        return self._drawing()

    @Slot()
    def redraw(self) -> None:
        """Draw the chosen evaluation of every run."""
        self._seen = self._evaluated()
        for piece in self._drawing():
            piece()

    def _drawing(self) -> list[Piece]:
        """Return what a redraw has to do, in order."""
        raise NotImplementedError

    def _evaluated(self) -> list[tuple[str, int, int]]:
        return [(r.id, len(r.evaluations), len(r.pictures)) for r in self._records]
