"""Small runs of every kind of page, and the ways to look at the pages that show them."""

from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QComboBox, QTabWidget

from metaviz.config.run_config import RunConfig, Shared
from metaviz.gui.pages.page_tabs import NAMES
from metaviz.gui.window.main_window import MainWindow
from metaviz.training.session import open_sessions

_FEW = {"meta_batch": 4, "eval_tasks": 6, "eval_steps": 4, "eval_every": 10}
_CLASSES = {"ways": 3, "shots": 1, "query_shots": 2}
_RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, dict[str, Any]]]] = {
    "sinusoid": (
        {"hidden": 8},
        {},
        {
            "maml": {"inner_steps": 2},
            "fomaml": {"inner_steps": 2},
            "reptile": {"inner_steps": 2},
            "mirror": {"inner_steps": 2},
            "metacurvature": {"inner_steps": 2},
            "mtnet": {"inner_steps": 2},
            "metalstm": {"inner_steps": 2, "hidden": 4},
            "joint": {},
        },
    ),
    "mixture": ({"hidden": 8}, {}, {"maml": {"inner_steps": 2}, "platipus": {}, "llama": {}}),
    "strokes": ({"channels": 2}, _CLASSES, {"maml": {"inner_steps": 2}, "protonet": {}, "tpn": {}}),
    "navigation": ({}, {}, {"maml": {"inner_steps": 1}}),
    "linear": ({}, {}, {"maml": {"inner_steps": 2}}),
}
"""Problems with their options, shared settings, and methods with theirs."""
DIVERGED = "diverged"
PROBLEMS = tuple(_RUNS)
_CHOICES = ("theoryView", "geometryWhat", "posteriorWhat", "episodeWhat", "parallelResult")
"""Choices of what a page shows, all of which are looked at."""


def configurations(steps: int = 20) -> dict[str, list[RunConfig]]:
    """Return small runs by problem, and under DIVERGED one that fails."""
    found = {
        problem: [
            _config(problem, method, steps, seed, options)
            for method, options in methods.items()
            for seed in ((0, 1) if method in {"maml", "fomaml"} and problem == "sinusoid" else (0,))
        ]
        for problem, (_, _, methods) in _RUNS.items()
    }
    wild = _config("sinusoid", "maml", steps, 0, {"inner_steps": 5})
    shared = wild.shared.model_copy(update={"inner_lr": 1000.0})
    return found | {DIVERGED: [wild.model_copy(update={"shared": shared})]}


def train(home: Path, steps: int = 20) -> dict[str, list[str]]:
    """Train the small runs in a data folder; return their ids by problem."""
    found: dict[str, list[str]] = {}
    for problem, asked in configurations(steps).items():
        sessions = open_sessions(asked, home / "runs")
        for session in sessions:
            while session.advance() is not None:
                pass
        found[problem] = [session.folder.name for session in sessions]
    return found


def _config(problem: str, method: str, steps: int, seed: int, options: dict[str, Any]) -> RunConfig:
    problem_options, shared, _ = _RUNS[problem]
    return RunConfig(
        problem=problem,
        algorithm=method,
        seed=seed,
        steps=steps,
        device="cpu",
        options=options,
        problem_options=problem_options,
        shared=Shared(**_FEW, **shared),
    )


def views(window: MainWindow, only: Container[str] | None = None) -> Iterator[str]:
    """Open every page that can be opened, in every of its views; yield its name and the view's."""
    for place, name in enumerate(NAMES):
        if window.tabs.isTabEnabled(place) and (only is None or name in only):
            window.tabs.open_page(name)
            yield name
            yield from _views_of(window, name)


def _views_of(window: MainWindow, name: str) -> Iterator[str]:
    page = window.tabs.page(name)
    for box in page.findChildren(QComboBox):
        if box.objectName() in _CHOICES and box.isVisible():
            for choice in range(1, box.count()):
                box.setCurrentIndex(choice)
                yield f"{name}: {box.itemText(choice)}"
            box.setCurrentIndex(0)
    for tabs in page.findChildren(QTabWidget):
        for choice in range(1, tabs.count()):
            tabs.setCurrentIndex(choice)
            yield f"{name}: {tabs.tabText(choice).replace('&', '')}"
        tabs.setCurrentIndex(0)


def requests(window: MainWindow) -> Iterator[Callable[[], bool]]:
    """Ask for each result that pages show on demand; yield what tells whether it has come."""
    tabs = window.tabs
    tabs.open_page("gradients")
    tabs.gradients.compare.click()
    yield lambda: tabs.gradients.result is not None
    tabs.open_page("benchmark")
    tabs.benchmark.evaluate.click()
    yield lambda: tabs.benchmark.shows_something
    tabs.open_page("theory")
    theory = tabs.theory
    for view, button, result in (
        ("expansion", theory.expand, "_expanded"),
        ("prior", theory.measure, "_measured"),
        ("replay", theory.again, "_replay"),
    ):
        theory.what.setCurrentIndex(theory.what.findData(view))
        button.click()
        # What cannot be solved is told in place of a result.
        yield lambda result=result: getattr(theory, result) is not None or not theory._busy


def request_episode(window: MainWindow) -> Callable[[], bool]:
    """Ask for a task of the run that the Episode page offers; tell whether it has come."""
    window.tabs.open_page("episode")
    window.tabs.episode.ask_button.click()
    return lambda: window.tabs.episode.result is not None
