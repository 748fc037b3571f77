"""LEO against the published numbers, its identities, and finite differences."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from metaviz.algorithms.leo import (
    Latent,
    LatentObjective,
    LatentRule,
    Penalties,
    divergence,
    encoder_penalty,
    orthogonality,
)
from metaviz.config.options import OptionError
from metaviz.config.run_config import Shared
from metaviz.meta.context import Context, Meta
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.inner import Graph, descend
from metaviz.meta.learner import Learner
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.linear import Linear
from metaviz.nets.mlp import MLP
from tests.oracle.engine import DOUBLE, ClassificationLoss, assert_close, build, called, features

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "golden" / "leo.json").read_text(encoding="utf-8")
)
CASES = ("one_shot", "two_shot_sum", "two_shot_mean", "one_shot_sampled")
NAMES = ("encoder", "r1", "r2", "r3")
NONE = Penalties(0, 0, 0, 0)
WAYS, D, H = 2, 3, 2


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def case(name: str, penalties: Penalties = NONE) -> tuple[Latent, Learner, Meta, TaskBatch, Any]:
    """The algorithm of two and two steps, with the weights and the task of a case."""
    known = GOLDEN[name]
    weights = {key: tensor(value) for key, value in known["weights"].items()}
    support, query = (
        Batch(tensor(known[f"x_{part}"])[None], torch.tensor(known[f"y_{part}"])[None])
        for part in ("support", "query")
    )
    rule = LatentRule(1.0, 0.1, H, 2)
    learner = Learner(Linear(D, WAYS, bias=False), ClassificationLoss())
    rule.fit(learner.net)
    # The engine's losses are means: where the case sums over S examples, steps are S as large.
    factor = len(known["y_support"]) if known["inner_reduction"] == "sum" else 1
    meta = {
        "encoder": rule.encoder.join({key: weights[key] for key in NAMES}),
        "decoder": rule.decoder.join({"decoder": weights["decoder"]}),
        "rates": torch.cat([weights["lz"], weights["lw"]]) * factor,
    }
    if known["noise"] is not None:
        rule = rule.drawing(tensor(known["noise"])[None])
    algorithm = Latent(rule, LatentObjective(penalties), 4, noise="none")
    return algorithm, learner, meta, TaskBatch(support, query), known


def step(algorithm: Latent, learner: Learner, meta: Meta, tasks: TaskBatch) -> MetaStep:
    return algorithm.meta_gradient(Context(learner, tasks, algorithm.steps, ways=WAYS), meta)


@pytest.mark.parametrize("name", CASES)
def test_the_trace_is_the_published_one(name: str) -> None:
    algorithm, learner, meta, tasks, known = case(name)
    rule = algorithm.rule
    assert isinstance(rule, LatentRule)
    state = rule.start(meta, tasks.support)
    assert_close(state.mean[0], tensor(known["mean"]), 1e-9)
    assert_close(state.std[0], tensor(known["std"]), 1e-9)
    assert_close(state.start[0], tensor(known["z0"]), 1e-9)
    states = list(algorithm.adapt(Context(learner, tasks, 4, ways=WAYS), meta))
    assert len(states) == len(known["trace"]) == 5
    for k, (found, wanted) in enumerate(zip(states, known["trace"], strict=True)):
        assert found.weights is not None
        weights = learner.net.layout.named(found.weights)["head.weight"][0]
        assert_close(weights, tensor(wanted["w"]), 1e-9)
        if "support_loss" in wanted and found.seen is not None:
            assert_close(found.seen.loss, [wanted["support_loss"]], 1e-9)
        if k <= 2 and wanted.get("z") is not None:
            point = descend(rule, learner, meta, tasks.support, k).point
            assert_close(rule.codes(point)[0][0], tensor(wanted["z"]), 1e-9)
    loss = learner.judge.loss(states[-1].predict(tasks.query).outputs, tasks.query)
    assert_close(loss, [known["query_loss"]], 1e-9)


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_all_groups_are_the_published_ones(name: str) -> None:
    algorithm, learner, meta, tasks, known = case(name)
    found = step(algorithm, learner, meta, tasks)
    rule, wanted = algorithm.rule, known["query_loss_gradient"]
    assert isinstance(rule, LatentRule)
    assert_close(found.readings["post_query_loss"], [known["query_loss"]], 1e-9)
    for key, value in rule.encoder.split(found.gradients["encoder"]).items():
        torch.testing.assert_close(value, tensor(wanted[key]), rtol=1e-8, atol=1e-11)
    decoder = rule.decoder.split(found.gradients["decoder"])["decoder"]
    torch.testing.assert_close(decoder, tensor(wanted["decoder"]), rtol=1e-8, atol=1e-11)
    # Rates are S times theirs where losses are summed there.
    factor = len(known["y_support"]) if known["inner_reduction"] == "sum" else 1
    rates = torch.cat([tensor(wanted["lz"]), tensor(wanted["lw"])]) / factor
    torch.testing.assert_close(found.gradients["rates"], rates, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_penalties_are_the_published_ones(name: str) -> None:
    algorithm, learner, meta, tasks, known = case(name)
    rule = algorithm.rule
    assert isinstance(rule, LatentRule)
    columns = rule.decoder.split(meta["decoder"])["decoder"].mT
    assert_close(orthogonality(columns)[None], [known["orthogonality"]], 1e-9)
    square = (meta["encoder"].square().sum() + meta["decoder"].square().sum()) / 2
    assert_close(square[None], [known["l2"]], 1e-9)
    leaves = {key: value.clone().requires_grad_() for key, value in meta.items()}
    end = descend(rule, learner, leaves, tasks.support, 4, Graph.SECOND_ORDER)
    penalty = encoder_penalty(end.state.start, rule.codes(end.point)[0])
    assert_close(penalty.detach(), [known["encoder_penalty"]], 1e-9)
    (gradient,) = torch.autograd.grad(penalty.sum(), leaves["encoder"], retain_graph=True)
    parts = rule.encoder.split(gradient)
    for key, value in known["encoder_penalty_gradient"].items():
        torch.testing.assert_close(parts[key], tensor(value), rtol=1e-8, atol=1e-11)
    if known["kl"] is not None:
        assert_close(divergence(end.state).detach(), [known["kl"]], 1e-9)


@pytest.mark.parametrize("group", ["encoder", "decoder", "rates"])
def test_the_meta_gradient_with_penalties_is_that_of_central_differences(group: str) -> None:
    penalties = Penalties(0.0, 0.0, 0.03, 0.05)
    algorithm, learner, meta, tasks, _ = case("two_shot_mean", penalties)
    found = step(algorithm, learner, meta, tasks)
    rule = algorithm.rule
    assert isinstance(rule, LatentRule)

    def objective(flat: Tensor) -> Tensor:
        moved = {**meta, group: flat}
        loss = step(algorithm, learner, moved, tasks).readings["post_query_loss"][0]
        square = (moved["encoder"].square().sum() + moved["decoder"].square().sum()) / 2
        columns = rule.decoder.split(moved["decoder"])["decoder"].mT
        return loss + penalties.decay * square + penalties.orthogonal * orthogonality(columns)

    at, wanted = meta[group], torch.zeros_like(meta[group])
    for place in range(at.numel()):
        moved = torch.zeros_like(at)
        moved[place] = 1e-6
        wanted[place] = (objective(at + moved) - objective(at - moved)) / 2e-6
    torch.testing.assert_close(found.gradients[group], wanted, rtol=1e-5, atol=1e-8)


def test_without_steps_it_is_a_network_that_makes_weights() -> None:
    algorithm, learner, meta, tasks, _ = case("two_shot_mean")
    rule = algorithm.rule
    assert isinstance(rule, LatentRule)
    (state,) = algorithm.adapt(Context(learner, tasks, 0, ways=WAYS), meta)
    z = rule.start(meta, tasks.support).mean
    decoder = rule.decoder.split(meta["decoder"])["decoder"][:D]
    assert_close(state.predict(tasks.query).outputs, tasks.query.x @ (z @ decoder.mT).mT, 1e-12)
    still = {**meta, "rates": torch.zeros_like(meta["rates"])}
    losses = step(algorithm, learner, still, tasks).support_loss[:, 0]
    assert_close(losses, losses[:1].expand(5), 1e-12)


def test_a_decoder_that_is_the_identity_makes_latent_steps_steps_of_weights() -> None:
    _, learner, _, tasks, _ = case("one_shot")
    rule = LatentRule(0.3, 0.3, D, 4)
    rule.fit(learner.net)
    eye = torch.cat([torch.eye(D, dtype=DOUBLE), torch.zeros(D, D, dtype=DOUBLE)])
    meta = rule.init(learner.net, torch.Generator().manual_seed(0))
    meta["decoder"] = rule.decoder.join({"decoder": eye})
    on_codes = descend(rule, learner, meta, tasks.support, 4).point
    rule.latent = 0
    on_weights = descend(rule, learner, meta, tasks.support, 4).point
    one, other = (
        learner.net.layout.named(rule.decode(meta, point))["head.weight"]
        for point in (on_codes, on_weights)
    )
    assert_close(one, other, 1e-10)


def test_order_of_shots_does_not_matter_and_classes_carry_their_codes_along() -> None:
    algorithm, _, meta, tasks, _ = case("two_shot_mean")
    rule = algorithm.rule
    assert isinstance(rule, LatentRule)
    z = rule.start(meta, tasks.support).mean
    order = torch.tensor([3, 1, 0, 2])
    assert_close(rule.start(meta, tasks.support.examples(order)).mean, z, 1e-12)
    renamed = Batch(tasks.support.x, 1 - tasks.support.y)
    assert_close(rule.start(meta, renamed).mean, z.flip(1), 1e-12)


def test_codes_are_drawn_by_task_while_training_alone() -> None:
    learner, tasks = features()
    noisy, plain = build("leo"), build("leo", noise="none")
    meta = noisy.init(learner, torch.Generator().manual_seed(0))
    context = called(noisy, learner, tasks)
    one, again = (noisy.meta_gradient(context, meta) for _ in range(2))
    assert torch.equal(one.gradients["encoder"], again.gradients["encoder"])
    other = plain.meta_gradient(context, meta)
    assert not torch.allclose(one.gradients["encoder"], other.gradients["encoder"])
    part = noisy.meta_gradient(context[1:3], meta)
    assert_close(part.readings["post_query_loss"], one.readings["post_query_loss"][1:3], 1e-10)
    ends = [list(made.adapt(context, meta))[-1].predict(tasks.query) for made in (noisy, plain)]
    assert torch.equal(ends[0].outputs, ends[1].outputs)


def test_other_networks_are_refused() -> None:
    learner = Learner(MLP((3, 4, 2)), ClassificationLoss())
    with pytest.raises(OptionError, match="features problem"):
        build("leo").init(learner, torch.Generator())


def by_hand(
    context: Context, rule: LatentRule, meta: Meta, dropout: float
) -> tuple[Tensor, Tensor]:
    """The official program's objective of the first task, a draw a class, and its query loss."""
    draws, tasks = context.draws, context.tasks
    n, h, d, latent = rule.ways, rule.h, rule.d, rule.latent

    def normal(purpose: str, *shape: int) -> Tensor:
        drawn = torch.from_numpy(draws.of(purpose, 0, torch.Size(shape).numel()))[0]
        return torch.distributions.Normal(0.0, 1.0).icdf(drawn).view(shape)

    def dropped(x: Tensor, purpose: str) -> Tensor:
        drawn = torch.from_numpy(draws.of(f"dropout {purpose}", 0, x.numel()))[0].view(x.shape)
        return torch.where(drawn < dropout, 0.0, x / (1 - dropout))

    x, y, query = tasks.support.x[0], tasks.support.y[0], tasks.query.x[0]
    params = rule.encoder.split(meta["encoder"])
    decoder = rule.decoder.split(meta["decoder"])["decoder"]
    lz, lw = meta["rates"].split([h, d])
    e = dropped(x, "encoder") @ params["encoder"].T
    found = []
    for i in range(len(e)):
        pairs = torch.stack([torch.cat([e[i], e[j]]) for j in range(len(e))])
        hidden = torch.relu(torch.relu(pairs @ params["r1"].T) @ params["r2"].T)
        found.append((hidden @ params["r3"].T).mean(0))
    stacked = torch.stack(found)
    mean, u = torch.stack([stacked[y == c].mean(0) for c in range(n)]).split(h, 1)
    std = torch.clamp(u.exp() - 1, min=1e-10)
    noise = normal("codes", n, h)
    z = start = mean + std * noise
    eps = normal("weights", latent + 1, n, d)

    def weights(z: Tensor, k: int) -> Tensor:
        average, spread = (z @ decoder.T).split(d, 1)
        return average + torch.clamp(spread.exp() - 1 + (2 / (n + d)) ** 0.5, min=1e-10) * eps[k]

    def loss(w: Tensor, k: int) -> Tensor:
        return torch.nn.functional.cross_entropy(dropped(x, f"step {k}") @ w.T, y)

    for k in range(latent):
        (slope,) = torch.autograd.grad(loss(weights(z, k), k), z, create_graph=True)
        z = z - lz * slope
    w = weights(z, latent)
    for k in range(latent, context.steps):
        (slope,) = torch.autograd.grad(loss(w, k), w, create_graph=True)
        w = w - lw * slope
    answer = torch.nn.functional.cross_entropy(dropped(query, "query") @ w.T, tasks.query.y[0])
    prior = torch.distributions.Normal(0.0, 1.0)
    kl = prior.log_prob(noise) - std.log() - prior.log_prob(start)
    return answer + kl.mean(), answer


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_official_noise_and_dropout_are_those_of_a_plain_program(dropout: float) -> None:
    learner, tasks = features(tasks=2)
    options = {"noise": "official", "dropout": dropout, "size": 4, "latent_steps": 2}
    none = {"encoder_weight": 0, "decay_weight": 0, "orthogonal_weight": 0, "code_weight": 1}
    algorithm = build("leo", Shared(inner_lr=0.3, inner_steps=4), **options, **none)
    rule = algorithm.rule
    assert isinstance(rule, LatentRule)
    meta = algorithm.init(learner, torch.Generator().manual_seed(3))
    meta["decoder"] = 0.7 * meta["decoder"]
    context = called(algorithm, learner, tasks)[:1]
    found = algorithm.meta_gradient(context, meta)
    leaves = {name: value.clone().requires_grad_() for name, value in meta.items()}
    objective, answer = by_hand(context, rule, leaves, dropout)
    assert_close(found.readings["post_query_loss"], answer.detach()[None], 1e-10)
    names = list(leaves)
    slopes = torch.autograd.grad(objective, [leaves[name] for name in names])
    for name, slope in zip(names, slopes, strict=True):
        torch.testing.assert_close(found.gradients[name], slope, rtol=1e-8, atol=1e-10)
        assert slope.any()


def test_evaluation_draws_nothing_whatever_the_noise() -> None:
    learner, tasks = features()
    kinds = [
        build("leo", noise=noise, dropout=share)
        for noise, share in (("none", 0.0), ("official", 0.4))
    ]
    meta = kinds[0].init(learner, torch.Generator().manual_seed(0))
    ends = [
        list(made.adapt(called(made, learner, tasks), meta))[-1].predict(tasks.query).outputs
        for made in kinds
    ]
    assert torch.equal(*ends)
    part = kinds[1].meta_gradient(called(kinds[1], learner, tasks)[1:3], meta)
    whole = kinds[1].meta_gradient(called(kinds[1], learner, tasks), meta)
    assert_close(part.readings["post_query_loss"], whole.readings["post_query_loss"][1:3], 1e-10)
