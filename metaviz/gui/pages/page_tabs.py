"""The plots in the middle. A page is made when somebody first looks at it, which takes a while."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from PySide6.QtCore import QEvent, QSize, Qt, Signal, Slot
from PySide6.QtWidgets import QApplication, QBoxLayout, QTabWidget, QWidget

from metaviz.config.run_config import EvaluationProtocol
from metaviz.gui.pages.page import PageRequests, PlotPage
from metaviz.gui.pages.page_area import PageArea
from metaviz.gui.pages.page_registry import VIEWS
from metaviz.gui.pages.problem_bar import ProblemBar
from metaviz.gui.widgets.controls import explained, spoken, text_label
from metaviz.gui.widgets.layouts import column, fill
from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.model.record import Record
from metaviz.runs.table.columns import Columns

if TYPE_CHECKING:
    from metaviz.gui.pages.benchmark_page import BenchmarkTab
    from metaviz.gui.pages.compare_page import CompareTab
    from metaviz.gui.pages.episode_page import EpisodeTab
    from metaviz.gui.pages.gradients_page import GradientsTab
    from metaviz.gui.pages.predict_page import PredictTab
    from metaviz.gui.pages.theory_page import TheoryTab
    from metaviz.gui.pages.training_page import TrainingTab

NAMES = tuple(view.id for view in VIEWS)
AnyPage = TypeVar("AnyPage")
_MANY = 4
_SMALLEST = QSize(320, 160)


class _Named(Generic[AnyPage]):
    """The page of a name, which is made where there is none yet."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, tabs: "Tabs", _owner: object) -> AnyPage:
        return cast("AnyPage", tabs.page(self._name))


class Tabs(QTabWidget):
    """The plots: while training, of what was learned, and on held-out tasks."""

    made = Signal(object)
    """A page that was made just now."""
    shown = Signal(object)
    """A page that was given the runs it shows, at once or when somebody looks at it."""
    groups_changed = Signal()
    """Another group is in front, or other groups have views that can be opened."""
    training: "_Named[TrainingTab]" = _Named("training")
    compare: "_Named[CompareTab]" = _Named("comparison")
    gradients: "_Named[GradientsTab]" = _Named("gradients")
    theory: "_Named[TheoryTab]" = _Named("theory")
    benchmark: "_Named[BenchmarkTab]" = _Named("benchmark")
    episode: "_Named[EpisodeTab]" = _Named("episode")
    predict: "_Named[PredictTab]" = _Named("predict")

    def __init__(self, parent: QWidget | None = None, columns: Columns | None = None) -> None:
        """Show empty places for pages; `columns` give hyperparameters their titles."""
        super().__init__(parent)
        self.setObjectName("tabs")
        self.setAccessibleName("Plots")
        self.setDocumentMode(True)
        self.setMinimumSize(_SMALLEST)
        self.requests = PageRequests(self)
        self.requests.episode_opened.connect(self.open_episode)
        self.problem_bar = ProblemBar()
        self.problem_bar.chosen.connect(self._show_problem)
        self._columns = columns or Columns()
        self._made: dict[str, PlotPage] = {}
        self._areas: dict[PlotPage, PageArea] = {}
        self._theme: Theme | None = None
        self._records: list[Record] = []
        self._seen: dict[int, int] = {}
        self._behind: set[PlotPage] = set()
        self._remarks = [text_label(f"{name}Remark") for name in NAMES]
        for view, remark in zip(VIEWS, self._remarks, strict=True):
            remark.setAlignment(Qt.AlignmentFlag.AlignCenter)
            remark.setMargin(4)
            remark.hide()
            self.setTabToolTip(self.addTab(column(None, remark), view.title), view.tip)
        self._last: dict[str, int] = {}
        self._open_pages()
        self._show_group()
        self.currentChanged.connect(self._show_group)
        self.currentChanged.connect(self.refresh)

    @property
    def group(self) -> str:
        """The group of the page in front."""
        return VIEWS[self.currentIndex()].group

    @property
    def last_opened(self) -> dict[str, str]:
        """The name of the page that was last in front, by groups."""
        return {group: NAMES[place] for group, place in self._last.items()}

    def remember(self, opened: Mapping[str, str]) -> None:
        """Take what `last_opened` gave."""
        for group, name in opened.items():
            if name in NAMES and VIEWS[NAMES.index(name)].group == group:
                self._last[group] = NAMES.index(name)

    def has_views(self, group: str) -> bool:
        """Return whether a group has any view."""
        return bool(_members(group))

    def why_closed(self, group: str) -> str:
        """Return why no view of a group can be opened; empty where one can."""
        members = _members(group)
        return "" if any(map(self.isTabEnabled, members)) else self.tabToolTip(members[0])

    def open_group(self, group: str) -> None:
        """Bring the page of a group to the front that was there last, or its first one."""
        open_ones = [place for place in _members(group) if self.isTabEnabled(place)]
        if open_ones:
            last = self._last.get(group, -1)
            self.setCurrentIndex(last if last in open_ones else open_ones[0])

    @property
    def ready(self) -> bool:
        """Whether pages can be made."""
        return self._theme is not None

    @property
    def pages(self) -> list[PlotPage]:
        """Every page, in order; those that nobody has looked at yet are made for it."""
        return [self.page(name) for name in NAMES]

    def begin(self, theme: Theme) -> None:
        """Load the plotting library and make the page in front; for after the first paint."""
        if not self.ready:
            self.apply_theme(theme)
            self.current_page()

    def page(self, name: str) -> PlotPage:
        """Return the page that is exported under a name; it is made where there is none yet."""
        return self._made.get(name) or self._make(NAMES.index(name))

    def made_pages(self) -> dict[str, QWidget]:
        """Return the pages that there are, by the names that they are exported under."""
        return dict(self._made)

    def missing(self) -> list[str]:
        """Return the names of pages that can be made and are not yet, in order."""
        return [name for name in NAMES if name not in self._made] if self.ready else []

    def current_page(self) -> PlotPage | None:
        """Return the page in front, once there can be pages."""
        return self.page(NAMES[self.currentIndex()]) if self.ready else None

    def open_page(self, name: str) -> None:
        """Bring the page to the front that is exported under a name."""
        self.setCurrentIndex(NAMES.index(name))

    @Slot(str, object, int)
    def open_episode(self, record: str, protocol: EvaluationProtocol, number: int) -> None:
        """Show one task of a run."""
        self.open_page("episode")
        self.episode.open_task(record, protocol, number)

    @Slot()
    def clear_brushes(self) -> None:
        """Choose all runs on the Compare page again."""
        if "comparison" in self._made:
            self.compare.parallel.plot.clear_brushes()

    def show_records(self, records: Sequence[Record]) -> None:
        """Show these runs on every page."""
        self._records = list(records)
        self.problem_bar.show_records(self._records)
        self._seen.clear()
        self._open_pages()
        self._behind = set(self._made.values())
        # Pages behind the front one would redraw hundreds of curves that nobody sees.
        if len(self._records) > _MANY:
            self._catch_up(self.current_page())
        else:
            self.catch_up()

    @Slot()
    def _show_problem(self) -> None:
        self.show_records(self._records)
        self.refresh()

    def catch_up(self) -> None:
        """Let every page that there is show the runs, also those left until somebody looks."""
        for page in self._made.values():
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
        self._remark()
        revision = sum(record.revision for record in self._records)
        if page is None or self._seen.get(self.currentIndex()) == revision:
            return []
        self._seen[self.currentIndex()] = revision
        return page.pieces()

    def apply_theme(self, theme: Theme) -> None:
        """Let every page take a theme's colours."""
        self._theme = theme
        for page in self._made.values():
            page.apply_theme(theme)

    @Slot()
    def _show_group(self) -> None:
        """Offer the views of the group in front; a single one needs no row of tabs."""
        current = self.currentIndex()
        group, bar = VIEWS[current].group, self.tabBar()
        self._last[group] = current
        self.problem_bar.ask(asked=VIEWS[current].one_problem)
        # Shown first: Qt puts another tab in front where the current one is hidden.
        for place, view in sorted(enumerate(VIEWS), key=lambda one: one[1].group != group):
            bar.setTabVisible(place, view.group == group)
        bar.setVisible(len(_members(group)) > 1)
        # Now, as the request that Qt posts for it was seen to get lost: the row had no height.
        QApplication.sendEvent(self, QEvent(QEvent.Type.LayoutRequest))
        self.groups_changed.emit()

    def _make(self, place: int) -> PlotPage:
        """Make a page where its tab is."""
        page = self._made[NAMES[place]] = VIEWS[place].make(self.requests, self._columns)
        explained(page, f"/page/{page.export_name}")
        layout = cast("QWidget", self.widget(place)).layout()
        title = f"{spoken(VIEWS[place].title)} page"
        area = self._areas[page] = PageArea(page, f"{page.export_name}Area", title)
        fill(cast("QBoxLayout", layout), area, stretch=area)
        if self._theme is not None:
            page.apply_theme(self._theme)
        self._behind.add(page)
        if place == self.currentIndex() or len(self._records) <= _MANY:
            self._catch_up(page)
        self.made.emit(page)
        return page

    def _catch_up(self, page: PlotPage | None) -> None:
        if page is not None and page in self._behind:
            self._behind.discard(page)
            view = VIEWS[NAMES.index(page.export_name)]
            shown = self.problem_bar.kept(self._records) if view.one_problem else self._records
            page.show_records([r for r in shown if view.need is None or not view.need.lacks(r)])
            self.shown.emit(page)

    def _open_pages(self) -> None:
        """Let pages of learned geometries be opened where a shown run has one to show."""
        for place, view in enumerate(VIEWS):
            if view.need is not None and view.need.learned:
                useful = any(map(view.need.has, self._records))
                if useful != self.isTabEnabled(place):
                    self.setTabEnabled(place, useful)
                    self.setTabToolTip(place, view.tip if useful else view.need.missing)
                    self.groups_changed.emit()
        if not self.isTabEnabled(self.currentIndex()):
            # Qt leaves a closed page in front where its group has no other one.
            self.setCurrentIndex(next(filter(self.isTabEnabled, _members(self.group)), 0))

    def _remark(self) -> None:
        """Say on the page in front which runs it leaves out; alone, where it leaves out all."""
        place = self.currentIndex()
        need, remark, page = VIEWS[place].need, self._remarks[place], self.current_page()
        if need is None or page is None:
            return
        text, alone = need.left_out(self._records), all(map(need.lacks, self._records))
        remark.setText(need.missing if text and alone else text)
        remark.setVisible(bool(text))
        for widget in (page, self._areas[page]):
            widget.setVisible(not (text and alone))


def _members(group: str) -> list[int]:
    """Return the places of a group's views."""
    return [place for place, view in enumerate(VIEWS) if view.group == group]
