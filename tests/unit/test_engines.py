"""How meta-steps are computed must not change what they are."""

import itertools
import math
import os
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._dynamo import utils as dynamo

from metaviz.config.options import OptionError
from metaviz.config.outer_rule import OuterRule
from metaviz.meta.context import Context
from metaviz.meta.footprint import kept_bytes
from metaviz.meta.sharding import Shards, sharded_meta_gradient
from metaviz.meta.tasks import Batch
from metaviz.runs.model.events import Noted, Stepped, Waiting
from metaviz.runs.model.record import Record
from metaviz.training import captured, compiled, evaluation, stepping
from metaviz.training.engines import stepper
from metaviz.training.fixed import FixedSteps, distance
from metaviz.training.memory_budget import (
    CACHED_BYTES,
    ON_TOP,
    budget_bytes,
    is_memory_error,
    plan_parts,
)
from metaviz.training.outer import OuterOptimizer
from metaviz.training.recipe import CannotRecordError, Recipe
from metaviz.training.setting import settle
from metaviz.training.stepping import Eager
from metaviz.training.trainer import begin, train
from tests.unit.stored import config

CPU = torch.device("cpu")
MIB = 2**20


def setting(algorithm: str = "maml", **changes: Any):
    """A run of three steps on small sinusoids, in float64."""
    return settle(config(algorithm, steps=3).model_copy(update={"dtype": "float64", **changes}))


def steps(chosen, count=3):
    """Train and return what happened."""
    events = [*train(chosen, begin(chosen))]
    assert sum(isinstance(event, Stepped) for event in events) == count
    return events


def query_losses(events):
    return [e.values["post_query_loss"] for e in events if isinstance(e, Stepped)]


def notes(events):
    return [event.message for event in events if isinstance(event, Noted)]


@given(st.integers(1, 8), st.integers(1, 200), st.none() | st.integers(1, 50), st.booleans())
def test_parts_hold_every_task_once_and_no_more_than_go_together(count, tasks, together, alone):
    shards = Shards(1, together)
    shards.count, shards.alone = count, alone
    edges = shards.edges(tasks)
    sizes = [end - start for start, end in itertools.pairwise(edges)]
    assert (edges[0], edges[-1]) == (0, tasks)
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= (together or tasks)
    busy = 1 if alone else count
    assert len(sizes) % min(busy, tasks) == 0 or len(sizes) == tasks


@pytest.mark.parametrize(
    ("one", "budget", "together", "alone"),
    [
        (1000, 10**9, CACHED_BYTES // 1000, False),
        (44 * MIB, 10**10, 2, False),
        (405 * MIB, 10**10, 1, False),
        (405 * MIB, 1000 * MIB, 1, True),
        (10 * MIB, 100 * MIB, 2, False),
        (405 * MIB, MIB, 1, True),
    ],
)
def test_parts_fit_into_the_budget(one, budget, together, alone):
    shards = Shards(1)
    shards.count = 2
    plan_parts(shards, one, budget, CPU)
    assert (shards.together, shards.alone) == (together, alone)
    if budget > ON_TOP * one:
        assert ON_TOP * one * together * (1 if alone else 2) <= budget


def test_kept_bytes_are_those_of_the_graph_at_its_largest():
    x = torch.zeros(1000, requires_grad=True)
    assert kept_bytes(x.exp) == 4000
    assert kept_bytes(lambda: x.exp().exp()) == 8000
    assert kept_bytes(lambda: [x.exp().sum().item() for _ in range(5)]) == 4000
    assert kept_bytes(lambda: x + 1) == 0
    assert kept_bytes(lambda: x * x) == 4000


def test_budget_is_what_was_asked_for_or_half_of_the_memory(monkeypatch):
    assert budget_bytes(CPU, 1.5) == 1.5 * 2**30
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 2**19))
    assert 0 < budget_bytes(CPU, None) <= 2**30


@pytest.mark.parametrize("algorithm", ["maml", "fomaml", "reptile", "imaml", "joint", "metasgd"])
def test_a_small_budget_changes_no_number_beyond_rounding(algorithm):
    whole, parted = setting(algorithm), setting(algorithm, memory_gib=1e-6)
    meta = whole.init()
    found = []
    for chosen in (whole, parted):
        compute = Eager(chosen)
        assert list(compute.prepare(meta, 0)) == []
        found.append(compute(meta, chosen.batch(0), 7, reading=True))
        assert bool(compute.notes) is (chosen is parted)
    assert parted.shards.together == 1
    for name, value in found[0].gradients.items():
        torch.testing.assert_close(found[1].gradients[name], value, rtol=1e-12, atol=1e-14)


def test_a_budget_that_is_too_small_is_told_and_the_run_goes_on():
    (said,) = notes(steps(setting(memory_gib=1e-6)))
    assert said.startswith("One task needs about ")
    assert "more than the budget of 1e-06 GiB" in said


def test_memory_that_runs_out_in_mid_run_makes_the_parts_smaller(monkeypatch):
    real = sharded_meta_gradient
    calls = []

    def cramped(algorithm, context, meta, shards):
        calls.append(shards.together)
        if len(calls) > 1 and (shards.together is None or shards.together > 1):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return real(algorithm, context, meta, shards)

    monkeypatch.setattr(stepping, "sharded_meta_gradient", cramped)
    events = steps(setting())
    assert calls[-1] == 1
    assert notes(events)[-1].endswith("computed in parts of one task now.")
    plain = steps(setting(memory_gib=1e-6))
    assert query_losses(events) == pytest.approx(query_losses(plain), rel=1e-12)


def test_memory_that_one_task_exhausts_is_the_steps_own_error(monkeypatch):
    def full(*_arguments, **_others):
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        )

    monkeypatch.setattr(stepping, "sharded_meta_gradient", full)
    with pytest.raises(RuntimeError, match="allocate memory"):
        steps(setting())


def test_other_errors_are_not_taken_for_full_memory():
    assert not is_memory_error(RuntimeError("shapes do not fit"))
    assert is_memory_error(MemoryError())


def test_batches_are_read_as_often_as_asked():
    chosen = setting()
    shared = chosen.config.shared.model_copy(update={"reading_every": 2})
    rare = settle(chosen.config.model_copy(update={"shared": shared}))
    found = [event.values for event in steps(rare) if isinstance(event, Stepped)]
    every = [event.values for event in steps(chosen) if isinstance(event, Stepped)]
    read = [values.get("pre_query_loss") is not None for values in found]
    assert read == [True, False, True]
    for values, expected in zip(found, every, strict=True):
        assert values["post_query_loss"] == expected["post_query_loss"]
        assert values["meta_gradient_norm"] == expected["meta_gradient_norm"]
        assert values["pre_support_loss"] == expected["pre_support_loss"]


KINDS = {
    "adam": lambda groups: torch.optim.Adam(groups, fused=True),
    "sgd": torch.optim.SGD,
}


@pytest.mark.parametrize("names", [["init"], ["init", "alpha"]])
@pytest.mark.parametrize("kind", KINDS)
def test_the_outer_step_has_the_bits_of_torchs_optimiser(kind, names):
    generator = torch.Generator().manual_seed(0)
    rates = {name: 0.1 * number for number, name in enumerate(names, 1)}
    mine = {name: torch.randn(50, generator=generator) for name in names}
    theirs = {name: value.clone().requires_grad_() for name, value in mine.items()}
    rules = {name: OuterRule(rate) for name, rate in rates.items()}
    optimizer = OuterOptimizer(kind, mine, rules)
    peer = KINDS[kind]([{"params": [theirs[name]], "lr": rates[name]} for name in sorted(names)])
    for number in range(6):
        if number == 3:  # the moments of either are the other's
            saved = optimizer.state()
            optimizer = OuterOptimizer(kind, mine, rules)
            optimizer.restore(peer.state_dict())
            peer.load_state_dict(peer.state_dict() | {"state": saved["state"]})
        gradients = {name: torch.randn(50, generator=generator) for name in names}
        share = 0.5 if number > 3 else 1.0
        for group, name in zip(peer.param_groups, sorted(names), strict=True):
            theirs[name].grad = gradients[name].clone()
            group["lr"] = rates[name] * share
        optimizer.step(gradients, share)
        peer.step()
        for name in names:
            assert torch.equal(mine[name], theirs[name])
    assert [group["lr"] for group in optimizer.state()["param_groups"]] == [
        group["lr"] for group in peer.param_groups
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"param_groups": []},
        {"state": {0: {"step": torch.ones(()), "exp_avg": torch.zeros(5)}}},
        {"state": {0: {"step": 3, "exp_avg": torch.zeros(50), "exp_avg_sq": torch.zeros(50)}}},
        {"state": {0: {"step": torch.ones(2)}}},
    ],
)
def test_moments_that_do_not_fit_are_refused(change):
    optimizer = OuterOptimizer("adam", {"init": torch.zeros(50)}, {"init": OuterRule(0.1)})
    with pytest.raises((LookupError, TypeError, ValueError, AttributeError)):
        optimizer.restore(optimizer.state() | change)


@pytest.mark.slow
def test_a_compiled_run_takes_the_steps_of_an_eager_one():
    eager, fast = setting(), setting(engine="compiled")
    events = steps(fast)
    assert notes(events) == []
    assert any(isinstance(event, Waiting) for event in events)
    assert query_losses(events) == pytest.approx(query_losses(steps(eager)), rel=1e-10)


@pytest.mark.slow
def test_a_run_waits_while_another_one_compiles_and_finds_what_it_compiled():
    first, second = (setting(engine="compiled", seed=seed) for seed in (3, 4))
    assert notes(steps(first)) == []
    before = dynamo.counters["inductor"]["fxgraph_cache_hit"]
    events = train(second, begin(second))
    with compiled._ONE_AT_A_TIME:
        waits = (event for event in events if isinstance(event, Waiting))
        waiting = next(event for event in waits if not event.is_usual)
        assert waiting.message == "waiting for a compilation"
    assert notes(list(events)) == []
    # The compiler puts a copy of its counters there after it has traced its patterns.
    assert dynamo.counters["inductor"]["fxgraph_cache_hit"] > before


def test_compiled_programs_are_kept_in_the_data_folder(monkeypatch, home):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    setting()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(home / "compiled")


@pytest.mark.parametrize(
    ("algorithm", "change", "reason"),
    [
        ("maml", {"_COMPILERS": ()}, "there is no C++ compiler here"),
        ("maml", {"LARGE": 10}, "its operations are so large that it would not pay"),
        ("reptile", {}, "draws its own"),
    ],
)
def test_a_step_that_cannot_be_compiled_runs_eagerly(monkeypatch, algorithm, change, reason):
    for name, value in change.items():
        monkeypatch.setattr(compiled, name, value)
    monkeypatch.delenv("CXX", raising=False)
    options = {"batch_size": 2} if algorithm == "reptile" else {}
    chosen = setting(algorithm, engine="compiled", options=options)
    events = steps(chosen)
    (said,) = notes(events)
    assert said.startswith("The meta-step is not compiled: ")
    assert reason in said
    plain = steps(setting(algorithm, options=options))
    assert query_losses(events) == query_losses(plain)


@pytest.mark.parametrize("algorithm", ["maml", "protonet"])
def test_a_compiled_step_that_is_wrong_is_not_used(monkeypatch, algorithm):
    real = Recipe.read

    def wrong(self, found):
        step = real(self, found)
        return replace(step, gradients={n: g * 1.001 for n, g in step.gradients.items()})

    monkeypatch.setattr(compiled, "compile_recipe", lambda recipe, given: lambda g: recipe(*g))
    assert notes(steps(setting(algorithm, engine="compiled"))) == []
    monkeypatch.setattr(Recipe, "read", wrong)
    (said,) = notes(steps(setting(algorithm, engine="compiled")))
    assert "it would differ from the eager one by 1.0e-03" in said


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("part", ["readings", "gradients", "support_loss"])
def test_a_recorded_step_that_gives_no_number_is_not_used(monkeypatch, part, value):
    real = Recipe.read

    def wrong(self, found):
        step = real(self, found)
        if part == "support_loss":
            return replace(step, support_loss=torch.full_like(step.support_loss, value))
        broken = {n: torch.full_like(v, value) for n, v in getattr(step, part).items()}
        return replace(step, **{part: broken})

    monkeypatch.setattr(compiled, "compile_recipe", lambda recipe, given: lambda g: recipe(*g))
    monkeypatch.setattr(Recipe, "read", wrong)
    (said,) = notes(steps(setting(engine="compiled")))
    assert f"it would differ from the eager one by {value}" in said


def test_every_reading_of_a_recorded_step_is_compared_but_those_that_rounding_decides():
    chosen = setting("ecml")
    step = Eager(chosen)(chosen.init(), chosen.batch(0), 0, reading=True)
    odd = {"condition_loss": 1.5, "own_number": 0.0, "inner_residual": 0.0}
    step = replace(step, readings=step.readings | {n: torch.full((4,), v) for n, v in odd.items()})
    for name, values in step.readings.items():
        other = replace(step, readings=step.readings | {name: values + 1})
        assert (distance(other, step) > 0) is (name != "inner_residual"), name
    nothing = replace(step, readings=step.readings | {"own_number": torch.full((4,), math.nan)})
    assert math.isnan(distance(step, nothing))
    assert distance(nothing, nothing) == 0


@pytest.mark.parametrize("build", [compiled.compiling, captured.capturing])
@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), KeyError("moment")])
def test_what_a_method_does_wrong_is_raised_as_it_is(monkeypatch, build, error):
    chosen = setting()
    recipe = Recipe(chosen.algorithm, chosen.context(0), chosen.shards)
    given = recipe.inputs(chosen.init(), chosen.batch(0))
    monkeypatch.setattr(torch.cuda, "Stream", Mock)
    monkeypatch.setattr(torch.cuda, "current_stream", Mock)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)

    def broken(*_arguments, **_others):
        raise error

    monkeypatch.setattr(type(chosen.algorithm), "meta_gradient", broken)
    with pytest.raises(type(error), match=error.args[0]) as raised:
        list(build(recipe, given))
    assert raised.value is error


def test_a_matrix_that_is_no_longer_finite_ends_a_compiled_run_as_diverged(monkeypatch):
    chosen = setting(engine="compiled")

    def broken(*_arguments, **_others):
        raise torch.linalg.LinAlgError("svd did not converge")

    monkeypatch.setattr(type(chosen.algorithm), "meta_gradient", broken)
    *_, last = train(chosen, begin(chosen))
    assert (last.state, last.divergence.quantity) == ("diverged", "matrix")


@pytest.mark.parametrize("algorithm", ["maml", "protonet"])
def test_what_is_taken_for_fixed_shows_on_a_second_batch(monkeypatch, algorithm):
    def frozen(recipe, given):
        kept = recipe(*given)
        return lambda _given: kept

    monkeypatch.setattr(compiled, "compile_recipe", frozen)
    (said,) = notes(steps(setting(algorithm, engine="compiled")))
    assert "it would differ from the eager one" in said


@pytest.mark.parametrize("works", [True, False])
def test_a_run_tells_how_its_steps_are_computed(monkeypatch, works):
    def compiling(recipe, _given):
        if not works:
            raise CannotRecordError("no")
        return lambda given: recipe(*given)

    monkeypatch.setattr(compiled, "compile_recipe", compiling)
    chosen = setting(engine="compiled")
    progress = begin(chosen)
    assert progress.engine == ""
    for event in train(chosen, progress):
        if isinstance(event, Stepped):
            break
    assert progress.engine == ("compiled" if works else "eager")


def test_engines_are_chosen_by_name():
    assert type(stepper(setting())) is Eager
    assert type(stepper(setting(engine="compiled"))) is FixedSteps


class Tape:
    """Stands in for a CUDA graph where there is no GPU: replaying computes anew, in place."""

    def __init__(self, recipe):
        self.recipe, self.runs, self.capturing = recipe, 0, False
        self.outputs = []

    def __call__(self, *given):
        self.runs += 1
        found = self.recipe(*given)
        if self.capturing:
            self.given, self.outputs = given, found
        return found

    @contextmanager
    def graph(self, _graph):
        self.capturing = True
        yield
        self.capturing = False

    def replay(self):
        for old, new in zip(self.outputs, self.recipe(*self.given), strict=True):
            old.copy_(new)


@pytest.mark.parametrize("algorithm", ["maml", "protonet"])
def test_a_captured_step_reads_and_writes_buffers_of_its_own(monkeypatch, algorithm):
    chosen = setting(algorithm)
    recipe = Recipe(chosen.algorithm, chosen.context(0), chosen.shards)
    meta = chosen.init()
    tape = Tape(recipe)

    class Stream:
        def wait_stream(self, _other):
            pass

    for name, stand_in in (
        ("Stream", Stream),
        ("current_stream", Stream),
        ("stream", lambda _stream: nullcontext()),
        ("CUDAGraph", lambda: tape),
        ("graph", tape.graph),
    ):
        monkeypatch.setattr(torch.cuda, name, stand_in)
    building = captured.capturing(tape, recipe.inputs(meta, chosen.batch(0)))
    with pytest.raises(StopIteration) as ended:
        while True:
            next(building)
    program = ended.value.value
    assert tape.runs == captured.WARM_UPS + 1
    for number in (0, 1, 2):
        tasks = chosen.batch(number)
        meta = {name: value * 1.1 for name, value in meta.items()}
        found = recipe.read(program(recipe.inputs(meta, tasks)))
        expected = Eager(chosen)(meta, tasks, number, reading=True)
        assert torch.equal(found.gradients["init"], expected.gradients["init"])
        assert torch.equal(found.support_loss, expected.support_loss)
        assert {id(t) for t in tape.given}.isdisjoint(map(id, recipe.inputs(meta, tasks)))


def test_an_engine_that_is_of_no_use_here_is_refused():
    with pytest.raises(OptionError, match="engine = 'captured' needs a GPU: use auto, eager"):
        setting(engine="captured")


def test_an_evaluation_for_which_memory_does_not_suffice_is_split(monkeypatch):
    real, asked = evaluation._chunk, []

    def cramped(setting, algorithm, meta, first, count, steps, **others):
        asked.append(count)
        if count > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(setting, algorithm, meta, first, count, steps, **others)

    chosen = setting()
    whole = evaluation.evaluate(chosen, chosen.init(), 0)
    monkeypatch.setattr(evaluation, "_chunk", cramped)
    split = evaluation.evaluate(chosen, chosen.init(), 0)
    assert asked == [4, 2, 1, 1, 2, 1, 1]
    for name, values in whole.per_task.items():
        assert split.per_task[name] == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize("algorithm", ["maml", "metasgd", "warpgrad", "imaml"])
def test_the_loss_before_adaptation_is_that_of_the_start_on_each_query_set(algorithm):
    chosen = setting(algorithm)
    meta, tasks = chosen.init(), chosen.batch(0)
    found = Eager(chosen)(meta, tasks, 0, reading=True).readings["pre_query_loss"]
    each = []
    for number in range(len(tasks)):
        task = tasks[number : number + 1]
        first = next(chosen.algorithm.adapt(Context(chosen.learner, task, 1), meta))
        each.append(chosen.problem.loss(first.predict(task.query).outputs, task.query))
    torch.testing.assert_close(found, torch.cat(each), rtol=1e-12, atol=1e-14)


def test_a_record_tells_what_a_run_waits_for_until_it_goes_on():
    record = Record("a", {})
    record.apply(Waiting(0, "compiling, 3 s"))
    assert record.doing == "compiling, 3 s"
    record.apply(Noted(0, "info", "There."))
    assert record.doing == ""


def test_minibatches_of_a_task_are_its_own_and_visit_every_example_before_one_again(monkeypatch):
    seen = []
    real = Batch.chosen

    def noted(self, places):
        seen.append(places)
        return real(self, places)

    monkeypatch.setattr(Batch, "chosen", noted)
    chosen = setting("reptile", options={"batch_size": 5, "inner_steps": 8})
    chosen.algorithm.meta_gradient(chosen.context(0, reading=False), chosen.init())
    orders = torch.cat(seen, 1)
    assert orders.shape == (4, 40)
    for times in orders.split(20, 1):
        assert all(torch.equal(row.sort()[0], torch.arange(20)) for row in times)
    assert len({tuple(row.tolist()) for row in orders.view(-1, 20)}) == 8


def test_counts_are_those_of_the_gradients_that_were_computed():
    chosen = setting("scratch")
    counts = [
        chosen.algorithm.meta_gradient(chosen.context(0, reading=reading), chosen.init())
        for reading in (True, False)
    ]
    assert [step.gradient_evaluations for step in counts] == [3, 0]
