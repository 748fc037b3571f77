"""The plots in the middle. They are made after the first paint, because plotting loads slowly."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from PySide6.QtCore import QSize, Signal, Slot
from PySide6.QtWidgets import QMenu, QTabWidget, QWidget

from metaviz.config import EvaluationProtocol
from metaviz.gui.pace import Piece
from metaviz.gui.theme import Theme
from metaviz.runs.columns import Columns
from metaviz.runs.geometry import has_geometry, has_map
from metaviz.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metaviz.runs.figures import Page

TITLES = (
    *("&Training", "Comp&are", "&Inner loop", "&Convergence", "&Gradients", "G&eometry"),
    *("&Mirror map", "&Benchmark", "E&pisode"),
)
TIPS = (
    "Losses before and after adaptation, while training.",
    "Groups of runs: means with intervals, how soon they reach a level, what they differ in.",
    "What adaptation does, step by step, on the evaluation tasks.",
    "How fast the inner loops of all runs converge, and the loss around one adaptation.",
    "How the meta-gradients of the ticked algorithms differ on one batch.",
    "Step sizes, preconditioners, masks and gates that methods have learned.",
    "The map in which mirror descent adapts, over training.",
    "Runs on held-out tasks, beside published results.",
    "What a run makes of a single task, image by image.",
)
_NEEDS: dict[str, tuple[Callable[[Record], bool], str]] = {
    "G&eometry": (
        has_geometry,
        "Tick a run of a method that learns a geometry, like Meta-SGD. "
        "Its first evaluation opens this page.",
    ),
    "&Mirror map": (
        has_map,
        "Tick a run of Mirror descent. Its first evaluation opens this page.",
    ),
}
"""Pages that can be opened only with a run that fits, and why not otherwise."""

_MANY = 4
_SMALLEST = QSize(320, 160)


class Tab(Protocol):
    """What every plot of the window can do."""

    export_name: str

    def show_records(self, records: list[Record]) -> None:
        """Show these runs."""

    def refresh(self) -> None:
        """Show what is new in them."""

    def apply_theme(self, theme: Theme) -> None:
        """Take a theme's colours."""

    def figure(self, page: "Page") -> "Figure | None":
        """Draw the same for a paper; None where there is nothing to draw yet."""


@runtime_checkable
class Divisible(Protocol):
    """A page whose redraw takes so long that each part of it has a turn of its own."""

    def pieces(self) -> list[Piece]:
        """Return what `refresh` has to do, in order; nothing where nothing is new."""


class Tabs(QTabWidget):
    """The plots: while training, of what was learned, and on held-out tasks."""

    gradients_wanted = Signal(object, int)
    evaluation_wanted = Signal(object, object)
    robustness_wanted = Signal(object, object)
    episode_wanted = Signal(object, object, int)
    recalled = Signal()
    brushed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        """Show empty pages for now."""
        super().__init__(parent)
        self.setObjectName("tabs")
        self.setAccessibleName("Plots")
        self.setDocumentMode(True)
        self.setMinimumSize(_SMALLEST)
        self.pages: list[Tab] = []
        self.columns = Columns()
        """Titles of hyperparameters."""
        self.views_menu: QMenu | None = None
        """Saved views, offered on the Compare page, too."""
        self._records: list[Record] = []
        self._seen: dict[int, int] = {}
        self._behind: set[Tab] = set()
        for title, tip in zip(TITLES, TIPS, strict=True):
            place = self.addTab(QWidget(), title)
            self.setTabToolTip(place, tip)
        self._open_pages()
        self.currentChanged.connect(self.refresh)

    def complete(self, theme: Theme) -> None:
        """Load the plotting library and make the pages; does nothing the second time."""
        if self.pages:
            return
        from metaviz.gui.benchmark_tab import BenchmarkTab
        from metaviz.gui.compare_tab import CompareTab
        from metaviz.gui.convergence_tab import ConvergenceTab
        from metaviz.gui.episode_tab import EpisodeTab
        from metaviz.gui.geometry_tab import GeometryTab
        from metaviz.gui.gradients_tab import GradientsTab
        from metaviz.gui.inner_tab import InnerTab
        from metaviz.gui.mirror_tab import MirrorTab
        from metaviz.gui.training_tab import TrainingTab

        self.gradients = GradientsTab()
        self.gradients.requested.connect(self.gradients_wanted)
        self.training = TrainingTab()
        self.compare = CompareTab(self.columns)
        self.compare.brushed.connect(self.brushed)
        if self.views_menu is not None:
            self.compare.offer_views(self.views_menu)
        self.benchmark = BenchmarkTab()
        self.benchmark.evaluation_wanted.connect(self.evaluation_wanted)
        self.benchmark.robustness_wanted.connect(self.robustness_wanted)
        self.benchmark.recalled.connect(self.recalled)
        self.benchmark.episode_wanted.connect(self._open_episode)
        self.episode = EpisodeTab()
        self.episode.requested.connect(self.episode_wanted)
        learned = (GeometryTab(), MirrorTab())
        while_training = (
            self.training,
            self.compare,
            InnerTab(),
            ConvergenceTab(),
            self.gradients,
        )
        pages = (*while_training, *learned, self.benchmark, self.episode)
        for place, page in enumerate(pages):
            current = self.currentIndex()
            blank = self.widget(place)
            self.removeTab(place)
            self.insertTab(place, page, TITLES[place])
            self.setTabToolTip(place, TIPS[place])
            self.setCurrentIndex(current)
            if blank is not None:
                blank.deleteLater()
        self.pages = list(pages)
        self.apply_theme(theme)
        self.show_records(self._records)

    @Slot()
    def clear_brushes(self) -> None:
        """Choose all runs on the Compare page again."""
        if self.pages:
            self.compare.parallel.plot.clear()

    def named_pages(self) -> dict[str, QWidget]:
        """Return every page by the name it is exported under; none before there are pages."""
        return {page.export_name: cast("QWidget", page) for page in self.pages}

    def current_page(self) -> Tab | None:
        """Return the page in front, once there are pages."""
        return self.pages[self.currentIndex()] if self.pages else None

    def show_records(self, records: Sequence[Record]) -> None:
        """Show these runs on every page."""
        self._records = list(records)
        self._seen.clear()
        self._open_pages()
        self._behind = set(self.pages)
        # Pages behind the front one would redraw hundreds of curves that nobody sees.
        if len(self._records) > _MANY:
            self._catch_up(self.current_page())
        else:
            self.catch_up()

    def catch_up(self) -> None:
        """Let every page show the runs, also those that were left until somebody looks."""
        for page in self.pages:
            self._catch_up(page)

    def refresh(self) -> None:
        """Let the page in front show what is new, where there is something new."""
        for piece in self.pieces():
            piece()

    def pieces(self) -> list[Piece]:
        """Return what `refresh` has to do, in pieces for turns of their own."""
        self._open_pages()
        page = self.current_page()
        self._catch_up(page)
        revision = sum(record.revision for record in self._records)
        if page is None or self._seen.get(self.currentIndex()) == revision:
            return []
        self._seen[self.currentIndex()] = revision
        return page.pieces() if isinstance(page, Divisible) else [page.refresh]

    def apply_theme(self, theme: Theme) -> None:
        """Let every page take a theme's colours."""
        for page in self.pages:
            page.apply_theme(theme)

    def _catch_up(self, page: Tab | None) -> None:
        if page is not None and page in self._behind:
            self._behind.discard(page)
            page.show_records(list(self._records))

    @Slot(str, object, int)
    def _open_episode(self, record: str, protocol: EvaluationProtocol, number: int) -> None:
        self.setCurrentWidget(self.episode)
        self.episode.open_task(record, protocol, number)

    def _open_pages(self) -> None:
        """Let pages of learned geometries be opened where a shown run has one to show."""
        for title, (fits, reason) in _NEEDS.items():
            place = TITLES.index(title)
            useful = any(fits(record) for record in self._records)
            if useful != self.isTabEnabled(place):
                self.setTabEnabled(place, useful)
                self.setTabToolTip(place, TIPS[place] if useful else reason)


def as_start(folder: object) -> Path | None:
    """Read a signal's run folder."""
    return folder if isinstance(folder, Path) else None
