"""Relation networks: published numbers, the constant answer, the module on maps."""

import pytest
import torch

from metaviz.algorithms.episodic.relation import RelationModule
from metaviz.nets.conv4 import Conv4
from metaviz.nets.identity import Identity
from tests.oracle.engine import assert_close, build
from tests.oracle.episodes import Episode, double, drawn, episode_of, golden

PUBLISHED = golden("relation")
HIDDEN = {"hidden": 4}


def published() -> Episode:
    head = PUBLISHED["head"]
    weights = RelationModule(Identity(3), 4).layout.join(
        {
            "linear1.weight": double(head["w1"]),
            "linear1.bias": double(head["b1"]),
            "linear2.weight": double(head["w2"]),
            "linear2.bias": double(head["b2"]),
        }
    )
    episode = episode_of(PUBLISHED["inputs"], "relation")
    inputs = (episode.support, episode.support_y, episode.query, episode.query_y)
    return Episode(*inputs, "relation", {"relation": weights})


def test_golden_scores_and_losses() -> None:
    episode = published()
    for found in (episode.found(**HIDDEN), episode.on_identity(**HIDDEN)):
        assert_close(found.maps["classes"][0], PUBLISHED["class_features"], 1e-9)
        assert_close(found.outputs[0].sigmoid(), PUBLISHED["scores"], 1e-9)
    readings = episode.step(**HIDDEN).readings
    assert float(readings["training_objective"]) == pytest.approx(PUBLISHED["loss_mse"], abs=1e-9)
    assert float(readings["post_query_loss"]) == pytest.approx(
        PUBLISHED["loss_ce_on_raw"], abs=1e-9
    )
    assert "training_objective" not in episode.step(loss="cross_entropy", **HIDDEN).readings


def test_golden_derivative_by_the_raw_scores() -> None:
    """The last bias is added to all raw scores: its derivative is the sum of theirs."""
    gradient = published().step(**HIDDEN).gradients["relation"]
    total = double(PUBLISHED["grad_of_loss_by_raw_score"]).sum()
    assert float(gradient[-1]) == pytest.approx(float(total), abs=1e-9)
    # The layer before: hidden units (queries, classes, 4), of the published inputs.
    layout = RelationModule(Identity(3), 4).layout
    head, episode = PUBLISHED["head"], published()
    classes = double(PUBLISHED["class_features"])
    pairs = torch.cat([classes.expand(4, 3, 3), episode.query.unsqueeze(1).expand(4, 3, 3)], 2)
    hidden = torch.relu(pairs @ double(head["w1"]).mT + double(head["b1"]))
    by_score = double(PUBLISHED["grad_of_loss_by_raw_score"])
    expected = (by_score.unsqueeze(2) * hidden).sum((0, 1))
    assert_close(layout.split(gradient)["linear2.weight"][0], expected, 1e-9)


def test_a_class_is_the_sum_of_its_shots() -> None:
    episode = drawn(shots=2, method="relation")
    classes = episode.found().maps["classes"][0]
    expected = torch.stack([episode.support[episode.support_y == n].sum(0) for n in range(3)])
    assert_close(classes, expected, 1e-14)


def test_a_constant_answer_costs_most_a_sixth_with_five_ways() -> None:
    """With score s everywhere the loss is (1 - s)^2 / N + (N - 1) s^2 / N, least at s = 1/N."""
    episode = drawn(ways=5, shots=1, method="relation")
    layout = RelationModule(Identity(4), 8).layout
    for score, loss in ((0.2, 0.16), (0.5, 0.25)):
        params = layout.split(torch.zeros(layout.size, dtype=torch.float64))
        params["linear2.bias"] = torch.logit(double([score]))
        constant = Episode(
            *(episode.support, episode.support_y, episode.query, episode.query_y),
            *("relation", {"relation": layout.join(params)}),
        )
        found = float(constant.step().readings["training_objective"])
        assert found == pytest.approx(loss, abs=1e-12)


@pytest.mark.parametrize(
    ("image", "side", "padding", "linear"), [(28, 1, 1, 64), (84, 5, 1, 64), (224, 14, 0, 256)]
)
def test_the_module_fits_the_maps_of_the_network(
    image: int, side: int, padding: int, linear: int
) -> None:
    net = Conv4(64, 5, 1, image)
    assert net.feature_shape == (64, side, side)
    module = RelationModule(net, 8)
    assert module.padding == padding
    assert dict(module.layout.shapes)["linear1.weight"] == (8, linear)
    weights = module.init(torch.Generator().manual_seed(0))
    params = module.layout.for_tasks(weights.unsqueeze(0), 2)
    generator = torch.Generator().manual_seed(1)
    classes, z = (
        torch.randn(2, n, 64 * side**2, generator=generator, dtype=torch.float64) for n in (3, 4)
    )
    assert module(params, classes, z, None).shape == (2, 4, 3)


def test_the_module_is_a_plain_network_on_maps() -> None:
    """The same by PyTorch's own layers, one task, statistics of all pairs of queries."""
    net = Conv4(4, 5, 1, 84)
    module = RelationModule(net, 8)
    weights = module.init(torch.Generator().manual_seed(0))
    params = module.layout.split(weights + 0.01 * torch.arange(len(weights)) / len(weights))
    generator = torch.Generator().manual_seed(1)
    classes, z = (torch.randn(n, 4, 5, 5, generator=generator, dtype=torch.float64) for n in (3, 6))
    by_task = module.layout.for_tasks(
        {name: value.unsqueeze(0) for name, value in params.items()}, 1
    )
    found = module(by_task, classes.flatten(1).unsqueeze(0), z.flatten(1).unsqueeze(0), None)
    functional = torch.nn.functional
    count = (6, 3, -1, -1, -1)
    x = torch.cat([classes.unsqueeze(0).expand(count), z.unsqueeze(1).expand(count)], 2)
    x = x.flatten(0, 1)
    for name in ("conv1", "conv2"):
        x = functional.conv2d(x, params[f"{name}.weight"], params[f"{name}.bias"], padding=1)
        scale, shift = (params[f"{name}.norm.{kind}"] for kind in ("gamma", "beta"))
        x = functional.batch_norm(x, None, None, scale, shift, training=True, eps=1e-5)
        x = functional.max_pool2d(x.relu(), 2)
    assert x.shape[1:] == (64, 1, 1)
    x = functional.linear(x.flatten(1), params["linear1.weight"], params["linear1.bias"]).relu()
    x = functional.linear(x, params["linear2.weight"], params["linear2.bias"])
    assert_close(found[0], x.view(6, 3), 1e-10)


def test_weights_start_as_the_authors_draw_them() -> None:
    module = RelationModule(Conv4(64, 5, 1, 84), 8)
    params = module.layout.split(module.init(torch.Generator().manual_seed(0)))
    assert float(params["conv1.weight"].std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert float(params["linear1.weight"].std()) == pytest.approx(0.01, rel=0.1)
    assert (params["linear1.bias"] == 1).all()
    assert (params["conv1.bias"] == 0).all()
    assert (params["conv1.norm.gamma"] == 1).all()
    assert (params["conv1.norm.beta"] == 0).all()
    assert build("relation").trained() == {"init", "relation"}


def test_on_maps_of_one_pixel_weights_start_by_what_is_seen_of_them() -> None:
    module = RelationModule(Conv4(64, 5, 1, 28), 8)
    params = module.layout.split(module.init(torch.Generator().manual_seed(0)))
    assert float(params["conv1.weight"].std()) == pytest.approx((2 / 128) ** 0.5, rel=0.02)
    assert float(params["linear1.weight"].std()) == pytest.approx(1 / 8, rel=0.1)
