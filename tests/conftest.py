"""What all tests share: no display, a home of their own, and no exception goes unseen."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

SCREEN = Path(__file__).parent / "fixtures" / "screen.json"
"""A screen of 1920 x 1080: Qt's own without a display is 800 x 800, and windows fit the screen."""
if os.environ.setdefault("QT_QPA_PLATFORM", "offscreen") == "offscreen":
    os.environ["QT_QPA_PLATFORM"] = f"offscreen:configfile={SCREEN}"
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty folder for runs and settings."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("METAVIZ_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_unseen_exception() -> Iterator[None]:
    """Fail a test in which an exception reached the excepthook, and restore the hook."""
    before = sys.excepthook
    unseen: list[BaseException] = []

    def note(kind: type[BaseException], error: BaseException, trace: object) -> None:
        unseen.append(error)
        before(kind, error, trace)  # type: ignore[arg-type]

    sys.excepthook = note
    yield
    sys.excepthook = before
    assert not unseen, f"An exception reached the excepthook: {unseen[0]!r}"


@pytest.fixture
def qtbot(qtbot: QtBot) -> Iterator[QtBot]:
    """Hold the widgets of a test until they are closed.

    The plugin refers to them weakly and paints once more after the test's own names are gone: a
    plot that the garbage collector takes apart while it is painted ends the process.
    """
    held = []
    add = qtbot.addWidget

    def hold(widget, **options) -> None:
        held.append(widget)
        add(widget, **options)

    qtbot.addWidget = hold
    yield qtbot
