"""Ways to normalise against PyTorch's own layers, and meta-gradients by finite differences."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from torch import Tensor

from metaviz.algorithms.registry import ALGORITHMS
from metaviz.meta.algorithm import Algorithm, CannotTrainError, Composed
from metaviz.meta.context import Meta
from metaviz.meta.estimators import Implicit, PenalisedEnd, StartPenalty
from metaviz.meta.learner import Learner
from metaviz.meta.predictor import one_by_one
from metaviz.meta.rules import ProximalDescent
from metaviz.meta.solvers import conjugate_gradient
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.conv4 import Conv4, Pooling
from metaviz.nets.mlp import MLP
from metaviz.nets.normalisation import Norm
from metaviz.problems.normalising import paired
from tests.oracle.engine import ClassificationLoss, assert_close, build, meta_step, shared, sinusoid

TASKS, WAYS, SIDE = 3, 3, 16
POOLINGS: tuple[Pooling, ...] = ("max", "stride")
NORMS = [
    Norm(statistics, affine, eps=eps)
    for statistics, affine, eps in product(
        ("batch", "support", "group"), ("both", "beta"), (1e-5, 1e-3)
    )
]
LOOPS = [
    name
    for name, known in ALGORITHMS.items()
    if known.entry.traits.has_inner_loop and "features" not in known.entry.needs
]
RESTLESS = {"reptile", "warpgrad", "mirror", "metalstm"}


def learner(norm: Norm, pooling: Pooling = "stride", channels: int = 10) -> Learner:
    return Learner(Conv4(channels, WAYS, 2, SIDE, pooling, norm), ClassificationLoss())


def tasks(norm: Norm, query: int = 2) -> TaskBatch:
    """Draw tasks without equal pixels; the query set is not of the support set's size."""
    generator = torch.Generator().manual_seed(5)
    sets = []
    for examples in (WAYS, query * WAYS):
        x = torch.randn(TASKS, examples, 2, SIDE, SIDE, generator=generator, dtype=torch.float64)
        sets.append(Batch(x, (torch.arange(examples) % WAYS).expand(TASKS, -1)))
    return paired(sets[0], sets[1], norm.statistics)


def weights(net: Conv4, count: int = TASKS) -> Tensor:
    """Draw weights (count, P) that differ between tasks, gammas of both signs among them."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(count, net.layout.size, generator=generator, dtype=torch.float64)
    flat = net.init(generator) + 0.1 * noise
    for name, view in net.layout.split(flat).items():
        if name.endswith("gamma"):
            view[:, 1::2].neg_()
    return flat


def plain(net: Conv4, flat: Tensor, x: Tensor, beside: Tensor) -> Tensor:
    """Logits of one task by PyTorch's own layers, in the order of the papers."""
    p, norm = net.layout.split(flat), net.norm
    for block in range(1, 5):
        gamma, beta = p.get(f"norm{block}.gamma"), p[f"norm{block}.beta"]

        def convolved(maps: Tensor, block: int = block) -> Tensor:
            weight, bias = p[f"conv{block}.weight"], p[f"conv{block}.bias"]
            if net.pooling == "max":
                return F.conv2d(maps, weight, bias, padding=1)
            # SAME padding of even sides.
            return F.conv2d(F.pad(maps, (0, 1, 0, 1)), weight, bias, stride=2)

        def finished(maps: Tensor) -> Tensor:
            maps = F.relu(maps)
            return F.max_pool2d(maps, 2) if net.pooling == "max" else maps

        def by_batch(maps: Tensor, gamma: Any = gamma, beta: Tensor = beta) -> Tensor:
            return F.batch_norm(maps, None, None, gamma, beta, training=True, eps=norm.eps)

        u = convolved(x)
        if norm.statistics == "batch":
            x = by_batch(u)
        elif norm.statistics == "group":
            x = F.group_norm(u, 5, torch.ones(10).to(u) if gamma is None else gamma, beta, norm.eps)
        else:
            v = convolved(beside)
            mean, variance = v.mean((0, 2, 3)), v.var((0, 2, 3), correction=0)
            x = by_known(u, mean, variance, gamma, beta, norm.eps)
            beside = finished(by_batch(v))
        x = finished(x)
    x = x.flatten(1) if net.pooling == "max" else x.mean((2, 3))
    return F.linear(x, p["head.weight"], p["head.bias"])


def by_known(
    u: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor | None, beta: Tensor, eps: float
) -> Tensor:
    """BatchNorm in evaluation, which PyTorch does not differentiate by its statistics."""
    if not torch.is_grad_enabled():
        return F.batch_norm(u, mean, variance, gamma, beta, training=False, eps=eps)
    mean, deviation, beta = (t[:, None, None] for t in (mean, (variance + eps).sqrt(), beta))
    standard = (u - mean) / deviation
    return (standard if gamma is None else standard * gamma[:, None, None]) + beta


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_query_logits_and_gradients_equal_plain_layers(norm: Norm, pooling: Pooling) -> None:
    judge = learner(norm, pooling)
    net, drawn = judge.net, tasks(norm)
    assert isinstance(net, Conv4)
    gammas = sum(name.endswith("gamma") for name, _ in net.layout.shapes)
    assert gammas == (4 if norm.affine == "both" else 0)
    flat = weights(net).requires_grad_()
    ours = judge.outputs(flat, drawn.query)
    each = list(zip(flat, drawn.query.x, drawn.support.x, strict=True))
    with torch.no_grad():
        assert_close(ours, torch.stack([plain(net, *one) for one in each]), 1e-10)
    oracle = torch.stack([plain(net, *one) for one in each])
    found, expected = (
        torch.autograd.grad(F.cross_entropy(logits.mT, drawn.query.y), flat)[0]
        for logits in (ours, oracle)
    )
    assert_close(found, expected, 1e-9)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("statistics", ["batch", "support", "group"])
def test_only_batch_statistics_make_predictions_depend_on_company(
    statistics: Any, pooling: Pooling
) -> None:
    norm = Norm(statistics)
    judge, drawn = learner(norm, pooling), tasks(norm)
    flat = weights(judge.net)  # type: ignore[arg-type]
    x = drawn.query.x.clone()
    x[:, 1:] += 1
    other = judge.outputs(flat, replace(drawn.query, x=x))[:, 0]
    same = torch.allclose(other, judge.outputs(flat, drawn.query)[:, 0], rtol=1e-9, atol=1e-9)
    assert same == (statistics != "batch")


def test_one_by_one_is_what_support_statistics_give_together() -> None:
    norm = Norm("support")
    judge, drawn = learner(norm), tasks(norm)
    flat = weights(judge.net)  # type: ignore[arg-type]
    alone = [
        judge.outputs(flat, drawn.query.examples(slice(number, number + 1)))
        for number in range(drawn.query.x.shape[1])
    ]
    found = one_by_one(partial(judge.outputs, flat), drawn.support, drawn.query)
    assert_close(found, torch.cat(alone, 1), 1e-12)


def slope(function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> float:
    """Measure a directional derivative between two kinks of ReLU and pooling."""
    step = 1e-8
    return float((function(at + step * along) - function(at - step * along)) / (2 * step))


def directions(judge: Learner) -> list[Tensor]:
    """Return a direction in what adapts, and where weights are held one in those."""
    generator = torch.Generator().manual_seed(12)
    along = torch.randn(judge.net.layout.size, generator=generator, dtype=torch.float64)
    free = judge.adapted(along)
    return [free, along - free] if judge.net.held else [free]


METHODS = [("maml", {}), ("maml", {"memory": "recompute"}), ("penalty", {"weight": 0.3})]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("name", "options"), METHODS)
@pytest.mark.parametrize(
    "norm",
    [Norm("support"), Norm("group"), Norm("batch", "beta", False), Norm("support", "both", False)],
    ids=str,
)
def test_meta_gradient_equals_finite_difference(
    norm: Norm, name: str, options: dict[str, Any], pooling: Pooling
) -> None:
    judge, drawn = learner(norm, pooling, channels=3), tasks(norm)
    method = build(name, shared(inner_lr=0.2, inner_steps=2), **options)
    net = judge.net
    assert isinstance(net, Conv4)
    init = weights(net, 1)[0]
    found = meta_step(method, judge, {"init": init}, drawn).gradients["init"]

    def objective(theta: Tensor) -> Tensor:
        end = method.descend(judge, {"init": theta}, drawn.support, 2).point
        loss = judge.losses(end, drawn.query)
        if name == "penalty":
            leaf = end.requires_grad_()
            (gradient,) = torch.autograd.grad(judge.losses(leaf, drawn.support).sum(), leaf)
            for tensor, view in net.layout.split(gradient).items():
                if not norm.adapted and tensor.startswith("norm"):
                    view.zero_()
            loss = loss + 0.3 * gradient.square().sum(1)
        return loss.mean().detach()

    for along in directions(judge):
        expected = slope(objective, init, along)
        assert abs(expected) > 3e-4
        assert float(found @ along) == pytest.approx(expected, rel=2e-6, abs=1e-7)


def holding() -> tuple[Learner, TaskBatch]:
    """Sinusoids with a smooth network, two of whose biases inner steps leave alone."""
    judge, drawn = sinusoid()
    assert isinstance(judge.net, MLP)
    judge.net.held = frozenset({"layer1.bias", "layer3.bias"})
    return judge, drawn


def smooth_slope(function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor) -> float:
    step = 1e-5
    return float((function(at + step * along) - function(at - step * along)) / (2 * step))


@pytest.mark.parametrize("curvature", ["hessian", "gauss_newton"])
def test_implicit_gradient_reaches_held_weights(curvature: Any) -> None:
    judge, drawn = holding()

    def solver(operator: Any, v: Tensor, weight: Any) -> Any:
        return conjugate_gradient(lambda x: x + operator(x) / weight, v, 60)

    method = Composed(ProximalDescent(0.02, 4.0), Implicit(solver, curvature), 800)
    init = drawn_meta(method, judge)["init"]
    found = meta_step(method, judge, {"init": init}, drawn)
    assert found.readings["inner_residual"].max() < 1e-7

    def objective(theta: Tensor) -> Tensor:
        end = method.descend(judge, {"init": theta}, drawn.support, 800).point
        return judge.losses(end, drawn.query).mean().detach()

    for along in directions(judge):
        expected = smooth_slope(objective, init, along)
        close = float(found.gradients["init"] @ along) == pytest.approx(expected, rel=1e-6)
        assert close == (curvature == "hessian")


def test_condition_loss_is_that_of_what_adapts() -> None:
    judge, drawn = holding()
    method = build("ecml", shared(inner_lr=0.1, inner_steps=2), weight=0.7, subset="all")
    init = drawn_meta(method, judge)["init"]
    found = meta_step(method, judge, {"init": init}, drawn).gradients["init"]

    def objective(theta: Tensor) -> Tensor:
        readings = meta_step(method, judge, {"init": theta}, drawn).readings
        return (readings["post_query_loss"] + 0.7 * readings["condition_loss"]).mean()

    for along in directions(judge):
        expected = smooth_slope(objective, init, along)
        assert float(found @ along) == pytest.approx(expected, rel=1e-6)
    # Hardly a step: weights that do not adapt have no part in the spread at the start either.
    method = build("ecml", shared(inner_lr=1e-12, inner_steps=1), subset="all")
    spreads = []
    for held in (judge.net.held, frozenset()):
        judge.net.held = held
        readings = meta_step(method, replace(judge), {"init": init}, drawn).readings
        spreads.append(readings["condition_loss"])
    assert not torch.allclose(*spreads, rtol=1e-3)


def drawn_meta(method: Algorithm, judge: Learner) -> Meta:
    return method.init(judge, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [name for name in LOOPS if name not in RESTLESS])
def test_held_weights_stay_in_the_inner_loop_and_move_in_the_outer_one(name: str) -> None:
    judge, drawn = learner(Norm(adapted=False)), tasks(Norm())
    method = build(name, shared(inner_lr=0.1, inner_steps=3), inner_steps=3)
    method.fit(judge)
    meta = drawn_meta(method, judge)
    end = method.descend(judge, meta, drawn.support, 3).point
    before = judge.net.layout.split(meta["init"])
    for tensor, value in judge.net.layout.split(end).items():
        moved = not torch.equal(value, before[tensor].expand_as(value))
        # The biases of convolutions have no effect before batch statistics.
        still = tensor.startswith("norm") or (tensor.startswith("conv") and "bias" in tensor)
        assert moved != still, tensor
    gradient = judge.net.layout.split(meta_step(method, judge, meta, drawn).gradients["init"])
    for tensor in judge.net.held:
        assert bool(gradient[tensor].any()) == (name != "scratch"), tensor


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("reptile", {}, "Reptile has no gradient for weights that inner steps leave alone, norm1"),
        ("warpgrad", {}, "Trajectory has no gradient"),
        ("penalty", {"variant": "joint"}, "JointPenalty has no gradient"),
        ("neumann", {"variant": "lorraine"}, "Implicit has no gradient"),
        ("neumann", {"variant": "notes"}, "Implicit has no gradient"),
        ("mirror", {}, "MirrorDescent moves weights that have no gradient, norm1.beta among them"),
        ("metalstm", {}, "GatedDescent moves weights that have no gradient"),
    ],
)
def test_methods_that_cannot_hold_weights_say_so(
    name: str, options: dict[str, Any], sentence: str
) -> None:
    method = build(name, shared(inner_steps=2), **options)
    with pytest.raises(CannotTrainError, match=sentence):
        method.fit(learner(Norm(adapted=False)))
    method.fit(learner(Norm()))


def test_start_penalty_is_on_what_adapts() -> None:
    judge, drawn = learner(Norm(adapted=False)), tasks(Norm())
    init = weights(judge.net, 1)[0]  # type: ignore[arg-type]
    rule = build("maml").rule  # type: ignore[attr-defined]

    def gradient(weight: float, chosen: Learner) -> Tensor:
        method = Composed(rule, StartPenalty(weight), 1)
        return meta_step(method, chosen, {"init": init}, drawn).gradients["init"]

    leaf = init.expand(TASKS, -1).clone().requires_grad_()
    (support,) = torch.autograd.grad(
        judge.losses(leaf, drawn.support).sum(), leaf, create_graph=True
    )
    penalty = judge.adapted(support).square().sum()
    (expected,) = torch.autograd.grad(penalty, leaf)
    assert_close(gradient(1.0, judge) - gradient(0.0, judge), expected.mean(0), 1e-9)
    whole = learner(Norm())
    assert not torch.allclose(gradient(1.0, whole), gradient(1.0, judge))
    assert PenalisedEnd.trains_held
