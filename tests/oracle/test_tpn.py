"""TPN: published numbers, the series, a chain of examples, who sees whom."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from metaviz.algorithms.episodic.tpn import LengthScales
from metaviz.config.options import OptionError
from metaviz.nets.conv4 import Conv4
from metaviz.nets.identity import Identity
from tests.oracle.engine import DOUBLE, assert_close, build, called, shared
from tests.oracle.episodes import Episode, double, drawn, golden

PUBLISHED = golden("tpn")
INPUTS = PUBLISHED["inputs"]
CASES: dict[str, dict[str, Any]] = {
    "k2": {"k": 2},
    "k20": {"k": 20},
    "k20_without_self_loops": {"self_loops": False},
}


def published() -> Episode:
    """The published graph, its embeddings divided by their length scales already."""
    nodes = double(INPUTS["z"]) / double(INPUTS["sigma"]).unsqueeze(1)
    labels, answers = torch.tensor(INPUTS["y_support"]), torch.tensor(INPUTS["y_query"])
    return Episode(nodes[:2], labels, nodes[2:], answers, "tpn")


@pytest.mark.parametrize("case", CASES)
def test_golden_graph_propagation_and_loss(case: str) -> None:
    expected, options = PUBLISHED["cases"][case], {"sigma": 1, **CASES[case]}
    assert INPUTS["alpha"] == 0.99
    episode = published()
    for found in (episode.found(**options), episode.on_identity(**options)):
        maps = {name: value[0] for name, value in found.maps.items()}
        assert_close(maps["weights"], expected["weights"], 1e-9)
        assert_close(maps["spreading"] / 0.99, expected["normalised"], 1e-9)
        assert_close(maps["labels"], expected["labels"], 1e-15)
        assert_close(maps["propagated"], expected["propagated"], 1e-9)
        assert_close(found.outputs[0], expected["propagated"][2:], 1e-9)
        shares = torch.softmax(found.outputs[0], 1)
        assert_close(shares, expected["probabilities"][2:], 1e-9)
    readings = episode.step(**options).readings
    assert float(readings["training_objective"]) == pytest.approx(
        expected["loss_all_nodes"], abs=1e-9
    )
    loss = float(readings["post_query_loss"])
    assert loss == pytest.approx(expected["loss_queries_only"], abs=1e-9)


def test_golden_derivatives_by_embeddings_and_length_scales() -> None:
    """Nodes are u = z / sigma, so that dL/dz = dL/du / sigma, dL/dsigma = -dL/du . z / sigma^2."""
    by_nodes = torch.cat(published().gradients(sigma=1))
    z, sigma = double(INPUTS["z"]), double(INPUTS["sigma"]).unsqueeze(1)
    expected = PUBLISHED["gradients_k20"]
    assert_close(by_nodes / sigma, expected["by_z"], 1e-9)
    assert_close(-(by_nodes * z / sigma**2).sum(1), expected["by_sigma"], 1e-9)
    loss = float(published().step(sigma=1).readings["training_objective"])
    assert loss == pytest.approx(expected["loss"], abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_the_series_of_published_errors_comes_to_the_same(case: str) -> None:
    maps = published().found(sigma=1, **CASES[case]).maps
    spreading, labels = maps["spreading"][0], maps["labels"][0]
    total = term = labels
    errors = PUBLISHED["cases"][case]["series_error_after"]
    for number in range(3001):
        if str(number) in errors:
            error = float((total - maps["propagated"][0]).abs().max())
            assert error == pytest.approx(errors[str(number)], abs=1e-9), number
        term = spreading @ term
        total = total + term


def test_half_of_alpha_needs_few_terms() -> None:
    maps = drawn(method="tpn").found(sigma=1, alpha=0.5).maps
    total = term = maps["labels"][0]
    for _ in range(60):
        term = maps["spreading"][0] @ term
        total = total + term
    assert_close(maps["propagated"][0], total, 1e-14)


def test_spreading_keeps_the_square_roots_of_degrees() -> None:
    maps = drawn(method="tpn").found(sigma=1, k=3).maps
    degrees = maps["weights"][0].sum(1).sqrt()
    assert_close(maps["spreading"][0] / 0.99 @ degrees, degrees, 1e-13)
    largest = torch.linalg.eigvalsh(maps["spreading"][0] / 0.99).max()
    assert float(largest) == pytest.approx(1, abs=1e-13)


def chain(length: int = 9) -> Episode:
    """Examples in a row, a label at each end: each step away is one apart, but for a gap."""
    at = torch.arange(length, dtype=torch.float64)
    at = at + (at > length // 2)
    places = torch.stack([at, 0 * at], 1)
    support = places[[0, -1]]
    answers = (torch.arange(1, length - 1) > length // 2).long()
    return Episode(support, torch.tensor([0, 1]), places[1:-1], answers, "tpn")


def test_labels_spread_along_a_chain() -> None:
    """Near neighbours alone are joined, so that labels go from one to the next up to the gap."""
    episode = chain()
    outputs = episode.outputs(sigma=0.3, k=3)
    assert torch.equal(outputs.argmax(1), episode.query_y)
    right = outputs[range(7), episode.query_y]
    assert (right[:3].diff() < 0).all()
    assert (right[-3:].diff() > 0).all()
    by_prototypes = replace(episode, method="protonet").outputs().argmax(1)
    assert torch.equal(by_prototypes[:3], torch.zeros(3, dtype=torch.int64))


def test_alike_embeddings_get_alike_answers() -> None:
    support = torch.ones(4, 3, dtype=torch.float64)
    episode = Episode(support, torch.tensor([0, 1, 0, 0]), support, torch.zeros(4).long(), "tpn")
    outputs = episode.outputs(sigma=1)
    assert_close(outputs, outputs[:1].expand(4, 2), 1e-13)
    assert (outputs[:, 0] > outputs[:, 1]).all()


def test_queries_in_another_order_get_their_own_answers() -> None:
    episode, order = drawn(method="tpn"), torch.tensor([3, 0, 4, 1, 2])
    mixed = replace(episode, query=episode.query[order], query_y=episode.query_y[order])
    assert_close(mixed.outputs(sigma=1, k=4), episode.outputs(sigma=1, k=4)[order], 1e-12)


def test_more_neighbours_than_examples_are_all() -> None:
    episode = drawn(method="tpn")
    assert torch.equal(episode.outputs(sigma=1, k=20), episode.outputs(sigma=1, k=11))
    assert torch.equal(episode.outputs(sigma=1), episode.outputs(sigma=1, k=11))
    assert not torch.allclose(episode.outputs(sigma=1, k=3), episode.outputs(sigma=1))


def test_too_many_neighbours_are_refused_before_training() -> None:
    small = shared(ways=3, shots=1, query_shots=2)
    assert build("tpn", small, k=9)
    with pytest.raises(OptionError, match=r"tpn\.k = 10 is more than the 9 support and query"):
        build("tpn", small, k=10)
    with pytest.raises(OptionError, match="use at most 6, or leave it empty"):
        build("tpn", small, k=9, train_ways=2)


def test_a_learned_alpha_starts_where_it_is_told_and_is_learned() -> None:
    episode = drawn(method="tpn")
    fixed, learned = (episode.outputs(sigma=1, alpha=0.7, learn_alpha=on) for on in (False, True))
    assert_close(learned, fixed, 1e-12)
    assert episode.step(sigma=1, learn_alpha=True).gradients["alpha"].abs() > 0


def test_one_length_scale_for_all_divides_embeddings() -> None:
    episode = drawn(method="tpn")
    shorter = replace(episode, support=episode.support / 3, query=episode.query / 3)
    assert_close(episode.outputs(sigma=3), shorter.outputs(sigma=1), 1e-12)


@pytest.mark.parametrize(("image", "side", "count"), [(28, 1, 37_660), (84, 5, 37_684)])
def test_length_scales_are_a_plain_network_on_maps(image: int, side: int, count: int) -> None:
    """The authors' network by PyTorch's own layers; odd sides are halved upwards."""
    module = LengthScales(Conv4(64, 5, 1, image))
    assert module.layout.size == count
    weights = module.init(torch.Generator().manual_seed(0)).unsqueeze(0)
    params = module.layout.split(weights)
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(6, 64, side, side, generator=generator, dtype=torch.float64)
    functional = torch.nn.functional
    x = z
    for name in ("conv1", "conv2"):
        x = functional.conv2d(x, params[f"{name}.weight"][0], padding=1)
        scale, shift = (params[f"{name}.norm.{kind}"][0] for kind in ("gamma", "beta"))
        x = functional.batch_norm(x, None, None, scale, shift, training=True, eps=1e-5).relu()
        x = functional.max_pool2d(x, 2, ceil_mode=True)
    for name in ("linear1", "linear2"):
        x = functional.linear(x.flatten(1), params[f"{name}.weight"][0], params[f"{name}.bias"][0])
        x = x.relu() if name == "linear1" else x
    found = module(module.layout.for_tasks(weights, 1), z.flatten(1).unsqueeze(0), None)
    assert_close(found[0], (x.square() + 1e-6).sqrt(), 1e-10)


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_length_scales_close_to_zero_leave_everything_finite(
    dtype: torch.dtype, *, self_loops: bool
) -> None:
    """In float32 squares of 10^9 differ from themselves by 100; the way to oneself is 0."""
    episode = drawn(width=64, method="tpn")
    long = replace(episode, support=episode.support.to(dtype), query=episode.query.to(dtype))
    found = long.found(sigma=1e-5, self_loops=self_loops)
    assert (found.maps["weights"][0].diagonal() == float(self_loops)).all()
    step = long.step(sigma=1e-5, self_loops=self_loops)
    assert found.outputs.isfinite().all()
    assert step.gradients["init"].isfinite().all()
    layout = LengthScales(Identity(64)).layout
    zero = replace(long, own={"sigma": torch.zeros(layout.size, dtype=dtype)})
    step = zero.step(self_loops=self_loops)
    assert step.readings["training_objective"].isfinite().all()
    assert all(gradient.isfinite().all() for gradient in step.gradients.values())


def test_a_learned_alpha_never_makes_the_graph_singular() -> None:
    """I - S has the eigenvalue 0; a large logit of alpha rounds to 1."""
    episode = drawn(method="tpn")
    largest = build("tpn", sigma=1.0, alpha=0.999_999)
    learned = build("tpn", sigma=1.0, learn_alpha=True)
    meta = episode.meta(sigma=1.0)
    context = called(largest, episode.learner, episode.tasks)
    wanted = largest.model.predict(context, meta, episode.tasks.query).outputs
    far = {**meta, "alpha": torch.full((1,), 100.0, dtype=DOUBLE)}
    found = learned.model.predict(context, far, episode.tasks.query).outputs
    assert_close(found, wanted, 1e-6)
