"""The pages of the plots: what each is called, when it can be opened, and how it is made."""

from collections.abc import Callable
from dataclasses import dataclass

from metaviz.gui.pages.page import PageRequests, Tab
from metaviz.runs.analysis.geometry import has_geometry, has_map
from metaviz.runs.model.record import Record
from metaviz.runs.table.columns import Columns


def _training(_: PageRequests, _columns: Columns) -> Tab:
    from metaviz.gui.pages.training_page import TrainingTab

    return TrainingTab()


def _comparison(requests: PageRequests, columns: Columns) -> Tab:
    from metaviz.gui.pages.compare_page import CompareTab

    page = CompareTab(columns)
    page.brushed.connect(requests.brushed)
    return page


def _inner(_: PageRequests, _columns: Columns) -> Tab:
    from metaviz.gui.pages.inner_loop_page import InnerTab

    return InnerTab()


def _convergence(_: PageRequests, _columns: Columns) -> Tab:
    from metaviz.gui.pages.convergence_page import ConvergenceTab

    return ConvergenceTab()


def _gradients(requests: PageRequests, _columns: Columns) -> Tab:
    from metaviz.gui.pages.gradients_page import GradientsTab

    page = GradientsTab()
    page.requested.connect(requests.gradients_requested)
    return page


def _geometry(_: PageRequests, _columns: Columns) -> Tab:
    from metaviz.gui.pages.geometry_page import GeometryTab

    return GeometryTab()


def _mirror(_: PageRequests, _columns: Columns) -> Tab:
    from metaviz.gui.pages.mirror_map_page import MirrorTab

    return MirrorTab()


def _benchmark(requests: PageRequests, _columns: Columns) -> Tab:
    from metaviz.gui.pages.benchmark_page import BenchmarkTab

    page = BenchmarkTab()
    page.evaluation_wanted.connect(requests.evaluation_requested)
    page.robustness_wanted.connect(requests.robustness_requested)
    page.recalled.connect(requests.cancel_requested)
    page.episode_wanted.connect(requests.episode_opened)
    return page


def _episode(requests: PageRequests, _columns: Columns) -> Tab:
    from metaviz.gui.pages.episode_page import EpisodeTab

    page = EpisodeTab()
    page.requested.connect(requests.episode_requested)
    return page


@dataclass(frozen=True)
class PageKind:
    """A page before it is made; `make` imports what draws it."""

    name: str
    """The name that it is exported under."""
    title: str
    tip: str
    make: Callable[[PageRequests, Columns], Tab]
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
        has_geometry,
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
