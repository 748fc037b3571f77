"""Conditionally shifted neurons: published numbers, identities, charts, refusals."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metaviz.algorithms.episodic.csn import CSNOptions, ShiftedModel, ValueNetwork
from metaviz.charts.values import Bars, HeatMap
from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.context import Context, Meta
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.identity import Identity
from metaviz.nets.mlp import MLP
from metaviz.training.setting import settle
from tests.oracle.engine import (
    DOUBLE,
    ClassificationLoss,
    assert_close,
    build,
    called,
    classes,
    initial,
    meta_step,
)
from tests.oracle.episodes import NORMS, adapted, double, drawings, golden

PUBLISHED = golden("csn")
OPTIONS: dict[str, Any] = {
    **{"keys": "inputs", "key_size": 2, "value_width": 3, "value_layers": 1, "shifted": 1},
}
FORMS = ("paper", "port")


def published() -> tuple[Learner, TaskBatch, Meta]:
    inputs, net = PUBLISHED["inputs"], PUBLISHED["net"]
    batches = [
        Batch(double(inputs[f"z_{part}"])[None], torch.tensor(inputs[f"y_{part}"])[None])
        for part in ("support", "query")
    ]
    learner = Learner(MLP((3, 4, 3), "relu"), ClassificationLoss())
    weights = {
        f"layer{n}.{kind}": double(net[f"{kind[0]}{n}"])
        for n in (1, 2)
        for kind in ("weight", "bias")
    }
    stored = PUBLISHED["value_net"]
    value = {
        f"value{n}.{kind}": double(stored[f"{kind[0]}{n}"])
        for n in (1, 2)
        for kind in ("weight", "bias")
    }
    meta = {
        "init": learner.net.layout.join(weights),
        "values": ValueNetwork(3, 3, 1).layout.join(value),
        "keys": double(PUBLISHED["key_matrix"]).flatten(),
    }
    return learner, TaskBatch(*batches), meta


def predicted(learner: Learner, tasks: TaskBatch, meta: Meta, **options: Any) -> Prediction:
    algorithm = build("csn", **options)
    (state,) = algorithm.adapt(called(algorithm, learner, tasks), meta)
    return state.predict(tasks.query, maps=True)


def test_golden_information_and_values() -> None:
    learner, tasks, meta = published()
    context = called(build("csn"), learner, tasks)
    memory = ShiftedModel(CSNOptions(**OPTIONS)).memory(context, meta)
    assert_close(memory.information["hidden 1"][0], PUBLISHED["information_hidden"], 1e-9)
    assert_close(memory.information["logits"][0], PUBLISHED["information_logits"], 1e-9)
    assert_close(memory.values[0][0], PUBLISHED["values_hidden"], 1e-9)
    assert_close(memory.logits[0], PUBLISHED["values_logits"], 1e-9)
    assert_close(
        learner.net(meta["init"][None], tasks.support.x)[0], PUBLISHED["support_logits"], 1e-9
    )


@pytest.mark.parametrize("form", FORMS)
def test_golden_attention_shifts_and_logits(form: str) -> None:
    learner, tasks, meta = published()
    found = predicted(learner, tasks, meta, form=form, **OPTIONS)
    assert_close(found.maps["attention"][0], PUBLISHED["attention"], 1e-9)
    shift = double(PUBLISHED["shift_hidden"])
    wanted = torch.relu(shift) if form == "paper" else shift
    assert_close(found.maps["hidden 1"][0], wanted, 1e-9)
    assert_close(found.maps["logits"][0], PUBLISHED["shift_logits"], 1e-9)
    assert_close(found.outputs[0], PUBLISHED[f"query_logits_{form}"], 1e-9)
    step = meta_step(build("csn", form=form, **OPTIONS), learner, meta, tasks)
    loss = torch.nn.functional.cross_entropy(
        double(PUBLISHED[f"query_logits_{form}"]), tasks.query.y[0]
    )
    assert_close(step.readings["post_query_loss"], [float(loss)], 1e-9)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("form", FORMS)
def test_without_values_the_network_is_as_it_is(form: str, norm: str) -> None:
    setting = drawings("csn", norm, form=form)
    meta, tasks = setting.init(), setting.prepare(setting.problem.evaluation_tasks(0, 2))

    def outputs(values: Tensor) -> Tensor:
        context = setting.adapting(tasks, 0)
        (state,) = setting.algorithm.adapt(context, meta | {"values": values})
        return state.predict(tasks.query).outputs

    expected = setting.learner.outputs(meta["init"].expand(2, -1), tasks.query)
    assert_close(outputs(0 * meta["values"]), expected, 1e-12)
    assert not torch.allclose(outputs(meta["values"]), expected, rtol=1e-3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("pooling", ["max", "stride"])
def test_blocks_of_conv4_are_shifted_as_formulas_say(pooling: str, norm: str, form: str) -> None:
    """One support example: all queries are shifted alike, which a bias of the block does, too."""
    from metaviz.nets.conv4 import Conv4
    from metaviz.nets.normalisation import Norm

    net = Conv4(4, 3, 1, 16, pooling, Norm(norm))  # type: ignore[arg-type]
    assert net.neurons == ((256, 64, 16, 4))
    generator = torch.Generator().manual_seed(4)
    weights = torch.stack([net.init(generator) for _ in range(2)])
    x, beside = (torch.rand(2, n, 1, 16, 16, generator=generator, dtype=DOUBLE) for n in (5, 3))
    seen: dict[int, Tensor] = {}

    def noted(layer: int, change: Any) -> Any:
        def activate(a: Tensor) -> Tensor:
            seen[layer] = a
            return change(a)

        return activate

    plain = net(weights, x, beside)
    same = net.activated({n: noted(n, torch.relu) for n in range(4)})(weights, x, beside)
    assert_close(same, plain, 1e-13)
    count = 8 if norm == "support" else 5
    assert [a.shape for a in seen.values()] == [(2, count, size) for size in net.neurons]
    # The last block without pooling to one place is the features.
    features = net.features(weights, x, beside)
    last = torch.relu(seen[3][:, -5:])
    wanted = last.unflatten(2, (4, -1)).mean(3) if pooling == "stride" else last
    assert_close(features, wanted, 1e-13)
    moved = net.activated({3: lambda a: torch.relu(a) + 1})
    assert_close(moved.features(weights, x, beside), wanted + 1, 1e-13)
    assert form in FORMS


def test_one_support_example_of_each_class_alike_shifts_all_queries_alike() -> None:
    learner, tasks, meta = published()
    one = TaskBatch(
        Batch(tasks.support.x[:, :1].expand(-1, 3, -1), tasks.support.y[:, :3]), tasks.query
    )
    found = predicted(learner, one, meta, **OPTIONS)
    assert_close(found.maps["attention"], torch.full((1, 4, 3), 1 / 3, dtype=DOUBLE), 1e-12)
    for name in ("hidden 1", "logits"):
        shifts = found.maps[name][0]
        assert_close(shifts, shifts[:1].expand_as(shifts), 1e-12)


@pytest.mark.parametrize("keys", ["network", "features", "inputs"])
def test_the_order_of_the_support_set_does_not_matter(keys: str) -> None:
    learner, tasks = classes(tasks=2)
    meta = initial(build("csn", keys=keys), learner)
    order = torch.tensor([4, 0, 5, 1, 3, 2])
    mixed = replace(tasks, support=tasks.support.examples(order))
    one, other = (predicted(learner, of, meta, keys=keys) for of in (tasks, mixed))
    assert_close(other.outputs, one.outputs, 1e-12)
    assert_close(other.maps["attention"], one.maps["attention"][:, :, order], 1e-12)


def test_values_do_not_depend_on_queries_nor_on_their_labels() -> None:
    learner, tasks = classes(tasks=2)
    algorithm = build("csn")
    meta = initial(algorithm, learner)
    other = replace(tasks, query=Batch(tasks.query.x.flip(1) * 2, (tasks.query.y + 1) % 3))
    model = ShiftedModel(CSNOptions())
    one, two = (model.memory(called(algorithm, learner, of), meta) for of in (tasks, other))
    assert torch.equal(one.logits, two.logits)
    relabelled = replace(tasks, query=Batch(tasks.query.x, (tasks.query.y + 1) % 3))
    assert torch.equal(
        predicted(learner, relabelled, meta).outputs, predicted(learner, tasks, meta).outputs
    )
    wrong = replace(tasks, support=Batch(tasks.support.x, (tasks.support.y + 1) % 3))
    assert not torch.allclose(
        predicted(learner, wrong, meta).outputs, predicted(learner, tasks, meta).outputs
    )


@pytest.mark.parametrize("keys", ["network", "features", "inputs"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shifted", [0, 1, 2])
def test_meta_gradients_are_finite_differences_in_every_group(
    shifted: int, form: str, keys: str
) -> None:
    learner, tasks = classes(tasks=2)
    learner = replace(learner, net=MLP((2, 5, 4, 3), "tanh"))
    algorithm = build("csn", keys=keys, form=form, shifted=shifted)
    meta = initial(algorithm, learner)
    gradients = meta_step(algorithm, learner, meta, tasks).gradients
    generator = torch.Generator().manual_seed(2)
    for group, gradient in gradients.items():
        way = torch.randn(gradient.shape, generator=generator, dtype=DOUBLE)
        ends = []
        for step in (1e-7, -1e-7):  # the value network has kinks
            moved = meta | {group: meta[group] + step * way}
            readings = meta_step(algorithm, learner, moved, tasks).readings
            ends.append(readings["post_query_loss"].mean())
        found = (ends[0] - ends[1]) / 2e-7
        assert abs(float(found - gradient @ way)) <= 1e-6 * float(gradient.norm() * way.norm())
        assert gradient.abs().max() > 0


def test_attention_peaks_at_the_copy_and_the_chart_shows_it() -> None:
    learner = Learner(MLP((3, 4, 3), "relu"), ClassificationLoss())
    algorithm = build("csn", keys="inputs", key_size=3)
    meta = initial(algorithm, learner)
    meta["keys"] = 5 * torch.eye(3, dtype=DOUBLE).flatten()
    support = torch.eye(3, dtype=DOUBLE)[None]
    labels = torch.arange(3)[None]
    tasks = TaskBatch(Batch(support, labels), Batch(support.flip(1), labels.flip(1)))
    context = Context(learner, tasks, 0, ways=3)
    attention, shifts = algorithm.charts(context, meta)
    assert isinstance(attention, HeatMap)
    # Rows and columns are ordered by class: each query is the copy of the example of its class.
    assert attention.values.argmax(1).tolist() == [0, 1, 2]
    assert attention.values.diagonal().min() > 0.999
    assert isinstance(shifts, Bars)
    assert shifts.names == ("hidden 1", "logits")
    maps = predicted(learner, tasks, meta, keys="inputs", key_size=3).maps
    for place, name in enumerate(shifts.names):
        size = float(maps[name].square().mean().sqrt())
        assert shifts.series[0].y[place] == pytest.approx(size, rel=1e-9)
        assert size > 0
    (_, none) = algorithm.charts(context, meta | {"values": 0 * meta["values"]})
    assert isinstance(none, Bars)
    assert not np.any(none.series[0].y)


def test_more_layers_are_shifted_where_they_are_asked_for() -> None:
    for shifted, names in ((0, ()), (1, (4,)), (9, (1, 2, 3, 4))):
        setting = drawings("csn", "support", shifted=shifted)
        maps = (
            adapted(setting)[1]
            .predict(setting.prepare(setting.problem.evaluation_tasks(0, 2)).query, maps=True)
            .maps
        )
        assert set(maps) == {"attention", "logits", *(f"hidden {n}" for n in names)}


def test_other_training_ways_and_networks_without_such_layers_are_refused() -> None:
    config = RunConfig(
        problem="strokes",
        algorithm="csn",
        seed=0,
        steps=1,
        options={"train_ways": 4},
        problem_options={"channels": 2},
        shared=Shared(ways=3, shots=1, query_shots=2),
    )
    with pytest.raises(OptionError) as refused:
        settle(config)
    assert refused.value.field == "csn.train_ways"
    assert str(refused.value).startswith("There is no option csn.train_ways; known: csn.")
    settle(config.model_copy(update={"options": {"train_query": 1}}))
    with pytest.raises(OptionError, match="csn shifts the neurons of fully connected networks"):
        build("csn").fit(Learner(Identity(3), ClassificationLoss()))
