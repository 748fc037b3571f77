"""Calls on other threads: where they run, how they end, and in which order."""

import logging
import threading

import pytest
from PySide6.QtCore import QObject, QThread, QThreadPool, Slot

from metaviz.gui.background.task import Task, WorkerThread

WAIT = 20_000


class Listener(QObject):
    """Keeps what a task ended with, and on which thread it was told."""

    def __init__(self):
        super().__init__()
        self.results, self.failures, self.threads = [], [], []

    @Slot()
    def end(self):
        self.results.append("ended")

    @Slot(object)
    def take(self, result):
        self.results.append(result)
        self.threads.append(QThread.currentThread())

    @Slot(str)
    def fail(self, sentence):
        self.failures.append(sentence)
        self.threads.append(QThread.currentThread())


@pytest.fixture
def listener(qapp):
    return Listener()


def test_a_result_comes_back_to_the_thread_that_asked(qtbot, listener):
    Task(QThread.currentThread, listener.take, listener.fail, listener).start()
    qtbot.waitUntil(lambda: len(listener.results) == 1, timeout=WAIT)
    assert listener.results[0] is not QThread.currentThread()
    assert listener.threads == [QThread.currentThread()]
    assert listener.failures == []


@pytest.mark.parametrize(("error", "logged"), [(OSError("no room"), 0), (KeyError("x"), 1)])
def test_a_failure_is_one_sentence_and_logged_where_unexpected(
    qtbot, listener, caplog, error, logged
):
    def call():
        raise error

    with caplog.at_level(logging.ERROR, "metaviz"):
        Task(call, listener.take, listener.fail, listener).start()
        qtbot.waitUntil(lambda: len(listener.failures) == 1, timeout=WAIT)
    assert listener.failures[0].endswith(".")
    assert listener.results == []
    assert len(caplog.records) == logged


def test_the_end_is_noted_before_the_result_is_used(qtbot, listener):
    Task(lambda: "done", listener.take, listener.fail, listener, listener.end).start()
    qtbot.waitUntil(lambda: len(listener.results) == 2, timeout=WAIT)
    assert listener.results == ["ended", "done"]


def test_a_task_may_end_after_its_window(qtbot, qapp, caplog):
    owner, gate = Listener(), threading.Event()
    Task(gate.wait, owner.take, owner.fail, owner).start()
    with qtbot.waitSignal(owner.destroyed, timeout=WAIT):
        owner.deleteLater()
    gate.set()
    assert QThreadPool.globalInstance().waitForDone(WAIT)
    assert not caplog.records


def test_methods_of_a_worker_run_one_after_another_until_it_closes(qtbot, qapp):
    calls, parent = [], QObject()
    thread = WorkerThread(QObject(), "worker", parent)
    for number in range(3):
        thread.post(lambda number=number: calls.append((number, QThread.currentThread())))
    with qtbot.waitSignal(thread.finished, timeout=WAIT):
        thread.close(lambda: calls.append(("last", QThread.currentThread())))
    assert [name for name, _ in calls] == [0, 1, 2, "last"]
    assert {made for _, made in calls} == {thread}
    assert thread.wait(WAIT)
