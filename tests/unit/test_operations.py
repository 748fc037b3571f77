"""Operations are counted as one counts them by hand, and as PyTorch does where it is right."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from metaviz.benchmarking.limits import alone_seconds
from metaviz.config.run_config import Comparison, RunConfig, Shared
from metaviz.training.engine import planned_runs
from metaviz.training.machine import FILE, limit, matmul_rate
from metaviz.training.operations import (
    ProductRecorder,
    operations,
    operations_per_step,
    products_of,
    shares,
)
from metaviz.training.setting import Setting, settle

CHANNELS, WAYS, QUERY, TASKS, STEPS = 16, 5, 15, 3, 3


def setting(algorithm="maml", problem="strokes", reading_every=1, **options) -> Setting:
    shared = {"meta_batch": TASKS, "inner_steps": STEPS, "query_shots": QUERY}
    shared["reading_every"] = reading_every
    asked = {"strokes": {"channels": CHANNELS}, "sinusoid": {"hidden": 7}}[problem]
    comparison = Comparison(
        problem=problem,
        algorithms=(algorithm,),
        shared=shared,
        options={algorithm: options},
        problem_options=asked,
    )
    return settle(planned_runs(comparison)[0])


def test_the_count_of_a_meta_step_is_the_one_made_by_hand():
    # F is one forward pass of one image. Second-order MAML takes 9F for a support image and inner
    # step: F forward, 2F for the gradients of inputs and weights, and twice that much again for
    # the derivative of all three; and 3F for a query image. The first layer needs no gradient of
    # its images, so that it is 4F there (forward, weight gradient, and these two's own
    # derivatives with respect to the weights) and 2F for a query image. Besides, what is recorded
    # takes another F for each query image before adaptation, and for each support image after it.
    first, *others = (
        2 * side**2 * CHANNELS * inputs * 9
        for side, inputs in ((28, 1), (14, CHANNELS), (7, CHANNELS), (3, CHANNELS))
    )
    rest = sum(others) + 2 * CHANNELS * WAYS
    adapted, queried = WAYS * STEPS, WAYS * QUERY
    by_hand = (4 * first + 9 * rest) * adapted + (2 * first + 3 * rest) * queried
    recorded = (first + rest) * (WAYS + queried)
    counted = operations_per_step(setting())
    # What is left over, 4 %, are statistics of the first layer from the covariance of its patches.
    assert TASKS * (by_hand + recorded) < counted < 1.05 * TASKS * (by_hand + recorded)


def test_the_count_agrees_with_the_one_of_pytorch_where_no_convolution_has_groups():
    chosen = setting(problem="sinusoid")
    meta, context = chosen.init(), chosen.context(0)
    with FlopCounterMode(display=False) as theirs:
        chosen.algorithm.meta_gradient(context, meta)
    assert operations(products_of(chosen, [TASKS])[0]) == theirs.get_total_flops() > 0


def test_gradients_of_a_grouped_convolution_count_as_much_as_the_convolution_each():
    x = torch.ones(2, 8, 5, 5, requires_grad=True)
    weight = torch.ones(12, 2, 3, 3, requires_grad=True)
    with ProductRecorder() as recorder:
        torch.nn.functional.conv2d(x, weight, padding=1, groups=4).sum().backward()
    assert operations(recorder.products) == 3 * (2 * 2 * 12 * 2 * 9 * 25)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [("maml", {}), ("mtnet", {}), ("metakfo", {}), ("reptile", {"schedule": "serial"})],
)
def test_one_and_two_tasks_tell_the_operations_of_a_meta_batch(algorithm, options):
    chosen = setting(algorithm, "sinusoid", **options)
    whole = sum(map(operations, products_of(chosen, shares(chosen))))
    assert operations_per_step(chosen) == whole


def test_a_meta_batch_of_one_episode_has_its_own_operations():
    asked = RunConfig(
        problem="strokes",
        algorithm="protonet",
        seed=0,
        steps=1,
        device="cpu",
        problem_options={"channels": 2},
        shared=Shared(meta_batch=1, ways=3, shots=1, query_shots=2),
    )
    chosen = settle(asked)
    (whole,) = products_of(chosen, [1])
    assert operations_per_step(chosen) == operations(whole) > 0


def test_products_alone_and_large_ones_take_time():
    chosen = setting(problem="sinusoid")
    assert 0 < alone_seconds(products_of(chosen, [2, 1, 1]), 2) < 10
    assert matmul_rate(torch.device("cpu"), torch.float32, 2, 0.01) > 1e8


def test_steps_that_are_not_read_count_as_often_as_they_come():
    chosen = setting(problem="sinusoid")
    (read,) = products_of(chosen, [TASKS])
    (unread,) = products_of(chosen, [TASKS], reading=False)
    assert operations(unread) < operations(read)
    mean = (operations(read) + 3 * operations(unread)) / 4
    assert operations_per_step(setting(problem="sinusoid", reading_every=4)) == mean


def test_the_most_that_was_ever_found_is_the_limit_and_a_damaged_file_is_none(home):
    asked = (torch.device("cpu"), torch.float32, 1)
    kept = home / FILE
    kept.write_text("{")
    limit.cache_clear()
    found = limit(*asked)
    ((key, written),) = json.loads(kept.read_text()).items()
    assert written == found == limit(*asked)
    for earlier, wanted in ((found * 1e6, found * 1e6), (1.0, None)):
        kept.write_text(json.dumps({key: earlier}))
        limit.cache_clear()
        again = limit(*asked)
        assert again == wanted if wanted else again > 1e8
    limit.cache_clear()
