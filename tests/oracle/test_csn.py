"""CSN: published numbers, no shift without values, order of the support set, a head."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from metaviz.algorithms.episodic.csn import CSNModel, CSNOptions
from metaviz.config.options import OptionError
from metaviz.meta.context import Meta
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import Prediction
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.identity import Identity
from metaviz.nets.mlp import MLP
from tests.oracle.engine import ClassificationLoss, assert_close, build, called, initial
from tests.oracle.episodes import double, golden

PUBLISHED = golden("csn")
OPTIONS: dict[str, Any] = {"width": 3, "depth": 1, "keys": "examples", "key_size": 2}
NET = MLP((3, 4, 3))


def tasks() -> TaskBatch:
    inputs = PUBLISHED["inputs"]
    x = [double(inputs[f"z_{part}"]).unsqueeze(0) for part in ("support", "query")]
    y = [torch.tensor(inputs[f"y_{part}"]).unsqueeze(0) for part in ("support", "query")]
    return TaskBatch(Batch(x[0], y[0]), Batch(x[1], y[1]))


def meta() -> Meta:
    net, value = PUBLISHED["net"], PUBLISHED["value_net"]
    model = CSNModel(CSNOptions(**OPTIONS))
    parts = {
        f"{part}{number}.{kind}": double(stored[f"{letter}{number}"])
        for part, stored in (("layer", net), ("linear", value))
        for number in (1, 2)
        for kind, letter in (("weight", "w"), ("bias", "b"))
    }
    return {
        "init": NET.layout.join(parts),
        "values": model.value_layout(NET).join(parts),
        "keys": model.key_layout(NET).join({"key.weight": double(PUBLISHED["key_matrix"])}),
    }


def found(given: TaskBatch, weights: Meta) -> Prediction:
    algorithm = build("csn", **OPTIONS)
    learner = Learner(NET, ClassificationLoss())
    (state,) = algorithm.adapt(called(algorithm, learner, given), weights)
    return state.predict(given.query, maps=True)


def plain(given: TaskBatch) -> Tensor:
    return NET(meta()["init"].unsqueeze(0), given.query.x)


def test_golden_errors_memory_attention_shifts_and_logits() -> None:
    prediction = found(tasks(), meta())
    for name, stored in (
        ("errors", "logit_gradients"),
        ("values", "values_hidden"),
        ("values_logits", "values_logits"),
        ("attention", "attention"),
        ("shift", "shift_hidden"),
        ("shift_logits", "shift_logits"),
    ):
        assert_close(prediction.maps[name][0], PUBLISHED[stored], 1e-9)
    assert_close(prediction.outputs[0], PUBLISHED["query_logits_paper"], 1e-9)


def test_without_values_nothing_is_shifted() -> None:
    weights = meta()
    weights["values"] = torch.zeros_like(weights["values"])
    assert_close(found(tasks(), weights).outputs, plain(tasks()), 1e-12)
    assert not torch.allclose(found(tasks(), meta()).outputs, plain(tasks()), rtol=1e-2)


def test_one_support_example_shifts_all_queries_alike() -> None:
    given = tasks()
    one = TaskBatch(given.support.examples(slice(0, 1)), given.query)
    shift = found(one, meta()).maps["shift_logits"][0]
    assert_close(shift, shift[:1].expand(4, 3), 1e-13)


def test_support_examples_may_come_in_any_order() -> None:
    given, order = tasks(), torch.tensor([4, 0, 5, 1, 3, 2])
    mixed = replace(given, support=given.support.examples(order))
    assert_close(found(mixed, meta()).outputs, found(given, meta()).outputs, 1e-12)


def test_the_memory_does_not_depend_on_queries_nor_on_their_labels() -> None:
    given = tasks()
    other = replace(given, query=Batch(given.query.x + 1, (given.query.y + 1) % 3))
    one, two = (found(each, meta()).maps for each in (given, other))
    assert torch.equal(one["values"], two["values"])
    assert not torch.equal(one["attention"], two["attention"])
    wrong = replace(given, query=Batch(given.query.x, (given.query.y + 1) % 3))
    assert torch.equal(found(wrong, meta()).outputs, found(given, meta()).outputs)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_value_networks_have_the_layers_asked_for(depth: int) -> None:
    layout = CSNModel(CSNOptions(depth=depth, width=20)).value_layout(NET)
    sizes = [shape for name, shape in layout.shapes if name.endswith("weight")]
    assert sizes == [(20, 3), *[(20, 20)] * (depth - 1), (1, 20)]


def test_a_network_without_a_head_is_refused() -> None:
    learner = Learner(Identity(3), ClassificationLoss())
    with pytest.raises(OptionError, match="this network has none: choose another"):
        initial(build("csn"), learner)
