"""The pages of the plots: what each is called, when it can be opened, and how it is made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from metaviz.gui.widgets.redraw_timer import Piece
from metaviz.gui.widgets.theme import Theme
from metaviz.runs.analysis.geometry import has_learned, has_map
from metaviz.runs.model.record import Record

if TYPE_CHECKING:
    from metaviz.charts.values import Chart
    from metaviz.gui.pages.page_tabs import Tabs


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


def _training(_: "Tabs") -> Tab:
    from metaviz.gui.pages.training_page import TrainingTab

    return TrainingTab()


def _comparison(tabs: "Tabs") -> Tab:
    from metaviz.gui.pages.compare_page import CompareTab

    page = CompareTab(tabs.columns)
    page.brushed.connect(tabs.brushed)
    if tabs.views_menu is not None:
        page.offer_views(tabs.views_menu)
    return page


def _inner(_: "Tabs") -> Tab:
    from metaviz.gui.pages.inner_loop_page import InnerTab

    return InnerTab()


def _convergence(_: "Tabs") -> Tab:
    from metaviz.gui.pages.convergence_page import ConvergenceTab

    return ConvergenceTab()


def _gradients(tabs: "Tabs") -> Tab:
    from metaviz.gui.pages.gradients_page import GradientsTab

    page = GradientsTab()
    page.requested.connect(tabs.gradients_wanted)
    return page


def _geometry(_: "Tabs") -> Tab:
    from metaviz.gui.pages.geometry_page import GeometryTab

    return GeometryTab()


def _mirror(_: "Tabs") -> Tab:
    from metaviz.gui.pages.mirror_map_page import MirrorTab

    return MirrorTab()


def _benchmark(tabs: "Tabs") -> Tab:
    from metaviz.gui.pages.benchmark_page import BenchmarkTab

    page = BenchmarkTab()
    page.evaluation_wanted.connect(tabs.evaluation_wanted)
    page.robustness_wanted.connect(tabs.robustness_wanted)
    page.recalled.connect(tabs.recalled)
    page.episode_wanted.connect(tabs.open_episode)
    return page


def _episode(tabs: "Tabs") -> Tab:
    from metaviz.gui.pages.episode_page import EpisodeTab

    page = EpisodeTab()
    page.requested.connect(tabs.episode_wanted)
    return page


@dataclass(frozen=True)
class PageKind:
    """A page before it is made; `make` imports what draws it."""

    name: str
    """The name that it is exported under."""
    title: str
    tip: str
    make: Callable[["Tabs"], Tab]
    fits: Callable[[Record], bool] = lambda _: True
    """Whether a run has something to show there."""
    reason: str = ""
    """Why it cannot be opened without such a run; empty where it always can."""


PAGES = (
    PageKind(
        "training", "&Training", "Losses before and after adaptation, while training.", _training
    ),
    PageKind(
        "comparison",
        "Comp&are",
        "Groups of runs: means with intervals, how soon they reach a level, what they differ in.",
        _comparison,
    ),
    PageKind(
        "inner",
        "&Inner loop",
        "What adaptation does, step by step, on the evaluation tasks.",
        _inner,
    ),
    PageKind(
        "convergence",
        "&Convergence",
        "How fast the inner loops of all runs converge, and the loss around one adaptation.",
        _convergence,
    ),
    PageKind(
        "gradients",
        "&Gradients",
        "How the meta-gradients of the ticked algorithms differ on one batch.",
        _gradients,
    ),
    PageKind(
        "geometry",
        "G&eometry",
        "Step sizes, preconditioners, masks and gates that methods have learned.",
        _geometry,
        has_learned,
        "Tick a run of a method that learns a geometry, like Meta-SGD. "
        "Its first evaluation opens this page.",
    ),
    PageKind(
        "mirror",
        "&Mirror map",
        "The map in which mirror descent adapts, over training.",
        _mirror,
        has_map,
        "Tick a run of Mirror descent. Its first evaluation opens this page.",
    ),
    PageKind(
        "benchmark", "&Benchmark", "Runs on held-out tasks, beside published results.", _benchmark
    ),
    PageKind("episode", "E&pisode", "What a run makes of a single task, image by image.", _episode),
)
