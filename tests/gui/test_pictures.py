"""Every page of the window is looked at for faults, in sizes, themes and states."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from metaviz.gui.window.main_window import MainWindow
from tests.pictures import examples
from tests.pictures.sweep import SCALED, SIZES, sweep, told

WAIT = 120_000
SMALLEST, LAPTOP = (1024, 640), (1366, 768)
RunsOf = dict[str, list[str]]
THEMES = ("light", "dark", "contrast")


@pytest.fixture
def runs(home: Path) -> RunsOf:
    """Train small runs into the data folder; return their ids by problem."""
    return examples.train(home)


@pytest.fixture
def shown(qtbot, runs: RunsOf, open_window) -> Callable[[str], MainWindow]:
    """Show the runs of a problem in one window, with what its pages show on demand."""
    window = open_window()
    qtbot.waitUntil(lambda: len(window.runs.rows) == sum(map(len, runs.values())), timeout=WAIT)
    qtbot.waitUntil(lambda: window.controller.phase == "idle", timeout=WAIT)

    def show(problem: str) -> MainWindow:
        window.runs.show_only(runs[problem])
        qtbot.waitUntil(lambda: len(window.runs.visible_records()) == len(runs[problem]))
        asked = {
            "sinusoid": lambda: examples.requests(window),
            "strokes": lambda: [examples.request_episode(window)],
        }
        for has_come in asked.get(problem, list)():
            qtbot.waitUntil(has_come, timeout=WAIT)
            qtbot.waitUntil(lambda: window.controller.phase == "idle", timeout=WAIT)
        return window

    return show


def test_no_page_of_finished_or_diverged_runs_has_faults(shown) -> None:
    found: list[str] = []
    for problem in (*examples.PROBLEMS, examples.DIVERGED):
        window = shown(problem)
        sizes = (LAPTOP, SMALLEST) if problem == "sinusoid" else (SMALLEST,)
        faults = told(sweep(window, sizes))
        found += [f"{problem}:\n{faults}"] if faults else []
    window.theme_menu.choose("dark")
    faults = told(sweep(shown("sinusoid"), [LAPTOP]))
    found += [f"dark:\n{faults}"] if faults else []
    assert not found, "\n".join(found)


@pytest.mark.parametrize("theme", THEMES)
def test_no_empty_page_has_faults(qtbot, open_window, theme: str) -> None:
    window = open_window()
    window.theme_menu.choose(theme)
    first = told(sweep(window, [SMALLEST], only=["training"]))
    window.welcome.leave()
    sizes = (SMALLEST, *SCALED[1:]) if theme == "light" else (SMALLEST,)
    others = told(sweep(window, sizes))
    assert not first + others


def test_no_page_has_faults_while_runs_train_and_pause(qtbot, window: MainWindow) -> None:
    form, controller = window.form, window.controller
    form.algorithms.tick(("maml", "reptile"))
    form.field("steps").set_value(100_000)
    window.commands["run"].trigger()
    qtbot.waitUntil(lambda: controller.phase == "training", timeout=WAIT)
    preparing = told(sweep(window, [SMALLEST], only=["training"]))
    qtbot.waitUntil(lambda: window.live.progress()[0] > 30, timeout=WAIT)
    training = told(sweep(window, [SMALLEST, LAPTOP], only=["training", "comparison", "inner"]))
    window.commands["pause"].trigger()
    qtbot.waitUntil(lambda: controller.phase == "paused", timeout=WAIT)
    paused = told(sweep(window, [LAPTOP]))
    assert not preparing + training + paused


@pytest.mark.skipif("METAVIZ_WIDE" not in os.environ, reason="ten minutes: set METAVIZ_WIDE")
@pytest.mark.timeout(1800)
def test_no_page_has_faults_in_any_size_and_theme(shown) -> None:
    found: list[str] = []
    for problem in (*examples.PROBLEMS, examples.DIVERGED):
        window = shown(problem)
        for theme, size in itertools.product(THEMES, (*SIZES, *SCALED)):
            window.theme_menu.choose(theme)
            faults = told(sweep(window, [size]))
            found += [f"{problem}, {theme}:\n{faults}"] if faults else []
    assert not found, "\n".join(found)
