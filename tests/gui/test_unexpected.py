"""A mistake of MetaViz is told once and logged, and costs nothing but what it happened in."""

import sys
import threading
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from metaviz import paths
from metaviz.gui.background.excepthook import ExceptionHook
from metaviz.gui.runs.run_reader import RunReaderWorker
from metaviz.runs.table import index
from tests.unit.test_foreign import stored_run


def broken() -> None:
    raise KeyError("planted")


def test_the_same_mistake_is_told_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    hook, told = ExceptionHook(), []
    hook.raised.connect(lambda sentence, details: told.append((sentence, details)))
    for _ in range(3):
        try:
            broken()
        except KeyError as error:
            hook.report(type(error), error, error.__traceback__)
    hook.report(ValueError, ValueError("another"), None)
    assert [sentence for sentence, _ in told] == [
        "Something unexpected happened: 'planted'",
        "Something unexpected happened: another",
    ]
    assert "in broken" in told[0][1]
    assert len(caplog.records) == 2


def test_a_mistake_in_a_thread_is_told(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    hook, told = ExceptionHook(), []
    hook.raised.connect(lambda sentence, _details: told.append(sentence))
    hook.install()
    thread = threading.Thread(target=broken)
    thread.start()
    thread.join()
    qtbot.waitUntil(lambda: len(told) == 1)


def test_a_mistake_in_reading_a_run_hides_no_other_run(
    qapp: QApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    root: Path = paths.runs_dir()
    names = [stored_run(root).name for _ in range(3)]
    real, told = index.entry_of, []

    def entry_of(record, folder, started):
        if folder.name == names[1]:
            broken()
        return real(record, folder, started)

    monkeypatch.setattr(index, "entry_of", entry_of)
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: told.append(kind))
    reader, found = RunReaderWorker(), []
    reader.found.connect(lambda rows: found.extend(row.id for row in rows))
    reader.scan(root)
    reader.close()
    assert sorted(found) == sorted({names[0], names[2]})
    assert told == [KeyError]
