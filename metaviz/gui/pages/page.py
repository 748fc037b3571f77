"""The base of all pages of the plots, and what pages ask the rest of the window for."""

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QComboBox, QLabel, QPushButton, QWidget

from metaviz.gui.widgets.controls import text_label
from metaviz.gui.widgets.plain_text import plain_tip
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme, tint
from metaviz.runs.model.record import Record

if TYPE_CHECKING:
    from metaviz.charts.values import Chart


class PageRequests(QObject):
    """What pages ask the rest of the window for."""

    gradients_requested = Signal(object, int)
    """The folder of a run to start from, or None, and the number of a meta-batch."""
    theory_requested = Signal(str, object)
    """What is asked, `expansion`, `over_training`, `accuracy` or `replay`, and a run's folder."""
    evaluation_requested = Signal(object, object)
    robustness_requested = Signal(object, object)
    """Folders of runs and a protocol."""
    episode_requested = Signal(object, object, int)
    """The folder of a run, a protocol and the number of a task."""
    predict_requested = Signal(object, object, object, bool)
    """The folder of a run, paths of support and query examples, and whether these are one batch."""
    episode_opened = Signal(str, object, int)
    """A run, a protocol and the number of a task that the Episode page is to show."""
    cancel_requested = Signal()
    brushed = Signal(object)
    """Ids of the runs that are brushed, None for all."""


class PlotPage(QWidget):
    """What all pages can do. A subclass says in `drawing` what a redraw has to do."""

    export_name: str
    live = False
    """Whether it is drawn anew for every meta-step, not for evaluations alone."""
    on_demand = False
    """Whether it shows what a person asked for, which runs do not change."""
    lazy = False
    """Whether it is drawn only while it is in front."""
    stands_alone = False
    """Whether it has something to show without any run."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        """Show no run; `name` begins the object names of page and status line."""
        super().__init__(parent)
        self.setObjectName(f"{name}Tab")
        self.status = text_label(f"{name}Status")
        self.muted: tuple[QLabel, ...] = ()
        """Labels of explanations."""
        self._records: list[Record] = []
        self._theme: Theme | None = None
        self._seen: object = None
        self._stale = False

    @property
    def shows_something(self) -> bool:
        """Whether there is a figure to draw."""
        return True

    def chart(self) -> "Chart | None":
        """Return what is shown, to be drawn in a file; None where there is nothing to draw yet."""
        return None

    def shown_chart(self) -> "Chart | None":
        """Return what is in front, to be copied."""
        return self.chart()

    def tables(self) -> dict[str, str]:
        """Return tables of what is shown that no run stores, by the names of their files."""
        return {}

    def drawing(self) -> list[Piece]:
        """Return what a redraw has to do, in pieces for turns of their own."""
        raise NotImplementedError

    def take_records(self) -> None:
        """Offer what there is to choose of the shown runs."""

    def show_records(self, records: list[Record]) -> None:
        """Show these runs."""
        self._records, self._seen = records, None
        self.refresh()

    def refresh(self) -> None:
        """Show what is new in the runs."""
        for piece in self.pieces():
            piece()

    def pieces(self) -> list[Piece]:
        """Return what `refresh` has to do, in order; nothing where nothing is new."""
        seen = [(r.id, r.label, len(r.evaluations), r.pictured) for r in self._records]
        if self._seen is not None and (self.on_demand or seen == self._seen) and not self.live:
            return []
        self._seen = seen
        return [self.take_records, *([] if self.on_demand else self._due())]

    @Slot()
    def redraw(self) -> None:
        """Draw what is chosen."""
        for piece in self._due():
            piece()

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""
        from metaviz.gui.plotting.chart_view import ChartView

        self._theme = theme
        for view in self.findChildren(ChartView):
            view.apply_theme(theme)
        for label in self.muted:
            tint(label, theme.muted)
        self.redraw()

    def showEvent(self, event: QShowEvent) -> None:
        """Draw what came while this page was not in front."""
        super().showEvent(event)
        if self._stale:
            self.redraw()

    def show_status(self, sentence: str, *, wrong: bool = False) -> None:
        """Say what the page does, or what went wrong."""
        self.status.setText(sentence)
        self.status.setToolTip(plain_tip(sentence))
        if self._theme is not None:
            tint(self.status, self._theme.error if wrong else self._theme.muted)

    def record_of(self, box: QComboBox) -> Record | None:
        """Return the run that a choice of runs stands at."""
        return next((one for one in self._records if one.id == box.currentData()), None)

    def _due(self) -> list[Piece]:
        self._stale = self.lazy and not self.isVisible()
        return [] if self._stale else self.drawing()


class OnDemandPage(PlotPage):
    """A page of one result that a person asks for by a button."""

    on_demand = True
    ask_button: QPushButton
    result: object = None

    @property
    def shows_something(self) -> bool:
        """Whether there is a figure to draw."""
        return self.result is not None

    def show_busy(self, sentence: str = "Computing…") -> None:
        """Say that the result is being computed."""
        self.ask_button.setEnabled(False)
        self.show_status(sentence)

    @Slot(str)
    def show_error(self, sentence: str) -> None:
        """Say why there is no result."""
        self.ask_button.setEnabled(True)
        self.show_status(sentence, wrong=True)


def folder_of(record: Record | None) -> Path | None:
    """Return where a run is stored, where that is known."""
    folder = record.environment.get("folder") if record is not None else None
    return Path(folder) if folder else None
