"""What a page of the plots can do, what it may ask for, and the base of those with evaluations."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.model.record import Record

if TYPE_CHECKING:
    from metaviz.charts.values import Chart


class Tab(Protocol):
    """What every plot of the window can do."""

    export_name: str

    def show_records(self, records: list[Record]) -> None:
        """Show these runs."""

    def refresh(self) -> None:
        """Show what is new in them."""

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""

    def chart(self) -> "Chart | None":
        """Return what is shown, to be drawn in a file; None where there is nothing to draw yet."""


@runtime_checkable
class Divisible(Protocol):
    """A page whose redraw takes so long that each part of it has a turn of its own."""

    def pieces(self) -> list[Piece]:
        """Return what `refresh` has to do, in order; nothing where nothing is new."""


class PageRequests(QObject):
    """What pages ask the rest of the window for."""

    gradients_requested = Signal(object, int)
    """The folder of a run to start from, or None, and the number of a meta-batch."""
    evaluation_requested = Signal(object, object)
    robustness_requested = Signal(object, object)
    """Folders of runs and a protocol."""
    episode_requested = Signal(object, object, int)
    """The folder of a run, a protocol and the number of a task."""
    episode_opened = Signal(str, object, int)
    """A run, a protocol and the number of a task that the Episode page is to show."""
    cancel_requested = Signal()
    brushed = Signal(object)
    """Ids of the runs that are brushed, None for all."""


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
        return [(r.id, len(r.evaluations), r.pictured) for r in self._records]
