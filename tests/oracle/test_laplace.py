"""LLAMA's curvature and objective: published numbers, identities and finite differences."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from metaviz.algorithms.llama import Laplace, LaplaceTerm
from metaviz.config.options import OptionError
from metaviz.meta.curvature import (
    Factor,
    information,
    kronecker_factors,
    last_layer_variance,
    tapped,
)
from metaviz.meta.estimators.base import MetaStep
from metaviz.meta.inner import descend
from metaviz.meta.learner import Learner
from metaviz.meta.rules import GradientDescent
from metaviz.meta.tasks import Batch
from metaviz.nets.base import Tapped
from metaviz.nets.conv4 import Conv4
from metaviz.nets.linear import Linear
from metaviz.nets.mlp import MLP
from metaviz.nets.normalisation import Norm
from metaviz.nets.resnet12 import ResNet12
from metaviz.theory.prior import implicit_prior
from tests.oracle.engine import (
    DOUBLE,
    ClassificationLoss,
    assert_close,
    build,
    called,
    classes,
    initial,
    meta_step,
    shared,
    sinusoid,
)

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "golden" / "prob.json").read_text(encoding="utf-8")
)


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def regression(net: Tapped) -> Learner:
    return Learner(net, sinusoid()[0].judge)


def log_determinant(factors: list[Factor], count: float, prior: float) -> Tensor:
    """The information, with the log-determinant of the prior that it leaves out."""
    weights = sum(one.inputs.shape[1] * one.outputs.shape[1] for one in factors)
    return information(factors, count, prior) + weights * math.log(prior)


class TestLinearGaussian:
    """One linear layer with normal noise, for which Laplace's approximation is exact."""

    case = GOLDEN["llama_linear_gaussian"]
    learner = regression(Linear(3, 1, bias=False))
    x, y, theta = tensor(case["X"]), tensor(case["y"]), tensor(case["theta"])
    noise, prior = case["noise_variance"], case["prior_precision"]

    def batch(self, x: Tensor) -> Batch:
        return Batch(x[None], self.y[None, :, None])

    def evidence(self, theta: Tensor, prior: Tensor, scale: Tensor) -> Tensor:
        """-log p(y) by Laplace's approximation at the MAP, of features times scale."""
        x = scale * self.x
        hessian = x.mT @ x / self.noise + prior * torch.eye(3, dtype=DOUBLE)
        point = torch.linalg.solve(hessian, x.mT @ self.y / self.noise + prior * theta)
        batch, point = self.batch(x), point[None]
        losses = LaplaceTerm(self.noise, 1.0, 1, None).losses(self.learner, batch)
        nll = losses * self.learner.losses(point, batch).sum()
        nll = nll + len(self.y) / 2 * math.log(2 * math.pi * self.noise)
        # A function of the weights that this layer's curvature does not depend on.
        factors = kronecker_factors(self.learner, point, batch, classes=False)
        told = information(factors, len(self.y) / self.noise, prior).sum()  # type: ignore[arg-type]
        return nll + prior / 2 * (point[0] - theta).square().sum() + told / 2

    def test_approximation_is_the_evidence(self) -> None:
        one = torch.ones((), dtype=DOUBLE)
        found = self.evidence(self.theta, self.prior * one, one)
        assert_close(found, self.case["exact_evidence"], 1e-12)

    def test_log_determinant_is_that_of_the_posterior(self) -> None:
        point = torch.zeros(1, 3, dtype=DOUBLE)
        factors = kronecker_factors(self.learner, point, self.batch(self.x), classes=False)
        found = log_determinant(factors, len(self.y) / self.noise, self.prior)
        assert_close(found[0], self.case["logdet_H"], 1e-12)

    def test_its_gradients_are_those_of_the_evidence(self) -> None:
        one = torch.ones((), dtype=DOUBLE)
        theta, tau, scale = self.theta, math.log(self.prior) * one, one.clone()
        given = [value.clone().requires_grad_() for value in (theta, tau, scale)]
        found = self.evidence(given[0], given[1].exp(), given[2])
        for gradient, expected in zip(
            torch.autograd.grad(found, given), self.case["exact_grad"], strict=True
        ):
            assert_close(gradient, expected, 1e-9)

    def test_steps_end_at_the_map_of_the_implied_prior(self) -> None:
        case = GOLDEN["llama_implicit_prior"]
        # A step on the mean square of n points is a step 2 s2 / n as large on the likelihood's sum.
        rate = case["alpha"] * len(self.y) / (2 * self.noise)
        support = self.batch(self.x)
        start = {"init": self.theta}
        found = descend(GradientDescent(rate), self.learner, start, support, case["K"])
        assert_close(found.point[0], case["phiK"], 1e-9)
        hessian = self.x.mT @ self.x / self.noise
        precision = tensor(implicit_prior(hessian.numpy(), case["alpha"], case["K"]).precision)
        assert_close(precision, case["precision"], 1e-9)
        assert_close(torch.logdet(precision), case["logdet_prior"], 1e-9)
        assert_close(torch.logdet(hessian + precision), case["logdet_posterior"], 1e-9)
        flat = implicit_prior(torch.zeros(3, 3, dtype=DOUBLE).numpy(), case["alpha"], case["K"])
        implied = LaplaceTerm(self.noise, rate, case["K"], None).precision(self.learner, support)
        assert_close(torch.diag(tensor(flat.precision)), [implied] * 3, 1e-12)


class TestSmallNetwork:
    """A network of two layers."""

    case = GOLDEN["llama_kfac_mlp"]
    learner = regression(MLP((1, 3, 1), "tanh"))
    x = tensor(case["x"])
    names = ("W1", "b1", "W2", "b2")

    @property
    def weights(self) -> Tensor:
        layout = self.learner.net.layout
        given = {
            name: tensor(self.case[key])
            for (name, _), key in zip(layout.shapes, self.names, strict=True)
        }
        return layout.join(given)[None]

    def factors(self, weights: Tensor, count: int = 4) -> list[Factor]:
        x = self.x[None, :count]
        return kronecker_factors(self.learner, weights, Batch(x, x), classes=False)

    def test_factors_are_the_published_ones(self) -> None:
        first, last = self.factors(self.weights)
        for found, key in ((first.inputs, "A0"), (first.outputs, "G1"), (last.inputs, "A1")):
            assert_close(found[0], self.case[key], 1e-9)
        assert_close(last.outputs[0], self.case["G2"], 1e-12)

    def test_log_determinant_and_its_gradient_are_the_published_ones(self) -> None:
        weights = self.weights.requires_grad_()
        found = log_determinant(self.factors(weights), 4, self.case["prior_precision"])
        assert_close(found[0], self.case["logdet_kfac"], 1e-9)
        (gradient,) = torch.autograd.grad(found.sum(), weights)
        pieces = self.learner.net.layout.split(gradient[0])
        flat = torch.cat([piece.flatten() for piece in pieces.values()])
        assert_close(flat, self.case["gradient_flat_W1_b1_W2_b2"], 1e-9)

    def test_one_example_is_exact(self) -> None:
        found = log_determinant(self.factors(self.weights, 1), 1, 1.0)
        assert_close(found[0], self.case["logdet_one_example_kfac"], 1e-9)

    def test_layers_add_up_and_without_examples_only_the_prior_is_left(self) -> None:
        factors = self.factors(self.weights)
        apart = sum(information([one], 4, 2.0) for one in factors)
        assert_close(information(factors, 4, 2.0), apart, 1e-14)  # type: ignore[arg-type]
        assert torch.equal(information(factors, 0, 2.0), torch.zeros(1, dtype=DOUBLE))

    def test_two_equal_examples_are_one_that_counts_twice(self) -> None:
        twice = self.x[:1].expand(2, 1)[None]
        both = kronecker_factors(self.learner, self.weights, Batch(twice, twice), classes=False)
        once = self.factors(self.weights, 1)
        assert_close(information(both, 2, 1.0), information(once, 2, 1.0), 1e-13)

    def test_variance_of_the_last_layer_is_that_of_all_its_weights(self) -> None:
        net = self.learner.net
        assert isinstance(net, Tapped)
        *_, known = net.layers(self.weights, self.x[None])
        asked = torch.linspace(-1, 1, 5, dtype=DOUBLE)[None, :, None]
        *_, at = net.layers(self.weights, asked)
        a = torch.cat([known.inputs[0, :, 0], torch.ones(4, 1, dtype=DOUBLE)], 1)
        b = torch.cat([at.inputs[0, :, 0], torch.ones(5, 1, dtype=DOUBLE)], 1)
        covariance = torch.linalg.inv(a.mT @ a / 0.3 + 2 * torch.eye(4, dtype=DOUBLE))
        found = last_layer_variance(known, at, 4 / 0.3, 2.0)
        assert_close(found[0, :, 0], (b @ covariance * b).sum(1), 1e-10)


def test_softmax_factors_are_the_published_ones() -> None:
    case = GOLDEN["kfac_softmax"]
    inputs, logits = tensor(case["inputs_with_one"]), tensor(case["logits"])
    net = Linear(2, 3)
    solved = torch.linalg.pinv(inputs) @ logits
    weights = net.layout.join({"head.weight": solved[:2].mT, "head.bias": solved[2]})
    batch = Batch(inputs[None, :, :2], torch.zeros(1, 2, dtype=torch.int64))
    learner = Learner(net, ClassificationLoss())
    assert_close(learner.outputs(weights[None], batch)[0], logits, 1e-12)
    (found,) = kronecker_factors(learner, weights[None], batch, classes=True)
    assert_close(found.inputs[0], case["A"], 1e-9)
    assert_close(found.outputs[0], case["G"], 1e-9)
    assert_close(log_determinant([found], 2, 1.0)[0], case["logdet_tau1_n2"], 1e-9)


def test_convolution_of_one_pixel_is_the_linear_layer_of_its_middle() -> None:
    """Of one pixel, 2-pooled by stride: the patch is the pixel amid zeros."""
    net = Conv4(3, 2, 2, 1, "stride", Norm("group"))
    weights = net.init(torch.Generator().manual_seed(0))[None]
    x = torch.randn(1, 4, 2, 1, 1, dtype=DOUBLE)
    learner = Learner(net, ClassificationLoss())
    batch = Batch(x, torch.zeros(1, 4, dtype=torch.int64))
    first, *_ = kronecker_factors(learner, weights, batch, classes=True)
    a = torch.cat([x.flatten(2)[0], torch.ones(4, 1, dtype=DOUBLE)], 1)
    kept = first.inputs[0].abs().sum(0) > 0
    assert int(kept.sum()) == 3
    assert_close(first.inputs[0][kept][:, kept], a.mT @ a / 4, 1e-12)


@pytest.mark.parametrize("pooling", ["max", "stride", "twice"])
@pytest.mark.parametrize("statistics", ["batch", "support", "group"])
def test_layers_of_conv4_lead_to_its_outputs(pooling: Any, statistics: Any) -> None:
    net = Conv4(3, 4, 2, 20, pooling, Norm(statistics))
    draw = torch.Generator().manual_seed(0)
    weights = torch.stack([net.init(draw) for _ in range(2)])
    x, beside = (torch.randn(2, n, 2, 20, 20, dtype=DOUBLE, generator=draw) for n in (5, 3))
    taps = list(net.layers(weights, x, beside))
    assert_close(taps[-1].outputs, net(weights, x, beside), 1e-10)
    params = net.layout.for_tasks(weights, 2)
    for tap in taps[:-1]:
        u = tap.inputs @ params[f"{tap.name}.weight"].flatten(2).mT.unsqueeze(1)
        if tap.bias:
            u = u + params[f"{tap.name}.bias"][:, None, None]
        assert_close(tap.arranged(tap.outputs), u, 1e-10)


def test_derivative_of_a_convolutions_log_determinant_is_right() -> None:
    net = Conv4(2, 3, 1, 16, "max", Norm())
    learner = Learner(net, ClassificationLoss())
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(1, 4, 1, 16, 16, dtype=DOUBLE, generator=draw)
    batch = Batch(x, torch.tensor([[0, 1, 2, 0]]))
    weights = net.init(draw)[None].requires_grad_()

    def at(point: Tensor) -> Tensor:
        factors = kronecker_factors(learner, point, batch, classes=True)
        return information(factors, 4, 0.5).sum()

    (gradient,) = torch.autograd.grad(at(weights), weights)
    along = torch.randn(weights.shape, dtype=DOUBLE, generator=draw)
    slope = (at(weights.detach() + 1e-6 * along) - at(weights.detach() - 1e-6 * along)) / 2e-6
    assert_close((gradient * along).sum(), slope, 1e-6)


def test_layers_that_do_not_adapt_are_left_out() -> None:
    learner, tasks = sinusoid()
    weights = initial(build("maml"), learner)["init"].expand(4, -1)
    whole = kronecker_factors(learner, weights, tasks.support, classes=False)
    rests = replace(learner, resting=frozenset({"layer1.weight", "layer1.bias"}))
    part = kronecker_factors(rests, weights, tasks.support, classes=False)
    assert [one.name for one in part] == [one.name for one in whole[1:]]


@pytest.mark.parametrize("of", [sinusoid, classes])
@pytest.mark.parametrize("on", ["query", "support"])
def test_meta_gradient_is_the_derivative_of_loss_and_log_determinant(of: Any, on: str) -> None:
    learner, tasks = of()
    algorithm = build("llama", weighting="number", weight=0.1, curvature_on=on)
    meta = initial(algorithm, learner)

    def step(point: Tensor) -> MetaStep:
        return meta_step(algorithm, learner, {"init": point}, tasks)

    def objective(point: Tensor) -> Tensor:
        read = step(point).readings
        return (read["post_query_loss"] + 0.1 * read["log_determinant"]).mean()

    gradient = step(meta["init"]).gradients["init"]
    plain = meta_step(build("maml"), learner, meta, tasks).gradients["init"]
    assert (gradient - plain).norm() > 0.01 * plain.norm()
    along = torch.randn(gradient.shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(2))
    ahead, behind = (objective(meta["init"] + sign * 1e-5 * along) for sign in (1, -1))
    assert_close((gradient * along).sum(), (ahead - behind) / 2e-5, 1e-7)


@pytest.mark.parametrize("of", [sinusoid, classes])
def test_weight_zero_is_maml_bit_by_bit(of: Any) -> None:
    learner, tasks = of()
    algorithm = build("llama", weighting="number", weight=0.0)
    meta = initial(algorithm, learner)
    found = meta_step(algorithm, learner, meta, tasks)
    plain = meta_step(build("maml"), learner, meta, tasks)
    assert torch.equal(found.gradients["init"], plain.gradients["init"])
    for name, values in plain.readings.items():
        assert torch.equal(found.readings[name], values)
    assert (found.readings["log_determinant"] > 0).all()
    (*_, last), (*_, other) = (
        one.adapt(called(one, learner, tasks), meta) for one in (algorithm, build("maml"))
    )
    ends = last.predict(tasks.query), other.predict(tasks.query)
    assert torch.equal(ends[0].outputs, ends[1].outputs)


def test_weights_are_those_of_the_evidence() -> None:
    """Halves of the log-determinant, over as many mean losses as the likelihood has."""
    for of, expected in ((sinusoid, 0.5 / 6), (classes, 1 / (2 * 9))):
        learner, tasks = of()
        found, given = (
            build("llama", noise_variance=0.5, **options)
            for options in (
                {"weighting": "evidence"},
                {"weighting": "number", "weight": expected},
            )
        )
        meta = initial(found, learner)
        ends = [meta_step(one, learner, meta, tasks).gradients["init"] for one in (found, given)]
        assert_close(ends[0], ends[1], 1e-12)


def test_evaluation_tells_the_information_of_the_support_set() -> None:
    learner, tasks = sinusoid()
    algorithm = build("llama", shared(inner_lr=0.1, inner_steps=3), noise_variance=0.5)
    assert isinstance(algorithm, Laplace)
    meta = initial(algorithm, learner)
    *_, last = algorithm.adapt(called(algorithm, learner, tasks), meta)
    found = last.predict(tasks.query)
    weights = last.weights
    assert isinstance(weights, Tensor)
    factors = kronecker_factors(learner, weights, tasks.support, classes=False)
    expected = information(factors, 5 / 0.5, 5 / (2 * 0.5) / (0.1 * 3))
    assert_close(found.readings["information"], expected, 1e-12)
    assert found.noise is not None
    assert found.variance is not None
    assert torch.equal(found.noise, torch.full((4,), 0.5, dtype=DOUBLE))
    assert (found.variance > 0).all()


def test_a_task_whose_weights_explode_is_not_a_number_and_the_others_stay() -> None:
    learner, tasks = sinusoid()
    weights = initial(build("maml"), learner)["init"].expand(4, -1).clone()
    whole = kronecker_factors(learner, weights, tasks.support, classes=False)
    weights[1] = torch.nan
    broken = kronecker_factors(learner, weights, tasks.support, classes=False)
    found, expected = (information(one, 5, 2.0) for one in (broken, whole))
    assert found.isnan().tolist() == [False, True, False, False]
    assert torch.equal(found[[0, 2, 3]], expected[[0, 2, 3]])


def test_steps_that_are_far_too_large_are_evaluated_all_the_same() -> None:
    learner, tasks = sinusoid(activation="relu")
    algorithm = build("llama", shared(inner_lr=0.1, inner_steps=1)).scaled(1e200)
    meta = initial(algorithm, learner)
    *_, last = algorithm.adapt(called(algorithm, learner, tasks), meta)
    found = last.predict(tasks.query)
    assert not found.readings["information"].isfinite().all()


def test_networks_that_tell_no_layers_are_refused_in_a_sentence() -> None:
    net = ResNet12(widths=(2, 2, 2, 2), ways=3, in_channels=1, image=16)
    with pytest.raises(OptionError, match="choose a fully connected network or Conv4"):
        tapped(net, "llama")


def test_equal_eigenvalues_have_a_finite_derivative() -> None:
    one = torch.eye(3, dtype=DOUBLE)[None].requires_grad_()
    found = information([Factor("layer", one, one)], 2, 1.0).sum()
    (gradient,) = torch.autograd.grad(found, one)
    assert gradient.isfinite().all()
    assert functional.mse_loss(gradient[0], torch.diag(gradient[0].diag())) < 1e-20


def test_factors_of_a_convolution_sum_inputs_over_places_and_average_outputs() -> None:
    """As Grosse & Martens 2016 have it."""
    net = Conv4(2, 2, 1, 20, "stride", Norm("group"))
    learner = Learner(net, ClassificationLoss())
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, 1, 20, 20, dtype=DOUBLE, generator=draw)
    weights = net.init(draw)[None].requires_grad_()
    batch = Batch(x, torch.zeros(1, 3, dtype=torch.int64))
    first, *_ = kronecker_factors(learner, weights, batch, classes=True)
    tap, *_, last = net.layers(weights, x)
    places = tap.inputs.shape[2]
    assert places == 100
    a = torch.cat([tap.inputs, torch.ones_like(tap.inputs[..., :1])], 3)[0]
    assert_close(first.inputs[0], sum(one.mT @ one for one in a) / 3, 1e-12)  # type: ignore[arg-type]
    p, expected = torch.softmax(last.outputs, 2), torch.zeros(2, 2, dtype=DOUBLE)
    for c in range(2):
        root = p[..., c : c + 1].sqrt() * (torch.eye(2, dtype=DOUBLE)[c] - p)
        (slope,) = torch.autograd.grad(last.outputs, tap.outputs, root, retain_graph=True)
        g = tap.arranged(slope)[0]
        expected = expected + sum(one.mT @ one for one in g) / (3 * places)
    assert_close(first.outputs[0], expected.detach(), 1e-10)
