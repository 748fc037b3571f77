"""The pages of the plots: what each is called, when it can be opened, and how it is made."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

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


def _page(place: str, **signals: str) -> "Callable[[Tabs], Tab]":
    """Return what makes the page of a class and connects its signals to those of the tabs."""

    def make(tabs: "Tabs") -> Tab:
        module, _, name = place.partition(".")
        page: Any = getattr(import_module(f"metaviz.gui.pages.{module}"), name)()
        for own, of_tabs in signals.items():
            getattr(page, own).connect(getattr(tabs, of_tabs))
        return page  # type: ignore[no-any-return]

    return make


def _comparison(tabs: "Tabs") -> Tab:
    from metaviz.gui.pages.compare_page import CompareTab

    page = CompareTab(tabs.columns)
    page.brushed.connect(tabs.brushed)
    if tabs.views_menu is not None:
        page.offer_views(tabs.views_menu)
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


_NO_GEOMETRY = (
    "Tick a run of a method that learns a geometry, like Meta-SGD. "
    "Its first evaluation opens this page."
)
PAGES = (
    PageKind(
        *("training", "&Training", "Losses before and after adaptation, while training."),
        _page("training_page.TrainingTab"),
    ),
    PageKind(
        *("comparison", "Comp&are"),
        "Groups of runs: means with intervals, how soon they reach a level, what they differ in.",
        _comparison,
    ),
    PageKind(
        *("inner", "&Inner loop"),
        "What adaptation does, step by step, on the evaluation tasks.",
        _page("inner_loop_page.InnerTab"),
    ),
    PageKind(
        *("convergence", "&Convergence"),
        "How fast the inner loops of all runs converge, and the loss around one adaptation.",
        _page("convergence_page.ConvergenceTab"),
    ),
    PageKind(
        *("gradients", "&Gradients"),
        "How the meta-gradients of the ticked algorithms differ on one batch.",
        _page("gradients_page.GradientsTab", requested="gradients_wanted"),
    ),
    PageKind(
        *("geometry", "G&eometry"),
        "Step sizes, preconditioners, masks and gates that methods have learned.",
        _page("geometry_page.GeometryTab"),
        has_learned,
        _NO_GEOMETRY,
    ),
    PageKind(
        *("mirror", "&Mirror map"),
        "The map in which mirror descent adapts, over training.",
        _page("mirror_map_page.MirrorTab"),
        has_map,
        "Tick a run of Mirror descent. Its first evaluation opens this page.",
    ),
    PageKind(
        *("benchmark", "&Benchmark", "Runs on held-out tasks, beside published results."),
        _page(
            "benchmark_page.BenchmarkTab",
            evaluation_wanted="evaluation_wanted",
            robustness_wanted="robustness_wanted",
            recalled="recalled",
            episode_wanted="open_episode",
        ),
    ),
    PageKind(
        *("episode", "E&pisode", "What a run makes of a single task, image by image."),
        _page("episode_page.EpisodeTab", requested="episode_wanted"),
    ),
)
