"""Methods that say that every task may have meta-parameters of its own keep their word."""

from itertools import accumulate, pairwise
from typing import Any

import pytest
import torch

from metaviz.meta.algorithm import Algorithm, compose
from metaviz.meta.context import Meta
from metaviz.meta.estimators import Unrolled
from metaviz.meta.learner import Learner
from metaviz.meta.rules import GradientDescent
from metaviz.meta.sharding import Shards, sharded_meta_gradient
from metaviz.meta.tasks import TaskBatch, joined
from metaviz.meta.together import parted, rows_of
from metaviz.problems.strokes import Strokes, StrokesOptions
from metaviz.training.recipe import Recipe
from tests.contract.test_algorithms import VARIANTS, quick
from tests.oracle.engine import assert_close, called, initial, shared, sinusoid, suited

DECLARED = [(name, options) for name, options in VARIANTS if quick(name, options).traits.rowwise]
SIZES = (3, 1, 2)
TOLERANCE = 1e-12
NORMS: list[dict[str, Any]] = [
    {},
    {"pooling": "stride", "norm": "support"},
    {"norm": "group", "norm_adapted": False},
]


def strokes(tasks: int, **options: Any) -> tuple[Learner, TaskBatch]:
    """A tiny Conv4 on drawings."""
    chosen = StrokesOptions(**{"channels": 3, **options})
    problem = Strokes(chosen, shared(ways=3, shots=1, query_shots=2), 3)
    drawn = problem.tasks("train", 0, tasks).to("cpu", torch.float64)
    return Learner(problem.net(), problem), drawn


def several(algorithm: Algorithm, learner: Learner) -> list[Meta]:
    """Meta-parameters of several seeds, which differ in every number of every group."""
    generator = torch.Generator().manual_seed(5)
    return [
        {
            group: value + 0.01 * torch.rand(value.shape, generator=generator, dtype=value.dtype)
            for group, value in initial(algorithm, learner, seed).items()
        }
        for seed, _ in enumerate(SIZES)
    ]


def assert_each_gets_its_own(
    algorithm: Algorithm,
    learner: Learner,
    tasks: TaskBatch,
    shards: Shards,
    *,
    reading: bool = True,
) -> None:
    """Compare the parts of one meta-step of several seeds with the meta-step of each."""
    metas = several(algorithm, learner)
    batches = [tasks[slice(*span)] for span in pairwise(accumulate(SIZES, initial=0))]
    rows = rows_of(metas, SIZES)
    context = called(algorithm, learner, joined(batches), reading=reading)
    whole = sharded_meta_gradient(algorithm, context, rows, shards)
    for meta, batch, found in zip(metas, batches, parted(whole, SIZES), strict=True):
        context = called(algorithm, learner, batch, reading=reading)
        expected = sharded_meta_gradient(algorithm, context, meta, Shards(1))
        assert found.gradients.keys() == expected.gradients.keys()
        pairs = [(found.gradients[name], value) for name, value in expected.gradients.items()]
        assert found.readings.keys() == expected.readings.keys()
        pairs += [(found.readings[name], value) for name, value in expected.readings.items()]
        pairs += [
            (found.support_loss, expected.support_loss),
            (found.gradient_norm, expected.gradient_norm),
        ]
        for one, other in pairs:
            assert one.shape == other.shape
            assert float((one - other).norm()) <= TOLERANCE * float(other.norm())
        assert (found.gradient_evaluations, found.hessian_vector_products) == (
            expected.gradient_evaluations,
            expected.hessian_vector_products,
        )


@pytest.mark.parametrize(("name", "options"), DECLARED)
def test_each_seed_gets_its_own_meta_step(name: str, options: dict[str, Any]) -> None:
    learner, tasks = suited(name, sum(SIZES))
    assert_each_gets_its_own(quick(name, options), learner, tasks, Shards(1))


@pytest.mark.parametrize(("name", "options"), DECLARED)
def test_each_seed_gets_its_own_meta_step_on_images(name: str, options: dict[str, Any]) -> None:
    learner, tasks = strokes(sum(SIZES))
    assert_each_gets_its_own(quick(name, options), learner, tasks, Shards(1))


@pytest.mark.parametrize("options", NORMS)
def test_each_seed_gets_its_own_statistics(options: dict[str, Any]) -> None:
    learner, tasks = strokes(sum(SIZES), **options)
    assert_each_gets_its_own(quick("maml", {}), learner, tasks, Shards(1))


@pytest.mark.parametrize("name", ["maml", "metasgd", "joint"])
def test_parts_of_a_batch_may_hold_tasks_of_two_seeds(name: str) -> None:
    learner, tasks = sinusoid(sum(SIZES))
    assert Shards(1, together=2).edges(sum(SIZES)) == [0, 2, 4, 6]
    for reading in (True, False):
        shards = Shards(1, together=2)
        assert_each_gets_its_own(quick(name, {}), learner, tasks, shards, reading=reading)


def test_a_recorded_step_takes_parts_of_its_rows() -> None:
    learner, tasks = sinusoid(sum(SIZES))
    algorithm = quick("metasgd", {})
    rows = rows_of(several(algorithm, learner), SIZES)
    context = called(algorithm, learner, tasks)
    recipe = Recipe(algorithm, context, Shards(1, together=2))
    found = recipe.read(recipe(*recipe.inputs(rows, tasks)))
    expected = sharded_meta_gradient(algorithm, context, rows, Shards(1))
    for name, value in expected.gradients.items():
        assert_close(found.gradients[name], value, TOLERANCE)


def test_methods_that_are_rowwise_are_these() -> None:
    found = {name for name, options in DECLARED if not options}
    geometries = {"metasgd", "metacurvature", "metakfo", "ecml"}
    metric = {"protonet", "matching", "relation", "tpn", "r2d2", "siamese", "tadam", "csn"}
    assert (
        found
        == {"maml", "fomaml", "protomaml", "penalty", "joint", "scratch"} | geometries | metric
    )
    assert not quick("penalty", {"variant": "joint"}).traits.rowwise


def test_nobody_inherits_that_rows_are_fine() -> None:
    class Bent(GradientDescent):
        """A rule that does not say what it does with rows."""

    class Weighted(Unrolled):
        """An estimator that does not, either."""

    assert compose(GradientDescent(0.1), Unrolled(), 1).traits.rowwise
    assert not compose(Bent(0.1), Unrolled(), 1).traits.rowwise
    assert not compose(GradientDescent(0.1), Weighted(), 1).traits.rowwise
