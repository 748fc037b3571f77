"""A window as a person finds it, with the real engine, closed after every test."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QTreeWidgetItem

from metaviz import app
from metaviz.config.catalogue import Catalogue
from metaviz.gui.widgets.settings_file import Settings
from metaviz.gui.widgets.theme import current_theme
from metaviz.gui.window.main_window import MainWindow
from metaviz.paths import resource

WAIT, TRAINING = 20_000, 120_000


@pytest.fixture(autouse=True)
def garbage_of_this_thread() -> Iterator[None]:
    """Collect garbage on this thread alone, as the program does."""
    gc.disable()
    yield
    gc.collect()
    gc.enable()


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The shipped catalogue."""
    return Catalogue.model_validate_json(resource("catalogue.json").read_text(encoding="utf-8"))


@pytest.fixture
def open_window(qapp, qtbot, home: Path) -> Iterator[Callable[..., MainWindow]]:
    """Open windows whose engine is loaded; they are closed in the end."""
    windows = []

    def make(loader=app.load_engine, path: Path | None = None) -> MainWindow:
        text = resource("catalogue.json").read_text(encoding="utf-8")
        preferences = Settings(path or home / "metaviz.ini")
        window = MainWindow(Catalogue.model_validate_json(text), loader, preferences)
        windows.append(window)
        window.show()
        window.begin()
        qtbot.waitUntil(lambda: window.controller.phase != "loading", timeout=WAIT)
        return window

    yield make
    for window in windows:
        leave(qtbot, window)
        window.deleteLater()


def row_of(form, title: str) -> QTreeWidgetItem:
    """Return the row of a method in the form's list."""
    match = Qt.MatchFlag.MatchExactly | Qt.MatchFlag.MatchRecursive
    (item,) = form.algorithms.findItems(title, match)
    return item


@pytest.fixture
def window(open_window) -> MainWindow:
    """A window whose form asks for few steps."""
    window = open_window()
    window.form.field("steps").set_value(20)
    window.form.field("eval_tasks").set_value(20)
    window.form.field("eval_every").set_value(10)
    return window


def trained_window(
    qtbot, window: MainWindow, problem: str, methods: Iterable[str], options: Mapping[str, object]
) -> MainWindow:
    """Train methods on a problem by the form's options, and return the window."""
    form, controller = window.form, window.controller
    form.problem_box.setCurrentIndex(form.problem_box.findData(problem))
    form.algorithms.tick(tuple(methods))
    form._on_ticks()
    for name, value in options.items():
        form.field(name).set_value(value)
    qtbot.waitUntil(lambda: controller.phase == "idle", timeout=TRAINING)
    window.commands["run"].trigger()
    for phase in ("training", "idle"):
        qtbot.waitUntil(lambda phase=phase: controller.phase == phase, timeout=TRAINING)
    return window


def leave(qtbot, window: MainWindow) -> None:
    """Close a window whatever it is doing, and wait until its threads have ended."""
    if not window.shutdown.may_close:
        with qtbot.waitSignal(window.shutdown.finished, timeout=WAIT):
            window.shutdown.begin()


@pytest.fixture
def plain_window(
    qapp, qtbot, home: Path, catalogue: Catalogue
) -> Iterator[Callable[..., MainWindow]]:
    """Open windows without loading the engine; with `plots` they have their pages."""
    windows = []

    def make(*, plots: bool = False) -> MainWindow:
        window = MainWindow(catalogue, app.load_engine, Settings(home / "metaviz.ini"))
        windows.append(window)
        window.show()
        if plots:
            window.tabs.begin(current_theme())
        return window

    yield make
    for window in windows:
        leave(qtbot, window)
        window.deleteLater()
