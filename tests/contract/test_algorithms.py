"""What every registered method must keep, whatever it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from metaviz.algorithms.registry import ALGORITHMS, find_algorithm
from metaviz.config.episodes import TrainingEpisodes
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.algorithm import Algorithm, CannotTrainError, Composed, compose
from metaviz.meta.checkpoint_files import load_checkpoint
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators import Implicit, Unrolled
from metaviz.meta.inner import descend
from metaviz.meta.learner import Learner
from metaviz.meta.rules import Enters, GradientDescent, ProximalDescent
from metaviz.meta.sharding import Shards, sharded_meta_gradient
from metaviz.meta.tasks import TaskBatch
from metaviz.nets.layout import Weights
from metaviz.runs.model.events import Ended, Evaluated, Noted, Stepped
from metaviz.training.setting import Setting, settle
from metaviz.training.trainer import begin, train
from tests.oracle.engine import (
    FEATURES,
    assert_close,
    build,
    called,
    draws,
    initial,
    loops,
    meta_step,
    problem_of,
    shared,
    sinusoid,
    suited,
)

NAMES = tuple(ALGORITHMS)
LOOPS = tuple(name for name in NAMES if loops(name))
LEARNS = tuple(name for name in NAMES if name not in {"scratch", "bauer"})


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
LOOPED = [(name, options) for name, options in VARIANTS if name in LOOPS]
AT_ONCE = [(name, options) for name, options in VARIANTS if name not in LOOPS]
EPISODIC = [
    (name, options)
    for name, options in AT_ONCE
    if isinstance(build(name, **options).episodes, TrainingEpisodes)
]


def quick(name: str, options: dict[str, Any]) -> Algorithm:
    """Build a variant with few inner steps, where it has any."""
    steps = {} if "preset" in options or name not in LOOPS else {"inner_steps": 4}
    return build(name, shared(inner_lr=0.05, inner_steps=4), **{**steps, **options})


def composed(name: str, options: dict[str, Any]) -> Composed:
    """Build a variant of a method with an inner loop."""
    algorithm = quick(name, options)
    assert isinstance(algorithm, Composed)
    return algorithm


def places(algorithm: Algorithm) -> dict[str, Enters]:
    """Return where groups enter the inner loop; none where there is no inner loop."""
    return dict(algorithm.rule.groups) if isinstance(algorithm, Composed) else {}


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_gradient_reaches_exactly_the_groups_it_says(name: str, options: dict[str, Any]) -> None:
    learner, tasks = suited(name)
    algorithm = quick(name, options)
    meta = initial(algorithm, learner)
    step = meta_step(algorithm, learner, meta, tasks)
    assert set(step.gradients) == algorithm.trained()
    carried, fixed = (
        {group for group, enters in places(algorithm).items() if place in enters}
        for place in (Enters.MEMORY, Enters.FIXED)
    )
    if name not in LOOPS:
        carried = set(step.replaced)
        fixed = set(meta) - algorithm.trained() - carried
    assert set(step.replaced) == carried
    assert set(meta) == algorithm.trained() | carried | fixed
    for group, gradient in step.gradients.items():
        assert gradient.shape == meta[group].shape
        assert bool(gradient.abs().max() > 0) == (name in LEARNS)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_same_seed_same_bits_and_meta_untouched(name: str, options: dict[str, Any]) -> None:
    learner, tasks = suited(name)
    algorithm = quick(name, options)
    meta = initial(algorithm, learner)
    before = {group: value.clone() for group, value in meta.items()}
    first, second = (meta_step(algorithm, learner, meta, tasks, seed=4) for _ in range(2))
    ends = [adapted(algorithm, learner, meta, tasks, 3) for _ in range(2)]
    for group, value in before.items():
        assert torch.equal(meta[group], value)
        assert meta[group].grad is None
    for group in first.gradients:
        assert torch.equal(first.gradients[group], second.gradients[group])
    assert torch.equal(*ends)
    assert not ends[0].requires_grad


def adapted(
    algorithm: Algorithm, learner: Learner, meta: Meta, tasks: TaskBatch, steps: int
) -> torch.Tensor:
    """Return where adaptation ends, or what is predicted where there is no inner loop."""
    if isinstance(algorithm, Composed):
        return algorithm.descend(learner, meta, tasks.support, steps).point
    (state,) = algorithm.adapt(called(algorithm, learner, tasks), meta)
    return state.predict(tasks.query).outputs


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_order_and_repetition_of_tasks_do_not_matter(name: str, options: dict[str, Any]) -> None:
    learner, tasks = suited(name)
    algorithm = quick(name, options)
    if algorithm.traits.sequential:
        pytest.skip("tasks of this schedule follow one another on purpose")
    meta = initial(algorithm, learner)
    order = torch.tensor([2, 0, 3, 1])
    one = torch.tensor([1, 1, 1])

    def gradient(chosen: torch.Tensor) -> torch.Tensor:
        drawn = draws(4, numbers=chosen.tolist())
        context = replace(called(algorithm, learner, tasks[chosen]), draws=drawn)
        gradients = algorithm.meta_gradient(context, meta).gradients
        return torch.cat([gradients[group] for group in sorted(gradients)])

    if name not in LEARNS:
        assert not gradient(order).any()
        return
    assert_close(gradient(order), gradient(torch.arange(4)), 1e-9)
    assert_close(gradient(one), gradient(one[:1]), 1e-9)


@pytest.mark.parametrize("parts", [(3, None), (1, 1), (1, 3)])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_shards_give_the_same_meta_step(
    name: str, options: dict[str, Any], parts: tuple[int, int | None]
) -> None:
    learner, tasks = suited(name)
    algorithm = quick(name, options)
    meta = initial(algorithm, learner)
    whole, parted = (
        sharded_meta_gradient(algorithm, called(algorithm, learner, tasks), meta, how)
        for how in (Shards(1), Shards(*parts))
    )
    torch.testing.assert_close(parted.gradients, whole.gradients, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(parted.replaced, whole.replaced, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(parted.readings, whole.readings, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(parted.support_loss, whole.support_loss, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_changes_no_gradient(name: str) -> None:
    learner, tasks = suited(name)
    algorithm = quick(name, {})
    meta = initial(algorithm, learner)
    read, unread = (
        sharded_meta_gradient(
            algorithm, called(algorithm, learner, tasks, reading=reading), meta, Shards(1)
        )
        for reading in (True, False)
    )
    assert read.gradients.keys() == unread.gradients.keys()
    for group, gradient in read.gradients.items():
        assert torch.equal(unread.gradients[group], gradient)
    assert unread.readings.keys() <= read.readings.keys()
    for key, values in unread.readings.items():
        assert torch.equal(values, read.readings[key])
    only_read = "pre_query_loss" if name in LOOPS else "post_support_loss"
    assert only_read in read.readings
    assert only_read not in unread.readings
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
    end = algorithm.descend(learner, meta, tasks.support, 5).point.requires_grad_()
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


@pytest.mark.parametrize(
    ("name", "options"),
    [one for one in LOOPED if not getattr(quick(*one), "noisy", False)],  # drawn while training
)
def test_readings_match_adaptation_redone(name: str, options: dict[str, Any]) -> None:
    learner, tasks = suited(name)
    algorithm = composed(name, options)
    meta = initial(algorithm, learner)
    readings = meta_step(algorithm, learner, meta, tasks).readings

    def adapted(steps: int) -> Weights:
        return algorithm.rule.decode(
            meta, algorithm.descend(learner, meta, tasks.support, steps).point
        )

    start = adapted(0)
    assert_close(readings["pre_support_loss"], learner.losses(start, tasks.support), 1e-10)
    assert_close(readings["pre_query_loss"], learner.losses(start, tasks.query), 1e-10)
    end = adapted(algorithm.steps)
    assert_close(readings["post_support_loss"], learner.losses(end, tasks.support), 1e-10)
    assert_close(readings["post_query_loss"], learner.losses(end, tasks.query), 1e-10)


@pytest.mark.parametrize(("name", "options"), EPISODIC)
def test_without_an_inner_loop_readings_match_the_one_state(
    name: str, options: dict[str, Any]
) -> None:
    learner, tasks = suited(name)
    algorithm = quick(name, options)
    meta = initial(algorithm, learner)
    step = meta_step(algorithm, learner, meta, tasks, seed=7)  # the draws of `called`
    assert (
        algorithm.steps,
        algorithm.rate,
        list(algorithm.pictures(called(algorithm, learner, tasks), meta)),
    ) == (0, None, [])
    for steps in (0, 5):
        context = replace(called(algorithm, learner, tasks), steps=steps)
        (state,) = algorithm.adapt(context, meta)
        assert state.seen is not None
        assert state.seen.gradient_norm is None
        outputs = state.predict(tasks.query).outputs
        assert not outputs.requires_grad
        assert_close(
            step.readings["post_query_loss"], learner.judge.loss(outputs, tasks.query), 1e-10
        )
        support = learner.judge.loss(state.seen.support.outputs, tasks.support)
        assert torch.equal(state.seen.loss, support)
        assert_close(step.readings["post_support_loss"], support, 1e-10)
        assert_close(step.support_loss, support.unsqueeze(0), 1e-10)
    assert not any(reading.startswith("pre_") for reading in step.readings)
    assert step.gradient_norm.shape == (0, len(tasks))
    assert (step.gradient_evaluations, step.hessian_vector_products) == (1, 0)


PROBLEM_OPTIONS: dict[str, dict[str, Any]] = {
    "sinusoid": {"hidden": 8, "noise": 0.1},
    "strokes": {"channels": 2},
    "features": {"path": str(FEATURES)},
}


def setting(name: str, options: dict[str, Any], *, steps: int = 6) -> Setting:
    """A short run on a problem that suits the method."""
    problem = problem_of(name)
    config = RunConfig(
        problem=problem,
        algorithm=name,
        seed=3,
        steps=steps,
        options={"inner_steps": 3, **options} if name in LOOPS else options,
        problem_options=PROBLEM_OPTIONS[problem],
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
    before = {group: state.meta[group].clone() for group in run.algorithm.trained()}
    assert isinstance(list(train(run, state))[-1], Ended)
    for group, value in before.items():
        assert not torch.equal(state.meta[group], value), group


@pytest.mark.parametrize("name", NAMES)
def test_float32_and_float64_see_the_same_tasks_and_weights(name: str) -> None:
    single, double = (
        begin(settle(setting(name, {}).config.model_copy(update={"dtype": dtype}))).meta
        for dtype in ("float32", "float64")
    )
    for group, value in single.items():
        assert torch.equal(value, double[group].float())


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
    algorithm = composed("imaml", {"preset": "official code"})
    meta = initial(algorithm, learner)
    *_, last = algorithm.adapt(Context(learner, tasks, 5), meta)
    end = descend(algorithm.rule, learner, meta, tasks.support, 5).point
    assert_close(last.weights, end, 1e-14)
