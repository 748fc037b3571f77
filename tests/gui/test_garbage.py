"""Garbage is collected on the window's thread, never on a worker's."""

import gc
import sys
import threading
import weakref
from types import SimpleNamespace

from PySide6.QtCore import QObject

from metaviz.gui.background.garbage_collector import GarbageCollector


class Cycle:
    """Something that only the collector can free; it notes on which thread that happens."""

    threads: list[threading.Thread]

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        self.threads.append(threading.current_thread())


def test_cycles_of_a_worker_are_collected_by_the_window(qtbot, monkeypatch):
    monkeypatch.setattr(Cycle, "threads", [], raising=False)
    parent = QObject()
    gc.enable()
    garbage = GarbageCollector(parent)
    try:
        assert not gc.isenabled()
        last = []

        def work() -> None:
            for _ in range(5000):
                last[:] = [weakref.ref(Cycle())]

        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        assert not Cycle.threads
        kept = []

        def collected() -> bool:
            # Python counts what is made and not yet freed: earlier tests' widgets may go just now.
            kept.extend([] for _ in range(1000))
            return len(Cycle.threads) >= 5000

        qtbot.waitUntil(collected, timeout=20_000)
        assert set(Cycle.threads) == {threading.main_thread()}
        assert last[0]() is None
    finally:
        garbage.stop()
        gc.unfreeze()
    assert gc.isenabled()


def test_what_modules_bring_is_searched_once_at_most(qtbot, monkeypatch):
    parent = QObject()
    garbage = GarbageCollector(parent)
    try:
        frozen = gc.get_freeze_count()
        brought = [[] for _ in range(5000)]
        monkeypatch.setattr(
            "metaviz.gui.background.garbage_collector.sys",
            SimpleNamespace(modules=range(len(sys.modules) + 500)),
        )
        garbage.collect()
        assert gc.get_freeze_count() - frozen >= len(brought)
        assert gc.get_count()[0] < len(brought)
    finally:
        garbage.stop()
        gc.unfreeze()


def test_a_few_objects_are_not_kept_for_good(qtbot, monkeypatch):
    monkeypatch.setattr(Cycle, "threads", [], raising=False)
    parent = QObject()
    garbage = GarbageCollector(parent)
    try:
        gc.collect()
        frozen = gc.get_freeze_count()
        for _ in range(1000):
            Cycle()
        garbage.collect()
        assert len(Cycle.threads) == 1000
        assert gc.get_freeze_count() == frozen
    finally:
        garbage.stop()
        gc.unfreeze()
