"""The worker's thread: where its slots run, and what it does when runs break."""

import threading
import time

import pytest
from PySide6.QtCore import QThread

from metaviz import app
from metaviz.config.run_config import Comparison
from metaviz.gui.background.training_controller import TrainingController
from metaviz.runs.model.events import Stepped, Waiting
from metaviz.training import band as bands
from metaviz.training import compiled, stepping
from metaviz.training.recipe import CannotRecordError

WAIT = 20_000
SMALL = {"eval_tasks": 5, "eval_every": 100}


@pytest.fixture
def conduct(qapp, qtbot):
    made = []

    def make(loader=app.load_engine):
        controller = TrainingController(loader)
        made.append(controller)
        with qtbot.waitSignal(controller.phase_changed, timeout=WAIT):
            controller.load()
        return controller

    yield make
    for controller in made:
        with qtbot.waitSignal(controller.closed, timeout=WAIT):
            controller.close()
        assert controller.thread_.wait(5000)


def heard(signal):
    """Collect what a signal of the worker carries.

    waitSignal would stop its timer in the worker's thread, where plain callables are called.
    """
    values = []
    signal.connect(lambda *arguments: values.append(arguments))
    return values


def idle(controller):
    return lambda: controller.phase == "idle"


def test_slots_run_in_the_workers_thread(qtbot, conduct):
    threads = []

    class Engine:
        def __init__(self):
            threads.append(QThread.currentThread())
            self.device_text, self.catalogue = "fake", None

        def start(self, comparison, root):
            threads.append(QThread.currentThread())
            return []

    controller = conduct(Engine)
    finished = heard(controller.worker.finished)
    controller.start(Comparison(), None)
    qtbot.waitUntil(lambda: len(finished) == 1, timeout=WAIT)
    assert threads == [controller.thread_, controller.thread_]
    assert QThread.currentThread() is not controller.thread_


def test_all_runs_grow_together(qtbot, conduct, tmp_path):
    controller = conduct()
    batches = []
    controller.worker.progressed.connect(batches.append)
    comparison = Comparison(algorithms=("maml", "reptile"), steps=60, shared=SMALL)
    controller.start(comparison, tmp_path)
    qtbot.waitUntil(idle(controller), timeout=WAIT)
    order = [name for batch in batches for name, e in batch if isinstance(e, Stepped)]
    first, second = dict.fromkeys(order)
    assert order.index(second) < len(order) - order[::-1].index(first) - 1
    assert order.count(first) == order.count(second) == 60


@pytest.fixture
def sizes(monkeypatch):
    """Let seeds be computed together here; collect how many tasks each meta-step has."""
    real, seen = stepping.sharded_meta_gradient, []

    def noted(algorithm, context, *rest, **others):
        seen.append(len(context.tasks))
        return real(algorithm, context, *rest, **others)

    monkeypatch.setattr(stepping, "sharded_meta_gradient", noted)
    monkeypatch.setattr(bands, "pays", lambda _device: True)
    return seen


SEEDS = Comparison(seeds=(0, 1, 2), steps=60, shared={**SMALL, "meta_batch": 4})


def test_seeds_that_are_computed_together_advance_in_turn(qtbot, conduct, sizes, tmp_path):
    controller = conduct()
    batches = []
    controller.worker.progressed.connect(batches.append)
    controller.start(SEEDS.model_copy(update={"algorithms": ("maml", "reptile")}), tmp_path)
    qtbot.waitUntil(idle(controller), timeout=WAIT)
    steps = [(name, e.step) for batch in batches for name, e in batch if isinstance(e, Stepped)]
    assert len(steps) == 6 * 60
    band = [step for name, step in steps if name.startswith("maml")]
    assert band == [step for step in range(1, 61) for _ in range(3)]
    assert sorted(sizes) == [4] * 180 + [12] * 60


def test_seeds_that_are_computed_together_step_together_when_asked(qtbot, conduct, sizes, tmp_path):
    controller = conduct()
    controller.start(SEEDS, tmp_path, paused=True)
    qtbot.waitUntil(lambda: controller.phase == "paused", timeout=WAIT)
    batches = heard(controller.worker.progressed)
    for session in controller.worker._live[:1]:  # it was paused between the first and the others
        while session.step == 0:
            session.advance()
    for count in (1, 2, 3):
        controller.step()
        qtbot.waitUntil(lambda wanted=count: len(batches) == wanted, timeout=WAIT)
    steps = [e.step for (batch,) in batches for _, e in batch if isinstance(e, Stepped)]
    assert steps == [1, 1, 2, 2, 2, 3, 3, 3, 4]
    assert sizes == [12] * 4


def test_events_are_batched(qtbot, conduct, tmp_path):
    controller = conduct()
    batches = []
    controller.worker.progressed.connect(batches.append)
    controller.start(Comparison(algorithms=("joint",), steps=200, shared=SMALL), tmp_path)
    qtbot.waitUntil(idle(controller), timeout=WAIT)
    events = sum(len(batch) for batch in batches)
    assert events >= 200
    assert len(batches) < events / 2


def test_step_advances_every_run_by_one_and_pauses(qtbot, conduct, tmp_path):
    controller = conduct()
    comparison = Comparison(algorithms=("maml", "fomaml"), steps=10_000, shared=SMALL)
    controller.start(comparison, tmp_path, paused=True)
    qtbot.waitUntil(lambda: controller.phase == "paused", timeout=WAIT)
    batches = heard(controller.worker.progressed)
    for count in (1, 2):
        controller.step()
        qtbot.waitUntil(lambda wanted=count: len(batches) == wanted, timeout=WAIT)
    steps = [e.step for (batch,) in batches for _, e in batch if isinstance(e, Stepped)]
    assert steps == [1, 1, 2, 2]
    assert controller.phase == "paused"


def test_a_step_that_waits_for_a_compilation_says_so_and_can_be_stopped(
    qtbot, conduct, tmp_path, monkeypatch
):
    gate = threading.Event()

    def compiling(_recipe, _given):
        gate.wait(WAIT / 1000)
        raise CannotRecordError("there was no time")

    monkeypatch.setattr(compiled, "compile_recipe", compiling)
    controller = conduct()
    comparison = Comparison(engine="compiled", steps=10_000, shared=SMALL)
    controller.start(comparison, tmp_path, paused=True)
    qtbot.waitUntil(lambda: controller.phase == "paused", timeout=WAIT)
    batches = heard(controller.worker.progressed)
    controller.step()
    qtbot.waitUntil(
        lambda: any(isinstance(e, Waiting) for (batch,) in batches for _, e in batch), timeout=WAIT
    )
    controller.stop()
    qtbot.waitUntil(idle(controller), timeout=WAIT)
    assert not gate.is_set()
    gate.set()


def test_gradients_are_compared_while_paused(qtbot, conduct, tmp_path):
    controller = conduct()
    comparison = Comparison(algorithms=("maml", "fomaml"), steps=10_000, shared=SMALL)
    controller.start(comparison, tmp_path, paused=True)
    qtbot.waitUntil(lambda: controller.phase == "paused", timeout=WAIT)
    ready, failed = [], []
    controller.ask(
        lambda engine, _: engine.gradients(comparison, None, 0), ready.append, failed.append
    )
    qtbot.waitUntil(lambda: len(ready) == 1, timeout=WAIT)
    assert ready[0].cosine()[0, 1] == pytest.approx(1, abs=0.5)
    assert not failed
    assert controller.phase == "paused"


def test_gradients_that_cannot_be_compared_say_why(qtbot, conduct, tmp_path):
    controller = conduct()
    ready, failed = [], []
    comparison, start = Comparison(), tmp_path / "nothing"
    controller.ask(
        lambda engine, _: engine.gradients(comparison, start, 0), ready.append, failed.append
    )
    qtbot.waitUntil(lambda: len(failed) == 1, timeout=WAIT)
    assert "no checkpoint" in failed[0]
    assert not ready


def test_a_request_that_is_cancelled_ends_and_blocks_training_until_then(qtbot, conduct):
    controller = conduct()
    qtbot.waitUntil(lambda: controller.phase == "idle", timeout=WAIT)
    failed, lines = [], []

    def endless(_engine, report):
        while True:
            report("again")
            time.sleep(0.01)

    controller.ask(
        endless, lines.append, failed.append, lines.append, blocks="An endless call is under way."
    )
    qtbot.waitUntil(lambda: len(lines) > 2, timeout=WAIT)
    assert controller.blocked == "An endless call is under way."
    controller.cancel_request()
    qtbot.waitUntil(lambda: len(failed) == 1, timeout=WAIT)
    assert failed == ["Cancelled."]
    qtbot.waitUntil(lambda: controller.blocked == "", timeout=WAIT)


class _Breaking:
    """Steps by the real engine, whose first run raises what nobody foresaw."""

    def __init__(self):
        self._engine = app.load_engine()
        self.device_text, self.catalogue = self._engine.device_text, self._engine.catalogue

    def start(self, comparison, root):
        sessions = self._engine.start(comparison, root)

        def broken():
            raise LookupError("an unforeseen hole")

        sessions[0].advance = broken
        return sessions


def test_unforeseen_exception_fails_one_run_only(qtbot, conduct, tmp_path):
    controller = conduct(_Breaking)
    ends = []
    controller.worker.ended.connect(lambda *values: ends.append(values))
    comparison = Comparison(algorithms=("maml", "joint"), steps=5, shared=SMALL)
    controller.start(comparison, tmp_path)
    qtbot.waitUntil(idle(controller), timeout=WAIT)
    states = {name.split("-")[0]: (state, message) for name, state, message in ends}
    assert states == {"maml": ("failed", "an unforeseen hole."), "joint": ("done", "")}


def test_wrong_option_is_refused_with_its_key(qtbot, conduct, tmp_path):
    controller = conduct()
    refused = heard(controller.worker.refused)
    controller.start(Comparison(options={"maml": {"inner_lr": -1}}), tmp_path)
    qtbot.waitUntil(idle(controller), timeout=WAIT)
    assert refused[0][0] == "maml.inner_lr"
