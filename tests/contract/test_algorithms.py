"""What every registered method must keep, whatever it is."""

from pathlib import Path
from typing import Any

import pytest
import torch

from metaviz.algorithms.registry import ALGORITHMS, find_algorithm
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.algorithm import CannotTrainError, Composed, compose
from metaviz.meta.estimators import Implicit, Unrolled
from metaviz.meta.inner import descend
from metaviz.meta.rules import Enters, GradientDescent, ProximalDescent
from metaviz.meta.sharding import Shards, sharded_meta_gradient
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.layout import Weights
from metaviz.runs.model.events import Ended, Evaluated, Noted, Stepped
from metaviz.training.checkpoints import load_checkpoint
from metaviz.training.setting import Setting, settle
from metaviz.training.trainer import begin, train
from tests.oracle.engine import assert_close, build, draws, initial, meta_step, shared, sinusoid

NAMES = tuple(ALGORITHMS)
LEARNS = tuple(name for name in NAMES if name != "scratch")


def choices(name: str) -> list[dict[str, Any]]:
    """The defaults, each other value of each choice or switch, and each preset."""
    entry = ALGORITHMS[name].entry
    found: list[dict[str, Any]] = [{}]
    for spec in entry.options:
        values = spec.choices if spec.kind == "choice" else (True, False)
        if spec.kind in {"choice", "bool"}:
            found += [
                {spec.name: value} for value in values if value not in (spec.default, *spec.refused)
            ]
    if name == "reptile":
        found += [{"batch_size": 4}, {"inner_optimizer": "adam", "schedule": "serial"}]
        found += [{"batch_size": 4, "schedule": "serial"}]
    return found + [{"preset": preset} for preset in entry.presets]


VARIANTS = [(name, options) for name in NAMES for options in choices(name)]


def quick(name: str, options: dict[str, Any]) -> Composed:
    """Build a variant with few inner steps."""
    steps = {} if "preset" in options else {"inner_steps": 4}
    algorithm = build(name, shared(inner_lr=0.05, inner_steps=4), **{**steps, **options})
    assert isinstance(algorithm, Composed)
    return algorithm


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_gradient_reaches_exactly_the_groups_it_says(name: str, options: dict[str, Any]) -> None:
    learner, tasks = sinusoid()
    algorithm = quick(name, options)
    meta = initial(algorithm, learner)
    step = meta_step(algorithm, learner, meta, tasks)
    assert set(step.gradients) == algorithm.trained()
    carried = {group for group, places in algorithm.rule.groups.items() if Enters.MEMORY in places}
    assert set(step.replaced) == carried
    fixed = {group for group, places in algorithm.rule.groups.items() if Enters.FIXED in places}
    assert set(meta) == algorithm.trained() | carried | fixed
    for group, gradient in step.gradients.items():
        assert gradient.shape == meta[group].shape
        assert bool(gradient.abs().max() > 0) == (name != "scratch")


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_same_seed_same_bits_and_meta_untouched(name: str, options: dict[str, Any]) -> None:
    learner, tasks = sinusoid()
    algorithm = quick(name, options)
    meta = initial(algorithm, learner)
    before = {group: value.clone() for group, value in meta.items()}
    first, second = (meta_step(algorithm, learner, meta, tasks, seed=4) for _ in range(2))
    ends = [algorithm.adapt(learner, meta, tasks.support, 3).point for _ in range(2)]
    for group, value in before.items():
        assert torch.equal(meta[group], value)
        assert meta[group].grad is None
    for group in first.gradients:
        assert torch.equal(first.gradients[group], second.gradients[group])
    assert torch.equal(*ends)
    assert not ends[0].requires_grad


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_order_and_repetition_of_tasks_do_not_matter(name: str, options: dict[str, Any]) -> None:
    learner, tasks = sinusoid()
    algorithm = quick(name, options)
    if algorithm.sequential:
        pytest.skip("tasks of this schedule follow one another on purpose")
    meta = initial(algorithm, learner)
    order = torch.tensor([2, 0, 3, 1])
    one = torch.tensor([1, 1, 1])

    def gradient(chosen: torch.Tensor) -> torch.Tensor:
        picked = TaskBatch(
            Batch(tasks.support.x[chosen], tasks.support.y[chosen]),
            Batch(tasks.query.x[chosen], tasks.query.y[chosen]),
        )
        drawn = draws(4, numbers=chosen.tolist())
        gradients = algorithm.meta_gradient(learner, meta, picked, drawn).gradients
        return torch.cat([gradients[group] for group in sorted(gradients)])

    if name == "scratch":
        assert not gradient(order).any()
        return
    assert_close(gradient(order), gradient(torch.arange(4)), 1e-9)
    assert_close(gradient(one), gradient(one[:1]), 1e-9)


@pytest.mark.parametrize("parts", [(3, None), (1, 1), (1, 3)])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_shards_give_the_same_meta_step(
    name: str, options: dict[str, Any], parts: tuple[int, int | None]
) -> None:
    learner, tasks = sinusoid()
    algorithm = quick(name, options)
    meta = initial(algorithm, learner)
    whole, parted = (
        sharded_meta_gradient(algorithm, learner, meta, tasks, draws(len(tasks)), how)
        for how in (Shards(1), Shards(*parts))
    )
    torch.testing.assert_close(parted.gradients, whole.gradients, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(parted.replaced, whole.replaced, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(parted.readings, whole.readings, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(parted.support_loss, whole.support_loss, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_changes_no_gradient(name: str) -> None:
    learner, tasks = sinusoid()
    algorithm = quick(name, {})
    meta = initial(algorithm, learner)
    read, unread = (
        sharded_meta_gradient(
            algorithm, learner, meta, tasks, draws(len(tasks)), Shards(1), reading=reading
        )
        for reading in (True, False)
    )
    assert all(torch.equal(unread.gradients[group], read.gradients[group]) for group in meta)
    assert unread.readings.keys() <= read.readings.keys()
    for key, values in unread.readings.items():
        assert torch.equal(values, read.readings[key])
    assert "pre_query_loss" in read.readings
    assert "pre_query_loss" not in unread.readings
    assert len(unread.support_loss) < len(read.support_loss)


@pytest.mark.parametrize("name", ["maml", "fomaml", "penalty"])
def test_no_inner_steps_or_no_step_size_is_joint_training(name: str) -> None:
    learner, tasks = sinusoid()
    options = {"weight": 0.0} if name == "penalty" else {}
    meta = initial(build(name), learner)
    expected = meta_step(build("joint"), learner, meta, tasks).gradients["init"]
    algorithm = build(name, **options)
    estimator = algorithm.estimator
    for rate, steps in ((0.1, 0), (0.0, 3)):
        still = compose(GradientDescent(rate), estimator, steps)
        assert_close(meta_step(still, learner, meta, tasks).gradients["init"], expected, 1e-12)


@pytest.mark.parametrize("name", ["imaml", "neumann"])
def test_without_curvature_the_implicit_gradient_is_first_order(name: str) -> None:
    learner, tasks = sinusoid()
    meta = initial(build("maml"), learner)
    algorithm = build(name, prox=1e6)
    still = compose(ProximalDescent(0.0, 1e6), algorithm.estimator, 3)
    expected = meta_step(build("joint"), learner, meta, tasks).gradients["init"]
    assert_close(meta_step(still, learner, meta, tasks).gradients["init"], expected, 1e-4)


def test_neumann_without_terms_is_the_query_gradient() -> None:
    learner, tasks = sinusoid()
    algorithm = build("neumann", variant="implicit", terms=0, inner_steps=5, prox=0.7)
    meta = initial(algorithm, learner)
    end = algorithm.adapt(learner, meta, tasks.support, 5).point.requires_grad_()
    (expected,) = torch.autograd.grad(learner.losses(end, tasks.query).sum(), end)
    found = meta_step(algorithm, learner, meta, tasks).gradients["init"]
    assert_close(found, expected.mean(0), 1e-12)


def test_order_changes_gradients_but_no_loss() -> None:
    learner, tasks = sinusoid()
    meta = initial(build("maml"), learner)
    second, first = (meta_step(build(name), learner, meta, tasks) for name in ("maml", "fomaml"))
    assert not torch.allclose(second.gradients["init"], first.gradients["init"], rtol=1e-3)
    for name, value in second.readings.items():
        assert torch.equal(value, first.readings[name])


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_readings_match_adaptation_redone(name: str, options: dict[str, Any]) -> None:
    learner, tasks = sinusoid()
    algorithm = quick(name, options)
    meta = initial(algorithm, learner)
    readings = meta_step(algorithm, learner, meta, tasks).readings

    def adapted(steps: int) -> Weights:
        return algorithm.rule.decode(
            meta, algorithm.adapt(learner, meta, tasks.support, steps).point
        )

    start = adapted(0)
    assert_close(readings["pre_support_loss"], learner.losses(start, tasks.support), 1e-10)
    assert_close(readings["pre_query_loss"], learner.losses(start, tasks.query), 1e-10)
    end = adapted(algorithm.steps)
    assert_close(readings["post_support_loss"], learner.losses(end, tasks.support), 1e-10)
    assert_close(readings["post_query_loss"], learner.losses(end, tasks.query), 1e-10)


def setting(name: str, options: dict[str, Any], *, steps: int = 6) -> Setting:
    """A short run on sinusoids."""
    config = RunConfig(
        problem="sinusoid",
        algorithm=name,
        seed=3,
        steps=steps,
        options={"inner_steps": 3, **options},
        problem_options={"hidden": 8, "noise": 0.1},
        shared=Shared(meta_batch=4, eval_tasks=5, eval_every=3, outer_schedule="linear"),
    )
    return settle(config)


RESUMED = [(name, {}) for name in NAMES] + [
    ("reptile", {"inner_optimizer": "adam", "batch_size": 4}),
    ("imaml", {"learn_prox": True}),
]


@pytest.mark.parametrize(("name", "options"), RESUMED)
def test_resuming_repeats_an_uninterrupted_run(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    whole = setting(name, options)
    state = begin(whole)
    events = list(train(whole, state))

    broken = setting(name, options)
    first = begin(broken)
    for event in train(broken, first):
        if isinstance(event, Stepped) and event.step == 4:
            break
    torch.save(first.state(), tmp_path / "checkpoint.pt")
    second = begin(setting(name, options), load_checkpoint(tmp_path / "checkpoint.pt"))
    # Notes count what was met since the program started, so they alone may differ.
    rest = [e for e in train(setting(name, options), second) if not isinstance(e, Noted)]
    later = [event for event in events if event.step > 4 or isinstance(event, Ended)]
    expected = [event for event in later if not isinstance(event, Noted)]
    assert [type(event) for event in rest] == [type(event) for event in expected]
    for found, wanted in zip(rest, expected, strict=True):
        if isinstance(found, Stepped) and isinstance(wanted, Stepped):
            timed = {"seconds", "peak_memory_mb"}
            for key in set(found.values) - timed:
                assert found.values[key] == wanted.values[key], key
        if isinstance(found, Evaluated) and isinstance(wanted, Evaluated):
            for key, curve in wanted.curves.items():
                assert (found.curves[key] == curve).all()
    for group, value in state.meta.items():
        assert torch.equal(value, second.meta[group])


@pytest.mark.parametrize("name", LEARNS)
def test_training_changes_the_start(name: str) -> None:
    run = setting(name, {}, steps=2)
    state = begin(run)
    before = state.meta["init"].clone()
    assert isinstance(list(train(run, state))[-1], Ended)
    assert not torch.equal(state.meta["init"], before)


@pytest.mark.parametrize("name", NAMES)
def test_float32_and_float64_see_the_same_tasks_and_weights(name: str) -> None:
    single, double = (
        begin(settle(setting(name, {}).config.model_copy(update={"dtype": dtype}))).meta["init"]
        for dtype in ("float32", "float64")
    )
    assert torch.equal(single, double.float())


def test_impossible_pairs_are_refused_with_a_sentence() -> None:
    with pytest.raises(
        CannotTrainError, match="cannot train the meta-parameters 'init', which enter through"
    ):
        compose(GradientDescent(0.1), Implicit(lambda *_: None, "hessian"), 3)  # type: ignore[arg-type, return-value]
    rule = ProximalDescent(0.1, 1.0, learn_prox=True)
    with pytest.raises(CannotTrainError, match="'prox'"):
        compose(rule, Unrolled(first_order=True), 3)


@pytest.mark.parametrize(
    ("name", "cost"), [("maml", (5, 4)), ("fomaml", (5, 0)), ("joint", (1, 0))]
)
def test_costs_match_the_cost_model(name: str, cost: tuple[int, int]) -> None:
    learner, tasks = sinusoid()
    algorithm = quick(name, {})
    step = meta_step(algorithm, learner, initial(algorithm, learner), tasks)
    assert (step.gradient_evaluations, step.hessian_vector_products) == cost


def test_every_entry_explains_itself() -> None:
    for name in NAMES:
        entry = find_algorithm(name).entry
        assert entry.summary.endswith(".")
        assert entry.formula
        assert entry.citation
        for spec in entry.options:
            assert spec.description.endswith("."), (name, spec.name)


def test_walk_ends_where_adapt_ends() -> None:
    learner, tasks = sinusoid()
    algorithm = quick("imaml", {"preset": "official code"})
    meta = initial(algorithm, learner)
    *_, (weights, _) = algorithm.walk(learner, meta, tasks.support, 5)
    end = descend(algorithm.rule, learner, meta, tasks.support, 5).point
    assert_close(weights, end, 1e-14)
