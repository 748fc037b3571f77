"""The pages of the plots: what each is called, when it can be opened, and how it is made."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from metaviz.gui.pages.page import PageRequests, PlotPage
from metaviz.runs.analysis.needs import INNER_LOOP, LEARNED, MAP, POSTERIOR, Need
from metaviz.runs.table.columns import Columns

Make = Callable[[PageRequests, Columns], PlotPage]


def _page(place: str, *, columns: bool = False, **signals: str) -> Make:
    """Return what makes the page of a class, with `columns`, and connects signals to requests."""

    def make(requests: PageRequests, known: Columns) -> PlotPage:
        module, _, name = place.partition(".")
        kind: Any = getattr(import_module(f"metaviz.gui.pages.{module}"), name)
        page = kind(known) if columns else kind()
        for own, request in signals.items():
            getattr(page, own).connect(getattr(requests, request))
        return page  # type: ignore[no-any-return]

    return make


@dataclass(frozen=True)
class View:
    """A page before it is made; `make` imports what draws it."""

    id: str
    """The name that it is exported under."""
    title: str
    tip: str
    make: Make
    need: Need | None = None
    """What runs need to be drawn there. A page of what is learned opens with the first of them."""
    group: str = "train"
    """Which of `GROUPS` it belongs to."""
    one_problem: bool = False
    """Whether runs share an axis there on which only those of one problem can be compared."""


GROUPS = ("train", "adapt", "compare", "learned", "theory", "search")
"""The questions that views answer, in the order in which a person asks them."""


VIEWS = (
    View(
        *("training", "Training", "Losses before and after adaptation, while training."),
        _page("training_page.TrainingTab"),
        one_problem=True,
    ),
    View(
        *("comparison", "Compare"),
        "Groups of runs: means with intervals, how soon they reach a level, what they differ in.",
        _page("compare_page.CompareTab", columns=True, brushed="brushed"),
        group="compare",
        one_problem=True,
    ),
    View(
        *("inner", "Inner loop"),
        "What adaptation does, step by step, on the evaluation tasks.",
        _page("inner_loop_page.InnerTab"),
        INNER_LOOP,
        "adapt",
        one_problem=True,
    ),
    View(
        *("convergence", "Convergence"),
        "How fast the inner loops of all runs converge, and the loss around one adaptation.",
        _page("convergence_page.ConvergenceTab"),
        INNER_LOOP,
        "adapt",
        one_problem=True,
    ),
    View(
        *("gradients", "Gradients"),
        "How the meta-gradients of the ticked algorithms differ on one batch.",
        _page("gradients_page.GradientsTab", requested="gradients_requested"),
        group="theory",
    ),
    View(
        *("geometry", "Learned"),
        "What methods have learned: step sizes, preconditioners, masks, gates, embeddings.",
        _page("geometry_page.GeometryTab"),
        LEARNED,
        "learned",
    ),
    View(
        *("mirror", "Mirror map"),
        "The map in which mirror descent adapts, over training.",
        _page("mirror_map_page.MirrorTab"),
        MAP,
        "learned",
    ),
    View(
        *("posterior", "Posterior"),
        "What methods hold possible: samples, how often their intervals hold, spread and error.",
        _page("posterior_page.PosteriorTab"),
        POSTERIOR,
        "adapt",
    ),
    View(
        *("theory", "Theory"),
        "What the theory says of a run: optimality, expansion, implicit prior, accuracy.",
        _page("theory_page.TheoryTab", requested="theory_requested"),
        group="theory",
    ),
    View(
        *("playground", "Playground"),
        "Gradient, preconditioned and mirror descent in the plane: drag start and minimiser.",
        _page("playground_page.PlaygroundTab"),
        group="theory",
    ),
    View(
        *("benchmark", "Benchmark", "Runs on held-out tasks, beside published results."),
        _page(
            "benchmark_page.BenchmarkTab",
            evaluation_requested="evaluation_requested",
            robustness_requested="robustness_requested",
            cancel_requested="cancel_requested",
            episode_requested="episode_opened",
        ),
        group="compare",
    ),
    View(
        *("episode", "Episode", "What a run makes of a single task, image by image."),
        _page("episode_page.EpisodeTab", requested="episode_requested"),
        group="adapt",
    ),
    View(
        *("predict", "Predict", "What a run makes of your own pictures or numbers."),
        _page("predict_page.PredictTab", requested="predict_requested"),
        group="adapt",
    ),
)
